"""The Pruner: brings a model in training to a joule budget along a schedule, and keeps it there."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from . import ops
from ._by_layer import reaching, repeated
from ._in_training import InTraining
from ._plan_notes import emptied_layers, warn_emptied
from ._pruner_checks import (
    check_left_out,
    check_same_profile,
    dense_workload,
    given,
    gradients_overflow,
    profile_of,
)
from ._ranks import Ranks
from .criteria import Loss
from .currency import PruneFor
from .energy import EnergyReport, Profile, price_workload
from .errors import BudgetError
from .estimate import ActivationDensity, as_profile
from .importance import Importance, is_named
from .plan import Plan
from .pruner_state import read_state
from .schedule import Schedule, checked_schedule, joules_at
from .selection import Selector, check_plan, plain_module

__all__ = ["PruneReport", "Pruner"]


@dataclass(frozen=True)
class PruneReport:
    """Before and after: the dense network and the network as planned, on the same profile, batch and activation
    densities."""

    before: EnergyReport
    after: EnergyReport
    plan: Plan | None

    def to_json(self) -> str:
        """``{"before", "after", "plan"}``, each with its own schema."""
        plan = "null" if self.plan is None else self.plan.to_json()
        return f'{{"schema": 1, "before": {self.before.to_json()}, "after": {self.after.to_json()}, "plan": {plan}}}'

    def __str__(self) -> str:
        from .report import prune_table

        return prune_table(self)


class Pruner(InTraining[Plan]):
    """Prunes ``model`` in place to a joule budget while it trains.

    Call :meth:`step` after each ``optimizer.step()``. Masks are bits held beside the model: pruned weights are zeroed
    in place and their gradients masked as they accumulate, so modules stay ordinary (script, compile, DDP work) and
    neither momentum nor weight decay revives a weight. ``copy.deepcopy((model, pruner))`` copies both together; a copy
    of the model alone is an ordinary network whose zeros are free to train again.

    A network that several processes train is pruned by all of them alike: pass the DDP-wrapped module, or one after
    ``fully_shard``, in every process, and call the same methods in each (docs/distributed.md).

    Args:
        model: the network, trained in place; of a DDP-wrapped or compiled one the module inside is pruned.
        example_inputs: a tensor, a tuple of positional arguments, or a dict of keyword arguments; recorded once.
        energy: "N%" of the unmasked dense network, or joules per inference.
        profile: device profile: a ``Profile``, a built-in name, a path, or a dict.
        plan: instead of ``energy``: all that the plan was made with (budget, pattern, choice of layers, floors,
            activation densities, batch), for the same model on inputs of the same sizes; those arguments are left out
            then. With the weights that the plan was made on the masks are the plan's. ``profile`` is needed again only
            when the plan's profile is not built in, ``importance`` only when it was a callable.
        schedule: ``Constant()`` (all at the first step) unless given; see :class:`jouleprune.PolynomialDecay`.
        pattern, importance, data, loss, ignored_layers, min_density, activation_density, dtype, prune_for, batch, per,
            count: as in :func:`jouleprune.plan`. With "auto" each layer's pattern is chosen once, at the first update.
            Criteria that look at data go through it at each update, with the weights of that time.
    Raises:
        BudgetError: the budget is malformed, above the dense energy, or below the least that can be reached; nothing
        has changed.
        ProfileError, PatternError, ValueError: the message names the argument.
        RuntimeError: another process failed, or has other inputs, weights or masks.
    Warns (when masks are chosen):
        EmptyLayerWarning: layers that keep nothing, by name.
    """

    _shared = frozenset({"_plan", "_schedule", "_selector", "_profile", "_origin"})

    def __init__(
        self,
        model: torch.nn.Module,
        example_inputs: Any,
        *,
        energy: str | float | None = None,
        profile: Profile | str | Mapping[str, Any] | None = None,
        plan: Plan | None = None,
        pattern: str = "unstructured",
        importance: Importance = "lamp",
        data: Iterable[Any] | None = None,
        loss: Loss | Sequence[Loss] | Mapping[str, Loss] | None = None,
        schedule: Schedule | None = None,
        ignored_layers: Sequence[torch.nn.Module | str] = (),
        min_density: float | Mapping[str, float] = 0.0,
        activation_density: ActivationDensity = 1.0,
        dtype: str | Sequence[str] | None = None,
        prune_for: PruneFor = "joules",
        batch: int | None = None,
        per: str = "inference",
        count: int | None = None,
    ) -> None:
        if (energy is None) == (plan is None):
            raise BudgetError("Pruner: expected exactly one of energy and plan", float("nan"))
        if schedule is not None:
            checked_schedule(schedule)
        ranks = Ranks.of(model)
        model = plain_module(model)
        if plan is not None:
            check_plan("plan", plan)
            check_left_out(
                pattern=pattern != "unstructured",
                ignored_layers=bool(ignored_layers),
                min_density=min_density != 0.0,
                activation_density=activation_density != 1.0,
                dtype=dtype is not None,
                prune_for=prune_for != "joules",
                batch=batch is not None,
                per=per != "inference",
                count=count is not None,
            )
        self._profile = profile_of(plan) if profile is None and plan is not None else as_profile(given(profile))
        self._energy: str | float
        self._frozen: tuple[bool, ...] | None = None
        self._origin = plan  # of whatever choice, which it need not show: int8 that was allowed and lost, say
        if plan is not None:
            check_same_profile(plan, self._profile)
            criterion = plan.importance if importance == "lamp" and is_named(plan.importance) else importance
            self._selector = Selector.of_plan(model, example_inputs, plan, self._profile, criterion, data, loss, ranks)
            self._energy, self._frozen = plan.limits.budget, plan.decided or None
        else:
            self._selector = Selector.record(
                model,
                example_inputs,
                profile=self._profile,
                pattern=pattern,
                importance=importance,
                data=data,
                loss=loss,
                ignored_layers=ignored_layers,
                min_density=min_density,
                activation_density=activation_density,
                dtype=dtype,
                prune_for=prune_for,
                batch=batch,
                per=per,
                count=count,
                ranks=ranks,
            )
            self._energy = given(energy)
        super().__init__(model, schedule, self._selector.probe(self._energy))

    @property
    def budget_j(self) -> float:
        """The final budget, joules per count; pruned for bytes or multiply-adds, ``energy_j``: see ``plan.amounts``."""
        return super().budget_j if self._selector.prune_for == "joules" else self.energy_j

    @property
    def minimum_j(self) -> float:
        """The least joules per count that can be reached; pruned for bytes or multiply-adds, ``energy_j``."""
        return super().minimum_j if self._selector.prune_for == "joules" else self.energy_j

    def prune_to(self, share: float) -> Plan:
        """Does the share of the removal now, whatever the schedule: ``E = budget + (dense - budget) * (1 - share)``; 1
        is :meth:`prune_now`.

        Raises:
            ValueError: no share in [0, 1].
        """
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0.0 <= share <= 1.0:
            raise ValueError(f"share: expected a number in [0, 1], got {share!r}")
        self._update(None if share == 1 else joules_at(share, self._reach.budget, self._reach.dense))
        return self.plan

    def look_ahead(self) -> Plan:
        """The plan of the final budget for the present weights; nothing changes."""
        if self._origin is not None and self._plan is None:
            again = repeated(self._selector, self._model, self._origin)
            if again is not None:
                return again
        return self._selector.select(self._model, energy=self._energy, frozen=self._frozen)

    def prune_layers(self, weights: Collection[str], like: Plan) -> Plan:
        """Prunes some layers to what a plan of :meth:`look_ahead` keeps of them, by their present importance; the
        others are dense. With all that the plan prunes it is the final state.

        Raises:
            ValueError: a weight that the plan does not prune; nothing has changed.
        """
        check_plan("like", like)
        selector, joules = reaching(self._selector, self._model, like, weights)
        last = set(weights) >= set(like.masks)
        plan = selector.select(self._model, energy=self._energy if last else min(joules, self._reach.dense))
        self._take(plan, last)
        return self.plan

    def parameter(self, name: str) -> torch.nn.Parameter:
        """The parameter that a mask of the plan belongs to.

        Raises:
            ValueError: the plan has no mask of that name.
        """
        if name not in self.plan.masks:
            raise ValueError(f"name: expected a pruned weight ({', '.join(self.plan.masks)}), got {name!r}")
        return self._model.get_parameter(name)

    def move_masks(self, masks: Mapping[str, torch.Tensor]) -> None:
        """Takes other masks (bits, as of ``ops.pack_mask``) for pruned weights, which keep as many as before.

        The joules stay those of the plan. Weights that come back start at zero. ``importance_lost`` and ``next_unit``
        of the plan remain those of the selection.

        Raises:
            ValueError: a weight that is not pruned, or another number of kept weights; nothing has changed.
        """
        for name, bits in masks.items():
            size = self.parameter(name).shape
            before = ops.unpack_mask(self.plan.masks[name].to(bits.device), size)
            kept, expected = int(ops.unpack_mask(bits, size).sum()), int(before.sum())
            if kept != expected:
                raise ValueError(f"masks: {name!r}: expected {expected} kept weights, got {kept}")
        self._plan = replace(self.plan, masks={**self.plan.masks, **masks})
        self._masks.replace(self._plan.masks)

    @property
    def ranks(self) -> Ranks | None:
        """The processes that prune this network together; None where this one prunes it alone."""
        return self._selector.ranks

    def report(self) -> PruneReport:
        """Joules before and after, layer by layer, each labelled."""
        before = price_workload(dense_workload(self._selector.workload, self._selector.weights), self._profile)
        after = before if self._plan is None else price_workload(self._plan.workload, self._profile)
        return PruneReport(before, after, self._plan)

    def _must_wait(self) -> bool:
        selector = self._selector
        gradients = (self._model.get_parameter(weight).grad for weight in selector.weights)
        return gradients_overflow(selector.importance, selector.data, gradients, selector.ranks)

    def _update(self, target: float | None) -> None:
        if target is None:
            plan = self.look_ahead()
        else:
            if self._frozen is None:  # the layers that the final budget prunes are decided once, on the dense weights
                last = self._selector.select(self._model, energy=self._energy)
                self._frozen, self._selector = last.decided, self._selector.settled(last)
            plan = self._selector.select(self._model, energy=self._energy, relaxed_j=target, frozen=self._frozen)
        self._take(plan, target is None)

    def _take(self, plan: Plan, done: bool) -> None:
        warn_emptied(plan, () if self._plan is None else emptied_layers(self._plan), stacklevel=4)
        self._plan = plan
        self._masks.replace(plan.masks)
        self._done = done

    def state_dict(self) -> dict[str, Any]:
        """Step, masks (bits), plan, measured limits, where an ``AdaptiveSchedule`` stands, and the state of torch's CPU
        generator: enough to go on after a restart to the same masks, given the same model, inputs and arguments.
        Tensors and plain values only: ``torch.load(weights_only=True)`` reads it back."""
        return {
            "schema": 1,
            "step": self._steps,
            "done": self._done,
            "owed": self._owed,
            "masks": {name: mask.cpu().clone() for name, mask in self._masks.bits.items()},
            "plan": None if self._plan is None else self._plan.to_json(),
            "frozen": None if self._frozen is None else list(self._frozen),
            "prune_for": self._selector.prune_for,
            "budget_j": self._reach.budget,
            "profile_hash": self._profile.hash,
            "measured": self._selector.measured,
            "rng": torch.get_rng_state(),
            **self._adaptive_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any], *, restore_rng: bool = True) -> None:
        """Takes up where :meth:`state_dict` left off; masks apply at once.

        Args:
            state: what :meth:`state_dict` gave.
            restore_rng: also sets torch's CPU generator to where it was, so that a loop draws what it would have drawn.
        Raises:
            ValueError: the state is damaged, or belongs to another profile, budget, pattern or importance, or to other
                layers; nothing has changed.
        """
        saved = read_state(state, self._selector, self._model, self._profile, self._reach.budget)
        self._load_adaptive(state)
        self._steps, self._done, self._owed = saved.step, saved.done, saved.owed
        self._plan, self._frozen = saved.plan, saved.frozen
        if saved.measured is not None and saved.measured != self._selector.measured:  # times measured since then
            self._selector = replace(self._selector, measured=saved.measured)
            self._reach = self._selector.probe(self._energy)
        if saved.plan is not None and saved.frozen is not None:
            self._selector = self._selector.settled(saved.plan)
        if restore_rng and saved.rng is not None:
            torch.set_rng_state(saved.rng.cpu())
        self._masks.replace({} if saved.plan is None else saved.plan.masks)
