"""Profiles, prices and reports from Python."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from jouleprune import _C
from jouleprune.energy import EnergyReport, load_profile, price_workload, profiles
from jouleprune.errors import BudgetError, MeterError, PatternError, ProfileError
from jouleprune.profile_table import profile_rows


def linear(name: str, rows: int, cols: int, n: int, /, **changes: Any) -> dict[str, Any]:
    entry = {
        "name": name,
        "op": "linear",
        "dtype": "float32",
        "weight": f"{name}.weight",
        "shape": [rows, cols],
        "rows": rows,
        "cols": cols,
        "n": n,
        "macs": rows * cols * n,
        "weight_elements": rows * cols,
        "input_elements": cols * n,
        "output_elements": rows * n,
    }
    return entry | changes


def workload(*entries: dict[str, Any], **changes: Any) -> str:
    return json.dumps({"schema": 1, "batch": 1, "entries": list(entries)} | changes)


def number(value: float) -> dict[str, float]:
    return {"value": value, "low": value, "high": value}


def example_profile() -> dict[str, Any]:
    """Operations of 1 (int8) and 2 (int16) pJ; memory of 1/8 pJ per bit."""
    return {
        "schema": 1,
        "name": "example",
        "kind": "asic",
        "dataflow": "op-count",
        "compute": {
            "int8": {"mac_pj": number(1), "op_pj": number(0)},
            "int16": {"mac_pj": number(2), "op_pj": number(0)},
        },
        "levels": [
            {
                "name": "memory",
                "read_pj_per_bit": number(0.125),
                "write_pj_per_bit": number(0.125),
                "per_element": {"weight_reads": number(1)},
            }
        ],
        "provenance": {"": {"source": "worked example", "kind": "assumed"}},
    }


def test_worked_example() -> None:
    """Operations 1 x 10 + 2 x 20 = 50, accesses 1 x 200 + 2 x 100 = 400; each weight matrix has 200 of 450."""
    still = {"input_elements": 0, "output_elements": 0}
    text = workload(
        linear("a", 20, 10, 1, dtype="int8", macs=10, **still), linear("b", 10, 10, 1, dtype="int16", macs=20, **still)
    )
    report = price_workload(text, load_profile(example_profile()))
    assert report.parts.compute_j == pytest.approx(50e-12)
    assert report.parts.memory_j == pytest.approx(400e-12)
    assert report.total_j == report.energy_j == pytest.approx(450e-12)
    assert [layer.parts.memory_j / report.total_j for layer in report.layers] == pytest.approx([200 / 450] * 2)


@pytest.mark.parametrize("name", ["eyeriss-65nm", "horowitz-45nm", "generic-cpu", "generic-gpu-hbm"])
def test_built_in_profiles(name: str, tmp_path: Path) -> None:
    assert name in profiles()
    profile = load_profile(name)
    assert profile.name == name
    path = tmp_path / "copy.json"
    path.write_text(profile.to_json())
    for again in (load_profile(path), load_profile(str(path)), load_profile(json.loads(profile.to_json()))):
        assert again == profile
        assert again.hash == profile.hash
    assert pickle.loads(pickle.dumps(profile)) == copy.deepcopy(profile) == profile
    assert hash(copy.copy(profile)) == hash(profile)


@pytest.mark.parametrize("name", profiles())
def test_report_round_trip(name: str) -> None:
    text = workload(linear("fc1", 128, 784, 4, nnz=1000), linear("fc2", 10, 128, 4), batch=4, unknown_ops=["aten::x"])
    report = price_workload(text, load_profile(name))
    assert EnergyReport.from_json(report.to_json()) == report
    assert json.loads(report.to_json()) == json.loads(_C.estimate(text, load_profile(name)))
    assert report.label == "modelled"
    assert report.count == 4
    assert report.low_j <= report.energy_j <= report.high_j
    assert report.energy_j == sum(layer.energy_j for layer in report.layers)
    assert report.parts.total_j == pytest.approx(report.energy_j)
    assert sum(layer.share for layer in report.layers) == pytest.approx(1)
    layers = json.loads(_C.price_entries(json.dumps(json.loads(text)["entries"]), load_profile(name), 4))
    assert [layer["energy_j"] for layer in layers] == [layer.energy_j for layer in report.layers]


def test_report_text_names_layers_units_and_label() -> None:
    text = workload(linear("[fc1]", 128, 784, 1), unknown_ops=["aten::strange"])
    lines = str(price_workload(text, load_profile("generic-cpu"))).splitlines()
    assert "uJ per inference on generic-cpu, modelled (interval" in lines[0]
    assert "us per pass" in lines[0]
    assert "MACs/pass" in lines[1]
    assert any(line.startswith("[fc1]") and "128x784" in line and "100.0 %" in line for line in lines)
    assert lines[-1] == "not priced: aten::strange"


def test_reports_and_their_parts_are_frozen() -> None:
    report = price_workload(workload(linear("a", 3, 4, 5)), load_profile("generic-cpu"))
    for thing, field in ((report, "energy_j"), (report.layers[0], "share"), (report.parts, "compute_j")):
        with pytest.raises(AttributeError):
            setattr(thing, field, 0.0)


def test_masks_save_on_accelerators_only() -> None:
    dense, masked = (workload(linear("a", 64, 64, 8, nnz=nnz)) for nnz in (4096, 400))
    for name, saves in (("generic-cpu", False), ("generic-gpu-hbm", False), ("eyeriss-65nm", True)):
        profile = load_profile(name)
        assert (price_workload(masked, profile).energy_j < price_workload(dense, profile).energy_j) == saves


def test_candidates() -> None:
    entry = json.dumps(linear("a", 3, 4, 5))
    assert _C.candidates(entry, load_profile("generic-cpu")) == ["dense", "csr"]
    assert _C.candidates(entry, load_profile("eyeriss-65nm")) == ["zero-skip"]
    with pytest.raises(ValueError, match="one entry"):
        _C.candidates(f"{entry}, {entry}", load_profile("generic-cpu"))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nope", "built-in name"),
        ("/", "built-in name"),
        ("", "built-in name"),
        (5, "got int"),
        (None, "got NoneType"),
        ({"a": {1}}, "JSON"),
        ({"static_w": {"value": float("nan")}}, "/static_w/value"),
        ({"static_w": {"value": float("inf")}}, "/static_w/value"),
        ({**example_profile(), "levels": []}, "/levels"),
        ({**example_profile(), "provenance": {}}, "/compute/int16/mac_pj"),
    ],
)
def test_bad_profiles(source: Any, message: str) -> None:
    with pytest.raises(ProfileError, match=message):
        load_profile(source)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected JSON"),
        ("[]", "an object"),
        (workload(linear("a", 1, 2, 3, rows=-1)), "/entries/0/rows"),
        (workload(linear("a", 1, 2, 3, nnz=9)), "/entries/0/nnz"),
        (workload(linear("a", 1, 2, 3, kernel="csc")), "kernel: expected one of dense, csr"),
        (workload(linear("a", 1, 2, 3, dtype=32)), "/entries/0/dtype"),
        (workload(count=0), "/count"),
    ],
)
def test_bad_workloads(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        price_workload(text, load_profile("generic-cpu"))


@pytest.mark.parametrize("text", ["{}", "[]", '{"schema": 2}', '{"schema": 1, "layers": 3}', "x"])
def test_bad_reports(text: str) -> None:
    with pytest.raises(ValueError):
        EnergyReport.from_json(text)


def test_errors_are_value_errors_that_pickle() -> None:
    for kind in (ProfileError, PatternError, MeterError):
        assert issubclass(kind, ValueError)
        assert str(pickle.loads(pickle.dumps(kind("text")))) == "text"
    error = pickle.loads(pickle.dumps(BudgetError("too low", 1.5e-3)))
    assert (str(error), error.minimum_j) == ("too low", 1.5e-3)
    assert BudgetError("malformed").minimum_j != BudgetError("malformed").minimum_j  # NaN


def test_build_info() -> None:
    info = _C.build_info()
    assert set(info) == {"version", "torch_version", "torch_cuda", "with_cuda", "cuda_reason", "compiler"}
    assert info["version"] == _C.version()


def _numbers(node: Any, place: tuple[str, ...] = ()) -> Any:
    if isinstance(node, dict) and set(node) == {"value", "low", "high"}:
        yield place, node
    elif isinstance(node, dict | list):
        for key, child in node.items() if isinstance(node, dict) else enumerate(node):
            yield from _numbers(child, (*place, str(key)))


@pytest.mark.parametrize("name", profiles())
def test_the_page_has_every_number_of_the_profiles(name: str) -> None:
    page = (Path(__file__).parents[2] / "docs" / "energy_model.md").read_text()
    section = page.split(f"### `{name}`")[1].split("\n##")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in section.splitlines() if line.startswith("| ")]
    written = {row[0]: tuple(float(cell) for cell in row[1:4]) for row in rows[1:]}
    profile = json.loads(load_profile(name).to_json())
    expected = {}
    for place, values in _numbers(profile):
        if place[0] == "levels":
            place = (profile["levels"][int(place[1])]["name"], *place[2:])
        label = " ".join(place[1:] if place[0] == "compute" else place)
        expected[label] = (values["value"], values["low"], values["high"])
    assert written == expected


def test_reports_tell_found_mappings_and_extrapolated_types() -> None:
    report = price_workload(workload(linear("fc", 12, 20, 2, dtype="float64")), load_profile("fpga-like"))
    assert (report.layers[0].mapping, report.layers[0].extrapolated_from) == ("found (seed 1)", "float32")
    assert "\nmapping found (seed 1): 1 calls\nextrapolated: the profile lists no float64; " in str(report)
    plain = price_workload(workload(linear("fc", 12, 20, 2)), load_profile("generic-cpu"))
    assert (plain.layers[0].mapping, plain.layers[0].extrapolated_from) == ("", "")
    assert "mapping" not in str(plain) and "extrapolated" not in str(plain)


@pytest.mark.parametrize("name", profiles())
def test_the_table_of_a_profile_has_every_number(name: str) -> None:
    profile = load_profile(name)
    data = json.loads(profile.to_json())
    rows = profile_rows(profile)
    with_interval = [values for _, values in _numbers(data)]
    for values in with_interval:
        assert any((row.value, row.low, row.high) == (values["value"], values["low"], values["high"]) for row in rows)
    assert len(rows) >= len(with_interval)
    assert all(row.kind in ("published", "measured", "fitted", "memory", "assumed") and row.source for row in rows)
