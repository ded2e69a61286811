"""``jp.assert_saves``: a pruned network held to what it shall save, for the tests of its users."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from .clock import Clock, SystemClock
from .energy import EnergyReport, Measurement, Profile, check, measure
from .errors import MeterError
from .estimate import Model, as_profile, estimate
from .meters import Meters, default_meters, wait_for_devices
from .record import arguments, unwrapped

__all__ = ["Claim", "Savings", "assert_saves", "paired_latency"]

#: Fewer undisturbed pairs than this show nothing.
_LEAST_PAIRS = 12
_MODELLED, _MEASURED = "modelled", "measured"


@dataclass(frozen=True)
class Claim:
    """One thing that was asked for; ``sentence`` tells what was expected and what was found.

    Attributes:
        found: what counts against ``expected``: shares of joules or time saved, or the drop of the metric. Of measured
            shares the end of the interval that is nearer to the claim's failing; NaN where nothing could be shown.
    """

    what: str
    expected: float
    found: float
    held: bool
    label: str
    sentence: str


@dataclass(frozen=True)
class Savings:
    """All claims; ``str`` is one sentence a line."""

    claims: tuple[Claim, ...]

    def __str__(self) -> str:
        return "\n".join(claim.sentence for claim in self.claims)


def assert_saves(
    before: Model,
    after: Model,
    example_inputs: Any = None,
    *,
    energy: float | None = None,
    latency: float | None = None,
    accuracy_drop: float | None = None,
    profile: Profile | str | Mapping[str, Any] | None = None,
    evaluate: Callable[[Any], float] | None = None,
    energy_by: str = _MODELLED,
    latency_by: str = _MEASURED,
    meters: Meters | None = None,
    rounds: int = 41,
    max_s: float = 30.0,
    check_s: float = 80.0,
    clock: Clock | None = None,
) -> Savings:
    """Raises unless ``after`` saves what is claimed over ``before``.

    Args:
        before, after: networks, or callables that run them, on the same inputs.
        example_inputs: as in :func:`jouleprune.estimate`; needed for energy and latency.
        energy: least share of the joules per inference that is saved: 0.2 means 20 % less.
        latency: least share of the time of a forward pass that is saved.
        accuracy_drop: most that ``evaluate`` may fall, in its own unit.
        profile: device that "modelled" means.
        evaluate: called with either network; higher is better.
        energy_by: "modelled" on ``profile``, or "measured" by this machine's meters after a check that passed.
        latency_by: "measured" here, both networks in turn, or "modelled" on ``profile``. Of what is measured the near
            end of the 95 % interval has to hold the claim.
        meters, clock: those of the machine unless given.
        rounds, max_s: pairs of samples to take, and seconds after which fewer do; also seconds of metering.
        check_s: of the meters' check.
    Returns:
        What was claimed and found.
    Raises:
        AssertionError: a claim does not hold; the message has a sentence for every claim.
        MeterError: joules are to be measured, and no meter here can be believed.
        ValueError: an argument is missing or out of range.
    """
    _check_claims(energy, latency, accuracy_drop)
    for name, seconds in (("max_s", max_s), ("check_s", check_s)):
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < math.inf:
            raise ValueError(f"{name}: expected finite seconds above 0, got {seconds!r}")
    _check_needs(example_inputs, energy, latency, accuracy_drop, profile, evaluate, energy_by, latency_by)
    device = None if profile is None else as_profile(profile)
    claims = []
    if energy is not None:
        if energy_by == _MEASURED:
            claims.append(_measured_energy(before, after, example_inputs, energy, meters, max_s, check_s))
        else:
            claims.append(_modelled(before, after, example_inputs, _given(device), "energy", energy))
    if latency is not None:
        if latency_by == _MEASURED:
            claims.append(_measured_latency(before, after, example_inputs, latency, rounds, max_s, clock))
        else:
            claims.append(_modelled(before, after, example_inputs, _given(device), "latency", latency))
    if accuracy_drop is not None and evaluate is not None:
        claims.append(_accuracy(before, after, evaluate, accuracy_drop))
    savings = Savings(tuple(claims))
    if not all(claim.held for claim in claims):
        raise AssertionError(f"assert_saves:\n{savings}")
    return savings


def _check_claims(energy: float | None, latency: float | None, accuracy_drop: float | None) -> None:
    if energy is None and latency is None and accuracy_drop is None:
        raise ValueError("assert_saves: expected at least one of energy, latency and accuracy_drop, got none")
    for name, share in (("energy", energy), ("latency", latency)):
        if share is not None and not (isinstance(share, int | float) and 0 <= share < 1):
            raise ValueError(f"{name}: expected a share from 0 to below 1 (0.2 is 20 % less), got {share!r}")
    if accuracy_drop is not None and not (isinstance(accuracy_drop, int | float) and math.isfinite(accuracy_drop)):
        raise ValueError(f"accuracy_drop: expected a finite number, got {accuracy_drop!r}")


def _check_needs(
    example_inputs: Any,
    energy: float | None,
    latency: float | None,
    accuracy_drop: float | None,
    profile: object,
    evaluate: object,
    energy_by: str,
    latency_by: str,
) -> None:
    for name, by in (("energy_by", energy_by), ("latency_by", latency_by)):
        if by not in (_MODELLED, _MEASURED):
            raise ValueError(f"{name}: expected modelled or measured, got {by!r}")
    if example_inputs is None and (energy is not None or latency is not None):
        raise ValueError("example_inputs: needed for claims about energy and latency, got None")
    modelled = (energy is not None and energy_by == _MODELLED) or (latency is not None and latency_by == _MODELLED)
    if modelled and profile is None:
        raise ValueError("profile: needed for what is modelled, got None")
    if accuracy_drop is not None and not callable(evaluate):
        raise ValueError(f"evaluate: a claim about accuracy needs a callable, got {evaluate!r}")


def _given(device: Profile | None) -> Profile:
    assert device is not None  # _check_needs
    return device


def _less(share: float) -> str:
    return f"{100 * share:.3g} % less" if share >= 0 else f"{-100 * share:.3g} % more"


def _sentence(what: str, held: bool, expected: float, found: str) -> str:
    return f"{what}: {'held' if held else 'NOT HELD'}: expected at least {_less(expected)}, found {found}"


def _modelled(before: Model, after: Model, example_inputs: Any, device: Profile, what: str, expected: float) -> Claim:
    from .report import si

    old, new = (estimate(model, example_inputs, profile=device) for model in (before, after))
    if what == "energy":
        values, unit, per = (old.energy_j, new.energy_j), "J", f"per {old.per}"
    else:
        values, unit, per = (old.latency_s, new.latency_s), "s", "per pass"
        if old.latency_s <= 0:
            raise ValueError(f"profile: expected one with a speed for a claim about latency, got {device.name}")
    saved = 1 - values[1] / values[0] if values[0] > 0 else 0.0
    ends = _at_the_ends(old, new) if what == "energy" else ""
    found = f"{_less(saved)}: {si(values[0], unit)} to {si(values[1], unit)} {per}, modelled on {device.name}{ends}"
    unknown = sorted({*old.unknown_ops, *new.unknown_ops})
    if unknown:
        found += f"; not priced: {', '.join(unknown)}"
    held = saved >= expected
    return Claim(what, expected, saved, held, _MODELLED, _sentence(what, held, expected, found))


def _at_the_ends(old: EnergyReport, new: EnergyReport) -> str:
    ends = [
        f"{_less(1 - b / a)} at its {name} ends"
        for name, a, b in (("low", old.low_j, new.low_j), ("high", old.high_j, new.high_j))
        if a > 0
    ]
    return f" ({'; '.join(ends)})" if ends else ""


def _measured_latency(
    before: Model, after: Model, example_inputs: Any, expected: float, rounds: int, max_s: float, clock: Clock | None
) -> Claim:
    from .report import si

    if isinstance(rounds, bool) or not isinstance(rounds, int) or rounds < _LEAST_PAIRS:
        raise ValueError(f"rounds: expected a whole number of at least {_LEAST_PAIRS}, got {rounds!r}")
    low, middle, seconds, pairs = paired_latency(before, after, example_inputs, rounds, max_s, clock)
    if pairs < _LEAST_PAIRS:
        found = (
            f"nothing: other programs disturbed all but {pairs} of {rounds} pairs (at least {_LEAST_PAIRS} are needed)"
        )
        return Claim("latency", expected, math.nan, False, _MEASURED, _sentence("latency", False, expected, found))
    near, saved = 1 - 1 / low, 1 - 1 / middle
    held = near >= expected
    found = (
        f"{_less(near)} at the near end of the 95 % interval, {_less(saved)} in the median of {pairs} pairs: "
        f"{si(seconds[0], 's')} to {si(seconds[1], 's')} per pass, measured"
    )
    return Claim("latency", expected, near, held, _MEASURED, _sentence("latency", held, expected, found))


def paired_latency(
    before: Model, after: Model, example_inputs: Any, rounds: int, max_s: float, clock: Clock | None = None
) -> tuple[float, float, tuple[float, float], int]:
    """Both run in turn: (near end of the 95 % interval of the speed-up, its median, median seconds of both, pairs that
    nobody disturbed). NaN where too few were kept."""
    from .bench.sampling import CallSampler, interleave
    from .bench.summary import paired_ratio, summarise

    time = SystemClock(torch.get_num_threads()) if clock is None else clock
    with _running(before, example_inputs) as old, _running(after, example_inputs) as new:
        samplers = {"before": CallSampler([old], time), "after": CallSampler([new], time)}
        taken = interleave(samplers, rounds, budget_s=max_s)
    ratio = paired_ratio(taken["before"], taken["after"])
    medians = [summarise(taken[name]).median_s for name in ("before", "after")]
    seconds = (medians[0] or math.nan, medians[1] or math.nan)
    if ratio is None:
        return math.nan, math.nan, seconds, 0
    return ratio.low_95, ratio.median, seconds, ratio.pairs


@contextmanager
def _running(model: Model, example_inputs: Any) -> Iterator[Callable[[], None]]:
    """A call of the network in eval mode without gradients, until the device is done; modes are put back after."""
    bare = unwrapped(model)
    modules = list(bare.modules()) if isinstance(bare, torch.nn.Module) else []
    modes = [module.training for module in modules]
    args, kwargs = arguments(example_inputs)

    def run() -> None:
        with torch.inference_mode():
            model(*args, **kwargs)
        wait_for_devices()

    for module in modules:
        module.training = False
    try:
        yield run
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode


def _measured_energy(
    before: Model,
    after: Model,
    example_inputs: Any,
    expected: float,
    meters: Meters | None,
    max_s: float,
    check_s: float,
) -> Claim:
    from .report import si

    opened = default_meters(cross_check=True) if meters is None else meters
    if opened.why_none:
        raise MeterError(f"energy_by: expected a meter that counts, got none: {opened.why_none}")
    with _running(before, example_inputs) as old, _running(after, example_inputs) as new:
        checked = check(old, meters=opened, seconds=check_s)
        if not checked.passed:
            raise MeterError(f"energy_by: expected meters that pass their check, got\n{checked}")
        # before, after, after, before: a drift hits both alike.
        windows = [
            measure(run, meters=opened, max_s=max_s / 4, seed=place) for place, run in enumerate((old, new, new, old))
        ]
    scopes = [scope for scope in windows[0].totals if all(scope in window.totals for window in windows)]
    if not scopes:
        raise MeterError(f"energy_by: expected joules that add up to a total, got none: {windows[0].why_unavailable}")
    lines, worst = [], math.inf
    for scope in scopes:
        (old_low, old_high), (new_low, new_high) = (
            _ends(windows[0], windows[3], scope),
            _ends(windows[1], windows[2], scope),
        )
        near = 1 - new_high / old_low if old_low > 0 else -math.inf
        worst = min(worst, near)
        lines.append(
            f"{_less(near)} at the near ends of the 95 % intervals, {scope}: {si(old_low, 'J')} to {si(old_high, 'J')} "
            f"before, {si(new_low, 'J')} to {si(new_high, 'J')} after, per pass, measured"
        )
    held = worst >= expected
    return Claim("energy", expected, worst, held, _MEASURED, _sentence("energy", held, expected, "; ".join(lines)))


def _ends(one: Measurement, other: Measurement, scope: str) -> tuple[float, float]:
    """The interval that covers both of two measurements of the same work."""
    intervals = [window.interval[f"total {scope}"] for window in (one, other)]
    return min(low for low, _ in intervals), max(high for _, high in intervals)


def _accuracy(before: Model, after: Model, evaluate: Callable[[Any], float], expected: float) -> Claim:
    old, new = float(evaluate(before)), float(evaluate(after))
    drop = old - new
    held = drop <= expected + 1e-9 * max(1.0, abs(old))  # 0.97 - 0.96 is a little above 0.01; False for NaN
    sentence = (
        f"accuracy: {'held' if held else 'NOT HELD'}: expected a drop of at most {expected:.4g}, found {drop:.4g}: "
        f"{old:.4g} to {new:.4g}, measured"
    )
    return Claim("accuracy", expected, drop, held, _MEASURED, sentence)
