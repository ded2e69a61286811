"""``jouleprune bench --goals``: which rows of a table are reached, and files that are no goals."""

from __future__ import annotations

import fnmatch
import json
from pathlib import Path

import pytest
from bench_tools import use_tiny

from jouleprune.bench import suites
from jouleprune.bench.goals import GoalsError, judge, load_goals
from jouleprune.bench.machine import describe
from jouleprune.bench.results import Cell, Measured, Report
from jouleprune.bench.summary import Ratio, Summary
from jouleprune.cli import main


@pytest.fixture
def tiny(monkeypatch):
    use_tiny(monkeypatch)


def made_report(speeds: dict[str, list[float]]) -> Report:
    """Cells at 90 % whose jouleprune is so much faster than torch, a run each."""
    machine = describe(1, {}, "")
    cells = []
    for case, runs in speeds.items():
        for run, speed in enumerate(runs):
            ratio = Ratio(speed, speed, speed, speed, speed, 9)
            result = Measured("jouleprune", "measured", summary=Summary(1.0, 1.0, 1.0, 9, 0), speed={"torch": ratio})
            cells.append(Cell("conv1x1", case, 0.9, 0.9, "random", run, "torch", [result]))
    return Report(machine, "", "random", cells)


def goals_file(tmp_path, **changes):
    row = {"name": "1x1", "suite": "conv1x1", "cases": ["*"], "against": "torch", "goals": {"zen4": {"90": 4.0}}}
    path = tmp_path / "goals.json"
    path.write_text(json.dumps({"schema": 1, "rows": [{**row, **changes}]}))
    return path


FIRST, SECOND = (case.name for case in suites.cases(["conv1x1"]))


@pytest.mark.parametrize(
    "speeds, reached, reason",
    [
        ({FIRST: [4.0], SECOND: [4.1]}, True, ""),
        ({FIRST: [3.9], SECOND: [3.9]}, False, "the mean is below 4"),
        ({FIRST: [3.3], SECOND: [9.0]}, False, f"{FIRST} is below 0.85 of the goal"),
        ({FIRST: [3.5], SECOND: [5.0]}, True, ""),
        ({FIRST: [1.0, 4.0, 4.1], SECOND: [9.0, 4.0, 4.0]}, True, ""),
        ({FIRST: [4.0]}, None, f"not measured: {SECOND}"),
    ],
)
def test_goals(speeds, reached, reason, tmp_path):
    verdicts = judge(made_report(speeds), load_goals(goals_file(tmp_path)), "zen4")
    assert [(verdict.reached, verdict.reason) for verdict in verdicts] == [(reached, reason)]
    if reached:
        assert verdicts[0].mean is not None and verdicts[0].mean >= 4


def test_the_best_peer_of_each_case_counts(tmp_path):
    report = made_report({FIRST: [9.0], SECOND: [9.0]})
    rows = load_goals(goals_file(tmp_path, against="best peer"))
    assert judge(report, rows, "zen4")[0].reason == f"not measured: {FIRST}"
    report.peers.update({"slow": "version 1", "quick": "version 1", "away": "not installed"})
    for cell, quick in zip(report.cells, (2.0, 8.0), strict=True):
        cell.results[0].speed.update(
            slow=Ratio(5.0, 5.0, 5.0, 5.0, 5.0, 9), quick=Ratio(quick, quick, quick, quick, quick, 9)
        )
    verdict = judge(report, rows, "zen4")[0]
    assert verdict.mean == pytest.approx((2.0 * 5.0) ** 0.5) and verdict.worst == 2.0


def test_goals_of_other_conditions_are_not_judged(tmp_path):
    report = made_report({FIRST: [9.0], SECOND: [9.0]})
    rows = load_goals(goals_file(tmp_path, isa="mmx"))
    assert judge(report, rows, "zen4")[0].reason == "not measured: needs --isa mmx"
    rows = load_goals(goals_file(tmp_path, jit=not report.machine.jit))
    assert "needs a run with JIT" in judge(report, rows, "zen4")[0].reason
    with pytest.raises(GoalsError, match="expected one of zen4, got 'z80'"):
        judge(report, rows, "z80")


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"suite": "liner"}, r"rows\[0\].suite: expected one of"),
        ({"cases": "all"}, r"rows\[0\].cases: expected a list"),
        ({"goals": {"zen4": {"most": 4}}}, r"rows\[0\].goals"),
        ({"goals": {"zen4": {"90": -4}}}, r"rows\[0\].goals"),
        ({"jit": "yes"}, "isa or jit"),
        ({"wishes": 1}, "unknown field 'wishes'"),
    ],
)
def test_bad_goals_files(changes, message, tmp_path):
    with pytest.raises(GoalsError, match=message):
        load_goals(goals_file(tmp_path, **changes))


def test_goals_decide_the_exit_code(tiny, tmp_path, capsys):
    for goal, code, word in ((1e-9, 0, "reached"), (1e9, 1, "NOT reached")):
        path = goals_file(tmp_path, suite="linear", goals={"zen4": {"90": goal}})
        arguments = ["bench", "--here", "--suite", "linear", "--sparsity", "90", "--quiet"]
        assert main([*arguments, "--goals", str(path), "--goals-for", "zen4"]) == code
        assert word in capsys.readouterr().out


def test_the_shipped_goals_can_be_judged():
    path = Path(__file__).parents[2] / "examples" / "benchmarks" / "cpu_goals.json"
    rows = load_goals(path)
    for cpu in ("zen4", "sapphire-rapids"):
        assert judge(made_report({FIRST: [9.0]}), rows, cpu)
    for row in rows:
        names = [case.name for case in suites.cases([row.suite])]
        assert all(any(fnmatch.fnmatchcase(name, p) for name in names) for p in row.cases), row.name
