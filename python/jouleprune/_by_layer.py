"""Some layers now, the others later: selections in which each layer keeps at least what it is told to."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from ._units import unit_numbers
from .criteria.context import block_of
from .errors import BudgetError
from .layers import layer_of
from .selection import Selector

if TYPE_CHECKING:
    from .plan import Plan

__all__ = ["at_least", "order_of", "reaching", "repeated"]


def at_least(selector: Selector, kept: Mapping[str, tuple[int, int]]) -> Selector:
    """The selector with other floors: (weights that stay at least, weights there are) by name; others as before."""
    floors = []
    for name, floor in zip(selector.weights, selector.floors, strict=True):
        if name in kept:
            stay, whole = kept[name]
            # Half a weight less than the count, which the planner rounds up: no share of floats is one too many.
            floor = max(0.0, stay - 0.5) / whole if whole else 0.0
        floors.append(floor)
    return replace(selector, floors=tuple(floors))


def reaching(
    selector: Selector, model: torch.nn.Module, like: Plan, weights: Collection[str]
) -> tuple[Selector, float]:
    """The selector that prunes ``weights`` as far as the plan ``like`` does and nothing else, and the joules of that;
    of a plan for bytes or multiply-adds these, for all weights together.

    Raises:
        ValueError: names that the plan does not prune; some of them only, of a plan that is not for joules.
    """
    pruned = _pruned(like)
    if like.amounts is not None and not set(pruned) <= set(weights):
        raise ValueError(f"prune_for: a layer at a time goes by joules, got {like.prune_for!r}")
    for name in weights:
        if name not in pruned:
            raise ValueError(f"weights: expected some of {', '.join(pruned)}, which the plan prunes, got {name!r}")
    kept, joules = {}, [like.limits.used]
    for layer in like.layers:
        shape = model.get_parameter(layer.weight).shape
        if layer.weight not in weights:
            kept[layer.weight] = (shape.numel(), shape.numel())
            joules.append(layer.dense_j - layer.energy_j if like.amounts is None else 0.0)
            continue
        sizes = (
            unit_numbers(shape, block_of(layer.pattern) if ":" not in layer.pattern else (1, 1)).flatten().bincount()
        )
        # Where units differ in size, joules depend on which stay: there the joules alone tell how many.
        if bool((sizes == sizes[0]).all()):
            kept[layer.weight] = (layer.kept * int(sizes[0]), shape.numel())
    return at_least(selector.settled(like), kept), math.fsum(joules) * (1 + 1e-12)  # beyond rounding


def _pruned(plan: Plan) -> list[str]:
    """Also of a plan from JSON, which has no masks."""
    return [layer.weight for layer in plan.layers if layer.pattern != "dense"]


def repeated(selector: Selector, model: torch.nn.Module, plan: Plan) -> Plan | None:
    """The plan with its masks, where the importance is still what it was made with; None otherwise. Patterns of "auto"
    and number types are chosen together with what each layer keeps, so that a selection among those alone may keep
    another share of each layer.
    """
    try:
        again_by, joules = reaching(selector, model, plan, _pruned(plan))
        again = again_by.select(model, energy=min(joules, plan.limits.dense))
    except BudgetError:  # beyond rounding
        return None
    same = all(
        (mine.pattern, mine.kept, mine.importance_lost) == (theirs.pattern, theirs.kept, theirs.importance_lost)
        for mine, theirs in zip(again.layers, plan.layers, strict=True)
    )
    return replace(plan, masks=again.masks) if same else None


def order_of(like: Plan, order: str | Sequence[str]) -> list[str]:
    """Weights that the plan prunes, in the order that is asked for: "energy" (the most joules first), "forward" (of the
    calls), or a list of layers or weights.

    Raises:
        ValueError: another word, or a list that lacks one of them or names what cannot be pruned.
    """
    pruned = [layer for layer in like.layers if layer.weight in like.masks]
    if order == "energy":
        return [layer.weight for layer in sorted(pruned, key=lambda layer: -layer.dense_j)]
    if order == "forward":
        return [layer.weight for layer in pruned]
    if isinstance(order, str) or not isinstance(order, Sequence):
        raise ValueError(f'order: expected "all", "energy", "forward" or a list of layers, got {order!r}')
    known = {name: layer.weight for layer in like.layers for name in (layer_of(layer.weight), layer.weight)}
    for name in order:
        if name not in known:
            raise ValueError(f"order: expected prunable layers ({', '.join(known)}), got {name!r}")
    asked = list(dict.fromkeys(known[name] for name in order))
    for layer in pruned:
        if layer.weight not in asked:
            raise ValueError(f"order: lacks {layer_of(layer.weight)!r}, which the budget prunes")
    return [name for name in asked if name in like.masks]
