"""A device profile as a table: each number with its interval and where it comes from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .energy import Profile

__all__ = ["Row", "profile_rows", "profile_text"]


@dataclass(frozen=True)
class Row:
    """One number of a profile."""

    name: str
    value: float
    low: float
    high: float
    #: published, measured, fitted, memory or assumed.
    kind: str
    source: str


def profile_rows(profile: Profile) -> list[Row]:
    """All numbers of a profile with their intervals, in the order of the file: arithmetic, levels, the rest. Numbers
    without an interval (sizes of words, of arrays, of mappings) have three times the same."""
    data = json.loads(profile.to_json())
    provenance = data.pop("provenance")
    # The canonical JSON is sorted by key; readers look for arithmetic first.
    parts = ["compute", "levels", *(key for key in data if key not in ("compute", "levels", "schema", "mapper"))]
    rows = []
    for part in parts:
        for path, value in _numbers(data[part], (part,)):
            kind, source = _origin(path, provenance)
            if kind:
                low, high = (value["low"], value["high"]) if isinstance(value, dict) else (value, value)
                middle = value["value"] if isinstance(value, dict) else value
                rows.append(Row(_name(path, data), middle, low, high, kind, source))
    return rows


def profile_text(profile: Profile) -> str:
    """A headline, the table of ``profile_rows`` and the sources, each once. Of the shapes that a family of calls was
    measured at, which are many, one row: the mean and the range of measured over formula."""
    from rich.console import Console
    from rich.table import Table

    data = json.loads(profile.to_json())
    table = Table(box=None, pad_edge=False, header_style="")
    table.add_column("number", no_wrap=True)
    for column in ("value", "low", "high"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("provenance", no_wrap=True)
    sources: dict[tuple[str, str], int] = {}
    for row in _summed(profile_rows(profile)):
        note = sources.setdefault((row.kind, row.source), len(sources) + 1)
        table.add_row(row.name, *(f"{value:.6g}" for value in (row.value, row.low, row.high)), f"{row.kind} [{note}]")
    console = Console(width=1000, color_system=None, markup=False, highlight=False, emoji=False)
    with console.capture() as captured:
        console.print(table)
    lines = [line.rstrip() for line in captured.get().splitlines()]
    head = f"{profile.name}: {profile.kind}, dataflow {data['dataflow']}, hash {profile.hash}"
    notes = [f"[{note}] {kind}: {source}" for (kind, source), note in sources.items()]
    description = [data["description"], ""] if data.get("description") else []
    return "\n".join([head, *description, *lines, "", "Sources", *notes])


def _summed(rows: list[Row]) -> Iterator[Row]:
    shapes: dict[str, list[Row]] = {}
    for row in rows:
        family, measured, rest = row.name.partition(" measured ")
        if not (measured and family.startswith("timing ")):
            yield row
        elif rest.endswith(" ratio"):
            shapes.setdefault(family, []).append(row)
    for family, ratios in shapes.items():
        name = f"{family} measured ratio at {len(ratios)} shapes"
        values = [row.value for row in ratios]
        yield Row(name, sum(values) / len(values), min(values), max(values), ratios[0].kind, ratios[0].source)


def _numbers(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every number below ``value`` with its path; one with an interval as its object."""
    if isinstance(value, Mapping):
        if value.keys() == {"value", "low", "high"}:
            yield path, value
            return
        for key, child in value.items():
            yield from _numbers(child, (*path, key))
    elif isinstance(value, list):
        for place, child in enumerate(value):
            yield from _numbers(child, (*path, str(place)))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path, value


def _origin(path: tuple[str, ...], provenance: Mapping[str, Mapping[str, str]]) -> tuple[str, str]:
    """Kind and source of the longest pointer that covers a place; empty where none does."""
    tokens = [token.replace("~", "~0").replace("/", "~1") for token in path]
    for length in range(len(tokens), -1, -1):
        found = provenance.get("".join("/" + token for token in tokens[:length]))
        if found is not None:
            return found["kind"], found["source"]
    return "", ""


def _name(path: tuple[str, ...], data: Mapping[str, Any]) -> str:
    """As people say it: "int16 mac_pj", "DRAM read_pj_per_bit"."""
    if path[0] == "compute":
        return " ".join(path[1:])
    if path[0] == "levels":
        return " ".join([data["levels"][int(path[1])]["name"], *path[2:]])
    return " ".join(path)
