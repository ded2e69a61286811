"""Result files of the benchmark."""

from __future__ import annotations

import csv
import io

from ..files import write
from .results import Report

__all__ = ["as_csv", "write"]

_COLUMNS = (
    "suite", "case", "sparsity", "zeros", "mask", "run", "candidate", "status", "baseline", "median_s",
    "low_quartile_s", "high_quartile_s", "samples", "dropped", "speed", "speed_low_quartile", "speed_high_quartile",
    "speed_low_95", "speed_high_95", "gflops", "peak_share", "relative_error", "reason",
)  # fmt: skip


def as_csv(report: Report) -> str:
    """A line per candidate, cell and run; speeds are over the cell's baseline."""
    out = io.StringIO()
    writer = csv.DictWriter(out, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    for cell in report.cells:
        for result in cell.results:
            line: dict[str, object] = {
                "suite": cell.suite, "case": cell.case, "sparsity": cell.sparsity, "zeros": cell.zeros,
                "mask": cell.mask, "run": cell.run, "candidate": result.name, "status": result.status,
                "baseline": cell.baseline, "gflops": result.gflops, "peak_share": result.peak_share,
                "relative_error": result.relative_error, "reason": result.reason,
            }  # fmt: skip
            if result.summary is not None:
                line |= vars(result.summary)
            ratio = result.speed.get(cell.baseline)
            if ratio is not None:
                line |= {
                    "speed": ratio.median, "speed_low_quartile": ratio.low_quartile,
                    "speed_high_quartile": ratio.high_quartile, "speed_low_95": ratio.low_95,
                    "speed_high_95": ratio.high_95,
                }  # fmt: skip
            writer.writerow(line)
    return out.getvalue()
