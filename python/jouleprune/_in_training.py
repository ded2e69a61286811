"""What pruners of weights and of channels share: a schedule, masks on the model, and joules told at any time."""

from __future__ import annotations

import copy
from typing import Any, Generic, Protocol, TypeVar

import torch

from .adaptive import AdaptiveSchedule
from .currency import Reach
from .masks import MaskSet
from .schedule import Constant, Schedule, checked_schedule, joules_at
from .selection import plain_module

__all__ = ["InTraining"]


class _Priced(Protocol):
    @property
    def energy_j(self) -> float: ...


_Plan = TypeVar("_Plan", bound=_Priced)


class InTraining(Generic[_Plan]):
    """The base of both; ``_update(None)`` chooses masks for the final budget, ``_update(target)`` for a step on the
    way."""

    #: What copies have in common with what they were made of.
    _shared: frozenset[str] = frozenset({"_plan", "_schedule"})

    def __init__(self, model: torch.nn.Module, schedule: Schedule | None, reach: Reach) -> None:
        self._schedule = Constant() if schedule is None else checked_schedule(schedule)
        self._model = model
        self._reach = reach
        self._masks = MaskSet(model)
        self._plan: _Plan | None = None
        self._done = self._owed = False
        self._steps = 0
        if isinstance(self._schedule, AdaptiveSchedule):
            self._schedule.take()

    @property
    def energy_j(self) -> float:
        """Joules per count of the network as it will run with the present masks: equals ``estimate`` of what
        ``convert``, or ``shrink``, makes of it now. It may be less where kept weights happen to be exactly zero."""
        return self.dense_j if self._plan is None else self._plan.energy_j

    @property
    def budget_j(self) -> float:
        """The final budget, joules per count."""
        return self.budget

    @property
    def budget(self) -> float:
        """The final budget in what it counts: joules per count, or bytes or multiply-adds."""
        return self._reach.budget

    @property
    def dense_j(self) -> float:
        """Joules per count of the unmasked network."""
        return self._reach.dense_j

    @property
    def minimum_j(self) -> float:
        """The least joules per count that can be reached."""
        return self._reach.minimum

    @property
    def plan(self) -> _Plan:
        """The present plan.

        Raises:
            ValueError: nothing has been pruned yet.
        """
        if self._plan is None:
            name = type(self).__name__
            raise ValueError(
                f"{name}.plan: nothing has been pruned yet: call step() in the training loop, or prune_now()"
            )
        return self._plan

    @property
    def done(self) -> bool:
        """Whether the final masks were chosen, by the schedule or by :meth:`prune_now`; later steps only keep them."""
        return self._done

    def step(self) -> None:
        """One step of the schedule; call it after ``optimizer.step()`` and before ``zero_grad()``.

        Chooses masks anew when the schedule says so, and zeroes what is pruned again in any case. With an importance of
        present gradients that overflowed (mixed precision leaves such a step out) masks are chosen at the next step.
        """
        step, self._steps = self._steps, self._steps + 1
        final = self._schedule.is_final(step)
        due = not self._done and (final or self._owed or self._schedule.updates_at(step))
        self._owed = due and self._must_wait()
        if not due or self._owed:
            self._masks.apply()
        elif final:
            self._update(None)
        else:
            self._update(joules_at(self._schedule.value(step), self._reach.budget, self._reach.dense))

    def prune_now(self) -> _Plan:
        """Goes to the final budget at once, whatever the schedule."""
        self._update(None)
        return self.plan

    def keep(self) -> None:
        """Zeroes what is pruned again, outside of any schedule."""
        self._masks.apply()

    def remove(self) -> None:
        """Takes hooks and masks off the model; what was pruned is zero but free to train again."""
        self._masks.clear()

    def prunes(self, model: torch.nn.Module) -> bool:
        """Whether ``model`` is the one that is pruned here."""
        return plain_module(model) is self._model

    def _update(self, target: float | None) -> None:
        raise NotImplementedError

    def _must_wait(self) -> bool:
        """Whether nothing can be chosen at this step."""
        raise NotImplementedError

    def _adaptive_state(self) -> dict[str, Any]:
        """Where an ``AdaptiveSchedule`` stands, for the state."""
        return {"adaptive": self._schedule.state_dict()} if isinstance(self._schedule, AdaptiveSchedule) else {}

    def _load_adaptive(self, state: Any) -> None:
        """A state that is done may lack it: C++, which has no such schedule, writes those.

        Raises:
            ValueError: it is damaged, or missing; nothing has changed.
        """
        if not isinstance(self._schedule, AdaptiveSchedule):
            return
        if "adaptive" in state:
            self._schedule.load_state_dict(state["adaptive"])
        elif not state["done"]:
            where = f"{type(self).__name__}.load_state_dict: adaptive"
            raise ValueError(f"{where}: missing: the state was made along another schedule than AdaptiveSchedule")

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """A pruner of the copied model: ``copy.deepcopy((model, pruner))`` keeps the two together."""
        other = type(self).__new__(type(self))
        memo[id(self)] = other
        for name, value in self.__dict__.items():
            if name != "_masks":
                setattr(other, name, value if name in self._shared else copy.deepcopy(value, memo))
        if isinstance(self._schedule, AdaptiveSchedule):  # the copy goes its own way, asking the same loss
            other._schedule = copy.copy(self._schedule)
        other._masks = MaskSet(other._model)
        other._masks.replace(self._masks.bits)
        return other
