"""Drawings as SVG text, without other packages: stacked bars and lines. The same input gives the same bytes; names are
escaped."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

__all__ = ["COLOURS", "Bar", "Line", "bars", "lines"]

#: Told apart by people who see few colours, too (Paul Tol's bright scheme).
COLOURS = ("#4477aa", "#ee6677", "#ccbb44", "#228833", "#66ccee", "#aa3377", "#bbbbbb")
_TEXT = 'font-family="sans-serif" font-size="12"'
_LABEL_CHARACTERS = 34


@dataclass(frozen=True)
class Bar:
    """A horizontal bar of stacked parts.

    Attributes:
        label: left of it.
        parts: lengths, in the order of the legend.
        note: right of it.
        hint: shown when the mouse rests on it.
        faint: drawn pale, as what was before.
    """

    label: str
    parts: Sequence[float]
    note: str
    hint: str
    faint: bool = False


@dataclass(frozen=True)
class Line:
    """A named line through points (x, y).

    Attributes:
        marks: places along x that get a cross where ``reference`` is.
        hints: one per point, shown when the mouse rests on it; name and numbers unless given.
    """

    name: str
    points: Sequence[tuple[float, float]]
    marks: Sequence[float] = ()
    hints: Sequence[str] = ()


def bars(rows: Sequence[Bar], legend: Sequence[str], *, title: str, width: int = 900) -> str:
    """Stacked bars, one below the other, all on one scale.

    Args:
        rows: none of their parts negative.
        legend: names of the parts.
    """
    left, right, height, top = 250, 210, 18, 30
    longest = max((sum(row.parts) for row in rows), default=0.0)
    scale = (width - left - right) / longest if longest > 0 else 0.0
    out = [_open(width, top + height * len(rows) + 8, title)]
    for place, name in enumerate(legend):
        x = left + 130 * place
        out.append(f'<rect x="{x}" y="8" width="12" height="12" fill="{_colour(place)}"/>')
        out.append(f'<text x="{x + 17}" y="18" {_TEXT}>{escape(name)}</text>')
    for index, row in enumerate(rows):
        y, end = top + height * index, float(left)
        opacity = "0.45" if row.faint else "1"
        out.append(f'<g opacity="{opacity}"><title>{escape(row.hint)}</title>')
        out.append(f'<text x="{left - 8}" y="{y + 13}" text-anchor="end" {_TEXT}>{escape(_short(row.label))}</text>')
        for place, part in enumerate(row.parts):
            if part * scale > 0:
                length = _n(part * scale)
                out.append(f'<rect x="{_n(end)}" y="{y + 2}" width="{length}" height="14" fill="{_colour(place)}"/>')
                end += part * scale
        out.append(f'<text x="{_n(end + 6)}" y="{y + 13}" {_TEXT}>{escape(row.note)}</text></g>')
    return "\n".join([*out, "</svg>"])


def lines(
    drawn: Sequence[Line],
    *,
    title: str,
    x_label: str,
    y_label: str,
    reference: float | None = None,
    from_zero: bool = True,
    width: int = 720,
    height: int = 380,
) -> str:
    """Lines over linear axes; ``reference``: a dashed line at this y; ``from_zero``: of the axis of y."""
    left, right, top, bottom = 70, 190, 20, 48
    xs = [x for line in drawn for x, _ in line.points] or [0.0]
    ys = [y for line in drawn for _, y in line.points] + ([] if reference is None else [reference]) or [1.0]
    x_ticks, y_ticks = _ticks(min(xs), max(xs)), _ticks(min([*ys, 0.0] if from_zero else ys), max(ys))
    x_low, x_high, y_low, y_high = min(*xs, x_ticks[0]), max(*xs, x_ticks[-1]), y_ticks[0], y_ticks[-1]

    def at(x: float, y: float) -> tuple[str, str]:
        across = (x - x_low) / ((x_high - x_low) or 1.0) * (width - left - right)
        up = (y - y_low) / ((y_high - y_low) or 1.0) * (height - top - bottom)
        return _n(left + across), _n(height - bottom - up)

    out = [_open(width, height, title)]
    for tick in x_ticks:
        x, y = at(tick, y_low)
        out.append(f'<line x1="{x}" y1="{top}" x2="{x}" y2="{y}" stroke="#dddddd"/>')
        out.append(f'<text x="{x}" y="{height - bottom + 16}" text-anchor="middle" {_TEXT}>{tick:g}</text>')
    for tick in y_ticks:
        x, y = at(x_low, tick)
        out.append(f'<line x1="{x}" y1="{y}" x2="{width - right}" y2="{y}" stroke="#dddddd"/>')
        out.append(f'<text x="{left - 6}" y="{y}" dy="4" text-anchor="end" {_TEXT}>{tick:g}</text>')
    if reference is not None:
        x, y = at(x_low, reference)
        out.append(f'<line x1="{x}" y1="{y}" x2="{width - right}" y2="{y}" stroke="#000000" stroke-dasharray="5 4"/>')
    for place, line in enumerate(drawn):
        out += _line(place, line, at, reference)
        down = top + 12 + 18 * place
        out.append(f'<rect x="{width - right + 12}" y="{down}" width="14" height="4" fill="{_colour(place)}"/>')
        out.append(f'<text x="{width - right + 32}" y="{down}" dy="6" {_TEXT}>{escape(_short(line.name))}</text>')
    across, up = (left + width - right) // 2, (top + height - bottom) // 2
    turned = f'transform="rotate(-90 16 {up})"'
    out.append(f'<text x="{across}" y="{height - 10}" text-anchor="middle" {_TEXT}>{escape(x_label)}</text>')
    out.append(f'<text x="16" y="{up}" text-anchor="middle" {turned} {_TEXT}>{escape(y_label)}</text>')
    return "\n".join([*out, "</svg>"])


def _line(place: int, line: Line, at: Callable[[float, float], tuple[str, str]], reference: float | None) -> list[str]:
    colour = _colour(place)
    points = [at(x, y) for x, y in line.points]
    out = []
    if len(points) > 1:
        path = " ".join(f"{x},{y}" for x, y in points)
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
    hints = line.hints or [f"{line.name}: {x:.4g}, {y:.4g}" for x, y in line.points]
    for (x, y), text in zip(points, hints, strict=True):
        hint = escape(text)
        out.append(f'<circle cx="{x}" cy="{y}" r="2.5" fill="{colour}"><title>{hint}</title></circle>')
    for mark in line.marks:
        x, y = at(mark, 0.0 if reference is None else reference)
        cross = f'transform="translate({x} {y})" stroke="{colour}" stroke-width="2"'
        hint = escape(f"{line.name}: {mark:.4g}")
        out.append(f'<path d="M-4,-4 L4,4 M-4,4 L4,-4" {cross}><title>{hint}</title></path>')
    return out


def _open(width: int, height: int, title: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'role="img"><title>{escape(title)}</title><rect width="{width}" height="{height}" fill="#ffffff"/>'
    )


def _ticks(low: float, high: float) -> list[float]:
    """About five round numbers that cover [low, high]."""
    if not high > low:
        high = low + (abs(low) or 1.0)
    raw = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [step * index for index in range(first, last + 1)]


def _n(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _colour(place: int) -> str:
    return COLOURS[place % len(COLOURS)]


def _short(text: str) -> str:
    """The end of a long name tells more than its beginning."""
    return text if len(text) <= _LABEL_CHARACTERS else "..." + text[3 - _LABEL_CHARACTERS :]
