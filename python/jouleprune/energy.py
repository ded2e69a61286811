"""Energy of a forward pass: device profiles, the price of a recorded workload, published cases counted, and real joules
where there is a meter.

The model: docs/energy_model.md; meters: docs/measurement.md.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ._C import Profile
from ._C import count as _count
from ._C import estimate as _estimate
from ._C import profiles as _profiles
from ._fields import text_of
from .calibration import Calibration, calibrate
from .energy_terms import CallExplanation, Coefficient, EnergyTerm, LayerExplanation, explain_layer
from .errors import ProfileError
from .macs import conv_macs, macs
from .marginals import BreakEven, Marginal, break_evens, marginals
from .measurement import Measurement, MeterCheck, check, measure
from .meters import Domain, EnergyWindow, Meters, WindowEnergy

__all__ = [
    "BreakEven",
    "Calibration",
    "CallExplanation",
    "CaseCounts",
    "Coefficient",
    "Domain",
    "EnergyReport",
    "EnergyTerm",
    "EnergyWindow",
    "LayerEnergy",
    "LayerExplanation",
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
    "conv_macs",
    "count",
    "explain_layer",
    "load_profile",
    "macs",
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
    #: One line per value that the file does not give and the counts or cycles rest on.
    assumptions: tuple[str, ...] = ()


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
    values, deviations, assumptions = _count(text, origin)
    return CaseCounts(json.loads(values), tuple(deviations), tuple(assumptions))


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
    #: What was priced, and the profile; neither is in the JSON.
    workload: str = field(default="", repr=False, compare=False)
    device: Profile | None = field(default=None, repr=False, compare=False)

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
        left_out = ("energy_j", "workload", "device")
        data = {name: getattr(self, name) for name in self.__dataclass_fields__ if name not in left_out}
        data |= {
            "schema": 1,
            "total_j": self.energy_j,
            "parts": self.parts._to_dict(),
            "layers": [layer._to_dict() for layer in self.layers],
            "unknown_ops": list(self.unknown_ops),
        }
        return json.dumps(data)

    def explain(self, layer: str) -> LayerExplanation:
        """Where the joules of one layer come from: counts x coefficients, with the source of every coefficient.

        Args:
            layer: its name in the report.
        Raises:
            ValueError: no layer has this name, or the report was read from JSON, which does not hold the counts.
        """
        if self.device is None:
            raise ValueError("explain: a report read from JSON holds no counts; estimate the network again")
        return explain_layer(self.workload, self.device, layer)

    def __str__(self) -> str:
        from .report import energy_table

        return energy_table(self)


def price_workload(workload_json: str, profile: Profile) -> EnergyReport:
    """Prices a recorded workload; every entry by the kernel it names.

    Raises:
        ValueError: the workload is malformed (with the JSON pointer), or names an unknown kernel.
    """
    report = EnergyReport.from_json(_estimate(workload_json, profile))
    return replace(report, workload=workload_json, device=profile)
