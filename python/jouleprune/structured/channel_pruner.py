"""Channels that go in training: zeroed along a schedule, whole, and cut off at the end."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from .._ranks import Ranks, is_sharded
from ..criteria import Loss
from ..energy import Profile
from ..errors import BudgetError, PatternError
from ..estimate import ActivationDensity, as_profile
from ..importance import Importance
from ..masks import MaskSet
from ..ops import pack_mask
from ..schedule import Constant, Schedule, checked_schedule, joules_at
from ..selection import plain_module
from .make_plan import budget_in_joules, plan_structure
from .plan import StructurePlan
from .shrink import Shrunk, shrink
from .structure import Structure, smaller_copy
from .units import kinds_of

__all__ = ["ChannelPruner", "masks_of"]

_KINDS = ("filter", "neuron", "hidden", "head")
#: Of a state beside its schema.
_STATE = {"step": int, "done": bool, "plan": str, "dense_j": float, "minimum_j": float, "budget_j": float}


class ChannelPruner:
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
        schedule: ``Constant()`` (all at the first step) unless given.
        pattern: one or several of "channel", "filter", "neuron", "hidden" and "head".
        example_inputs, energy, profile, importance, data, loss, ignored_layers, min_density, round_to,
            activation_density, batch, per, count: as of :func:`jouleprune.shrink`.
    Raises:
        BudgetError: malformed, above the dense energy, or below what the smallest network takes; nothing has changed.
        PatternError, ValueError: the message names the argument.
        RuntimeError: planning failed in another process; the message names the rank.
    """

    def __init__(
        self,
        model: nn.Module,
        example_inputs: Any,
        *,
        energy: str | float,
        profile: Profile | str | Mapping[str, Any],
        schedule: Schedule | None = None,
        pattern: str | Sequence[str] = "channel",
        importance: Importance = "lamp",
        data: Iterable[Any] | None = None,
        loss: Loss | Sequence[Loss] | Mapping[str, Loss] | None = None,
        ignored_layers: Sequence[nn.Module | str] = (),
        min_density: float | Mapping[str, float] = 0.0,
        round_to: int | None = None,
        activation_density: ActivationDensity = 1.0,
        batch: int | None = None,
        per: str = "inference",
        count: int | None = None,
    ) -> None:
        for kind in kinds_of(pattern):
            if kind not in _KINDS:
                raise PatternError(f"pattern: expected some of channel, {', '.join(_KINDS)} in training, got {kind!r}")
        self._schedule = Constant() if schedule is None else checked_schedule(schedule)
        self._ranks = Ranks.of(model)
        self._model, self._inputs, self._profile = plain_module(model), example_inputs, as_profile(profile)
        for name, parameter in self._model.named_parameters():
            if is_sharded(parameter):
                raise ValueError(f"model: expected whole parameters, got {name!r} sharded over processes")
        names = {id(module): name for name, module in self._model.named_modules()}
        self._options: dict[str, Any] = {
            "profile": self._profile, "pattern": pattern, "importance": importance, "data": data, "loss": loss,
            "ignored_layers": [names.get(id(layer), layer) for layer in ignored_layers], "min_density": min_density,
            "round_to": round_to, "activation_density": activation_density, "batch": batch, "per": per, "count": count,
        }  # fmt: skip
        whole = self._planned("100%")
        self._dense_j, self._minimum_j = whole.dense_j, whole.minimum_j
        self._budget_j = budget_in_joules(energy, whole.dense_j)
        if self._budget_j < self._minimum_j:
            raise BudgetError(
                f"energy: {self._budget_j:.4g} J is below the least that can be reached, {self._minimum_j:.4g} J",
                self._minimum_j,
            )
        self._masks = MaskSet(self._model)
        self._plan: StructurePlan | None = None
        self._done, self._steps = False, 0

    @property
    def energy_j(self) -> float:
        """Joules per count of the network that :meth:`shrink` would make now, with all of its weights counted."""
        return self._dense_j if self._plan is None else self._plan.energy_j

    @property
    def budget_j(self) -> float:
        return self._budget_j

    @property
    def dense_j(self) -> float:
        return self._dense_j

    @property
    def minimum_j(self) -> float:
        """Joules of the smallest network."""
        return self._minimum_j

    @property
    def done(self) -> bool:
        """Whether the final choice was made; later steps only keep it."""
        return self._done

    @property
    def plan(self) -> StructurePlan:
        """The present plan.

        Raises:
            ValueError: nothing has been pruned yet.
        """
        if self._plan is None:
            raise ValueError("ChannelPruner.plan: nothing has been pruned yet: call step() in training, or prune_now()")
        return self._plan

    def step(self) -> None:
        """One step of the schedule; call it after ``optimizer.step()`` and before ``zero_grad()``."""
        step, self._steps = self._steps, self._steps + 1
        if not self._done and self._schedule.is_final(step):
            self.prune_now()
        elif not self._done and self._schedule.updates_at(step):
            share = self._schedule.value(step)
            self._update(joules_at(share, self._budget_j, self._dense_j))
        else:
            self._masks.apply()

    def prune_now(self) -> StructurePlan:
        """Goes to the final budget at once, whatever the schedule."""
        self._update(self._budget_j)
        self._done = True
        return self.plan

    def keep(self) -> None:
        """Zeroes what is pruned again, outside of any schedule."""
        self._masks.apply()

    def shrink(self, optimizer: torch.optim.Optimizer | None = None) -> Shrunk:
        """The smaller network, with outputs equal to those of the model as it is; the model keeps its shape.

        Args:
            optimizer: trains the smaller network from now on.
        Raises:
            ValueError: nothing has been pruned yet.
        """
        self._masks.apply()
        return shrink(self._model, plan=self.plan, optimizer=optimizer)

    def remove(self) -> None:
        """Takes hooks and masks off the model; what was pruned is zero but free to train again."""
        self._masks.clear()

    def state_dict(self) -> dict[str, Any]:
        """Step, joules, and plan as JSON: enough to go on after a restart, given the same model and arguments."""
        plan = None if self._plan is None else self._plan.to_json()
        joules = {"dense_j": self._dense_j, "minimum_j": self._minimum_j, "budget_j": self._budget_j}
        return {"schema": 1, "step": self._steps, "done": self._done, "plan": plan, **joules}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes up where :meth:`state_dict` left off; masks apply at once.

        Raises:
            ValueError: no state of schema 1, or a plan of another profile or network; nothing has changed.
        """
        where = "ChannelPruner.load_state_dict"
        if not isinstance(state, Mapping) or state.get("schema") != 1:
            raise ValueError(f"{where}: expected the dict of state_dict(), schema 1, got {state!r}")
        for name, kind in _STATE.items():
            value = state.get(name)
            if type(value) is not kind and not (name == "plan" and value is None):
                raise ValueError(f"{where}: {name}: expected {kind.__name__}, got {value!r}")
        if state["step"] < 0 or (state["done"] and state["plan"] is None):
            raise ValueError(f"{where}: step, done, plan: do not go together: {state!r}")
        plan = None if state["plan"] is None else StructurePlan.from_json(state["plan"])
        if plan is not None and plan.profile_hash != self._profile.hash:
            raise ValueError(f"{where}: the state was made with another profile, {plan.profile!r}")
        masks = {} if plan is None else masks_of(self._model, plan.structure)
        self._steps, self._done, self._plan = state["step"], state["done"], plan
        self._dense_j, self._minimum_j, self._budget_j = (state[name] for name in ("dense_j", "minimum_j", "budget_j"))
        self._masks.replace(masks)

    def _update(self, joules: float) -> None:
        self._plan = self._planned(min(joules, self._dense_j))
        self._masks.replace(masks_of(self._model, self._plan.structure))

    def _planned(self, energy: str | float) -> StructurePlan:
        """Of several processes that train replicas the plan of the first: each sees other data."""

        def work() -> StructurePlan:
            return plan_structure(self._unmasked(), self._inputs, energy=energy, **self._options)

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


def masks_of(model: nn.Module, structure: Structure) -> dict[str, torch.Tensor]:
    """Bits by parameter: what the smaller network of ``structure`` still has of it.

    Raises:
        ValueError: the structure names modules or places that the model lacks.
    """
    masks = {}
    for name, cut in smaller_copy(model, structure)[1].items():
        parameter = model.get_parameter(name)
        stay = torch.zeros(parameter.numel(), dtype=torch.bool)
        stay[cut(torch.arange(parameter.numel()).reshape(parameter.shape)).flatten()] = True
        masks[name] = pack_mask(stay.reshape(parameter.shape).to(parameter.device))
    return masks
