"""Channels that go in training: zeroed along a schedule, whole, and cut off at the end."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from typing_extensions import Unpack

from .._in_training import InTraining
from .._pruner_checks import gradients_overflow
from .._ranks import Ranks, is_sharded
from ..currency import Reach
from ..energy import Profile
from ..errors import BudgetError, PatternError
from ..estimate import as_profile
from ..importance import importance_name
from ..schedule import Schedule, checked_schedule
from ..selection import plain_module
from .channel_state import masks_of, read_channel_state
from .make_plan import budget_in_joules, plan_structure
from .options import StructureKeywords, StructureOptions
from .plan import StructurePlan
from .shrink import Shrunk, shrink
from .units import kinds_of

__all__ = ["ChannelPruner"]

_KINDS = ("filter", "neuron", "hidden", "head")


class ChannelPruner(InTraining[StructurePlan]):
    """As :class:`jouleprune.Pruner`, but whole channels, hidden units and heads go: all that they read and write is
    held at zero while ``model`` trains, so that the network computes what is left of it without them, and
    :meth:`shrink` then makes the smaller network.

    Call :meth:`step` after each ``optimizer.step()``. At each update of the schedule :func:`jouleprune.plan_structure`
    chooses anew within ``E = budget + (dense - budget) * (1 - share)``; what is zero already is worth nothing and goes
    first. Joules are those of the smaller network with every weight that it has counted: zeros by themselves save none
    on a CPU or GPU, and one inside of what is left may come back in training. Percentages refer to the unmasked dense
    network, also where the weights hold zeros already (after a restart, say).

    Args:
        model: trained in place. Replicas of DistributedDataParallel take the plan of rank 0, so that their masks are
            equal whatever data each sees: all make the same calls. Sharded networks (``fully_shard``) are refused.
        schedule: ``Constant()`` (all at the first step) unless given. In several processes an ``AdaptiveSchedule``
            must see the same loss in all.
        pattern: one or several of "channel", "filter", "neuron", "hidden" and "head".
        example_inputs, energy, profile, importance, data, loss, ignored_layers, min_density, round_to,
            activation_density, batch, per, count: as of :func:`jouleprune.shrink`.
    Raises:
        BudgetError: malformed, above the dense energy, or below what the smallest network takes; nothing has changed.
        PatternError, ValueError: the message names the argument.
        RuntimeError: planning failed in another process; the message names the rank.
    """

    _shared = frozenset({"_plan", "_schedule", "_profile", "_ranks", "_options"})

    def __init__(
        self,
        model: nn.Module,
        example_inputs: Any,
        *,
        energy: str | float,
        profile: Profile | str | Mapping[str, Any],
        schedule: Schedule | None = None,
        **keywords: Unpack[StructureKeywords],
    ) -> None:
        self._options = StructureOptions.of("ChannelPruner", keywords)
        for kind in kinds_of(self._options.pattern):
            if kind not in _KINDS:
                raise PatternError(f"pattern: expected some of channel, {', '.join(_KINDS)} in training, got {kind!r}")
        if schedule is not None:
            checked_schedule(schedule)
        self._ranks = Ranks.of(model)
        self._model, self._inputs, self._profile = plain_module(model), example_inputs, as_profile(profile)
        for name, parameter in self._model.named_parameters():
            if is_sharded(parameter):
                raise ValueError(f"model: expected whole parameters, got {name!r} sharded over processes")
        names = {id(module): name for name, module in self._model.named_modules()}
        ignored = [names.get(id(layer), layer) for layer in self._options.ignored_layers]
        self._options = replace(self._options, ignored_layers=ignored)
        whole = self._planned("100%")
        budget_j = budget_in_joules(energy, whole.dense_j)
        if budget_j < whole.minimum_j:
            raise BudgetError(
                f"energy: {budget_j:.4g} J is below the least that can be reached, {whole.minimum_j:.4g} J",
                whole.minimum_j,
            )
        super().__init__(self._model, schedule, Reach(whole.dense_j, whole.minimum_j, budget_j, whole.dense_j))

    def shrink(self, optimizer: torch.optim.Optimizer | None = None) -> Shrunk:
        """The smaller network, with outputs equal to those of the model as it is; the model keeps its shape.

        Args:
            optimizer: trains the smaller network from now on.
        Raises:
            ValueError: nothing has been pruned yet.
        """
        self._masks.apply()
        return shrink(self._model, plan=self.plan, optimizer=optimizer)

    def state_dict(self) -> dict[str, Any]:
        """Step, joules, plan as JSON, profile, pattern, importance, and where an ``AdaptiveSchedule`` stands: enough
        to go on after a restart, given the same model and arguments."""
        plan = None if self._plan is None else self._plan.to_json()
        joules = {"dense_j": self.dense_j, "minimum_j": self.minimum_j, "budget_j": self.budget_j}
        state = {"schema": 1, "step": self._steps, "done": self._done, "owed": self._owed, "plan": plan}
        return {**state, **joules, **self._made_for(), **self._adaptive_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes up where :meth:`state_dict` left off; masks apply at once.

        Raises:
            ValueError: no state of schema 1, or one of another profile, pattern, importance, budget or network; nothing
                has changed.
        """
        saved = read_channel_state(state, self._model, self._made_for(), self._reach)
        self._load_adaptive(state)
        self._steps, self._done, self._owed, self._plan = saved.step, saved.done, saved.owed, saved.plan
        self._masks.replace(saved.masks)

    def _made_for(self) -> dict[str, Any]:
        """What a state must share with the pruner that takes it, beside joules."""
        return {
            "profile_hash": self._profile.hash,
            "pattern": list(kinds_of(self._options.pattern)),
            "importance": importance_name(self._options.importance),
        }

    def _must_wait(self) -> bool:
        gradients = (parameter.grad for parameter in self._model.parameters())
        return gradients_overflow(self._options.importance, self._options.data, gradients, self._ranks)

    def _update(self, target: float | None) -> None:
        self._plan = self._planned(min(self.budget_j if target is None else target, self.dense_j))
        self._masks.replace(masks_of(self._model, self._plan.structure))
        self._done = target is None

    def _planned(self, energy: str | float) -> StructurePlan:
        """Of several processes that train replicas the plan of the first: each sees other data."""

        def work() -> StructurePlan:
            options: StructureKeywords = vars(self._options)  # type: ignore[assignment]
            return plan_structure(self._unmasked(), self._inputs, energy=energy, profile=self._profile, **options)

        if self._ranks is None:
            return work()
        plan = self._ranks.together("ChannelPruner", work)
        return StructurePlan.from_json(self._ranks.of_the_first(plan.to_json()))

    @torch.no_grad()
    def _unmasked(self) -> nn.Module:
        """A copy in which every zero has the least positive number instead: hardware that skips zeros would price it as
        gone, but what comes back is paid for. Gradients go along, for criteria that look at them."""
        filled = copy.deepcopy(self._model)
        for parameter, trained in zip(filled.parameters(), self._model.parameters(), strict=True):
            if parameter.dim() >= 2 and parameter.is_floating_point():
                parameter[parameter == 0] = torch.finfo(parameter.dtype).tiny
            parameter.grad = trained.grad
        return filled
