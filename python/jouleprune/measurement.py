"""``jouleprune.energy.measure``: seconds and joules of one run, with intervals, and whether they can be believed."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .meters import Meters, default_meters, wait_for_devices

__all__ = ["UNITS", "CheckItem", "Measurement", "MeterCheck", "PerUnit", "check", "measure"]

#: What one run can be divided by.
UNITS = ("inference", "token", "output_token", "request")
_JOULES_PER_WH = 3600.0
#: Of work, in a check.
_CHECK_S = 80.0
_WH_PER_KWH = 1e3

#: (low, high) of the 95 % interval.
Interval = tuple[float, float]


@dataclass(frozen=True)
class CheckItem:
    """One question to the meters: ``state`` is "passed", "failed" or "not possible"; ``detail`` has the numbers."""

    name: str
    state: str
    detail: str


@dataclass(frozen=True)
class MeterCheck:
    """Whether the joules of this work can be called measured on this machine.

    Attributes:
        passed: no item failed, and the counter, its linearity and A/A could be checked.
        items: the questions and their answers.
        before, after: clocks and power caps at both ends, as the system tells them.
    """

    passed: bool
    items: tuple[CheckItem, ...]
    before: Mapping[str, str]
    after: Mapping[str, str]

    def __str__(self) -> str:
        lines = [f"{item.state:<12} {item.name}: {item.detail}" for item in self.items]
        return "\n".join([*lines, *_conditions(self.before, self.after)])


@dataclass(frozen=True)
class PerUnit:
    """Figures of one inference, token or request.

    Attributes:
        energy_j: by scope.
        wh_per_1000: watt-hours of a thousand, by scope.
        co2_g_per_1000, cost_per_1000: by scope; None without the user's factor.
    """

    unit: str
    time_s: float
    energy_j: Mapping[str, float]
    wh_per_1000: Mapping[str, float]
    co2_g_per_1000: Mapping[str, float] | None
    cost_per_1000: Mapping[str, float] | None


@dataclass(frozen=True)
class Measurement:
    """Of one run of the work.

    Attributes:
        time_s: seconds, always measured.
        energy_j: joules by domain, idle power included; None is not 0: ``status`` says why there is none.
        totals: joules by scope: sums over the domains that add. Scopes overlap; they are never added.
        interval: 95 % intervals, of "time_s", each domain and each scope's total ("total package").
        label: of the joules: "measured" only after a check that passed; "not checked"; "check failed"; "unavailable".
        idle_w: watts by domain while nothing ran, measured apart and subtracted nowhere; empty unless asked for.
        repeats: windows, each of at least ``runs_per_window`` runs.
        reached: whether the interval met the target.
        counts: what one run does, by unit.
        before, after: clocks and power caps.
    """

    time_s: float
    energy_j: Mapping[str, float | None]
    totals: Mapping[str, float]
    scope: Mapping[str, str]
    interval: Mapping[str, Interval]
    status: Mapping[str, str]
    label: str
    repeats: int
    runs_per_window: int
    reached: bool
    counts: Mapping[str, int]
    idle_w: Mapping[str, float] = field(default_factory=dict)
    why_unavailable: str = ""
    before: Mapping[str, str] = field(default_factory=dict)
    after: Mapping[str, str] = field(default_factory=dict)
    check: MeterCheck | None = None

    def per(self, unit: str, *, grams_per_kwh: float | None = None, price_per_kwh: float | None = None) -> PerUnit:
        """The figures of one unit.

        Args:
            unit: one of those in ``counts``.
            grams_per_kwh: CO2 of your electricity; there is no default, because it differs tenfold between places.
            price_per_kwh: of your electricity, in any currency.
        Raises:
            ValueError: an unknown unit, or a factor that is no positive number.
        """
        if unit not in self.counts:
            raise ValueError(f"unit: expected one of {', '.join(self.counts)}, got {unit!r}")
        for name, factor in (("grams_per_kwh", grams_per_kwh), ("price_per_kwh", price_per_kwh)):
            if factor is not None and not (factor > 0 and math.isfinite(factor)):
                raise ValueError(f"{name}: expected a number above 0, got {factor}")
        count = self.counts[unit]
        joules = {name: total / count for name, total in self.totals.items()}
        watt_hours = {name: 1000 * energy / _JOULES_PER_WH for name, energy in joules.items()}

        def by(factor: float | None) -> dict[str, float] | None:
            return None if factor is None else {name: wh / _WH_PER_KWH * factor for name, wh in watt_hours.items()}

        return PerUnit(unit, self.time_s / count, joules, watt_hours, by(grams_per_kwh), by(price_per_kwh))

    def to_json(self) -> str:
        """As JSON, schema 1."""
        data: dict[str, Any] = {"schema": 1}
        data |= {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "check"}
        data["check"] = None
        data["interval"] = {name: list(ends) for name, ends in self.interval.items()}
        if self.check is not None:
            data["check"] = {
                "passed": self.check.passed,
                "items": [vars(item) for item in self.check.items],
                "before": dict(self.check.before),
                "after": dict(self.check.after),
            }
        return json.dumps(data)

    def __str__(self) -> str:
        from .report import si

        def with_interval(value: float, unit: str, name: str) -> str:
            low, high = self.interval[name]
            return f"{si(value, unit)} ({si(low, unit)} to {si(high, unit)})"

        lines = [f"time    {with_interval(self.time_s, 's', 'time_s')} per run, measured"]
        for name, total in self.totals.items():
            lines.append(f"energy  {with_interval(total, 'J', f'total {name}')} per run, {name}, {self.label}")
        if not self.totals:
            lines.append(f"energy  {self.label}: {self.why_unavailable}")
        for name, joules in self.energy_j.items():
            shown = self.status[name] if joules is None else with_interval(joules, "J", name)
            lines.append(f"  {name} ({self.scope[name]}): {shown}")
        lines += [f"  idle {name}: {si(watts, 'W')}, included above" for name, watts in self.idle_w.items()]
        reached = "" if self.reached else "; the interval is wider than asked for"
        lines.append(f"{self.repeats} windows of at least {self.runs_per_window} runs, 95 % intervals{reached}")
        return "\n".join([*lines, *_conditions(self.before, self.after)])


def measure(
    fn: Callable[[], object],
    *,
    counts: Mapping[str, int] | None = None,
    meters: Meters | None = None,
    check: bool = False,
    target: float = 0.02,
    max_s: float = 60.0,
    min_windows: int = 12,
    window_s: float = 0.0,
    idle_s: float = 0.0,
    seed: int = 0,
) -> Measurement:
    """Seconds and joules of one call of ``fn``.

    The call is repeated in windows that are long enough for the meters, until the 95 % interval is narrow enough.

    Args:
        fn: the work; in eval mode and without gradients if that is what you mean to measure.
        counts: what one call does: ``{"inference": 8}``, ``{"request": 1, "token": 640, "output_token": 128}``.
        meters: those of the machine unless given.
        check: ask first whether the meters can be believed (about 90 s, more with a GPU); without it no joules are
            labelled "measured".
        target: half of the 95 % interval over the mean, of the energy, or of the time where there is no meter.
        max_s: no new windows after so many seconds, but for the first ``min_windows``.
        window_s: at least; by default 50 refreshes of the slowest counter, and 0.1 s.
        idle_s: above 0: measure idle power for so long, before the work.
        seed: of the random pauses.
    Raises:
        ValueError: an argument is out of range; the message names it.
    """
    units = _checked_counts(counts)
    opened = default_meters(cross_check=check) if meters is None else meters
    run = _repeated(fn)
    checked = _check(run, opened, _CHECK_S, seed) if check else None
    text = opened._meters.measure(
        run,
        target=target,
        max_s=max_s,
        min_windows=min_windows,
        window_s=window_s,
        idle_s=idle_s,
        seed=seed,
        synchronise=wait_for_devices,
    )
    return _measurement(json.loads(text), units, opened, checked)


def check(
    fn: Callable[[], object], *, meters: Meters | None = None, seconds: float = _CHECK_S, seed: int = 0
) -> MeterCheck:
    """Whether this machine's joules of ``fn`` can be believed: the counter moves under load, joules are linear in the
    number of calls, the work against itself shows no difference, a counter agrees with integrated power.

    Args:
        fn: the work.
        meters: those of the machine unless given.
        seconds: of work; more where the meters need longer windows.
        seed: of the random pauses.
    Raises:
        ValueError: an argument is out of range.
    """
    opened = default_meters(cross_check=True) if meters is None else meters
    return _check(_repeated(fn), opened, seconds, seed)


def _check(run: Callable[[int], None], meters: Meters, seconds: float, seed: int) -> MeterCheck:
    data = json.loads(meters._meters.check(run, seconds=seconds, seed=seed, synchronise=wait_for_devices))
    items = tuple(CheckItem(**item) for item in data["items"])
    return MeterCheck(data["passed"], items, data["before"], data["after"])


def _measurement(
    data: Mapping[str, Any], counts: Mapping[str, int], meters: Meters, checked: MeterCheck | None
) -> Measurement:
    intervals: dict[str, Interval] = {"time_s": tuple(data["time_s"][1:])}
    energy: dict[str, float | None] = {}
    for domain in data["domains"]:
        found = domain["energy_j"]
        energy[domain["domain"]] = None if found is None else found[0]
        if found is not None:
            intervals[domain["domain"]] = (found[1], found[2])
    # Where nothing adds, the core tells the single domains once more: they are no totals.
    scopes = {domain["scope"] for domain in data["domains"]}
    totals = {name: total for name, total in data["totals"].items() if name in scopes}
    for name, (_, low, high) in totals.items():
        intervals[f"total {name}"] = (low, high)
    return Measurement(
        time_s=data["time_s"][0],
        energy_j=energy,
        totals={name: total[0] for name, total in totals.items()},
        scope={domain["domain"]: domain["scope"] for domain in data["domains"]},
        interval=intervals,
        status={domain["domain"]: domain["status"] for domain in data["domains"]},
        label=_label(energy, checked),
        repeats=data["windows"],
        runs_per_window=data["runs_per_window"],
        reached=data["reached"],
        counts=counts,
        idle_w={domain["domain"]: domain["idle_w"] for domain in data["domains"] if domain["idle_w"] is not None},
        why_unavailable=meters.why_none or "no domain here adds up to a total",
        before=data["before"],
        after=data["after"],
        check=checked,
    )


def _label(energy: Mapping[str, float | None], checked: MeterCheck | None) -> str:
    if all(joules is None for joules in energy.values()):
        return "unavailable"
    if checked is None:
        return "not checked"
    return "measured" if checked.passed else "check failed"


def _repeated(fn: Callable[[], object]) -> Callable[[int], None]:
    if not callable(fn):
        raise ValueError(f"fn: expected a callable, got {type(fn).__name__}")

    def run(times: int) -> None:
        for _ in range(times):
            fn()

    return run


def _checked_counts(counts: Mapping[str, int] | None) -> dict[str, int]:
    found = {"inference": 1} if counts is None else dict(counts)
    for unit, count in found.items():
        if unit not in UNITS:
            raise ValueError(f"counts: expected some of {', '.join(UNITS)}, got {unit!r}")
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise ValueError(f"counts: {unit}: expected a whole number from 1 on, got {count!r}")
    return found


def _conditions(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    names = sorted({*before, *after})
    return [f"  {name}: {before.get(name, '?')} before, {after.get(name, '?')} after" for name in names]
