"""From timed calls to the numbers of a profile. Features come from the energy model itself: it is asked for the price
of each call under profiles in which one number alone is not zero, so whatever the model counts is what is fitted."""

from __future__ import annotations

import copy
import glob
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from . import _C
from ._C import Profile

__all__ = ["FitSummary", "Sample", "fit_energy", "fit_time", "machine_levels"]

#: Of probes: MACs/s that make a latency the count itself, and that nothing can fill.
_FAST, _NEVER = 1e12, 1e30
#: Share of the calls that must have joules.
_ENOUGH = 0.75


@dataclass(frozen=True)
class Sample:
    """A timed call: the entries of its workload, seconds, whether other programs disturbed every try, joules where
    there is a meter, and half the distance between the quartiles of its tries, relative to the seconds."""

    family: str
    name: str
    entries: list[dict[str, Any]]
    seconds: float
    noisy: bool
    joules: float | None
    spread: float = 0.0


@dataclass(frozen=True)
class FitSummary:
    """How well the fit predicts: mean (``mape``) and largest relative error, on the calls themselves and on families of
    shapes that were left out; ``held_out_rank`` is Spearman's correlation there."""

    calls: int
    mape: float
    worst: float
    held_out_mape: float
    held_out_worst: float
    held_out_rank: float
    held_out: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        families = ", ".join(f"{family} {100 * error:.0f} %" for family, error in self.held_out.items())
        return (
            f"{self.calls} calls, mean error {100 * self.mape:.1f} %, largest {100 * self.worst:.0f} %; each family by "
            f"a fit without it: mean {100 * self.held_out_mape:.1f} %, largest {100 * self.held_out_worst:.0f} %, rank "
            f"correlation {self.held_out_rank:.3f} ({families})"
        )


def machine_levels(document: dict[str, Any], date: str) -> dict[str, Any]:
    """The profile with the capacities of this machine's caches, where the system tells them and they fit its levels."""
    made = copy.deepcopy(document)
    found = _caches()
    levels = {level["name"]: place for place, level in enumerate(made["levels"])}
    inner = {level["name"] for level in made["levels"][1:]}
    if set(found) != inner or sorted(found.values()) != [found[name] for name in sorted(found)]:
        return made
    for name, capacity in found.items():
        place = levels[name]
        made["levels"][place]["capacity_bytes"] = {"value": capacity, "low": capacity, "high": capacity}
        source = f"{name} of this machine, as the system tells it"
        made["provenance"][f"/levels/{place}/capacity_bytes"] = {"kind": "measured", "source": source, "date": date}
    return made


def fit_time(
    document: dict[str, Any], samples: Sequence[Sample], machine: str, date: str
) -> tuple[FitSummary, list[str]]:
    """Fits peaks, bandwidths and the time of a call; changes ``document``. Returns the errors and the pointers of the
    numbers that no call determined.

    A call takes launch_s and the longest of its MACs at the peak and of each level's bytes at the bandwidth.
    """
    columns = ["/launch_s", *_speeds(document)]
    features = _time_features(document, columns, samples)
    start = [_number(document, "/launch_s"), *(1 / _number(document, pointer) for pointer in columns[1:])]
    seen = [
        {"family": sample.family, "features": row, "target": sample.seconds}
        for sample, row in zip(samples, features, strict=True)
    ]
    fit = json.loads(_C.fit(json.dumps(seen), columns, start))
    error = max([fit["held_out_mape"], *(family["mape"] for family in fit["held_out"])])
    source = _source(fit, len(samples), "seconds", machine)
    kept = []
    for pointer, coefficient, used in zip(columns, fit["coefficients"], fit["used"], strict=True):
        if used < 3 or coefficient <= 0:
            kept.append(pointer)
            continue
        value = coefficient if pointer == "/launch_s" else 1 / coefficient
        _set(document, pointer, value, error, source, date)
    return _summary(fit, len(samples)), kept


def fit_energy(
    document: dict[str, Any], samples: Sequence[Sample], machine: str, date: str
) -> tuple[FitSummary | None, str]:
    """Fits factors of the energies: one per number type, one per memory level, and static watts; changes ``document``.

    Where levels cannot be told apart they share a factor; where that fails too nothing is changed. Returns the errors,
    or why there are none.
    """
    counted = [sample for sample in samples if sample.joules is not None]
    if len(counted) < _ENOUGH * len(samples) or not counted:
        return None, f"{len(samples) - len(counted)} of {len(samples)} calls have no joules"
    refusals = []
    for groups in (_energy_groups(document, apart=True), _energy_groups(document, apart=False)):
        columns = [name for name in groups if _used(document, name, groups, counted)]
        seen = [
            {"family": sample.family, "features": row, "target": sample.joules}
            for sample, row in zip(counted, _energy_features(document, columns, groups, counted), strict=True)
        ]
        try:
            fit = json.loads(_C.fit(json.dumps(seen), columns, []))
        except ValueError as refusal:
            refusals.append(str(refusal))
            continue
        error = max([fit["held_out_mape"], *(family["mape"] for family in fit["held_out"])])
        source = _source(fit, len(counted), "joules of the packages", machine)
        for name, factor in zip(columns, fit["coefficients"], strict=True):
            for pointer in groups[name]:
                _set(document, pointer, factor * _number(document, pointer), error, source, date)
        return _summary(fit, len(counted)), ""
    return None, "; ".join(refusals)


def _speeds(document: Mapping[str, Any]) -> Iterator[str]:
    for dtype, cost in document["compute"].items():
        for key in ("macs_s", "sparse_macs_s"):
            if key in cost:
                yield f"/compute/{dtype}/{key}"
    for place, level in enumerate(document["levels"]):
        if "bytes_s" in level:
            yield f"/levels/{place}/bytes_s"


def _time_features(document: Mapping[str, Any], columns: Sequence[str], samples: Sequence[Sample]) -> list[list[float]]:
    """Calls, MACs that take time at each peak, and bytes of each level."""
    probes = {}
    for pointer in columns:
        if pointer.startswith("/compute/"):
            probes[pointer] = _peak_probe(document, pointer)
    plain = _profile(document)
    rows = []
    for sample in samples:
        text = json.dumps(sample.entries)
        priced = json.loads(_C.price_entries(text, plain))
        row = []
        for pointer in columns:
            if pointer == "/launch_s":
                row.append(float(len(sample.entries)))
            elif pointer in probes:
                layers = json.loads(_C.price_entries(text, probes[pointer]))
                macs = _FAST * sum(layer["latency_s"] for layer in layers)
                row.append(macs if macs >= 1 else 0.0)  # less is what the other types leave
            else:
                level = document["levels"][int(pointer.split("/")[2])]["name"]
                row.append(sum(layer["bytes"][level] for layer in priced))
        rows.append(row)
    return rows


def _peak_probe(document: Mapping[str, Any], pointer: str) -> Profile:
    """Only this peak takes time: the other types have ones that no call can fill, and moving data costs none."""
    probe = copy.deepcopy(dict(document))
    if "launch_s" in probe:
        probe["launch_s"] = _quantity(0.0)
    for other in _speeds(probe):
        _place(probe, other, _quantity(_FAST if other == pointer else _NEVER))
    return _profile(probe)


def _energy_groups(document: Mapping[str, Any], *, apart: bool) -> dict[str, list[str]]:
    """Pointers that share a factor, by a name for people."""
    groups: dict[str, list[str]] = {}
    for dtype in document["compute"]:
        groups[f"arithmetic in {dtype}"] = [f"/compute/{dtype}/mac_pj", f"/compute/{dtype}/op_pj"]
    for place, level in enumerate(document["levels"]):
        name = f"traffic of {level['name']}" if apart or place == 0 else "traffic of the caches"
        pointers = [f"/levels/{place}/read_pj_per_bit", f"/levels/{place}/write_pj_per_bit"]
        groups.setdefault(name, []).extend(pointers)
    if _number(document, "/static_w") > 0:
        groups["static power"] = ["/static_w"]
    return groups


def _energy_features(
    document: Mapping[str, Any], columns: Sequence[str], groups: Mapping[str, Sequence[str]], samples: Sequence[Sample]
) -> list[list[float]]:
    """Joules that each group contributes with the present numbers; of the static power by the measured seconds."""
    probes = {name: _energy_probe(document, groups[name]) for name in columns if groups[name] != ["/static_w"]}
    return [
        [
            _number(document, "/static_w") * sample.seconds if name not in probes else _priced(probes[name], sample)
            for name in columns
        ]
        for sample in samples
    ]


def _used(
    document: Mapping[str, Any], name: str, groups: Mapping[str, Sequence[str]], samples: Sequence[Sample]
) -> bool:
    return any(row[0] > 0 for row in _energy_features(document, [name], groups, samples))


def _priced(probe: Profile, sample: Sample) -> float:
    return float(sum(layer["energy_j"] for layer in json.loads(_C.price_entries(json.dumps(sample.entries), probe))))


def _energy_probe(document: Mapping[str, Any], kept: Sequence[str]) -> Profile:
    """All energies are zero but these."""
    probe = copy.deepcopy(dict(document))
    for pointers in _energy_groups(document, apart=True).values():
        for pointer in pointers:
            if pointer not in kept:
                _place(probe, pointer, _quantity(0.0))
    for key in ("static_w", "launch_j", "index_decode_pj"):
        if key in probe and f"/{key}" not in kept:
            probe[key] = _quantity(0.0)
    return _profile(probe)


def _profile(document: Mapping[str, Any]) -> Profile:
    return Profile.parse(json.dumps(document), "calibration")


def _quantity(value: float) -> dict[str, float]:
    return {"value": value, "low": value, "high": value}


def _at(document: Mapping[str, Any], pointer: str) -> tuple[Any, Any]:
    """(what holds the number, its key)."""
    *path, last = pointer.split("/")[1:]
    holder: Any = document
    for part in path:
        holder = holder[int(part) if isinstance(holder, list) else part]
    return holder, last


def _number(document: Mapping[str, Any], pointer: str) -> float:
    holder, key = _at(document, pointer)
    return float(holder[key]["value"]) if key in holder else 0.0


def _place(document: Mapping[str, Any], pointer: str, quantity: Mapping[str, float]) -> None:
    holder, key = _at(document, pointer)
    holder[key] = dict(quantity)


def _set(document: dict[str, Any], pointer: str, value: float, error: float, source: str, date: str) -> None:
    """The fitted number, as far to both sides as the worst family was off."""
    _place(document, pointer, {"value": value, "low": value / (1 + error), "high": value * (1 + error)})
    document["provenance"][pointer] = {"kind": "fitted", "source": source, "date": date}


def _source(fit: Mapping[str, Any], count: int, what: str, machine: str) -> str:
    return (
        f"jouleprune calibrate: {what} of {count} calls, weights in the caches; families left out: mean error "
        f"{100 * fit['held_out_mape']:.1f} %, largest {100 * fit['held_out_worst']:.0f} %; {machine}"
    )[:4000]


def _summary(fit: Mapping[str, Any], count: int) -> FitSummary:
    return FitSummary(
        count,
        fit["mape"],
        fit["worst"],
        fit["held_out_mape"],
        fit["held_out_worst"],
        fit["held_out_rank"],
        {family["family"]: family["mape"] for family in fit["held_out"]},
    )


def _caches() -> dict[str, int]:
    """Bytes by name ("L1", "L2", "L3") of the caches that one core sees."""
    found = {}
    for folder in glob.glob("/sys/devices/system/cpu/cpu0/cache/index*"):
        try:
            kind, level, size = (Path(folder, name).read_text().strip() for name in ("type", "level", "size"))
        except OSError:
            continue
        match = re.fullmatch(r"(\d+)K", size)
        if kind in ("Data", "Unified") and match:
            found[f"L{level}"] = int(match.group(1)) * 1024
    return found
