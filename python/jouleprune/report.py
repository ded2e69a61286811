"""Tables for people: plans, before and after. Every joule is shown with its label."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .plan import Plan
    from .pruner import PruneReport

__all__ = ["plan_table", "prune_table", "si", "table"]

_PREFIXES = ((1e0, ""), (1e-3, "m"), (1e-6, "u"), (1e-9, "n"), (1e-12, "p"))


def si(value: float, unit: str) -> str:
    """Three significant digits with an SI prefix: ``si(1.234e-6, "J") == "1.23 uJ"``."""
    if value == 0:
        return f"0 {unit}"
    for scale, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= scale:
            return f"{value / scale:.3g} {prefix}{unit}"
    for scale, prefix in _PREFIXES:
        if abs(value) >= scale * 0.9995:
            return f"{value / scale:.3g} {prefix}{unit}"
    return f"{value / 1e-12:.3g} p{unit}"


def table(header: list[str], rows: Iterable[list[str]], *, left: int = 1) -> str:
    """A plain-text table; the first ``left`` columns are aligned to the left, the others to the right."""
    lines = [header, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]

    def text(line: list[str]) -> str:
        cells = [
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        return "  ".join(cells).rstrip()

    return "\n".join([text(header), "  ".join("-" * width for width in widths), *(text(line) for line in lines[1:])])


def plan_table(plan: Plan) -> str:
    """The plan, a line a layer."""
    rows = [
        [
            layer.name,
            layer.pattern,
            layer.kernel,
            f"{layer.density:.3f}",
            si(layer.dense_j, "J"),
            si(layer.energy_j, "J"),
            layer.reason,
        ]
        for layer in plan.layers
    ]
    tight = "maximal" if plan.maximal else f"{100 * plan.energy_j / plan.budget_j:.2f} % of the budget"
    head = (
        f"{si(plan.energy_j, 'J')} of {si(plan.budget_j, 'J')} per {plan.per} ({tight}; dense {si(plan.dense_j, 'J')}, "
        f"least {si(plan.minimum_j, 'J')}) on {plan.profile}, modelled"
    )
    return head + "\n" + table(["layer", "pattern", "kernel", "density", "dense", "pruned", "why"], rows, left=3)


def prune_table(report: PruneReport) -> str:
    """Before and after, a line a layer, by part."""
    rows = []
    for before, after in zip(report.before.layers, report.after.layers, strict=True):
        rows.append(
            [
                before.name,
                before.op,
                "x".join(str(size) for size in before.shape),
                si(before.macs_issued, ""),
                f"{after.density:.3f}",
                after.kernel,
                si(before.energy_j, "J"),
                si(after.energy_j, "J"),
                si(after.parts.compute_j, "J"),
                si(after.parts.memory_j, "J"),
                si(after.parts.metadata_j, "J"),
                si(after.parts.static_j, "J"),
            ]
        )
    head = (
        f"{si(report.before.energy_j, 'J')} -> {si(report.after.energy_j, 'J')} per {report.after.per} on "
        f"{report.after.profile}, {report.after.label} "
        f"(interval {si(report.after.low_j, 'J')} to {si(report.after.high_j, 'J')})"
    )
    columns = [
        "layer",
        "op",
        "shape",
        "MACs",
        "density",
        "kernel",
        "before",
        "after",
        "compute",
        "memory",
        "metadata",
        "static",
    ]
    return head + "\n" + table(columns, rows, left=3)
