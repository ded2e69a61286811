"""From timed calls to a profile's ``timing``: per family of calls a formula, and its error near measured shapes.

What a call counts and which family it belongs to is the core's to say (``csrc/energy/timing.h``), as for estimates.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from . import _C
from ._C import Profile
from .calibration_fit import Sample

__all__ = ["TimingSummary", "fit_timing"]

#: Calls of a family, and of one whose shapes correct the formula.
_FEWEST, _ENOUGH_PLACES = 4, 8
#: Of the shortest call, what every call takes; the rest is a matter of its family.
_SHARED = 0.5


@dataclass(frozen=True)
class TimingSummary:
    """How well each family's shapes are predicted by a fit without them, a fifth at a time: calls, mean (``mape``) and
    largest relative error, and the mean of the logarithm of predicted over measured (``bias``)."""

    families: Mapping[str, Mapping[str, float]]

    @property
    def mape(self) -> float:
        """Mean over all calls."""
        calls = sum(family["calls"] for family in self.families.values())
        return sum(family["calls"] * family["mape"] for family in self.families.values()) / max(calls, 1)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        families = ", ".join(
            f"{name} {100 * family['mape']:.0f} %" for name, family in self.families.items() if family["mape"] > 0
        )
        return (
            f"{len(self.families)} families of calls, each shape by a fit without it: mean error "
            f"{100 * self.mape:.1f} % ({families})"
        )


@dataclass(frozen=True)
class _Seen:
    """A sample as the formula of its family sees it."""

    family: str
    general: str
    counts: list[float]
    at: list[float]
    entries: int
    sample: Sample


def fit_timing(document: dict[str, Any], samples: Sequence[Sample], machine: str, date: str) -> TimingSummary:
    """Fits ``timing`` and ``launch_s``; changes ``document``. Families of fewer than 4 calls are left out."""
    profile = Profile.parse(json.dumps(document), "calibration")
    seen = [one for one in (_seen(sample, profile) for sample in samples) if one is not None]
    if not seen:
        return TimingSummary({})
    launch_s = _SHARED * min(one.sample.seconds / one.entries for one in seen)
    families: dict[str, list[_Seen]] = defaultdict(list)
    for one in seen:
        families[one.family].append(one)
        if one.general not in ("", one.family):
            families[one.general].append(one)
    document["launch_s"] = {"value": launch_s, "low": launch_s / 1.5, "high": launch_s * 1.5}
    source = f"jouleprune calibrate: half of the shortest of {len(seen)} calls; {machine}"[:4000]
    document["provenance"]["/launch_s"] = {"kind": "fitted", "date": date, "source": source}
    document["timing"], errors = {}, {}
    for name, calls in sorted(families.items()):
        if len(calls) < _FEWEST:
            continue
        fit = json.loads(_C.fit_family(json.dumps([_timed(one, launch_s) for one in calls])))
        document["timing"][name] = _family(fit, calls)
        document["provenance"][f"/timing/{name}"] = {
            "kind": "fitted",
            "date": date,
            "source": _source(fit, len(calls), machine),
        }
        errors[name] = {"calls": len(calls), **{key: fit[key] for key in ("mape", "worst", "bias")}}
    return TimingSummary(errors)


def _seen(sample: Sample, profile: Profile) -> _Seen | None:
    """The sample's calls of the family of its largest one: the others (a copy that an LSTM makes) take little."""
    views = json.loads(_C.time_views(json.dumps(sample.entries), profile))
    told = [(entry["macs"], place) for place, entry in enumerate(sample.entries) if views[place] is not None]
    if not told:
        return None
    main = views[max(told)[1]]
    alike = [view for view in views if view is not None and view["family"] == main["family"]]
    counts = [sum(values) for values in zip(*(view["counts"] for view in alike), strict=True)]
    return _Seen(main["family"], main["general"], counts, main["at"], len(alike), sample)


def _timed(one: _Seen, launch_s: float) -> dict[str, Any]:
    return {"counts": one.counts, "at": one.at, "seconds": one.sample.seconds - one.entries * launch_s}


def _family(fit: Mapping[str, Any], calls: Sequence[_Seen]) -> dict[str, Any]:
    error = max(fit["mape"], 0.01)
    seconds = {
        name: {"value": each, "low": each / (1 + error), "high": each * (1 + error)}
        for name, each in zip(_C.timed_counts(), fit["coefficients"], strict=True)
        if each > 0
    }
    made: dict[str, Any] = {"seconds": seconds}
    if len(calls) >= _ENOUGH_PLACES:
        made["reach"], made["pull"] = (dict.fromkeys(("value", "low", "high"), fit[key]) for key in ("reach", "pull"))
        made["measured"] = [
            {"at": one.at, "ratio": _ratio(ratio, one.sample.spread)}
            for one, ratio in zip(calls, fit["ratios"], strict=True)
        ]
    return made


def _ratio(ratio: float, spread: float) -> dict[str, float]:
    return {"value": ratio, "low": ratio / (1 + spread), "high": ratio * (1 + spread)}


def _source(fit: Mapping[str, Any], count: int, machine: str) -> str:
    return (
        f"jouleprune calibrate: seconds of {count} calls; shapes left out a fifth at a time: mean error "
        f"{100 * fit['mape']:.1f} %, largest {100 * fit['worst']:.0f} %; {machine}"
    )[:4000]
