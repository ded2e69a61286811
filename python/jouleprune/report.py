"""Tables for people: plans, before and after. Every joule is shown with its label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from .currency import UNITS

if TYPE_CHECKING:
    from .compare import Comparison, ComparisonRow
    from .energy import EnergyReport, Parts
    from .metrics import Metrics
    from .network_report import DeviceSection, NetworkReport
    from .plan import Plan
    from .pruner import PruneReport
    from .sweep import Sweep

__all__ = [
    "comparison_table",
    "energy_table",
    "metrics_text",
    "network_text",
    "plan_table",
    "prune_table",
    "si",
    "sweep_table",
    "table",
]

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


def count_text(value: float) -> str:
    """All digits before the point of large counts, six digits of others."""
    return f"{value:,.0f}" if value >= 1e5 else f"{value:.6g}"


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


def energy_table(report: EnergyReport) -> str:
    """A headline and a table, a line a layer."""
    from rich.console import Console
    from rich.table import Table

    grid = Table(box=None, pad_edge=False, header_style="")
    for column in ("layer", "op", "shape", "kernel"):
        grid.add_column(column, no_wrap=True)
    for column in ("density", "MACs/pass", "energy", "compute", "memory", "metadata", "static", "share"):
        grid.add_column(column, justify="right", no_wrap=True)

    def joules(energy_j: float, parts: Parts) -> list[str]:
        values = (energy_j, parts.compute_j, parts.memory_j, parts.metadata_j, parts.static_j)
        return [si(value, "J") for value in values]

    for layer in report.layers:
        grid.add_row(
            *(layer.name, layer.op, "x".join(str(size) for size in layer.shape), layer.kernel),
            *(f"{layer.density:.3f}", si(layer.macs_issued, "").strip()),
            *joules(layer.energy_j, layer.parts),
            f"{100 * layer.share:.1f} %",
        )
    grid.add_row("total", "", "", "", "", "", *joules(report.energy_j, report.parts), "")
    head = (
        f"{si(report.energy_j, 'J')} per {report.per} on {report.profile}, {report.label} "
        f"(interval {si(report.low_j, 'J')} to {si(report.high_j, 'J')}); batch {report.batch}"
    )
    if report.latency_s > 0:
        head += f", {si(report.latency_s, 's')} per pass"
    console = Console(width=400, color_system=None, markup=False, emoji=False, highlight=False)
    with console.capture() as capture:
        console.print(grid)
    lines = [head, *(line.rstrip() for line in capture.get().splitlines()), *_notes(report)]
    if report.unknown_ops:
        lines.append("not priced: " + ", ".join(report.unknown_ops))
    return "\n".join(lines)


def _notes(report: EnergyReport) -> list[str]:
    """What a reader must know of numbers that were not simply looked up."""
    mappings = Counter(layer.mapping for layer in report.layers if layer.mapping)
    scaled = sorted({(layer.dtype, layer.extrapolated_from) for layer in report.layers if layer.extrapolated_from})
    return [
        *(f"mapping {mapping}: {calls} calls" for mapping, calls in sorted(mappings.items())),
        *(
            f"extrapolated: the profile lists no {dtype}; its numbers are scaled from {known}, with an interval three "
            "times wider on both sides"
            for dtype, known in scaled
        ),
    ]


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
    limits, unit = plan.limits, UNITS[plan.prune_for].strip()
    tight = "maximal" if plan.maximal else f"{100 * limits.used / limits.budget:.2f} % of the budget"
    per = f" per {plan.per}" if plan.prune_for == "joules" else ""
    head = (
        f"{si(limits.used, unit)} of {si(limits.budget, unit)}{per} ({tight}; dense {si(limits.dense, unit)}, "
        f"least {si(limits.minimum, unit)})"
    )
    if plan.prune_for != "joules":
        head += f"; {si(plan.energy_j, 'J')} per {plan.per}, dense {si(plan.dense_j, 'J')}"
    head += f" on {plan.profile}, modelled"
    notes = []
    if plan.emptied:
        notes.append(f"emptied, so that nothing passes through: {', '.join(plan.emptied)}")
    if plan.sparse_before:
        notes.append(f"sparse before, kept as they are: {', '.join(plan.sparse_before)}")
    columns = ["layer", "pattern", "kernel", "density", "dense", "pruned", "why"]
    return "\n".join([head, table(columns, rows, left=3), *notes])


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
        "MACs/pass",
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


def share_text(share: float | None) -> str:
    """A share in per cent; "unavailable" where there is none."""
    return "unavailable" if share is None else f"{100 * share:.3g} %"


def interval_text(low: float | None, high: float | None, unit: str) -> str:
    return "" if low is None or high is None else f"{si(low, unit)} to {si(high, unit)}"


def comparison_table(comparison: Comparison) -> str:
    """Networks, devices and batches, a line each."""
    columns = ["network", "device", "batch", "energy", "interval", "x first", "time", "interval", "outer traffic"]
    columns += ["multipliers", "buffer"]

    def line(row: ComparisonRow) -> list[str]:
        ratio = comparison.over_first(row)
        outer, buffer = row.levels[0], row.buffer
        return [
            *(row.network, row.profile, str(row.batch)),
            *(si(row.energy_j, "J"), interval_text(row.low_j, row.high_j, "J")),
            "unavailable" if ratio is None else f"{ratio:.3g}",
            "unavailable" if row.latency_s is None else si(row.latency_s, "s"),
            interval_text(row.latency_low_s, row.latency_high_s, "s"),
            f"{outer.name} {si(outer.bytes, 'B')}",
            share_text(row.multiplier_share),
            "unavailable" if buffer is None else f"{buffer.name} {share_text(buffer.fill)}",
        ]

    pers = dict.fromkeys(row.report.per for row in comparison.rows)
    labels = ", ".join(dict.fromkeys(row.label for row in comparison.rows))
    head = f"{labels}: energy per {' or '.join(pers)}; time, traffic and use of multipliers and buffer per forward pass"
    return "\n".join([head, table(columns, [line(row) for row in comparison.rows], left=2), *comparison.assumptions])


def network_text(report: NetworkReport) -> str:
    """The comparison, then section by section what is known of a network on a device."""
    blocks = [comparison_table(report.comparison)]
    for name, measurement in report.measurements.items():
        blocks.append(f"{name}, on this machine:\n{measurement}")
    blocks += [_section_text(section) for section in report.sections]
    return "\n\n".join(blocks)


def _section_text(section: DeviceSection) -> str:
    lines = [f"== {section.network} on {section.profile} ==", str(section.now)]
    if section.pruned is not None:
        lines += ["", "before and after:", prune_table(section.pruned)]
        if section.pruned.plan is not None:
            lines += ["", plan_table(section.pruned.plan)]
    if section.why_not_pruned:
        lines += ["", f"not pruned: {section.why_not_pruned}"]
    if section.curves.curves:
        lines += ["", "break-even of the whole network, modelled: it costs no more than dense up to"]
        for curve in section.curves.curves:
            where = "no density" if curve.density is None else f"density {curve.density:.3f}"
            lines.append(f"  {curve.kernel} ({curve.layout}, {curve.layers} calls): {where}")
    for explanation in section.explanations:
        lines += ["", str(explanation)]
    return "\n".join(lines)


def sweep_table(sweep: Sweep) -> str:
    """A line a budget; where it cannot be reached, the least that can. What the budgets count is shown beside joules
    where it is something else."""
    unit, others = UNITS[sweep.prune_for].strip(), sweep.prune_for != "joules"
    rows = []
    for point in sweep:
        if point.energy_j is None:
            rows.append([str(point.budget), f"not below {si(point.minimum_j, unit)}", *[""] * (3 + others)])
            continue
        lost = "" if point.importance_lost is None else f"{point.importance_lost:.4g}"
        metric = "" if point.metric is None else f"{point.metric:.4g}"
        ends = interval_text(point.low_j, point.high_j, "J")
        used = [si(point.used or 0.0, unit)] if others else []
        rows.append([str(point.budget), *used, si(point.energy_j, "J"), ends, lost, metric])
    head = f"per inference on {sweep.profile}, modelled"
    columns = ["budget", *[sweep.prune_for] * others, "energy", "interval", "importance lost", "metric"]
    return head + "\n" + table(columns, rows)


def metrics_text(metrics: Metrics) -> str:
    """A line a figure, with its label."""
    size, ends = metrics.size, interval_text(metrics.low_j, metrics.high_j, "J")
    disk = "unavailable" if size.disk_bytes is None else si(size.disk_bytes, "B")
    rows = [
        ["parameters", f"{size.parameters}, {size.nnz} not zero", "counted"],
        ["sparsity, density", f"{size.sparsity:.4f}, {size.density:.4f}", "counted"],
        ["pruning rate of the weights", f"{size.pruning_rate:.4f}", "counted"],
        ["bytes in memory, on disk", f"{si(size.memory_bytes, 'B')}, {disk}", "counted"],
        ["compression rate", f"{size.compression_rate:.3f}", "counted"],
        ["MACs per inference", f"{metrics.macs_issued:.6g}, {metrics.macs_effective:.6g} effective", "modelled"],
        ["energy per inference", f"{si(metrics.energy_j, 'J')} ({ends}) on {metrics.profile}", "modelled"],
    ]
    if metrics.batch is None:
        rows.append(["latency, throughput", "not timed", "unavailable"])
    for timed in (metrics.single, metrics.batch):
        if timed is None:
            continue
        ends = interval_text(timed.low_s, timed.high_s, "s")
        text = (
            f"median {si(timed.median_s, 's')} ({ends}), p95 {si(timed.p95_s, 's')}, {timed.throughput:.4g} per second"
        )
        rows.append([f"latency, batch of {timed.batch}", text, "measured"])
    quality = metrics.quality
    if quality is None:
        rows.append(["accuracy, loss", "no data was given", "unavailable"])
    else:
        others = f"precision {quality.precision:.4f}, recall {quality.recall:.4f}, F1 {quality.f1:.4f}"
        text = f"{quality.accuracy:.4f}; {others}"
        rows += [
            [f"accuracy of {quality.examples} examples", text, "measured"],
            ["loss", f"{quality.loss:.4g}", "measured"],
        ]
    if metrics.eer is not None:
        rows.append(
            ["accuracy per joule (EER)", f"{metrics.eer:.4g}; no rank", "measured accuracy over modelled joules"]
        )
    return table(["what", "value", "label"], rows, left=3)
