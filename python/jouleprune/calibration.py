"""``jouleprune.energy.calibrate``: a profile whose speeds, and joules where there is a meter, were fitted here."""

from __future__ import annotations

import datetime
import json
import math
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ._fields import object_of
from .bench.machine import describe
from .calibration_fit import FitSummary, Sample, fit_energy, fit_time, machine_levels
from .calibration_sweep import RANDOM, Call, sweep
from .calibration_timing import TimingSummary, fit_timing
from .clock import STOLEN, SystemClock
from .errors import ProfileError
from .measurement import measure
from .meters import Meters, default_meters

__all__ = ["Calibration", "calibrate"]

#: (calls done, calls in all, name of the next)
Progress = Callable[[int, int, str], None]

_LONGEST_S = 280.0
_SAMPLE_S = 2e-3
_FEWEST, _MOST = 5, 25
#: Largest block that glibc keeps when it is freed is 32 MiB.
_KEPT_BYTES = 31 << 20
#: Of a call's joules.
_WINDOWS = 4


@dataclass(frozen=True)
class Calibration:
    """What was fitted.

    Attributes:
        path: of the profile.
        machine: the machine line that its provenance has too.
        samples: calls that were timed; ``seconds`` that took.
        noisy: calls that other programs disturbed whatever was tried: their times are too long.
        time: the fit of the speeds, which time calls that no family of ``timing`` covers.
        timing: the fit of each family's formula and corrections.
        energy: the fit of the joules; None without a meter, or where the sweep cannot tell coefficients apart.
        why_no_energy: the reason; the energies then are those of the base profile, with their labels.
        kept: numbers that no call determined, as in the base profile.
    """

    path: str
    machine: str
    samples: int
    noisy: int
    seconds: float
    time: FitSummary
    timing: TimingSummary
    energy: FitSummary | None
    why_no_energy: str
    kept: tuple[str, ...]

    def to_json(self) -> str:
        """As JSON, schema 1."""
        data = {name: getattr(self, name) for name in self.__dataclass_fields__}
        data["time"], data["timing"] = self.time.to_dict(), self.timing.to_dict()
        data["energy"] = None if self.energy is None else self.energy.to_dict()
        return json.dumps({"schema": 1, **data}, indent=1)

    def __str__(self) -> str:
        lines = [f"{self.path}: {self.samples} calls timed in {self.seconds:.0f} s on {self.machine}"]
        if self.noisy:
            lines.append(
                f"{self.noisy} of them were disturbed by other programs in every try: their times are too long"
            )
        lines.append(f"time: {self.timing}")
        lines.append(f"speeds, for calls of no family: {self.time}")
        if self.energy is None:
            lines.append(f"energy: as in the base profile, labelled as there: {self.why_no_energy}")
        else:
            lines.append(f"energy: {self.energy}")
        if self.kept:
            lines.append("not determined by any call, as in the base profile: " + ", ".join(self.kept))
        return "\n".join(lines)


def calibrate(
    path: str | os.PathLike[str] = "profile.json",
    *,
    base: str | os.PathLike[str] | Mapping[str, Any] = "generic-cpu",
    name: str | None = None,
    time_budget_s: float = 240.0,
    meters: Meters | None = None,
    resume: bool = True,
    progress: Progress | None = None,
) -> Calibration:
    """Times the library's kernels and torch's dense ones over families of shapes, fits the base profile's speeds (with
    a meter its energies too), and writes a profile that ``load_profile`` reads.

    Args:
        path: of the profile; ``<path>.samples`` holds what was timed until it is complete.
        base: a profile of kind "cpu".
        name: of the new profile; that of the file unless given.
        time_budget_s: for the sweep; each call is timed the shorter for it, 5 samples at least.
        meters: those of the machine unless given.
        resume: go on with the samples of an interrupted run on the same machine and base.
        progress: told before each call.
    Raises:
        ProfileError: ``base`` is unknown, malformed, or no CPU.
        ValueError: ``time_budget_s`` is not between 0 and 280, or ``path`` lies in no folder.
        OSError: the files cannot be written.
    """
    from .energy import load_profile

    if not 0 < time_budget_s <= _LONGEST_S:
        raise ValueError(f"time_budget_s: expected more than 0 and at most {_LONGEST_S:g}, got {time_budget_s}")
    profile = load_profile(base)
    if profile.kind != "cpu":
        raise ProfileError(f"base: expected a profile of kind 'cpu', got {profile.name!r} of kind {profile.kind!r}")
    out = Path(path)
    if not out.absolute().parent.is_dir():
        raise ValueError(f"path: no folder {out.absolute().parent}")
    opened = default_meters() if meters is None else meters
    begun = time.monotonic()
    machine = describe(torch.get_num_threads(), {}, "not measured here").line
    calls = sweep()
    metered = opened if opened.available else None
    why = opened.why_none
    if metered is not None and len(calls) * _WINDOWS * metered.window_s > time_budget_s:
        metered = None
        why = (
            f"{len(calls)} calls of {_WINDOWS} windows of {opened.window_s:.1f} s each take longer than the time "
            f"budget of {time_budget_s:g} s"
        )
    key = f"{profile.hash} {machine} {'no meter' if metered is None else metered}"
    store = _Store(out, key, resume)
    samples = _sampled(calls, store, time_budget_s, metered, progress)

    today = datetime.date.today().isoformat()
    document = machine_levels(json.loads(profile.to_json()), today)
    fitted, kept = fit_time(document, [sample for sample in samples if sample.family != RANDOM], machine, today)
    timing = fit_timing(document, samples, machine, today)
    energy = None
    if metered is not None:
        energy, why = fit_energy(document, samples, machine, today)
    document["name"] = out.stem if name is None else name
    document["description"] = f"Fitted by jouleprune calibrate from {profile.name} on {machine}"[:4000]
    load_profile(document)  # what is written can be read
    _write(out, json.dumps(document, indent=1) + "\n")
    store.forget()  # the samples are in the profile now
    return Calibration(
        path=str(out),
        machine=machine,
        samples=len(samples),
        noisy=sum(sample.noisy for sample in samples),
        seconds=time.monotonic() - begun,
        time=fitted,
        timing=timing,
        energy=energy,
        why_no_energy=why,
        kept=tuple(kept),
    )


class _Store:
    """Samples of an interrupted run, beside the profile."""

    def __init__(self, out: Path, key: str, resume: bool) -> None:
        self._path, self._key = out.with_name(out.name + ".samples"), key
        self.found: dict[str, Sample] = {}
        if not resume:
            self._write_all()
            return
        lines: list[str] = []
        known = False
        try:
            lines = self._path.read_text().splitlines()
            known = object_of(json.loads(lines[0]), str(self._path)).get("key") == key
            if known:
                for line in lines[1:]:
                    sample = Sample(**object_of(json.loads(line), str(self._path)))
                    self.found[sample.name] = sample
        except (OSError, ValueError, IndexError, TypeError):  # none, or the rest is damaged: timed anew
            pass
        if not known or len(lines) != 1 + len(self.found):
            self._write_all()

    def add(self, sample: Sample) -> None:
        self.found[sample.name] = sample
        with self._path.open("a") as file:
            file.write(json.dumps(vars(sample)) + "\n")

    def forget(self) -> None:
        self._path.unlink(missing_ok=True)

    def _write_all(self) -> None:
        lines = [json.dumps({"key": self._key}), *(json.dumps(vars(sample)) for sample in self.found.values())]
        _write(self._path, "".join(line + "\n" for line in lines))


def _write(path: Path, text: str) -> None:
    """At once or not at all."""
    partial = path.with_name(path.name + f".{os.getpid()}")
    partial.write_text(text)
    partial.replace(path)


def _sampled(
    calls: Sequence[Call], store: _Store, budget_s: float, meters: Meters | None, progress: Progress | None
) -> list[Sample]:
    # As in a process that has run a network: once blocks of that size came and went, glibc keeps what is freed for the
    # next allocation. Before that, each large result would be mapped anew.
    torch.empty(_KEPT_BYTES, dtype=torch.uint8)
    end = time.monotonic() + budget_s
    for place, call in enumerate(calls):
        if call.name in store.found:
            continue
        if progress is not None:
            progress(place, len(calls), call.name)
        share_s = max(0.0, end - time.monotonic()) / (len(calls) - place)
        with torch.inference_mode():
            made = call.make()
            seconds, spread, noisy = _typical_s(made.run, share_s / (1 if meters is None else 2))
            joules = None if meters is None else _joules(made.run, share_s / 2, meters)
        store.add(Sample(call.family, call.name, made.entries, seconds, noisy, joules, spread))
    if progress is not None:
        progress(len(calls), len(calls), "done")
    return [store.found[call.name] for call in calls]


def _typical_s(run: Callable[[], object], budget_s: float) -> tuple[float, float, bool]:
    """Seconds of one call, the median of several samples, and half the distance of their quartiles relative to it; and
    whether other programs were in between in all of them.

    Of one thread it is the time of the process that counts: on an idle machine the same as what passes, on a busy one
    without the others' share.
    """
    threads = torch.get_num_threads()
    clock = SystemClock(threads)

    def sample(repeats: int) -> tuple[float, float]:
        cpu, wall = clock.cpu(), clock.wall()
        for _ in range(repeats):
            run()
        cpu, wall = max(clock.cpu() - cpu, 1e-9), clock.wall() - wall
        return (cpu if threads == 1 else wall) / repeats, wall / cpu

    run()
    once = min(sample(1)[0] for _ in range(3))
    repeats = max(1, math.ceil(_SAMPLE_S / max(once, 1e-7)))
    end = time.monotonic() + 0.6 * budget_s  # the rest goes to making the call
    taken: list[tuple[float, float]] = []
    while len(taken) < _FEWEST or (len(taken) < _MOST and time.monotonic() < end):
        taken.append(sample(repeats))
    quiet = sorted(seconds for seconds, stolen in taken if stolen <= STOLEN)
    used = quiet or sorted(seconds for seconds, _ in taken)
    middle = statistics.median(used)
    return middle, (used[len(used) * 3 // 4] - used[len(used) // 4]) / 2 / middle, not quiet


def _joules(run: Callable[[], object], budget_s: float, meters: Meters) -> float | None:
    """Of the CPU's packages, per call."""
    measured = measure(run, meters=meters, max_s=max(budget_s, 0.1), min_windows=_WINDOWS, target=0.03)
    return measured.totals.get("package")
