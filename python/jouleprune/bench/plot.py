"""Speed over sparsity as a drawing: a panel per case, a line per candidate, break-evens on the line of equal speed."""

from __future__ import annotations

import importlib
import io
from pathlib import Path
from typing import Any

from .results import Report, ordered

__all__ = ["check_plot", "draw"]

_COLUMNS = 3


def check_plot(path: Path) -> None:
    """Whether a drawing can be made.

    Raises:
        ValueError: another ending than .svg.
        ImportError: matplotlib is not installed.
    """
    if path.suffix != ".svg":
        raise ValueError(f"--plot: expected a file that ends with .svg, got {path}")
    try:
        importlib.import_module("matplotlib")
    except ImportError as error:
        raise ImportError("--plot needs matplotlib: pip install 'jouleprune[report]'") from error


def draw(report: Report) -> bytes:
    """The drawing as SVG; the same report gives the same bytes."""
    matplotlib: Any = importlib.import_module("matplotlib")
    figures: Any = importlib.import_module("matplotlib.figure")
    cases = ordered((cell.suite, cell.case) for cell in report.cells)
    rows = max(1, -(-len(cases) // _COLUMNS))
    with matplotlib.rc_context({"svg.hashsalt": "jouleprune", "font.size": 8}):
        figure = figures.Figure(figsize=(5 * _COLUMNS, 3.4 * rows), layout="constrained")
        for place, (suite, case) in enumerate(cases):
            _panel(figure.add_subplot(rows, _COLUMNS, place + 1), report, suite, case)
        figure.suptitle(report.machine.line, fontsize=6, wrap=True)
        out = io.BytesIO()
        figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()


def _panel(axes: Any, report: Report, suite: str, case: str) -> None:
    cells = [cell for cell in report.cells if (cell.suite, cell.case) == (suite, case)]
    baseline = cells[0].baseline
    for name in ordered(result.name for cell in cells for result in cell.results):
        sparsities = ordered(cell.sparsity for cell in cells)
        speeds = [(sparsity, report.median_speed(suite, case, sparsity, name, baseline)) for sparsity in sparsities]
        points = [(100 * sparsity, speed) for sparsity, speed in speeds if speed is not None]
        if points:
            ours = name.startswith("jouleprune")
            axes.plot(*zip(*points, strict=True), "o-" if ours else ".--", label=name, linewidth=2 if ours else 1)
    axes.axhline(1, color="black", linewidth=0.8)
    for entry in report.break_evens():
        if (entry.suite, entry.case) == (suite, case) and entry.against == baseline and entry.sparsity is not None:
            axes.plot([100 * entry.sparsity], [1], "kx", label=f"break-even {entry.text}")
    axes.set(title=f"{suite}: {case}", xlabel="% zeros", ylabel=f"speed over {baseline}", yscale="log")
    if axes.get_legend_handles_labels()[0]:  # else every sample was disturbed
        axes.legend(fontsize=6)
