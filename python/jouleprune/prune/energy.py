"""``energy_unstructured``: pruning hooks whose masks are chosen under a joule budget by the planner."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from .._plan_notes import warn_emptied
from ..criteria import Context
from ..energy import Profile
from ..estimate import ActivationDensity, as_profile
from ..importance import Importance, importance_name, raw_scores
from ..layers import layer_of, owners
from ..ops import unpack_mask
from ..plan import Plan
from ..selection import Selector, plain_module
from .bare import as_parameters
from .functional import Pair, custom_from_mask, pairs_of
from .hooks import hook_on

__all__ = ["energy_unstructured"]


def energy_unstructured(
    parameters: Iterable[Pair],
    *,
    energy: str | float,
    model: nn.Module,
    example_inputs: Any,
    profile: Profile | str | Mapping[str, Any],
    importance: Importance = "lamp",
    importance_scores: Mapping[Pair, Tensor] | None = None,
    min_density: float | Mapping[str, float] = 0.0,
    activation_density: ActivationDensity = 1.0,
    batch: int | None = None,
    per: str = "inference",
    count: int | None = None,
) -> Plan:
    """Prunes ``parameters`` so that one inference of ``model`` takes at most ``energy``, losing the least importance.

    As :func:`global_unstructured` with a budget in place of an amount: how much goes from which parameter follows from
    what its weights cost. The selection is that of :func:`jouleprune.plan`; here it becomes pruning hooks. What earlier
    pruning removed stays removed and counts as nothing lost.

    Args:
        parameters: (module, name) pairs of weights of ``model`` that the kernels can run sparse: Linear, Conv1d,
            Conv2d, LSTM, GRU, MultiheadAttention. All else stays as it is, and costs what it costs.
        energy: "N%" of the network without any zeros in ``parameters``, or joules per inference.
        model: the network that holds them, also inside DDP or torch.compile. It is run once, without a trace.
        example_inputs: a tensor, a tuple of positional arguments, or a dict of keyword arguments.
        profile: device profile: a ``Profile``, a built-in name, a path, or a dict.
        importance: criterion as of :func:`jouleprune.plan`; gradients are those of the parameters.
        importance_scores: by pair, of the parameter's shape: their magnitudes count in place of ``importance``.
        min_density, activation_density, batch, per, count: as of :func:`jouleprune.plan`.
    Returns:
        The plan. After :func:`remove` on every pair ``jouleprune.convert(model, example_inputs, plan=plan)`` runs at
        ``plan.energy_j``. Weights that it keeps but earlier pruning removed are priced as kept: after a looser budget
        than the last, or other pruning below this one, ``plan.energy_j`` is a bound, and :func:`jouleprune.estimate`
        of the model tells the joules.
    Raises:
        BudgetError: the budget is malformed, above the dense energy, or below ``minimum_j`` of the error.
        PatternError, ProfileError: an unknown criterion or profile.
        TypeError: no pairs.
        ValueError: a pair that is no prunable weight of the model, or a weight that other modules share and that is
            named for some of them only; other arguments, by name. Whatever is raised, nothing has changed.
    """
    pairs = pairs_of("energy_unstructured", parameters)
    if importance_scores is not None and not isinstance(importance_scores, Mapping):
        raise TypeError(f"importance_scores: expected a dict by (module, name), got {type(importance_scores).__name__}")
    model = plain_module(model)
    left = {pair: _left(pair) for pair in pairs}
    with as_parameters(model):
        weights = _weights(model, pairs)
        selector = Selector.record(
            model,
            example_inputs,
            profile=as_profile(profile),
            pattern="unstructured",
            importance=_criterion(importance, importance_scores, weights, left),
            ignored_layers=_others(model, set(weights.values())),
            min_density=min_density,
            activation_density=activation_density,
            batch=batch,
            per=per,
            count=count,
        )
        _check_prunable(selector, weights)
        plan = selector.select(model, energy=energy)
        warn_emptied(plan, stacklevel=2)
    for (module, name), weight in weights.items():
        size = getattr(module, name).shape
        bits = plan.masks.get(weight)
        custom_from_mask(module, name, torch.ones(size) if bits is None else unpack_mask(bits, size))
    return plan


def _left(pair: Pair) -> Tensor | None:
    """What earlier pruning left of a parameter; None when it was not pruned."""
    module, name = pair
    return None if hook_on(module, name)[1] is None else module.get_buffer(name + "_mask") != 0


def _weights(model: nn.Module, pairs: list[Pair]) -> dict[Pair, str]:
    """The name of each pair's parameter in the model: the first one when several modules share it."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    weights: dict[Pair, str] = {}
    for module, name in pairs:
        parameter = module._parameters.get(name)
        if parameter is None or id(parameter) not in names:
            raise ValueError(f"parameters: {name!r} of {type(module).__name__} is no parameter of the model")
        weights[module, name] = names[id(parameter)]
    for weight in dict.fromkeys(weights.values()):
        for owner, module, attribute in owners(model, weight):
            if (module, attribute) not in weights:
                shared = f"{owner}.{attribute}"
                raise ValueError(f"parameters: {weight!r} is shared: expected {shared!r} to be named too")
    return weights


def _others(model: nn.Module, weights: set[str]) -> list[str]:
    """Names of all parameters but these."""
    kept = {id(model.get_parameter(name)) for name in weights}
    every = model.named_parameters(remove_duplicate=False)
    return [name for name, parameter in every if id(parameter) not in kept]


def _check_prunable(selector: Selector, weights: Mapping[Pair, str]) -> None:
    for weight in weights.values():
        if weight not in selector.weights:
            reasons = [sentence for sentence in selector.unable if sentence.startswith(layer_of(weight) + ":")]
            told = reasons[0] if reasons else "the forward pass uses it in no op that runs sparse"
            raise ValueError(f"parameters: {weight!r} cannot be pruned for its joules: {told}")


def _criterion(
    importance: Importance,
    importance_scores: Mapping[Pair, Tensor] | None,
    weights: Mapping[Pair, str],
    left: Mapping[Pair, Tensor | None],
) -> Importance:
    """The criterion, given scores put in its place, and nothing lost where earlier pruning removed."""
    given = {weights[pair]: scores for pair, scores in (importance_scores or {}).items() if pair in weights}
    masks = {weights[pair]: mask for pair, mask in left.items() if mask is not None}
    name_of_criterion = importance_name(importance)
    if not given and not masks:
        return importance

    return _Left(importance, given, masks, "importance_scores" if given else name_of_criterion)


@dataclass(frozen=True)
class _Left:
    """A criterion with given scores in its place for some weights, and with nothing to lose where masks are zero."""

    importance: Importance
    given: Mapping[str, Tensor]
    masks: Mapping[str, Tensor]
    name: str

    def scores(self, context: Context) -> Mapping[str, Tensor]:
        others = tuple(name for name in context.weights if name not in self.given)
        found = dict(raw_scores(self.importance, replace(context, weights=others))) if others else {}
        found |= {name: self.given[name].detach().abs() for name in context.weights if name in self.given}
        return {
            name: scores if name not in self.masks or scores.shape != self.masks[name].shape
            else scores * self.masks[name].to(scores.device)
            for name, scores in found.items()
        }  # fmt: skip
