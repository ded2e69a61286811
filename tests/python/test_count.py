"""``jouleprune count`` and ``energy.count``: published cases, by the command line and from Python."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import jouleprune as jp
from jouleprune.cli import main

DATA = Path(__file__).parent.parent / "data" / "energy"
CASES = sorted(path for prefix in ("tl", "sl_", "hyang_") for path in DATA.glob(f"{prefix}*.json"))


def run(capsys, path: os.PathLike[str]) -> tuple[int, str, str]:
    code = main(["count", str(path)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_there_are_cases():
    assert len(CASES) == 16


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_case_holds(capsys, path):
    code, out, err = run(capsys, path)
    assert (code, err) == (0, "")
    assert json.loads(out).keys() == json.loads(path.read_text())["expected"].keys()


@pytest.mark.parametrize(
    "path", sorted([*DATA.glob("more/*.json"), *DATA.glob("own/*.json")]), ids=lambda path: path.stem
)
def test_more_cases_hold(path):
    assert jp.energy.count(path).deviations == ()


def test_assumptions_are_told_when_asked_for(capsys):
    path = DATA / "sl_0421_eyeriss_like_gating.json"
    assumptions = jp.energy.count(path).assumptions
    assert len(assumptions) == 6 and assumptions[0].startswith("/architecture/levels/4/metadata_word_bits: not given;")
    assert main(["count", str(path), "--assumptions"]) == 0
    assert capsys.readouterr().err.splitlines() == list(assumptions)


def test_expectations_are_not_read(capsys, tmp_path):
    case = json.loads((DATA / "tl04_spatial_cp.json").read_text())
    del case["expected"]
    path = tmp_path / "case.json"
    path.write_text(json.dumps(case))
    assert run(capsys, path)[:2] == run(capsys, DATA / "tl04_spatial_cp.json")[:2]


def test_a_perturbed_expectation_is_told(capsys, tmp_path):
    case = json.loads((DATA / "tl00_conv1d_1level.json").read_text())
    case["expected"]["levels"]["Buffer"]["tensors"]["Inputs"]["reads"] = 47
    path = tmp_path / "case.json"
    path.write_text(json.dumps(case))
    code, out, err = run(capsys, path)
    assert code == 1 and err.count("\n") == 1
    assert err.startswith("/expected/levels/Buffer/tensors/Inputs/reads: expected 47, 48 computed")
    assert json.loads(out)["levels"]["Buffer"]["tensors"]["Inputs"]["reads"] == 48


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 1}', '{"schema": 1, "kind": "loop-nest"}'])
def test_a_malformed_file_names_the_place(capsys, tmp_path, text):
    path = tmp_path / "case.json"
    path.write_text(text)
    code, out, err = run(capsys, path)
    assert code == 2 and out == ""
    assert f"case '{path}': /" in err


def test_a_missing_file(capsys, tmp_path):
    code, _, err = run(capsys, tmp_path / "nothing.json")
    assert code == 2 and "cannot be read" in err


def test_from_a_dict():
    case = json.loads((DATA / "hyang_lenet5_dense.json").read_text())
    counts = jp.energy.count(case)
    assert counts.deviations == () and counts.values["totals"]["total"] == 17107544
    case["workload"]["batch"] = 2
    assert jp.energy.count(case).values["totals"]["total"] > 17107544
    assert jp.energy.count(case).deviations


@pytest.mark.parametrize("case", [3, None, {"schema": {1}}, {"schema": float("nan")}])
def test_what_is_no_case(case):
    with pytest.raises(jp.ProfileError, match="case"):
        jp.energy.count(case)
