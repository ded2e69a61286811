"""When to prune, and how far: schedules over calls of ``Pruner.step()``, counted from 0.

A schedule's value goes from ``initial`` to ``final``. Under a joule budget it is the share of the removal that is
done, so the energy target is ``E(t) = budget + (dense - budget) * (1 - value(t))``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

__all__ = ["Constant", "PolynomialDecay", "Schedule"]


class Schedule(Protocol):
    """What the Pruner asks of a schedule."""

    def updates_at(self, step: int) -> bool:
        """Whether masks are chosen anew at this step."""

    def value(self, step: int) -> float:
        """Value at this step; ``final`` from the last update on."""

    def is_final(self, step: int) -> bool:
        """Whether the final state is due at this step."""


@dataclass(frozen=True, kw_only=True)
class Constant:
    """Everything at once: the final state at ``begin_step``.

    Raises:
        ValueError: ``begin_step`` is negative.
    """

    begin_step: int = 0
    final: float = 1.0

    def __post_init__(self) -> None:
        _check_step("Constant", "begin_step", self.begin_step, 0)

    def updates_at(self, step: int) -> bool:
        return step == self.begin_step

    def value(self, step: int) -> float:
        return self.final if step >= self.begin_step else 0.0

    def is_final(self, step: int) -> bool:
        return step >= self.begin_step


@dataclass(frozen=True, kw_only=True)
class PolynomialDecay:
    """``value = final + (initial - final) * (1 - t) ** power`` with ``t`` from 0 at ``begin_step`` to 1 at
    ``end_step``.

    Masks are chosen every ``frequency`` steps from ``begin_step`` on, and at ``end_step``.
    Source: Zhu and Gupta, "To prune, or not to prune", 2017, section 3 (there with power 3).

    Raises:
        ValueError: steps are negative or out of order, ``frequency`` is below 1, ``power`` is not positive.
    """

    begin_step: int = 0
    end_step: int
    frequency: int = 1
    power: float = 3.0
    initial: float = 0.0
    final: float = 1.0

    def __post_init__(self) -> None:
        _check_step("PolynomialDecay", "begin_step", self.begin_step, 0)
        _check_step("PolynomialDecay", "end_step", self.end_step, self.begin_step)
        _check_step("PolynomialDecay", "frequency", self.frequency, 1)
        if not self.power > 0:
            raise ValueError(f"PolynomialDecay: power: expected a number above 0, got {self.power!r}")
        for name in ("initial", "final"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"PolynomialDecay: {name}: expected a share in [0, 1], got {getattr(self, name)!r}")

    def updates_at(self, step: int) -> bool:
        if not self.begin_step <= step <= self.end_step:
            return False
        return (step - self.begin_step) % self.frequency == 0 or step == self.end_step

    def value(self, step: int) -> float:
        if self.is_final(step):
            return self.final
        t = max(0.0, (step - self.begin_step) / (self.end_step - self.begin_step))
        return float(self.final + (self.initial - self.final) * (1.0 - t) ** self.power)

    def is_final(self, step: int) -> bool:
        return step >= self.end_step


def _check_step(schedule: str, name: str, value: int, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{schedule}: {name}: expected a whole number >= {least}, got {value!r}")
