"""The report as one HTML file: style and drawings inline, no scripts, nothing loaded; names are escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

from . import svg
from .report import count_text, interval_text, share_text, si

if TYPE_CHECKING:
    from .compare import Comparison, ComparisonRow
    from .energy import EnergyReport, LayerEnergy, LayerExplanation, Measurement
    from .network_report import DensityCurves, DeviceSection, NetworkReport
    from .pruner import PruneReport

__all__ = ["page"]

_PARTS = ("compute", "memory", "metadata", "static")
#: Drawn are so many of the costliest layers; the table has all.
_DRAWN = 40
_STYLE = """
body { font: 14px/1.45 sans-serif; color: #222; max-width: 1100px; margin: 24px auto; padding: 0 16px; }
table { border-collapse: collapse; margin: 8px 0 16px; font-variant-numeric: tabular-nums; }
th, td { padding: 2px 10px; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap; }
td { vertical-align: top; }
th.t, td.t { text-align: left; } td.w { text-align: left; white-space: normal; min-width: 260px; }
.scroll { overflow-x: auto; } small { color: #666; } h2 { margin-top: 36px; border-bottom: 2px solid #4477aa; }
.l { font-size: 11px; border-radius: 3px; padding: 0 4px; background: #e6edf5; }
.measured { background: #d9efdd; } .unavailable { background: #eee; color: #555; }
svg { max-width: 100%; height: auto; }
"""


def page(report: NetworkReport) -> str:
    """The whole page."""
    names = ", ".join(dict.fromkeys(row.network for row in report.comparison.rows))
    body = [
        f"<h1>{escape(names)}</h1>",
        "<p>Every number is labelled: " + _badge("modelled") + " is counted operations and traffic times the "
        "coefficients of a device profile, with the interval from the ends of all coefficients at once; "
        + _badge("measured") + " comes from this machine's clock or meters, with its 95 % interval; "
        + _badge("unavailable") + " is not known. Joules are per inference or what else is said, time and traffic per "
        "forward pass.</p>",
        "<h2>Comparison</h2>",
        _comparison(report.comparison),
        "<h2>On this machine</h2>",
        _measurements(report),
    ]  # fmt: skip
    body += [_section(section) for section in report.sections]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{escape(names)}: energy report</title><style>{_STYLE}</style></head><body>\n"
        + "\n".join(body)
        + "\n</body></html>\n"
    )


def _badge(label: str) -> str:
    known = label if label in ("measured", "unavailable") else "modelled"
    return f'<span class="l {known}">{escape(label)}</span>'


def _table(header: Sequence[str], rows: Iterable[Sequence[str]], *, left: int, wide: int = -1) -> str:
    """Cells are HTML already; the first ``left`` columns are text, column ``wide`` holds sentences."""

    def kind(column: int) -> str:
        return ' class="w"' if column == wide else ' class="t"' if column < left else ""

    head = "".join(f"<th{kind(column)}>{cell}</th>" for column, cell in enumerate(header))
    lines = [f"<tr>{head}</tr>"]
    for row in rows:
        lines.append("<tr>" + "".join(f"<td{kind(place)}>{cell}</td>" for place, cell in enumerate(row)) + "</tr>")
    return '<div class="scroll"><table>' + "\n".join(lines) + "</table></div>"


def _number(value: float | None, unit: str, low: float | None = None, high: float | None = None) -> str:
    if value is None:
        return _badge("unavailable")
    ends = interval_text(low, high, unit)
    return f"{si(value, unit)}<br><small>{ends}</small>" if ends else si(value, unit)


def _share(share: float | None) -> str:
    return _badge("unavailable") if share is None else share_text(share)


def _comparison(comparison: Comparison) -> str:
    m = " " + _badge("modelled")
    header = ["network", "device", "batch", f"energy{m}", f"x first{m}", f"time{m}", f"outer traffic{m}"]
    header += [f"multipliers{m}", f"buffer{m}", f"bandwidth{m}"]

    def line(row: ComparisonRow) -> list[str]:
        ratio, outer, buffer = comparison.over_first(row), row.levels[0], row.buffer
        return [
            *(escape(row.network), escape(row.profile), str(row.batch)),
            _number(row.energy_j, "J", row.low_j, row.high_j) + f" <small>per {escape(row.report.per)}</small>",
            _badge("unavailable") if ratio is None else f"{ratio:.3g}",
            _number(row.latency_s, "s", row.latency_low_s, row.latency_high_s),
            f"{escape(outer.name)} {si(outer.bytes, 'B')}",
            _share(row.multiplier_share),
            _badge("unavailable") if buffer is None else f"{escape(buffer.name)} {_share(buffer.fill)}",
            _share(outer.bandwidth_share),
        ]

    notes = "".join(f"<p>{escape(sentence)}</p>" for sentence in comparison.assumptions)
    return _table(header, [line(row) for row in comparison.rows], left=2) + notes


def _measurements(report: NetworkReport) -> str:
    names = dict.fromkeys(row.network for row in report.comparison.rows)
    rows = []
    for name in names:
        found = report.measurements.get(name)
        if found is None:
            rows.append([escape(name), "time and energy", _badge("unavailable"), "no measurement was given"])
        else:
            rows += [[escape(name), *line] for line in _measured(found)]
    return _table(["network", "what", "value", "why, or how"], rows, left=2, wide=3)


def _measured(found: Measurement) -> list[list[str]]:
    low, high = found.interval["time_s"]
    rows = [["time per pass", f"{_number(found.time_s, 's', low, high)} {_badge('measured')}", "95 % interval"]]
    for scope, total in found.totals.items():
        low, high = found.interval[f"total {scope}"]
        value = f"{_number(total, 'J', low, high)} {_badge(found.label)}"
        rows.append([f"energy per pass, {escape(scope)}", value, "95 % interval"])
    if not found.totals:
        rows.append(["energy per pass", _badge("unavailable"), escape(found.why_unavailable)])
    return rows


def _section(section: DeviceSection) -> str:
    now = section.now
    out = [
        f"<h2>{escape(section.network)} on {escape(section.profile)}</h2>",
        f"<p>{_number(now.energy_j, 'J', now.low_j, now.high_j)} per {escape(now.per)} {_badge(now.label)}, batch "
        f"{now.batch}, {len(now.layers)} calls.</p>",
    ]
    if now.unknown_ops:
        out.append(f"<p>Not priced: {escape(', '.join(now.unknown_ops))}.</p>")
    if section.why_not_pruned:
        out.append(f"<p>Not pruned: {escape(section.why_not_pruned)}</p>")
    out += ["<h3>Layers</h3>", _layer_bars(now, section.pruned), _layers(now)]
    if section.pruned is not None:
        out += ["<h3>Before and after</h3>", _before_after(section.pruned)]
    out += ["<h3>Break-even</h3>", _curves(section)]
    if section.explanations:
        out.append("<h3>Where the numbers come from</h3>")
        out += [_explanation(one) for one in section.explanations]
    return "\n".join(out)


def _layer_bars(now: EnergyReport, pruned: PruneReport | None) -> str:
    before = now if pruned is None else pruned.before
    after = None if pruned is None else pruned.after
    order = sorted(range(len(before.layers)), key=lambda index: -before.layers[index].energy_j)
    shown = sorted(order[:_DRAWN])
    rows = []
    for index in shown:
        rows.append(_bar(before.layers[index], before.label, faint=after is not None))
        if after is not None:
            rows.append(_bar(after.layers[index], after.label, name="after"))
    pale = "" if after is None else "; pale: before"
    title = f"Energy per {before.per} of the layers by part, {before.label}{pale}"
    left_out = len(before.layers) - len(shown)
    note = f"<p><small>The {len(shown)} costliest calls; the table has all.</small></p>" if left_out else ""
    return f"<p>{escape(title)}</p>" + svg.bars(rows, _PARTS, title=title) + note


def _bar(layer: LayerEnergy, label: str, *, faint: bool = False, name: str = "") -> svg.Bar:
    parts = (layer.parts.compute_j, layer.parts.memory_j, layer.parts.metadata_j, layer.parts.static_j)
    ends = interval_text(layer.low_j, layer.high_j, "J")
    hint = f"{layer.name}: {si(layer.energy_j, 'J')} ({ends}), {label}"
    return svg.Bar(name or layer.name, parts, f"{si(layer.energy_j, 'J')} ({ends})", hint, faint)


def _layers(report: EnergyReport) -> str:
    m = " " + _badge(report.label)
    header = ["layer", "op", "shape", "kernel", f"energy{m}", f"share{m}", *(f"{part}{m}" for part in _PARTS)]
    header += [f"time per pass{m}", f"MACs per pass{m}", "density"]
    rows = [
        [
            *(escape(text) for text in (layer.name, layer.op, _shape(layer), layer.kernel)),
            _number(layer.energy_j, "J", layer.low_j, layer.high_j),
            f"{100 * layer.share:.1f} %",
            *(si(value, "J") for value in layer.parts._to_dict().values()),
            _number(layer.latency_s if layer.latency_s > 0 else None, "s"),
            si(layer.macs_issued, ""),
            f"{layer.density:.3f}",
        ]
        for layer in report.layers
    ]
    return _table(header, rows, left=4)


def _shape(layer: LayerEnergy) -> str:
    return "x".join(str(size) for size in layer.shape)


def _before_after(pruned: PruneReport) -> str:
    before, after, plan = pruned.before, pruned.after, pruned.plan
    share = f", {100 * after.energy_j / before.energy_j:.1f} %" if before.energy_j > 0 else ""
    head = (
        f"<p>{_number(before.energy_j, 'J', before.low_j, before.high_j)} before, "
        f"{_number(after.energy_j, 'J', after.low_j, after.high_j)} after{share}, per {escape(after.per)} "
        f"{_badge(after.label)}</p>"
    )
    m = " " + _badge(after.label)
    header = ["layer", "pattern", "kernel", "density", f"before{m}", f"after{m}", "importance lost", "why"]
    reasons = {} if plan is None else {layer.name: layer for layer in plan.layers}
    rows = []
    for old, new in zip(before.layers, after.layers, strict=True):
        layer = reasons.get(new.name)
        rows.append(
            [
                *(escape(text) for text in (new.name, new.pattern, new.kernel)),
                f"{new.density:.3f}",
                _number(old.energy_j, "J", old.low_j, old.high_j),
                _number(new.energy_j, "J", new.low_j, new.high_j),
                "" if layer is None else f"{layer.importance_lost:.4g}",
                "" if layer is None else escape(layer.reason),
            ]
        )
    return head + _table(header, rows, left=3, wide=7)


def _curves(section: DeviceSection) -> str:
    curves = section.curves
    if not curves.curves:
        return "<p>Zeros in the weights save nothing on this device, and no other kernel is priced for it.</p>"
    m = " " + _badge("modelled")
    header = ["kernel", "layout", "calls", f"network costs no more than dense up to{m}"]
    rows = [
        [
            *(escape(curve.kernel), escape(curve.layout), str(curve.layers)),
            "no density" if curve.density is None else f"density {curve.density:.3f}",
        ]
        for curve in curves.curves
    ]
    dense = _number(curves.dense_j, "J", curves.dense_low_j, curves.dense_high_j)
    out = [f"<p>Dense: {dense} {_badge('modelled')}</p>", _curve_plot(section, curves), _table(header, rows, left=2)]
    if section.break_evens:
        layers = [
            [
                *(escape(row.name), escape(row.op), escape(row.kernel), escape(row.layout)),
                "no density" if row.density is None else f"{row.density:.3f}",
            ]
            for row in section.break_evens
        ]
        out.append("<details><summary>Layer by layer</summary>")
        out.append(_table(["layer", "op", "kernel", "layout", f"pays up to density{m}"], layers, left=4))
        out.append("</details>")
    return "\n".join(out)


def _curve_plot(section: DeviceSection, curves: DensityCurves) -> str:
    title = "Energy of the network over the density of its layers, relative to dense, modelled; crosses: single layers"
    dense = curves.dense_j or 1.0
    drawn = []
    for curve in curves.curves:
        own = [row.density for row in section.break_evens if row.kernel == curve.kernel]
        marks = list(dict.fromkeys(density for density in own if density is not None))
        points = [(x, y / dense) for x, y in zip(curves.densities, curve.energy_j, strict=True)]
        drawn.append(svg.Line(curve.kernel, points, marks))
    plot = svg.lines(drawn, title=title, x_label="density", y_label="energy over dense", reference=1.0)
    return f"<p>{escape(title)}</p>{plot}"


def _explanation(found: LayerExplanation) -> str:
    out = [
        f"<details><summary>{escape(found.name)}: {si(found.energy_j, 'J')} per {escape(found.per)} "
        f"{_badge(found.label)}</summary>"
    ]
    for call in found.calls:
        rows = [
            [
                *(escape(term.part), escape(term.what), f"{count_text(term.count)} {escape(term.unit)}"),
                f"{term.coefficient:.6g} {escape(term.coefficient_unit)}",
                _number(term.energy_j, "J", term.low_j, term.high_j),
                escape(term.pointer),
            ]
            for term in call.terms
        ]
        rows.append(["", "sum", "", "", _number(call.layer.energy_j, "J", call.layer.low_j, call.layer.high_j), ""])
        out.append(f"<p>{escape(call.layer.op)} {_shape(call.layer)}; joules are divided by {found.count}.</p>")
        out.append(_table(["part", "what", "count", "coefficient", "energy", "number"], rows, left=2))
        numbers = [
            [
                escape(one.pointer),
                f"{one.value:.6g}<br><small>{one.low:.6g} to {one.high:.6g}</small>",
                escape(one.kind),
                escape(one.source + (f" ({one.note})" if one.note else "")),
            ]
            for one in call.coefficients
        ]
        out.append(_table(["number of the profile", "value", "kind", "source"], numbers, left=1, wide=3))
    out.append("</details>")
    return "\n".join(out)
