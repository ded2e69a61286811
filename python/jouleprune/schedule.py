"""When to prune, and how far: schedules over calls of ``Pruner.step()``, counted from 0.

A schedule's value goes from ``initial`` to ``final``. Under a joule budget it is the share of the removal that is done,
so the energy target is ``E(t) = budget + (dense - budget) * (1 - value(t))``, and ``final`` must be 1: where a schedule
ends the budget holds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol, TypeGuard

__all__ = [
    "Constant",
    "CosineDecay",
    "ExponentialDecay",
    "LinearDecay",
    "MultiStep",
    "OneShot",
    "PolynomialDecay",
    "Schedule",
    "check_share",
    "check_step",
    "checked_schedule",
]

_METHODS = ("updates_at", "value", "is_final")


class Schedule(Protocol):
    """What the Pruner asks of a schedule."""

    def updates_at(self, step: int) -> bool:
        """Whether masks are chosen anew at this step."""

    def value(self, step: int) -> float:
        """Value at this step, in [0, 1]; the final one from the last update on."""

    def is_final(self, step: int) -> bool:
        """Whether the final state is due at this step."""


@dataclass(frozen=True, kw_only=True)
class Constant:
    """Everything at once: the final state at ``begin_step``.

    Raises:
        ValueError: ``begin_step`` is no whole number of at least 0, or ``final`` no share.
    """

    begin_step: int = 0
    final: float = 1.0

    def __post_init__(self) -> None:
        check_step("Constant", "begin_step", self.begin_step, 0)
        check_share("Constant", "final", self.final)

    def updates_at(self, step: int) -> bool:
        return step == self.begin_step

    def value(self, step: int) -> float:
        return self.final if step >= self.begin_step else 0.0

    def is_final(self, step: int) -> bool:
        return step >= self.begin_step


@dataclass(frozen=True, kw_only=True)
class _Decay:
    """``value = final + (initial - final) * left(t)`` with ``t`` from 0 at ``begin_step`` to 1 at ``end_step``.

    Masks are chosen every ``frequency`` steps from ``begin_step`` on, and at ``end_step``. Under a budget ``initial``
    is the share of the removal that the first update does.
    """

    begin_step: int = 0
    end_step: int
    frequency: int = 1
    initial: float = 0.0
    final: float = 1.0

    def __post_init__(self) -> None:
        name = type(self).__name__
        check_step(name, "begin_step", self.begin_step, 0)
        check_step(name, "end_step", self.end_step, self.begin_step)
        check_step(name, "frequency", self.frequency, 1)
        check_share(name, "initial", self.initial)
        check_share(name, "final", self.final)
        if self.initial > self.final:
            raise ValueError(
                f"{name}: initial: expected at most final = {self.final!r}, got {self.initial!r}: "
                "what was removed does not come back"
            )

    def updates_at(self, step: int) -> bool:
        if not self.begin_step <= step <= self.end_step:
            return False
        return (step - self.begin_step) % self.frequency == 0 or step == self.end_step

    def value(self, step: int) -> float:
        if self.is_final(step):
            return self.final
        t = max(0.0, (step - self.begin_step) / (self.end_step - self.begin_step))
        return float(self.final + (self.initial - self.final) * self._left(t))

    def is_final(self, step: int) -> bool:
        return step >= self.end_step

    def _left(self, t: float) -> float:
        """Of what is to do, at t in [0, 1)."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class PolynomialDecay(_Decay):
    """``value = final + (initial - final) * (1 - t) ** power`` with ``t`` from 0 at ``begin_step`` to 1 at
    ``end_step``.

    Masks are chosen every ``frequency`` steps from ``begin_step`` on, and at ``end_step``. Under a budget ``initial``
    is the share of the removal that the first update does.
    Source: Zhu and Gupta, "To prune, or not to prune", 2017, section 3 (there with power 3).

    Raises:
        ValueError: steps are negative or out of order, ``frequency`` is below 1, ``power`` is not positive and finite,
            ``initial`` or ``final`` is no share, or ``initial`` is above ``final``.
    """

    power: float = 3.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_positive("PolynomialDecay", "power", self.power)

    def _left(self, t: float) -> float:
        return float((1.0 - t) ** self.power)


@dataclass(frozen=True, kw_only=True)
class LinearDecay(_Decay):
    """As :class:`PolynomialDecay` with power 1."""

    def _left(self, t: float) -> float:
        return 1.0 - t


@dataclass(frozen=True, kw_only=True)
class CosineDecay(_Decay):
    """As :class:`PolynomialDecay` with ``(1 + cos(pi t)) / 2`` in place of ``(1 - t) ** power``: slow at both ends."""

    def _left(self, t: float) -> float:
        return (1.0 + math.cos(math.pi * t)) / 2.0


@dataclass(frozen=True, kw_only=True)
class ExponentialDecay(_Decay):
    """As :class:`PolynomialDecay` with ``(exp(-rate t) - exp(-rate)) / (1 - exp(-rate))`` in place of
    ``(1 - t) ** power``: most goes early.

    Raises:
        ValueError: as there, and a ``rate`` that is not positive and finite.
    """

    rate: float = 5.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_positive("ExponentialDecay", "rate", self.rate)

    def _left(self, t: float) -> float:
        # The same without differences of nearly equal numbers, which vanish for small rates.
        return math.exp(-self.rate * t) * math.expm1(-self.rate * (1.0 - t)) / math.expm1(-self.rate)


@dataclass(frozen=True, kw_only=True)
class MultiStep:
    """``values[i]`` from step ``milestones[i]`` on; equal parts up to 1 unless ``values`` are given.

    Raises:
        ValueError: milestones that do not ascend from 0 on, or values that are no shares, fall, or are not as many.
    """

    milestones: Sequence[int]
    values: Sequence[float] = ()

    def __post_init__(self) -> None:
        for name in ("milestones", "values"):
            given = getattr(self, name)
            if not isinstance(given, Iterable):
                raise ValueError(f"MultiStep: {name}: expected a list, got {given!r}")
            object.__setattr__(self, name, tuple(given))
        if not self.milestones:
            raise ValueError("MultiStep: milestones: expected at least one step, got none")
        least = 0
        for step in self.milestones:
            check_step("MultiStep", "milestones", step, least)
            least = step + 1
        if self.values and len(self.values) != len(self.milestones):
            raise ValueError(
                f"MultiStep: values: expected one per milestone, {len(self.milestones)}, got {len(self.values)}"
            )
        for value in self.values:
            check_share("MultiStep", "values", value)
        if any(after < before for before, after in pairwise(self.values)):
            raise ValueError(f"MultiStep: values: expected shares that do not fall, got {self.values!r}")

    @property
    def final(self) -> float:
        return float(self.values[-1]) if self.values else 1.0

    def updates_at(self, step: int) -> bool:
        return step in self.milestones

    def value(self, step: int) -> float:
        passed = sum(1 for milestone in self.milestones if milestone <= step)
        if passed == 0:
            return 0.0
        return float(self.values[passed - 1]) if self.values else passed / len(self.milestones)

    def is_final(self, step: int) -> bool:
        return step >= self.milestones[-1]


#: :class:`Constant`, by the name that others use.
OneShot = Constant


def joules_at(share: float, budget_j: float, dense_j: float) -> float:
    """The joules that a network may take when ``share`` of the removal is done: of the dense network at 0."""
    return budget_j + (dense_j - budget_j) * (1.0 - share)


def checked_schedule(schedule: Schedule) -> Schedule:
    """``schedule`` itself.

    Raises:
        ValueError: it lacks a method of a schedule, is a class where an instance is expected, or ends short of the
            budget.
    """
    if isinstance(schedule, type):
        raise ValueError(f"schedule: expected an instance, got the class: write {schedule.__name__}()")
    if not all(callable(getattr(schedule, method, None)) for method in _METHODS):
        raise ValueError(f"schedule: expected Constant, PolynomialDecay or alike, got {type(schedule).__name__}")
    final = getattr(schedule, "final", 1.0)
    if final != 1.0:
        raise ValueError(
            f"schedule: final: the budget is reached in the end: expected 1.0, got {final!r}; give another budget"
        )
    return schedule


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_positive(schedule: str, name: str, value: object) -> None:
    if not _is_number(value) or not 0.0 < value < math.inf:
        raise ValueError(f"{schedule}: {name}: expected a finite number above 0, got {value!r}")


def check_share(schedule: str, name: str, value: object) -> None:
    if not _is_number(value) or not 0.0 <= value <= 1.0:
        raise ValueError(f"{schedule}: {name}: expected a share in [0, 1], got {value!r}")


def check_step(schedule: str, name: str, value: int, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{schedule}: {name}: expected a whole number >= {least}, got {value!r}")
