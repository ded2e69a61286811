"""A schedule without a timetable: how far to prune follows the validation loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from ._pruner_checks import check_callable
from .schedule import check_share, check_step

__all__ = ["AdaptiveSchedule"]


class AdaptiveSchedule:
    """The threshold of importance per joule rises while the loss allows, and falls when it does not.

    At each update ``loss()`` is asked. Within ``(1 + tolerance)`` times the lowest loss so far the share of the removal
    that is done grows by ``stride``, else it shrinks by it, between 0 and 1. At ``end_step`` it is 1, whatever the
    loss: the budget holds. Weights that return start at zero; where the criterion sees only weights, which are all zero
    there, they return in their order (:class:`jouleprune.Regrow` chooses by gradient).

    The state of the pruner holds where it stands; a schedule that has begun serves no other pruner. In several
    processes the loss must be the same in all.

    Args:
        loss: called without arguments; the loss on validation data of the model as it is, in eval mode if that matters.
        end_step: from here on everything is done.
        begin_step, frequency: updates are every ``frequency`` steps from ``begin_step`` on.
        stride: of the share at each update, in (0, 1].
        tolerance: at least 0; 0.05 lets the loss rise by 5 %.
    Raises:
        ValueError: the message names the argument; later, a loss that is no finite number.
    The rule is ours: additive steps both ways.
    """

    def __init__(
        self,
        loss: Callable[[], float],
        *,
        end_step: int,
        begin_step: int = 0,
        frequency: int = 1,
        stride: float = 0.1,
        tolerance: float = 0.05,
    ) -> None:
        name = type(self).__name__
        check_callable("loss", loss, "() -> loss")
        check_step(name, "begin_step", begin_step, 0)
        check_step(name, "end_step", end_step, begin_step)
        check_step(name, "frequency", frequency, 1)
        check_share(name, "stride", stride)
        if stride == 0:
            raise ValueError(f"{name}: stride: expected a share above 0, got {stride!r}")
        if isinstance(tolerance, bool) or not isinstance(tolerance, int | float) or not 0 <= tolerance < math.inf:
            raise ValueError(f"{name}: tolerance: expected a finite number of at least 0, got {tolerance!r}")
        self._loss, self._begin, self._end, self._frequency = loss, begin_step, end_step, frequency
        self._stride, self._tolerance = float(stride), float(tolerance)
        self._share, self._lowest, self._asked = 0.0, math.inf, -1
        self._taken = False

    def take(self) -> None:
        """A pruner takes it, for itself alone: where the share stands belongs to the masks of one network.

        Raises:
            ValueError: it serves another pruner, and has begun.
        """
        if self._taken and self._asked >= 0:
            raise ValueError("schedule: this AdaptiveSchedule has begun with another Pruner: make a new one")
        self._taken = True

    def updates_at(self, step: int) -> bool:
        if not self._begin <= step <= self._end:
            return False
        return (step - self._begin) % self._frequency == 0 or step == self._end

    def is_final(self, step: int) -> bool:
        return step >= self._end

    def value(self, step: int) -> float:
        """The share at this step; asks for the loss once at each update."""
        if self.is_final(step):
            return 1.0
        if self.updates_at(step) and step > self._asked:
            found = self._loss()
            try:
                loss = float(found)
            except (TypeError, ValueError, OverflowError, RuntimeError) as error:  # torch: more than one element
                raise ValueError(f"loss: expected a finite number, got {found!r}") from error
            if isinstance(found, str) or not math.isfinite(loss):
                raise ValueError(f"loss: expected a finite number, got {found!r}")
            self._lowest = min(self._lowest, loss)
            allowed = loss <= self._lowest + self._tolerance * abs(self._lowest)
            self._share = min(1.0, max(0.0, self._share + (self._stride if allowed else -self._stride)))
            self._asked = step
        return self._share

    def state_dict(self) -> dict[str, Any]:
        """Share and lowest loss: the pruner's ``state_dict`` holds them as "adaptive"."""
        return {"schema": 1, "share": self._share, "lowest": self._lowest, "asked": self._asked}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes up where :meth:`state_dict` left off.

        Raises:
            ValueError: no state of schema 1; nothing has changed.
        """
        fields = {"share": float, "lowest": float, "asked": int}
        if (
            not isinstance(state, Mapping)
            or state.get("schema") != 1
            or any(type(state.get(name)) is not kind for name, kind in fields.items())
            or not 0 <= state["share"] <= 1
            or math.isnan(state["lowest"])
        ):
            raise ValueError(
                f"AdaptiveSchedule.load_state_dict: expected share, lowest and asked of schema 1, got {state!r}"
            )
        self._share, self._lowest, self._asked = state["share"], state["lowest"], state["asked"]
