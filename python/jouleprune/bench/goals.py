"""Compares a report with a file of goals: which rows of a table are reached."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .results import Report, ordered
from .suites import SUITES, cases
from .summary import geometric_mean

__all__ = ["BEST_PEER", "GoalsError", "Row", "Verdict", "judge", "load_goals"]

#: ``against`` of a row that is told against other libraries.
BEST_PEER = "best peer"
#: No shape of a row may lie below this share of the goal.
_WORST_SHARE = 0.85


class GoalsError(ValueError):
    """A goals file that cannot be used; the message names the field."""


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        suite, cases: which cases: all of the suite whose name matches one of these patterns.
        against: the candidate that jouleprune's speed is told against; ``BEST_PEER``: in each case the fastest of the
            peers that the run measured.
        isa, jit: the row counts only in a run with these; None: with any.
        goals: CPU family -> percent of zeros -> speed to reach.
    """

    name: str
    suite: str
    cases: tuple[str, ...]
    against: str
    isa: str | None
    jit: bool | None
    goals: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Verdict:
    """One row at one sparsity.

    Attributes:
        reached: None where the run did not measure it.
        mean: geometric mean over the row's cases of the median over the runs.
        worst: the slowest case, and its speed.
    """

    row: str
    sparsity: float
    goal: float
    reached: bool | None
    mean: float | None
    worst: float | None
    worst_case: str
    reason: str


def load_goals(path: Path) -> list[Row]:
    """Reads a goals file (``examples/benchmarks/cpu_goals.json`` is one).

    Raises:
        GoalsError: not JSON, another schema, or a field that is missing or of another kind.
    """
    try:
        data = json.loads(path.read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise GoalsError(f"--goals: {path}: {error}") from error
    if not isinstance(data, dict) or data.get("schema") != 1:
        raise GoalsError(f"--goals: {path}: expected an object with schema 1")
    rows = data.get("rows")
    if not isinstance(rows, list):
        raise GoalsError(f"--goals: {path}: expected a list 'rows'")
    return [_row(path, place, entry) for place, entry in enumerate(rows)]


def judge(report: Report, rows: list[Row], cpu: str) -> list[Verdict]:
    """A verdict for every goal of every row in the column ``cpu``.

    Raises:
        GoalsError: no row has that column.
    """
    columns = ordered(name for row in rows for name in row.goals)
    if cpu not in columns:
        raise GoalsError(f"--goals-for: expected one of {', '.join(columns)}, got {cpu!r}")
    return [
        _verdict(report, row, float(percent) / 100, goal)
        for row in rows
        for percent, goal in row.goals.get(cpu, {}).items()
    ]


def _verdict(report: Report, row: Row, sparsity: float, goal: float) -> Verdict:
    machine = report.machine

    def unknown(reason: str) -> Verdict:
        return Verdict(row.name, sparsity, goal, None, None, None, "", reason)

    if row.isa is not None and row.isa != machine.isa:
        return unknown(f"not measured: needs --isa {row.isa}")
    if row.jit is not None and row.jit != machine.jit:
        return unknown(f"not measured: needs a run with JIT {'on' if row.jit else 'off (--no-jit)'}")
    wanted = [
        case.name
        for case in cases([row.suite])
        if any(fnmatch.fnmatchcase(case.name, pattern) for pattern in row.cases)
    ]
    speeds = {name: _speed(report, row, name, sparsity) for name in wanted}
    missing = [name for name, speed in speeds.items() if speed is None]
    if missing or not wanted:
        return unknown(f"not measured: {missing[0] if missing else 'no case'}")
    found = {name: speed for name, speed in speeds.items() if speed is not None}
    mean = geometric_mean(list(found.values()))
    worst_case = min(found, key=found.__getitem__)
    worst = found[worst_case]
    if mean < goal:
        return Verdict(row.name, sparsity, goal, False, mean, worst, worst_case, f"the mean is below {goal:g}")
    if worst < _WORST_SHARE * goal:
        reason = f"{worst_case} is below {_WORST_SHARE} of the goal"
        return Verdict(row.name, sparsity, goal, False, mean, worst, worst_case, reason)
    return Verdict(row.name, sparsity, goal, True, mean, worst, worst_case, "")


def _speed(report: Report, row: Row, case: str, sparsity: float) -> float | None:
    rivals = list(report.peers) if row.against == BEST_PEER else [row.against]
    speeds = (report.median_speed(row.suite, case, sparsity, "jouleprune", rival) for rival in rivals)
    return min((speed for speed in speeds if speed is not None), default=None)


def _row(path: Path, place: int, entry: Any) -> Row:
    def refuse(field: str, expected: str) -> GoalsError:
        return GoalsError(f"--goals: {path}: rows[{place}].{field}: expected {expected}")

    if not isinstance(entry, dict):
        raise GoalsError(f"--goals: {path}: rows[{place}]: expected an object")
    unknown = set(entry) - {"name", "suite", "cases", "against", "isa", "jit", "goals"}
    if unknown:
        raise GoalsError(f"--goals: {path}: rows[{place}]: unknown field {sorted(unknown)[0]!r}")
    for field in ("name", "suite", "against"):
        if not isinstance(entry.get(field), str):
            raise refuse(field, "text")
    if entry["suite"] not in SUITES:
        raise refuse("suite", f"one of {', '.join(SUITES)}")
    patterns = entry.get("cases", ["*"])
    if not isinstance(patterns, list) or not all(isinstance(pattern, str) for pattern in patterns):
        raise refuse("cases", "a list of patterns")
    goals = entry.get("goals")
    if not isinstance(goals, dict) or not all(_is_column(column) for column in goals.values()):
        raise refuse("goals", 'an object as {"zen4": {"90": 8.8}}')
    if not isinstance(entry.get("jit"), bool | None) or not isinstance(entry.get("isa"), str | None):
        raise refuse("isa or jit", "a name, and true or false")
    return Row(
        entry["name"], entry["suite"], tuple(patterns), entry["against"], entry.get("isa"), entry.get("jit"), goals
    )


def _is_column(column: Any) -> bool:
    return isinstance(column, dict) and all(
        percent.replace(".", "", 1).isdigit() and isinstance(goal, int | float) and goal > 0
        for percent, goal in column.items()
    )
