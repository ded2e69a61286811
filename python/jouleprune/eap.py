"""``jp.eap``: the published order of energy-aware pruning, layer by layer, to a joule budget.

Source: Yang, Chen and Sze, Designing Energy-Efficient Convolutional Neural Networks using Energy-Aware Pruning, CVPR
2017, section 4. There a bound on accuracy ends the pruning of a layer, here a bound on the error of its outputs, which
grows from pass to pass until the budget holds; and the error that restoring looks at is squared, there it is L1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from . import ops
from ._by_layer import at_least
from ._hessians import calls_of, check_alike, hessian_of, refuse_ranks, sharing_layers, warn_uncalled
from ._plan_notes import quiet_about_emptied, warn_emptied
from ._restoring import gains_of_restoring, magnitude_and_restored, output_energy
from .criteria import Context
from .energy import Profile
from .estimate import ActivationDensity, as_profile
from .plan import Plan
from .pruner import Pruner
from .reconstruct import Reconstruction, reconstruct
from .selection import Selector, plain_module

__all__ = ["EapResult", "eap"]

_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d)


@dataclass(frozen=True)
class EapResult:
    """Where :func:`eap` ended.

    Attributes:
        plan: within the budget, as of :func:`jouleprune.plan`; the floors in it (``min_density``) are what the order
            left of each layer, and ``importance_lost`` sums what each removed weight alone did to the
            squared output, relative to the layer's.
        pruner: holds the masks from now on: call ``pruner.step()`` in training.
        order: weights as they were visited, the most joules first.
        layers: error of each pruned layer, with the masks alone and refit, in the order of the calls.
        error: bound of the last pass; infinite where no finite one met the budget: the layers visited then went to
            their floors, and what fits into the budget came back.
    """

    plan: Plan = field(repr=False)
    pruner: Pruner = field(repr=False)
    order: tuple[str, ...]
    layers: tuple[Reconstruction, ...] = field(repr=False)
    error: float


def eap(
    model: nn.Module,
    example_inputs: Any,
    data: Iterable[Any],
    *,
    energy: str | float,
    profile: Profile | str | Mapping[str, Any],
    restore: float = 0.3,
    errors: Sequence[float] = (0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95),
    damp: float = 0.01,
    ignored_layers: Sequence[nn.Module | str] = (),
    min_density: float | Mapping[str, float] = 0.0,
    activation_density: ActivationDensity = 1.0,
    batch: int | None = None,
    per: str = "inference",
    count: int | None = None,
) -> EapResult:
    """Prunes Linear, Conv1d and Conv2d layers in place to at most ``energy``, the layer of the most joules first.

    In each layer weights go by magnitude; then those come back, in a few steps, whose return lowers the squared error
    of the layer's outputs on the data most, unless magnitude alone leaves less; then what is left is refit to the dense
    layer's outputs by least squares. A layer gives weights until its error reaches the bound of the pass, or until the
    budget holds; where pruning it saves no joules it stays dense. When all layers were visited and the budget does not
    hold, the next pass has the next bound, and the last none. At the end weights come back while they fit into the
    budget, those that by themselves do most to the outputs per joule first, and all layers are refit in the order of
    their calls (:func:`jouleprune.reconstruct`, "refit").

    Passes in which the budget would not hold on the dense network's inputs are left out, but for the last of them. Each
    takes one pass over the data and one float64 matrix [inputs, inputs] per layer, and solves a system for each output.

    Args:
        data: calibration batches, as of :func:`jouleprune.plan`; iterated many times, so no generator.
        restore: share of the kept weights that restoring chooses, in [0, 1]; the rest by magnitude.
        errors: bounds of the passes, ascending: squared error over squared output, before refitting.
        damp: as of :func:`jouleprune.reconstruct`.
        energy, profile, ignored_layers, min_density, activation_density, batch, per, count: as of
            :func:`jouleprune.plan`. Recurrent and attention layers stay dense.
    Returns:
        EapResult, with ``plan.energy_j <= plan.budget_j``, and above 99 % of it or maximal.
    Raises:
        BudgetError: malformed, above the dense energy, or below what can be reached (``minimum_j``).
        ValueError, ProfileError: the message names the argument. Whatever is raised, the model is unchanged.
    Warns:
        EmptyLayerWarning: layers that keep nothing, by name.
        UserWarning: layers that are not called as modules (``out_proj`` of attention) and stay dense, by name.
    """
    _check(restore, errors, damp)
    refuse_ranks(model, "eap")
    model, device = plain_module(model), as_profile(profile)
    scores = _Scores()
    selector = Selector.record(
        model, example_inputs, profile=device, pattern="unstructured", importance=scores, ignored_layers=ignored_layers,
        min_density=min_density, activation_density=activation_density, batch=batch, per=per, count=count,
    )  # fmt: skip
    layers = {
        name: list(sharing.values())
        for sharing in sharing_layers(model, _LAYERS)
        for name in selector.weights
        if name in sharing
    }
    for name, modules in layers.items():
        check_alike(name, modules)
    if layers:
        calls = calls_of(Context(model, tuple(layers), {}, {}, data=data), layers)
        warn_uncalled(layers, calls)
        layers = {name: modules for name, modules in layers.items() if name in calls}
    if not layers:
        raise ValueError("model: expected Linear, Conv1d or Conv2d layers that can be pruned, got none")
    floors = tuple(
        floor if name in layers else 1.0 for name, floor in zip(selector.weights, selector.floors, strict=True)
    )
    selector = replace(selector, floors=floors)
    budget_j = selector.probe(energy).budget
    search = _Search.started(model, selector, scores, layers, calls, data, restore, damp)
    try:
        error = search.run(budget_j, errors)
        plan = search.limited().select(model, energy=energy)
        search.undo()
        refit = reconstruct(model, data, plan=plan, method="refit", damp=damp) if plan.masks else []
        pruner = Pruner(model, example_inputs, plan=plan, profile=device, importance=scores)
        with quiet_about_emptied():
            plan = pruner.prune_now()  # the same masks: what it ranks by does not follow the weights
    except BaseException:
        search.undo()
        raise
    warn_emptied(plan, stacklevel=2)
    return EapResult(plan, pruner, search.order, tuple(refit), error)


class _Scores:
    """What the planner ranks by: set by the search. Kept weights are above all that went; both by what they alone do to
    the outputs."""

    name = "eap"

    def __init__(self) -> None:
        self.found: dict[str, Tensor] = {}

    def scores(self, context: Context) -> dict[str, Tensor]:
        return {name: self.found.get(name, torch.ones_like(context.weight(name))) for name in context.weights}


@dataclass
class _Search:
    context: Context
    selector: Selector
    scores: _Scores
    layers: Mapping[str, Sequence[nn.Module]]
    calls: Mapping[str, int]
    order: tuple[str, ...]
    dense: Mapping[str, Tensor]
    kept: dict[str, int]
    restore: float
    damp: float
    unfitted: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    """Hessian and mask of layers whose kept weights are still as they were: refit when another layer looks."""

    @classmethod
    def started(
        cls, model: nn.Module, selector: Selector, scores: _Scores, layers: Mapping[str, Sequence[nn.Module]],
        calls: Mapping[str, int], data: Iterable[Any], restore: float, damp: float,
    ) -> _Search:  # fmt: skip
        context = Context(model, tuple(layers), dict.fromkeys(layers, "unstructured"), {}, data=data)
        whole = selector.select(model, energy="100%")
        joules = {layer.weight: layer.dense_j for layer in whole.layers if layer.weight in layers}
        order = tuple(sorted(joules, key=lambda name: -joules[name]))  # stable: of equal ones the first called
        dense = {name: model.get_parameter(name).detach().clone() for name in order}
        kept = {name: weight.numel() for name, weight in dense.items()}
        return cls(context, selector, scores, layers, calls, order, dense, kept, restore, damp)

    def run(self, budget_j: float, errors: Sequence[float]) -> float:
        """Visits layers until the budget holds; the bound of the last pass."""
        for error in (*errors[self.first_pass(budget_j, errors) :], math.inf):
            for name in self.order:
                if self.joules() <= budget_j:
                    return error
                self.visit(name, error)
        return math.inf

    def first_pass(self, budget_j: float, errors: Sequence[float]) -> int:
        """One before that in which the budget would hold on the dense network's inputs: passes before it would only do
        a part of it, and refit what it refits again."""
        kept: list[dict[str, tuple[int, int]]] = [{} for _ in errors]
        for name in self.order:
            hessian = hessian_of(self.context, name, self.layers[name], self.calls[name])
            known: dict[int, float] = {}
            for counts, error in zip(kept, errors, strict=True):
                counts[name] = (self.least(name, error, hessian, known), self.dense[name].numel())
        for place, counts in enumerate(kept):
            if at_least(self.selector, counts).probe("100%").minimum <= budget_j:
                return max(0, place - 1)
        return max(0, len(errors) - 1)

    def limited(self) -> Selector:
        """The selector of which each layer keeps at least what the search left it."""
        return at_least(self.selector, {name: (kept, self.dense[name].numel()) for name, kept in self.kept.items()})

    def joules(self) -> float:
        return self.limited().probe("100%").minimum

    def visit(self, name: str, error: float) -> None:
        """Prunes the layer to the bound and refits it, unless that saves nothing."""
        weight, before, joules = self.dense[name], self.kept[name], self.joules()
        self.refit()
        hessian = hessian_of(self.context, name, self.layers[name], self.calls[name])
        self.kept[name] = min(self.least(name, error, hessian, {}), before)
        if self.joules() >= joules:
            self.kept[name] = before
            return
        mask = magnitude_and_restored(weight, hessian, self.kept[name], self.restore)
        self.scores.found[name] = _ranked(weight, hessian, mask)
        self.unfitted[name] = (hessian, mask)

    def least(self, name: str, error: float, hessian: Tensor, known: dict[int, float]) -> int:
        """The fewest weights with which the error is within the bound, by bisection to a 256th of the layer; at least
        the floor. ``known`` takes errors by count, for searches with other bounds."""
        place, weight = self.selector.weights.index(name), self.dense[name]
        bound = error * output_energy(weight, hessian)
        # Rounded up as the planner does: a share that is a whole number but for rounding is that number.
        low, high = math.ceil(self.selector.floors[place] * weight.numel() * (1 - 1e-12)), weight.numel()
        if math.isinf(error):
            return low
        while high - low > weight.numel() // 256:
            middle = (low + high) // 2
            if middle not in known:
                mask = magnitude_and_restored(weight, hessian, middle, self.restore)
                known[middle] = output_energy(weight * ~mask, hessian)
            if known[middle] <= bound:
                high = middle
            else:
                low = middle + 1
        return high

    @torch.no_grad()
    def refit(self) -> None:
        """Least squares, of what was pruned last."""
        for name, (hessian, mask) in self.unfitted.items():
            changed = ops.refit(self.dense[name], hessian, mask, damp=self.damp)
            self.context.model.get_parameter(name).copy_(changed)
        self.unfitted.clear()

    @torch.no_grad()
    def undo(self) -> None:
        for name, weight in self.dense.items():
            self.context.model.get_parameter(name).copy_(weight)


def _ranked(weight: Tensor, hessian: Tensor, mask: Tensor) -> Tensor:
    """Scores: what each weight alone does to the output, w_j^2 H_jj over the output's energy; what is kept is above all
    that went. What undoes the error best by itself is no rank here: many come back at once, and overshoot together."""
    total = output_energy(weight, hessian)
    scale = 1.0 / total if total > 0 else 0.0
    # With nothing removed the gain is -w^2 H_jj.
    alone = gains_of_restoring(weight, hessian, torch.ones_like(mask)).neg() * scale
    return torch.where(mask, alone.clamp(0.0, 1e6) + 2.0, alone.clamp(0.0, 1.0))


def _check(restore: float, errors: Sequence[float], damp: float) -> None:
    if isinstance(restore, bool) or not isinstance(restore, int | float) or not 0 <= restore <= 1:
        raise ValueError(f"restore: expected a share in [0, 1], got {restore!r}")
    if isinstance(damp, bool) or not isinstance(damp, int | float) or not 0 < damp < math.inf:
        raise ValueError(f"damp: expected a finite number above 0, got {damp!r}")
    if isinstance(errors, str) or not isinstance(errors, Sequence):
        raise ValueError(f"errors: expected a list of numbers, got {errors!r}")
    least = 0.0
    for error in errors:
        if isinstance(error, bool) or not isinstance(error, int | float) or not least < error < math.inf:
            raise ValueError(f"errors: expected finite numbers above 0 that ascend, got {list(errors)!r}")
        least = float(error)
