"""Energy of a forward pass: device profiles, the price of a recorded workload, published cases counted, and real joules
where there is a meter.

The model: docs/energy_model.md; meters: docs/measurement.md.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ._C import Profile
from ._C import count as _count
from ._C import estimate as _estimate
from ._C import profiles as _profiles
from ._fields import text_of
from .calibration import Calibration, calibrate
from .errors import ProfileError
from .marginals import BreakEven, Marginal, break_evens, marginals
from .measurement import Measurement, MeterCheck, check, measure
from .meters import Domain, EnergyWindow, Meters, WindowEnergy

__all__ = [
    "BreakEven",
    "Calibration",
    "CaseCounts",
    "Domain",
    "EnergyReport",
    "EnergyWindow",
    "LayerEnergy",
    "Marginal",
    "Measurement",
    "MeterCheck",
    "Meters",
    "Parts",
    "Profile",
    "WindowEnergy",
    "break_evens",
    "calibrate",
    "check",
    "count",
    "load_profile",
    "marginals",
    "measure",
    "price_workload",
    "profiles",
]


def profiles() -> list[str]:
    """Names of the built-in device profiles."""
    return _profiles()


def load_profile(source: str | os.PathLike[str] | Mapping[str, Any]) -> Profile:
    """A device profile.

    Args:
        source: built-in name (``profiles()`` lists them), path of a JSON file, or the JSON as a dict.
    Raises:
        ProfileError: unknown name, unreadable file, or malformed content; the message holds the JSON pointer.
    """
    if isinstance(source, Mapping):
        try:
            # NaN and infinity are written as they are, for the parser to refuse with their place.
            text = json.dumps(dict(source))
        except (TypeError, ValueError, RecursionError) as error:
            raise ProfileError(f"profile 'dict': expected what JSON can hold, got {error}") from error
        return Profile.parse(text, "dict")
    if not isinstance(source, str | os.PathLike):
        raise ProfileError(f"profile: expected a name, a path or a dict, got {type(source).__name__}")
    path = os.fspath(source)
    try:
        return Profile.load(path if isinstance(path, str) else os.fsdecode(path))
    except TypeError as error:  # a name that is no text, such as one with a lone surrogate
        raise ProfileError(f"profile: expected a name or a path in UTF-8, got {path!r}") from error


@dataclass(frozen=True)
class CaseCounts:
    """What a case file describes, computed from its inputs alone."""

    #: Counts and energies under the keys of the file's ``expected``.
    values: Mapping[str, Any]
    #: One line per value of ``expected`` that is further off than the file's tolerance.
    deviations: tuple[str, ...]


def count(case: str | os.PathLike[str] | Mapping[str, Any]) -> CaseCounts:
    """Counts a published case with the engines ``fixed-nest`` and ``systolic``; nothing of ``expected`` goes into it.

    Args:
        case: path of a JSON file of kind ``loop-nest``, ``systolic-array-model`` or ``energy-budget-projection``,
            or its content as a dict. The format: docs/energy_model.md, "Case files".
    Raises:
        ProfileError: the file cannot be read, or is malformed; the message holds the JSON pointer of the place.
    """
    if isinstance(case, Mapping):
        origin = "dict"
        try:
            text = json.dumps(dict(case))
        except (TypeError, ValueError, RecursionError) as error:
            raise ProfileError(f"case 'dict': expected what JSON can hold, got {error}") from error
    elif isinstance(case, str | os.PathLike):
        path = os.fspath(case)
        origin = path if isinstance(path, str) else os.fsdecode(path)
        try:
            with open(path, encoding="utf-8") as file:
                text = file.read()
        except (OSError, ValueError) as error:
            raise ProfileError(f"case {origin!r}: the file cannot be read: {error}") from error
    else:
        raise ProfileError(f"case: expected a path or a dict, got {type(case).__name__}")
    values, deviations = _count(text, origin)
    return CaseCounts(json.loads(values), tuple(deviations))


@dataclass(frozen=True)
class Parts:
    """Joules by cause."""

    compute_j: float
    memory_j: float
    metadata_j: float
    static_j: float

    @property
    def total_j(self) -> float:
        return self.compute_j + self.memory_j + self.metadata_j + self.static_j

    @classmethod
    def _from_dict(cls, data: Mapping[str, float]) -> Parts:
        return cls(data["compute"], data["memory"], data["metadata"], data["static"])

    def _to_dict(self) -> dict[str, float]:
        return {
            "compute": self.compute_j,
            "memory": self.memory_j,
            "metadata": self.metadata_j,
            "static": self.static_j,
        }


@dataclass(frozen=True)
class LayerEnergy:
    """One call of a layer. Joules are per ``count`` of the report; MACs, bytes and seconds per forward pass."""

    name: str
    op: str
    shape: tuple[int, ...]
    dtype: str
    pattern: str
    layout: str
    kernel: str
    density: float
    macs_issued: float
    macs_effective: float
    #: Traffic per memory level.
    bytes: Mapping[str, float]
    #: Modelled; 0 where the profile has no speed.
    latency_s: float
    energy_j: float
    low_j: float
    high_j: float
    parts: Parts
    #: Of the total, 0 to 1.
    share: float
    #: The profile's number type whose numbers were scaled to ``dtype``; empty where the profile lists it.
    extrapolated_from: str = ""
    #: Profiles of dataflow fixed-nest: "given", or "found (seed 1)" where a search chose it; empty elsewhere.
    mapping: str = ""

    @classmethod
    def _from_dict(cls, data: Mapping[str, Any]) -> LayerEnergy:
        fields = {**data, "shape": tuple(data["shape"]), "parts": Parts._from_dict(data["parts"])}
        return cls(**fields)

    def _to_dict(self) -> dict[str, Any]:
        return {
            **{name: getattr(self, name) for name in self.__dataclass_fields__},
            "shape": list(self.shape),
            "bytes": dict(self.bytes),
            "parts": self.parts._to_dict(),
        }


@dataclass(frozen=True)
class EnergyReport:
    """Joules of one forward pass per ``count`` (inferences, tokens, requests), layer by layer, in call order."""

    energy_j: float
    low_j: float
    high_j: float
    label: str
    per: str
    count: int
    batch: int
    profile: str
    profile_hash: str
    #: Modelled time of the whole pass, seconds; 0 where the profile has no speed.
    latency_s: float
    parts: Parts
    layers: tuple[LayerEnergy, ...]
    #: Ops that could not be priced, each named once.
    unknown_ops: tuple[str, ...]

    @property
    def total_j(self) -> float:
        return self.energy_j

    @classmethod
    def from_json(cls, text: str) -> EnergyReport:
        """Reads ``to_json``'s text. Raises ValueError when it is something else."""
        where = "EnergyReport.from_json"
        text = text_of(text, where)
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{where}: expected a report, got text that is no JSON: {error}") from error
        try:
            if data["schema"] != 1:
                raise ValueError(f"schema: expected 1, got {data['schema']!r}")
            return cls(
                energy_j=data["total_j"],
                low_j=data["low_j"],
                high_j=data["high_j"],
                label=data["label"],
                per=data["per"],
                count=data["count"],
                batch=data["batch"],
                profile=data["profile"],
                profile_hash=data["profile_hash"],
                latency_s=data["latency_s"],
                parts=Parts._from_dict(data["parts"]),
                layers=tuple(LayerEnergy._from_dict(layer) for layer in data["layers"]),
                unknown_ops=tuple(data["unknown_ops"]),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{where}: expected a report, got a field that does not fit: {error}") from error

    def to_json(self) -> str:
        """The report as JSON, schema 1."""
        data = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "energy_j"}
        data |= {
            "schema": 1,
            "total_j": self.energy_j,
            "parts": self.parts._to_dict(),
            "layers": [layer._to_dict() for layer in self.layers],
            "unknown_ops": list(self.unknown_ops),
        }
        return json.dumps(data)

    def __str__(self) -> str:
        return _text(self)


def price_workload(workload_json: str, profile: Profile) -> EnergyReport:
    """Prices a recorded workload; every entry by the kernel it names.

    Raises:
        ValueError: the workload is malformed (with the JSON pointer), or names an unknown kernel.
    """
    return EnergyReport.from_json(_estimate(workload_json, profile))


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


def _text(report: EnergyReport) -> str:
    """A headline and a table, a line a layer."""
    from rich.console import Console
    from rich.table import Table

    from .report import si

    table = Table(box=None, pad_edge=False, header_style="")
    for column in ("layer", "op", "shape", "kernel"):
        table.add_column(column, no_wrap=True)
    for column in ("density", "MACs", "energy", "compute", "memory", "metadata", "static", "share"):
        table.add_column(column, justify="right", no_wrap=True)

    def joules(energy_j: float, parts: Parts) -> list[str]:
        values = (energy_j, parts.compute_j, parts.memory_j, parts.metadata_j, parts.static_j)
        return [si(value, "J") for value in values]

    for layer in report.layers:
        table.add_row(
            *(layer.name, layer.op, "x".join(str(size) for size in layer.shape), layer.kernel),
            *(f"{layer.density:.3f}", si(layer.macs_issued, "").strip()),
            *joules(layer.energy_j, layer.parts),
            f"{100 * layer.share:.1f} %",
        )
    table.add_row("total", "", "", "", "", "", *joules(report.energy_j, report.parts), "")
    head = (
        f"{si(report.energy_j, 'J')} per {report.per} on {report.profile}, {report.label} "
        f"(interval {si(report.low_j, 'J')} to {si(report.high_j, 'J')}); batch {report.batch}"
    )
    if report.latency_s > 0:
        head += f", {si(report.latency_s, 's')} per pass"
    console = Console(width=400, color_system=None, markup=False, emoji=False, highlight=False)
    with console.capture() as capture:
        console.print(table)
    lines = [head, *(line.rstrip() for line in capture.get().splitlines()), *_notes(report)]
    if report.unknown_ops:
        lines.append("not priced: " + ", ".join(report.unknown_ops))
    return "\n".join(lines)
