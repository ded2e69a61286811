"""``jouleprune bench``: the command on a tiny suite with a made-up clock, its files, its errors."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys

import pytest
from bench_tools import TINY, FakeClock, tiny_options, use_tiny

from jouleprune.bench import command, measure, options, suites
from jouleprune.bench.candidate import Candidate
from jouleprune.bench.files import write
from jouleprune.bench.problem import Problem
from jouleprune.cli import main


@pytest.fixture
def tiny(monkeypatch):
    use_tiny(monkeypatch)


def test_every_candidate_of_every_layer_suite_is_right(monkeypatch):
    """Small shapes through all makers of candidates: linear, convolution, gradients, bfloat16, cold."""
    linear, conv = suites.LinearShape(48, 64, 6), suites.ConvShape(16, 3, 6, batch=2)
    small = [
        TINY,
        suites.Case("linear", "one row", suites.LinearShape(64, 48, 1)),
        suites.Case("linear", "cold", suites.LinearShape(64, 48, 1), cold=True),
        suites.Case("linear", "conv", conv),
        suites.Case("linear", "conv 1x1", suites.ConvShape(32, 1, 5)),
        suites.Case("linear", "dW", linear, step="dW"),
        suites.Case("linear", "dX", linear, step="dX"),
        suites.Case("linear", "bf16", linear, dtype="bfloat16", baseline="torch bf16"),
    ]
    monkeypatch.setitem(suites._MAKERS, "linear", lambda: small)
    monkeypatch.setattr(measure, "cache_bytes", lambda: 20_000)
    report = command.report_of(tiny_options(), clock=FakeClock())
    assert not report.wrong() and not report.absent
    assert len(report.cells) == 2 * len(small)
    for cell in report.cells:
        states = {result.name: (result.status, result.reason) for result in cell.results}
        assert states["jouleprune"][0] == states[cell.baseline][0] == "measured", (cell.case, states)
        assert all(state in ("measured", "unavailable") for state, _ in states.values()), (cell.case, states)


def test_the_command(tiny, capsys, tmp_path):
    files = {name: tmp_path / f"out.{name}" for name in ("csv", "md")}
    arguments = ["bench", "--here", "--suite", "linear", "--sparsity", "50,90", "--rounds", "6"]
    code = main([*arguments, "--csv", str(files["csv"]), "--markdown", str(files["md"])])
    out, err = capsys.readouterr()
    assert code == 0 and "[2/2] linear 24x20 n=5 90%" in err
    for part in ("linear 24x20 n=5", "jouleprune", "torch pre-packed", "onnxruntime: not installed", "thread(s)"):
        assert part in out
    lines = list(csv.DictReader(files["csv"].read_text().splitlines()))
    assert {line["candidate"] for line in lines} >= {"jouleprune", "torch", "torch csr"}
    ours = next(line for line in lines if line["candidate"] == "jouleprune")
    assert float(ours["speed"]) > 0 and float(ours["zeros"]) == pytest.approx(0.5)
    page = files["md"].read_text()
    assert "| linear 24x20 n=5 | jouleprune |" in page and "jouleprune bench --here" in page
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", "out.md"]


def test_json_has_the_schema(tiny, capsys):
    assert main(["bench", "--here", "--suite", "linear", "--sparsity", "50,90", "--json", "--quiet"]) == 0
    out, err = capsys.readouterr()
    data = json.loads(out)
    assert err == "" and data["schema"] == 1
    assert set(data) == {
        "schema", "command", "machine", "mask", "peers", "absent", "cells", "break_even", "goals"
    }  # fmt: skip
    assert set(data["machine"]) >= {"cpu", "threads", "torch", "jouleprune", "isa", "jit", "denormals", "peaks"}
    assert [cell["sparsity"] for cell in data["cells"]] == [0.5, 0.9]
    for cell in data["cells"]:
        for result in cell["results"]:
            assert result["status"] in ("measured", "noisy", "unavailable", "wrong", "failed")
            if result["status"] == "measured":
                assert set(result["summary"]) == {
                    "median_s", "low_quartile_s", "high_quartile_s", "samples", "dropped"
                }  # fmt: skip
                assert all(ratio["pairs"] >= 3 for ratio in result["speed"].values())
    assert {entry["against"] for entry in data["break_even"]} >= {"torch", "torch csr"}


def test_a_wrong_result_is_an_error_and_never_a_number(tiny, capsys, monkeypatch):
    def broken(problem: Problem) -> Candidate:
        return Candidate("jouleprune", [lambda: problem.layer(problem.x) + 1], "float32", 1)

    monkeypatch.setattr(measure, "ours", broken)
    code = main(["bench", "--here", "--suite", "linear", "--sparsity", "50", "--quiet"])
    out, _ = capsys.readouterr()
    row = next(line for line in out.splitlines() if "linear 24x20 n=5" in line and "WRONG" in line)
    assert code == 1 and "WRONG" in row and "ERROR linear 24x20 n=5, 50%, jouleprune: wrong: element" in out


def test_the_drawing(tiny, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    drawing = tmp_path / "speed.svg"
    arguments = ["bench", "--here", "--suite", "linear", "--sparsity", "50,90", "--quiet", "--plot", str(drawing)]
    assert main(arguments) == 0
    assert "<svg" in drawing.read_text() and [path.name for path in tmp_path.iterdir()] == ["speed.svg"]


def test_a_drawing_without_matplotlib_is_refused_before_measuring(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["bench", "--here", "--plot", str(tmp_path / "speed.svg")]) == 1
    assert "pip install 'jouleprune[report]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--suite", "liner"], "--suite: expected one of all, linear"),
        (["--sparsity", "fifty"], "--sparsity: expected percents as 50,90, got 'fifty'"),
        (["--sparsity", "100"], "less than 100 percent"),
        (["--sparsity", ","], "got none"),
        (["--mask", "lucky"], "--mask: expected one of random"),
        (["--isa", "mmx"], "--isa: expected one of reference, portable, avx2, avx512, got 'mmx'"),
        (["--rounds", "0"], "--rounds: expected at least 1, got 0"),
        (["--threads", "0"], "--threads: expected at least 1"),
        (["--threads", "100000"], "--threads: expected at most"),
        (["--cpu", "100000"], "--cpu: expected one of"),
        (["--time-budget", "-1"], "--time-budget: expected seconds above 0"),
        (["--peer", "onnxruntime"], "--peer: expected NAME=/path/to/python"),
        (["--peer", "tensorrt=/usr/bin/python3"], "--peer: expected one of deepsparse"),
        (["--goals", "/nowhere/goals.json"], "--goals: no file"),
        (["--csv", "/nowhere/out.csv"], "--csv: no folder /nowhere"),
        (["--plot", "speed.png"], "--plot: expected a file that ends with .svg"),
        (["--no-jit"], "--isa and --no-jit need a restart"),
        (["--case", "lin*", "--suite", "conv7"], "no case of the suites matches 'lin*'"),
    ],
)
def test_bad_arguments(arguments, message, capsys, monkeypatch):
    monkeypatch.setattr(command, "measure_peaks", lambda threads: {})
    assert main(["bench", "--here", *arguments]) == 1
    out, err = capsys.readouterr()
    assert out == "" and message in err


def test_files_are_replaced_at_once(tmp_path, monkeypatch):
    path = tmp_path / "out.csv"
    write(path, "old")
    assert path.read_text() == "old"
    beside = tmp_path / "plain"
    beside.touch()
    assert path.stat().st_mode == beside.stat().st_mode
    beside.unlink()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        write(path, "new")
    assert path.read_text() == "old" and [file.name for file in tmp_path.iterdir()] == ["out.csv"]


@pytest.mark.slow
def test_networks_run_folded_frozen_and_converted(monkeypatch):
    only = [case for case in suites.cases(["networks"]) if case.name.startswith("mobilenet")]
    monkeypatch.setitem(suites._MAKERS, "networks", lambda: only)
    given = options.Options(("networks",), sparsities=(0.9,), rounds=5, quiet=True)
    report = command.report_of(given, clock=FakeClock())
    assert not report.wrong() and not report.absent
    states = {result.name: result.status for result in report.cells[0].results}
    assert states == dict.fromkeys(("jouleprune", "jouleprune forced", "torch frozen", "torch"), "measured")


@pytest.mark.slow
def test_the_restart_pins_raises_mallocs_limits_and_chooses_kernels():
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "JOULEPRUNE_"))}
    case = ["--suite", "linear", "--case", "linear 768x768 n=16", "--sparsity", "90", "--rounds", "5", "--no-rivals"]
    done = subprocess.run(
        [sys.executable, "-m", "jouleprune", "bench", *case, "--isa", "portable", "--no-jit", "--json", "--quiet"],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    data = json.loads(done.stdout)
    machine = data["machine"]
    assert (machine["isa"], machine["jit"], len(machine["cores"])) == ("portable", False, 1)
    assert "keeps freed memory" in machine["malloc"] and machine["peaks"]["float32"] > 0
    assert [result["name"] for result in data["cells"][0]["results"]] == ["jouleprune", "torch"]


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two cores")
def test_two_threads_are_compared_with_one(tiny):
    report = command.report_of(tiny_options(threads=2), clock=FakeClock())
    speed = report.cells[0].speed("jouleprune", "jouleprune 1 thread")
    assert speed is not None and speed > 0 and report.machine.threads == 2
