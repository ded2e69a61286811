"""Training towards a budget: ADMM, whose projection is the budget selector."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from . import ops
from ._plan_notes import quiet_about_emptied
from ._pruner_checks import check_options
from ._ranks import is_sharded
from .criteria import Context
from .energy import Profile
from .pruner import Pruner
from .pruner_state import check_budget
from .schedule import check_step
from .selection import plain_module

__all__ = ["Admm"]


class _Sums:
    """The importance whose least loss is the projection of W + U: its square."""

    name = "admm"

    def __init__(self) -> None:
        self.duals: dict[str, Tensor] = {}

    def moved(self, name: str, weight: Tensor) -> Tensor:
        return weight + self.duals[name] if name in self.duals else weight

    def scores(self, context: Context) -> dict[str, Tensor]:
        return {name: self.moved(name, context.weight(name)).square() for name in context.weights}


class Admm:
    """Minimises the loss over all networks within a joule budget by the alternating direction method of multipliers.

    Weights W are pulled towards Z, the nearest network within the budget, while U sums up what is left between them:

        W: a few steps of training on loss + rho / 2 * |W - Z + U|^2      (add :meth:`penalty` to the loss)
        Z: the projection of W + U                                         (:meth:`step`, every ``frequency`` steps)
        U: U + W - Z

    The projection keeps what loses the least sum of squares within the budget: that is the planner's choice for the
    importance (W + U)^2, so joules per weight, kernels and patterns count in it. After training :meth:`finish`
    prunes to the budget, and little is left to prune.

    Args:
        model, example_inputs: the network, trained in place.
        energy, profile: the budget, as of :func:`jouleprune.plan`.
        rho: strength of the pull, above 0.
        frequency: training steps between projections; enough for the pull to act, which takes 1 / (rho x learning rate)
            of plain gradient descent: U sums up what is left, and too often it sums up what was on its way.
        options: further arguments of :class:`jouleprune.Pruner`, without ``schedule`` and ``importance``.
    Raises:
        BudgetError, PatternError, ValueError: as of Pruner, and ``rho`` or ``frequency``; the message names it.
    Source: Zhang et al., A Systematic DNN Weight Pruning Framework using ADMM, ECCV 2018, section 3.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        example_inputs: Any,
        *,
        energy: str | float,
        profile: Profile | str | Mapping[str, Any],
        rho: float = 1e-3,
        frequency: int = 100,
        **options: Any,
    ) -> None:
        check_options("Admm", options, Pruner, ("importance", "plan", "schedule"))
        if isinstance(rho, bool) or not isinstance(rho, int | float) or not 0 < rho < math.inf:
            raise ValueError(f"rho: expected a finite number above 0, got {rho!r}")
        check_step("Admm", "frequency", frequency, 1)
        self._model = plain_module(model)
        for name, parameter in self._model.named_parameters():
            if is_sharded(parameter):
                raise ValueError(f"model: expected whole parameters, got {name!r} sharded over processes")
        self._sums = _Sums()
        self._targets: dict[str, Tensor] = {}
        self._pruner = Pruner(
            model, example_inputs, energy=energy, profile=profile, importance=self._sums, **options
        )  # fmt: skip
        self._rho, self._frequency, self._steps = float(rho), frequency, 0
        self._project()

    def penalty(self) -> Tensor:
        """rho / 2 * |W - Z + U|^2, a scalar with gradients: add it to the loss."""
        terms = [
            (self._model.get_parameter(name) - target + self._sums.duals[name]).square().sum()
            for name, target in self._targets.items()
        ]
        return self._rho / 2 * torch.stack(terms).sum() if terms else torch.zeros(())

    def step(self) -> None:
        """Call it after each ``optimizer.step()``: projects when it is time."""
        self._steps += 1
        if self._steps % self._frequency == 0:
            self._project()

    def distance(self) -> float:
        """|W - Z| / |W| over the weights that the projection prunes: how far training is from the budget."""
        pairs = [(self._model.get_parameter(name).detach(), target) for name, target in self._targets.items()]
        apart = math.fsum(float((weight - target).square().sum()) for weight, target in pairs)
        whole = math.fsum(float(weight.square().sum()) for weight, _ in pairs)
        return math.sqrt(apart / whole) if whole > 0 else 0.0

    def finish(self) -> Pruner:
        """Prunes to the budget; the pruner that keeps the masks, for a few last steps of training."""
        self._sums.duals.clear()
        self._targets.clear()
        self._pruner.prune_now()
        return self._pruner

    def state_dict(self) -> dict[str, Any]:
        """Step, budget (joules, or what ``prune_for`` counts), and Z and U by weight, on the CPU: enough to go on after
        a restart, given the same arguments and the states of the network and the optimizer. After :meth:`finish` save
        the pruner's state."""
        return {
            "schema": 1,
            "step": self._steps,
            "budget_j": self._pruner.budget,
            "targets": {name: target.cpu().clone() for name, target in self._targets.items()},
            "duals": {name: dual.cpu().clone() for name, dual in self._sums.duals.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes up where :meth:`state_dict` left off; the network's own state is loaded beside it.

        Raises:
            ValueError: no state of schema 1, or one of another budget or network; nothing has changed.
        """
        where = "Admm.load_state_dict"
        if not isinstance(state, Mapping) or state.get("schema") != 1:
            raise ValueError(f"{where}: expected the dict of state_dict(), of schema 1, got {state!r:.60}")
        step = state.get("step")
        if isinstance(step, bool) or not isinstance(step, int) or step < 0:
            raise ValueError(f"{where}: step: expected a whole number of at least 0, got {step!r}")
        check_budget(where, state.get("budget_j"), self._pruner.budget)
        targets, duals = (self._saved(where, key, state.get(key)) for key in ("targets", "duals"))
        if targets.keys() != duals.keys():
            raise ValueError(f"{where}: duals: expected those of {sorted(targets)}, got {sorted(duals)}")
        self._steps, self._targets, self._sums.duals = step, targets, duals

    def _saved(self, where: str, key: str, saved: object) -> dict[str, Tensor]:
        """Tensors by weight, of its shape, where it is."""
        if not isinstance(saved, Mapping):
            raise ValueError(f"{where}: {key}: expected tensors by weight name, got {type(saved).__name__}")
        weights, found = dict(self._model.named_parameters()), {}
        for name, tensor in saved.items():
            if name not in weights:
                raise ValueError(f"{where}: {key}: names {name!r}, which the model lacks")
            weight = weights[name]
            if not isinstance(tensor, Tensor) or tensor.shape != weight.shape or tensor.dtype != weight.dtype:
                got = f"{tensor.dtype} {list(tensor.shape)}" if isinstance(tensor, Tensor) else type(tensor).__name__
                raise ValueError(f"{where}: {key}: {name!r}: expected {weight.dtype} {list(weight.shape)}, got {got}")
            found[name] = tensor.detach().to(weight.device, copy=True)
        return found

    @torch.no_grad()
    def _project(self) -> None:
        with quiet_about_emptied():
            plan = self._pruner.look_ahead()
        duals: dict[str, Tensor] = {}
        self._targets = {}
        for name, bits in plan.masks.items():
            weight = self._model.get_parameter(name).detach()
            moved = self._sums.moved(name, weight)
            target = moved * ops.unpack_mask(bits.to(weight.device), weight.shape)
            # The first projection only says where to; from then on what training leaves is summed up.
            duals[name] = moved - target if self._steps else torch.zeros_like(weight)
            self._targets[name] = target
        self._sums.duals = duals
