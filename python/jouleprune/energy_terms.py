"""One modelled number taken apart: counts x coefficients, and the source of every coefficient."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ._C import Profile
from ._C import explain as _explain

if TYPE_CHECKING:
    from .energy import LayerEnergy

__all__ = ["CallExplanation", "Coefficient", "EnergyTerm", "LayerExplanation", "explain_layer"]


@dataclass(frozen=True)
class EnergyTerm:
    """One product of the sum; those that are 0 are left out.

    Attributes:
        part: "compute", "memory", "metadata" or "static".
        count: per forward pass, in ``unit``.
        pointer: JSON pointer of the coefficient in the profile.
        coefficient, low, high: as used, in ``coefficient_unit`` (pJ, W or J) per ``unit``.
        energy_j, low_j, high_j: per ``count`` of the report; counts of the ends may differ from ``count``.
        behind: pointers of the profile's numbers that shaped the count.
    """

    part: str
    what: str
    count: float
    unit: str
    pointer: str
    coefficient: float
    low: float
    high: float
    coefficient_unit: str
    energy_j: float
    low_j: float
    high_j: float
    behind: tuple[str, ...]


@dataclass(frozen=True)
class Coefficient:
    """One number of the profile and its source; ``note`` says how it was changed before use, and is empty when not."""

    pointer: str
    value: float
    low: float
    high: float
    kind: str
    source: str
    date: str
    note: str


@dataclass(frozen=True)
class CallExplanation:
    """One call of a layer. Adding up the ``energy_j`` of a part's terms in their order gives that part of
    ``layer.parts`` exactly; compute + memory + metadata + static gives ``layer.energy_j`` exactly."""

    layer: LayerEnergy
    #: Modelled time of the call, without its launch.
    seconds: float
    terms: tuple[EnergyTerm, ...]
    coefficients: tuple[Coefficient, ...]


@dataclass(frozen=True)
class LayerExplanation:
    """Where a layer's joules come from; ``energy_j`` is the plain sum over its calls."""

    name: str
    profile: str
    per: str
    count: int
    label: str
    energy_j: float
    low_j: float
    high_j: float
    calls: tuple[CallExplanation, ...]

    def to_json(self) -> str:
        """As JSON, schema 1."""
        data = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "calls"}
        calls = [
            {
                "layer": call.layer._to_dict(),
                "seconds": call.seconds,
                "terms": [vars(term) for term in call.terms],
                "coefficients": [vars(number) for number in call.coefficients],
            }
            for call in self.calls
        ]
        return json.dumps({"schema": 1, **data, "calls": calls})

    def __str__(self) -> str:
        return _text(self)


def explain_layer(workload_json: str, profile: Profile, layer: str) -> LayerExplanation:
    """Takes the joules of a layer of a recorded workload apart.

    Args:
        workload_json: what ``jouleprune.record.record`` returns.
        layer: its name in the report.
    Raises:
        ValueError: no layer has this name, or the workload is malformed.
    """
    if not isinstance(layer, str):
        raise ValueError(f"layer: expected the name of a layer, got {type(layer).__name__}")
    calls = tuple(_call(data) for data in json.loads(_explain(workload_json, profile, layer)))
    workload = json.loads(workload_json)
    if not calls:
        names = ", ".join(dict.fromkeys(entry["name"] for entry in workload["entries"]))
        raise ValueError(f"layer: expected one of {names or 'none (nothing ran)'}, got {layer!r}")
    ends = [[getattr(call.layer, end) for call in calls] for end in ("energy_j", "low_j", "high_j")]
    energy_j, low_j, high_j = (_plain_sum(end) for end in ends)
    per, count = workload.get("per", "inference"), workload.get("count", 1)
    return LayerExplanation(layer, profile.name, per, count, "modelled", energy_j, low_j, high_j, calls)


def _plain_sum(values: list[float]) -> float:
    """As the report adds: Python's sum compensates from 3.12 on."""
    total = 0.0
    for value in values:
        total += value
    return total


def _call(data: Mapping[str, Any]) -> CallExplanation:
    from .energy import LayerEnergy

    terms = tuple(EnergyTerm(**{**term, "behind": tuple(term["behind"])}) for term in data["terms"])
    numbers = tuple(Coefficient(**number) for number in data["coefficients"])
    return CallExplanation(LayerEnergy._from_dict(data["layer"]), data["seconds"], terms, numbers)


def _text(found: LayerExplanation) -> str:
    from .report import count_text, si, table

    lines = [
        f"{found.name}: {si(found.energy_j, 'J')} per {found.per} on {found.profile}, {found.label} "
        f"(interval {si(found.low_j, 'J')} to {si(found.high_j, 'J')})"
    ]
    for place, call in enumerate(found.calls):
        layer = call.layer
        shape = "x".join(str(size) for size in layer.shape)
        number = f"call {place + 1} of {len(found.calls)}: " if len(found.calls) > 1 else ""
        lines.append(
            f"{number}{layer.op} {shape} {layer.dtype}, kernel {layer.kernel}, density {layer.density:.4g}; counts are "
            f"of a whole pass, joules are divided by {found.count}"
        )
        rows = [
            [
                term.part,
                term.what,
                f"{count_text(term.count)} {term.unit}",
                f"{term.coefficient:.6g} {_coefficient_unit(term)}",
                f"{si(term.energy_j, 'J')}",
                f"{si(term.low_j, 'J')} to {si(term.high_j, 'J')}",
                term.pointer,
            ]
            for term in call.terms
        ]
        rows.append(
            ["", "sum", "", "", si(layer.energy_j, "J"), f"{si(layer.low_j, 'J')} to {si(layer.high_j, 'J')}", ""]
        )
        lines.append(table(["part", "what", "count", "coefficient", "energy", "interval", "number"], rows, left=2))
        lines += _sources(call.coefficients)
    return "\n".join(lines)


def _sources(coefficients: tuple[Coefficient, ...]) -> list[str]:
    """Each source once, with the numbers it stands for."""
    by_source: dict[tuple[str, str, str], list[str]] = {}
    for one in coefficients:
        numbers = by_source.setdefault((one.kind, one.source, one.note), [])
        numbers.append(f"    {one.pointer} = {one.value:.6g} ({one.low:.6g} to {one.high:.6g})")
    lines = ["numbers of the profile, by source:"]
    for (kind, source, note), numbers in by_source.items():
        lines += [f"  {kind}: {source}{f' ({note})' if note else ''}", *numbers]
    return lines


def _coefficient_unit(term: EnergyTerm) -> str:
    """As in "pJ/bit"; of static power "W", because what it is multiplied by is time."""
    singular = {"MACs": "MAC", "operations": "operation", "indices": "index", "bits": "bit", "launches": "launch"}
    return term.coefficient_unit if term.unit == "s" else f"{term.coefficient_unit}/{singular[term.unit]}"
