"""``jp.sweep``: what can be afforded? Plans over a range of budgets."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from .energy import Profile
from .errors import BudgetError
from .plan import Plan, plan
from .pruner import Pruner

__all__ = ["SweepPoint", "sweep"]

_BUDGETS = ("90%", "75%", "50%", "25%", "10%", "5%")


@dataclass(frozen=True)
class SweepPoint:
    """One budget of a sweep; ``plan`` is None where the budget cannot be reached, and ``minimum_j`` says how far one
    can go."""

    budget: str | float
    energy_j: float | None
    minimum_j: float
    importance_lost: float | None
    metric: float | None
    plan: Plan | None


def sweep(
    model: torch.nn.Module,
    example_inputs: Any,
    *,
    profile: Profile | str | Mapping[str, Any],
    budgets: Sequence[str | float] = _BUDGETS,
    evaluate: Callable[[torch.nn.Module], float] | None = None,
    **options: Any,
) -> list[SweepPoint]:
    """Joules and importance lost (or a metric) over budgets; the model itself is not changed.

    Args:
        model, example_inputs, profile: as in :func:`jouleprune.plan`.
        budgets: budgets to try, each "N%" or joules.
        evaluate: called with a pruned copy of the model per budget; what it returns is kept as ``metric``.
        options: further arguments of :func:`jouleprune.plan`.
    """
    points = []
    for budget in budgets:
        try:
            candidate = plan(model, example_inputs, energy=budget, profile=profile, **options)
        except BudgetError as error:
            if error.minimum_j != error.minimum_j:  # NaN: the budget itself is malformed
                raise
            points.append(SweepPoint(budget, None, error.minimum_j, None, None, None))
            continue
        metric = None
        if evaluate is not None:
            pruned = copy.deepcopy(model)
            Pruner(pruned, example_inputs, plan=candidate, profile=profile).prune_now()
            metric = float(evaluate(pruned))
        lost = sum(layer.importance_lost for layer in candidate.layers)
        points.append(SweepPoint(budget, candidate.energy_j, candidate.minimum_j, lost, metric, candidate))
    return points
