"""A report as tables: one builder for the terminal (rich) and for Markdown."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.table import Table

from .decisions import Choice, choices, rate
from .goals import Verdict
from .results import Cell, Measured, Report, ordered

__all__ = ["Grid", "grids", "markdown", "text"]

_READING = (
    "Times faster than the baseline named in each table's head, paired samples of one interleaved run, in brackets the "
    "95 % interval of the median; above 1 is faster. dropped: samples during which another program had the core."
)


@dataclass(frozen=True)
class Grid:
    """A table: a title, a head, rows of text."""

    title: str
    head: list[str]
    rows: list[list[str]]


def grids(report: Report) -> list[Grid]:
    """All tables of a report."""
    found = [_suite(report, suite) for suite in ordered(cell.suite for cell in report.cells)]
    made = choices(report.cells)
    if made:
        found.append(_decisions(made))
    entries = report.break_evens()
    if entries:
        rivals = ordered(entry.against for entry in entries)
        rows = []
        for suite, case in ordered((entry.suite, entry.case) for entry in entries):
            texts = {entry.against: entry.text for entry in entries if (entry.suite, entry.case) == (suite, case)}
            rows.append([suite, case, *(texts.get(rival, "") for rival in rivals)])
        found.append(Grid("From which sparsity on jouleprune wins against", ["suite", "case", *rivals], rows))
    if report.verdicts:
        found.append(_goals(report.verdicts))
    return found


def text(report: Report) -> str:
    """For the terminal."""
    out = io.StringIO()
    width = max(160, 100 + 20 * len({cell.sparsity for cell in report.cells}))  # a number and its interval never wrap
    console = Console(file=out, width=width, color_system=None, highlight=False, markup=False)
    console.print(report.machine.line)
    console.print(f"Masks: {report.mask}. {_READING}")
    for grid in grids(report):
        table = Table(title=grid.title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
        for place, name in enumerate(grid.head):
            table.add_column(name, justify="left" if place < 2 else "right", no_wrap=place < 2)
        for row in grid.rows:
            table.add_row(*row)
        console.print(table)
    for line in _remarks(report):
        console.print(line)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def markdown(report: Report) -> str:
    """A page for docs/results."""
    parts = [
        "# Speed of pruned layers",
        f"Printed by `{report.command}`.",
        f"{report.machine.line} Masks: {report.mask}.",
        _READING,
    ]
    for grid in grids(report):
        lines = ["| " + " | ".join(row) + " |" for row in [grid.head, ["---"] * len(grid.head), *grid.rows]]
        parts += [f"## {grid.title}", "\n".join(lines)]
    remarks = _remarks(report)
    if remarks:
        parts += ["## Remarks", "\n".join(f"- {line}" for line in remarks)]
    return "\n\n".join(parts) + "\n"


def _suite(report: Report, suite: str) -> Grid:
    cells = [cell for cell in report.cells if cell.suite == suite]
    sparsities = ordered(cell.sparsity for cell in cells)
    rows = []
    for case in ordered(cell.case for cell in cells):
        of_case = [cell for cell in cells if cell.case == case]
        for name in ordered(result.name for cell in of_case for result in cell.results):
            found = [_of(of_case, sparsity, name) for sparsity in sparsities]
            if any(result is not None and result.status != "unavailable" for result in found):
                rows.append(_row(case, name, of_case[0].baseline, found))
                case = ""
    us = f"us at {sparsities[0]:.0%}"
    head = ["case", "candidate", us, "GFLOP/s", "peak", *(f"{sparsity:.0%}" for sparsity in sparsities), "dropped"]
    return Grid(f"{suite}: against {cells[0].baseline}", head, rows)


def _of(cells: Sequence[Cell], sparsity: float, name: str) -> Measured | None:
    """The last run's."""
    found = [cell.result(name) for cell in cells if cell.sparsity == sparsity]
    return found[-1] if found else None


def _row(case: str, name: str, baseline: str, found: Sequence[Measured | None]) -> list[str]:
    measured = [result for result in found if result is not None]
    first = found[0].summary if found[0] is not None else None
    seconds = f"{first.median_s * 1e6:.0f}" if first is not None and first.median_s is not None else ""
    speeds = [result.gflops for result in measured if result.gflops]
    shares = [result.peak_share for result in measured if result.peak_share]
    dropped = sum(result.summary.dropped for result in measured if result.summary)
    return [
        case,
        name,
        seconds,
        _span(speeds, "{:.0f}"),
        _span(shares, "{:.0%}"),
        *(_cell(result, baseline) for result in found),
        str(dropped) if dropped else "",
    ]


def _cell(result: Measured | None, baseline: str) -> str:
    if result is None:
        return ""
    if result.status != "measured":
        return "-" if result.status == "unavailable" else result.status.upper()
    if result.name == baseline:
        return "1"
    ratio = result.speed.get(baseline)
    return f"{ratio.median:.2f} [{ratio.low_95:.2f}-{ratio.high_95:.2f}]" if ratio else "NOISY"


def _span(values: Sequence[float], form: str) -> str:
    if not values:
        return ""
    low, high = form.format(min(values)), form.format(max(values))
    return low if low == high else f"{low}-{high}"


def _decisions(made: Sequence[Choice]) -> Grid:
    """What convert chose, and how fast the sparse module is over dense."""
    sparsities = ordered(choice.sparsity for choice in made)
    rows = []
    for case in ordered(choice.case for choice in made):
        texts = {choice.sparsity: _decision(choice) for choice in made if choice.case == case}
        rows.append([case, *(texts.get(sparsity, "") for sparsity in sparsities)])
    title = "What convert chose, and the sparse module's speed over dense"
    return Grid(title, ["case", *(f"{sparsity:.0%}" for sparsity in sparsities)], rows)


def _decision(choice: Choice) -> str:
    speed = "noisy" if choice.speed is None else f"{choice.speed:.2f}"
    mark = "" if choice.verdict == "right" else f" {choice.verdict.upper()}"
    return f"{choice.layout} {speed}{mark}"


def _goals(verdicts: Sequence[Verdict]) -> Grid:
    """A line per judged cell; rows of which nothing was measured take one line each."""
    judged = {verdict.row for verdict in verdicts if verdict.reached is not None}
    rows: list[list[str]] = []
    for verdict in verdicts:
        if verdict.row not in judged:
            if not rows or rows[-1][0] != verdict.row:
                rows.append([verdict.row, "", "", "", "", verdict.reason])
            continue
        state = {True: "reached", False: "NOT reached", None: ""}[verdict.reached]
        mean = "" if verdict.mean is None else f"{verdict.mean:.2f}"
        worst = "" if verdict.worst is None else f"{verdict.worst:.2f} ({verdict.worst_case})"
        detail = f"{state}: {verdict.reason}" if state and verdict.reason else state or verdict.reason
        rows.append([verdict.row, f"{verdict.sparsity:.0%}", f"{verdict.goal:g}", mean, worst, detail])
    return Grid("Goals", ["row", "zeros", "goal", "mean", "slowest", "verdict"], rows)


def _remarks(report: Report) -> list[str]:
    lines = [f"peer {name}: {state}" for name, state in report.peers.items()]
    lines += [f"not offered: {sentence}" for sentence in report.absent]
    made = choices(report.cells)
    if made:
        lines.append(rate(made))
    notes = ordered(
        f"{result.name}: {result.note}"
        for cell in report.cells
        for result in cell.results
        if result.note and cell.suite not in ("networks", "decisions")
    )
    notes += ordered(
        f"{cell.case} {cell.sparsity:.0%}, {result.name}: {result.note}"
        for cell in report.cells
        for result in cell.results
        if result.note and cell.suite == "networks"
    )
    reasons = ordered(
        f"{cell.suite}, {result.name}: {result.status}: {result.reason}"
        for cell in report.cells
        for result in cell.results
        if result.status not in ("measured", "wrong") and result.reason
    )
    return [*lines, *notes, *reasons, *(f"ERROR {sentence}" for sentence in report.wrong())]
