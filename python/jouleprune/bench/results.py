"""What a run found, as data: the JSON of ``jouleprune bench --json``, and what tables and plots are made from."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from .machine import Machine
from .summary import Ratio, Summary, break_even

if TYPE_CHECKING:
    from .goals import Verdict

__all__ = ["SCHEMA", "BreakEven", "Cell", "Measured", "Report", "ordered"]

SCHEMA = 1


@dataclass
class Measured:
    """One candidate in one cell.

    Attributes:
        status: "measured"; "noisy": another program had the core in nearly all samples; "unavailable": it does not
            exist here; "wrong": its result is not the layer's; "failed": it raised an error.
        reason: why it is not "measured".
        speed: how many times faster than other candidates, by their names: the baseline, and for jouleprune all.
        relative_error: norm of the error over the norm of the exact result.
    """

    name: str
    status: str
    reason: str = ""
    note: str = ""
    summary: Summary | None = None
    gflops: float | None = None
    peak_share: float | None = None
    relative_error: float | None = None
    speed: dict[str, Ratio] = field(default_factory=dict)


@dataclass
class Cell:
    """One case at one sparsity, in one run of the suites."""

    suite: str
    case: str
    sparsity: float
    zeros: float
    mask: str
    run: int
    baseline: str
    results: list[Measured]

    def result(self, name: str) -> Measured | None:
        """Of a candidate."""
        return next((result for result in self.results if result.name == name), None)

    def speed(self, name: str, against: str) -> float | None:
        """Median of the paired ratio; None where it was not measured."""
        result = self.result(name)
        ratio = result.speed.get(against) if result else None
        return ratio.median if ratio else None


@dataclass(frozen=True)
class BreakEven:
    """From which sparsity on jouleprune wins against a rival."""

    suite: str
    case: str
    against: str
    sparsity: float | None
    text: str


@dataclass
class Report:
    """Everything that one command found.

    Attributes:
        peers: name, "version ..." or "not installed: ...".
        absent: sentences: what was asked for and does not exist.
        verdicts: of the goals file, when one was given.
    """

    machine: Machine
    command: str
    mask: str
    cells: list[Cell]
    peers: dict[str, str] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)

    def wrong(self) -> list[str]:
        """Sentences about results that were wrong, and about jouleprune's errors."""
        found = []
        for cell in self.cells:
            for result in cell.results:
                if result.status == "wrong" or (result.status == "failed" and result.name.startswith("jouleprune")):
                    found.append(f"{cell.case}, {cell.sparsity:.0%}, {result.name}: {result.status}: {result.reason}")
        return found

    def median_speed(self, suite: str, case: str, sparsity: float, name: str, against: str) -> float | None:
        """Over the runs."""
        found = [
            speed
            for cell in self.cells
            if (cell.suite, cell.case) == (suite, case) and abs(cell.sparsity - sparsity) < 1e-9
            for speed in [cell.speed(name, against)]
            if speed is not None
        ]
        return statistics.median(found) if found else None

    def break_evens(self) -> list[BreakEven]:
        """Of jouleprune against every rival, case by case."""
        found = []
        for suite, case in ordered((cell.suite, cell.case) for cell in self.cells):
            cells = [cell for cell in self.cells if (cell.suite, cell.case) == (suite, case)]
            names = ordered(name for cell in cells for result in cell.results for name in result.speed)
            rivals = [name for name in names if not name.startswith("jouleprune")]
            sparsities = ordered(cell.sparsity for cell in cells)
            for against in rivals:
                speeds = [(at, self.median_speed(suite, case, at, "jouleprune", against)) for at in sparsities]
                points = [(at, speed) for at, speed in speeds if speed is not None]
                if len(points) > 1:
                    found.append(BreakEven(suite, case, against, *break_even(points)))
        return found

    def data(self) -> dict[str, Any]:
        """For JSON; ``schema`` is its version."""
        return {
            "schema": SCHEMA,
            "command": self.command,
            "machine": self.machine.data(),
            "mask": self.mask,
            "peers": self.peers,
            "absent": self.absent,
            "cells": [asdict(cell) for cell in self.cells],
            "break_even": [asdict(entry) for entry in self.break_evens()],
            "goals": [asdict(verdict) for verdict in self.verdicts],
        }


def ordered(values: Iterable[Any]) -> list[Any]:
    """Without repetitions, in order of appearance."""
    return list(dict.fromkeys(values))
