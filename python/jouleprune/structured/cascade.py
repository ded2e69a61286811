"""Several levels in one plan: heads and channels first, then blocks and weights inside of what is left."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from ..energy import Profile
from ..errors import BudgetError
from ..importance import Importance
from ..plan import Plan
from ..pruner import Pruner
from ..selection import plain_module
from .make_plan import budget_in_joules, plan_structure
from .plan import StructurePlan
from .structure import smaller_copy

__all__ = ["Cascade", "cascade"]


@dataclass(frozen=True)
class Cascade:
    """The smaller network with its plan of zeros, which ``convert(model, x, plan=plan)`` replays.

    ``split`` is the share of the removed joules that structure took; ``worth`` what the choice between splits was made
    by; ``tried`` all of them, in their order.
    """

    model: nn.Module = field(repr=False)
    structure: StructurePlan
    plan: Plan
    split: float
    worth: float
    tried: tuple[tuple[float, float], ...]

    @property
    def energy_j(self) -> float:
        return self.plan.energy_j


def cascade(
    model: nn.Module,
    example_inputs: Any,
    *,
    energy: str | float,
    profile: Profile | str | Mapping[str, Any],
    structure: str | Sequence[str] = ("head", "channel"),
    pattern: str = "auto",
    importance: Importance = "lamp",
    splits: Sequence[float] = (0.25, 0.5, 0.75),
    evaluate: Callable[[nn.Module], float] | None = None,
    **options: Any,
) -> Cascade:
    """A smaller copy of ``model`` with zeros in what is left, within ``energy``; ``model`` is not changed.

    For each split that share of the joules that have to go is taken by structure (:func:`jouleprune.shrink`), the rest
    by zeros (:func:`jouleprune.plan`) in the smaller network. The split with the best ``evaluate(pruned model)`` is
    taken; without it, the one that keeps most of the network's squared weights.

    Args:
        structure: ``pattern`` of shrink.
        pattern: of the zeros: "auto" for blocks and single weights, each layer its own.
        splits: shares in (0, 1); those that cannot reach the budget are passed over.
        options: further arguments that shrink and plan both take (``data``, ``loss``, ``ignored_layers``,
            ``activation_density``, ``batch``, ``per``, ``count``).
    Raises:
        BudgetError: no split reaches the budget.
        ValueError: a split outside (0, 1); others as of shrink and plan.
    """
    shares = list(splits)
    if not shares or not all(isinstance(s, int | float) and not isinstance(s, bool) and 0 < s < 1 for s in shares):
        raise ValueError(f"splits: expected shares between 0 and 1, got {splits!r}")
    model = plain_module(model)
    common = {"profile": profile, "importance": importance, **options}
    whole = plan_structure(model, example_inputs, energy="100%", pattern=structure, **common)
    budget_j = budget_in_joules(energy, whole.dense_j)
    best: Cascade | None = None
    tried: list[tuple[float, float]] = []
    failure: BudgetError | None = None
    for share in shares:
        try:
            made = plan_structure(
                model,
                example_inputs,
                energy=whole.dense_j - share * (whole.dense_j - budget_j),
                pattern=structure,
                **common,
            )
            smaller, _ = smaller_copy(model, made.structure)
            pruner = Pruner(smaller, example_inputs, energy=min(budget_j, made.energy_j), pattern=pattern, **common)
            zeros = pruner.prune_now()
        except BudgetError as error:
            failure = error
            continue
        worth = _kept(smaller) if evaluate is None else float(evaluate(smaller))
        pruner.remove()
        tried.append((share, worth))
        if best is None or worth > best.worth:
            best = Cascade(smaller, made, zeros, share, worth, ())
    if best is None:
        assert failure is not None
        raise failure
    return Cascade(best.model, best.structure, best.plan, best.split, best.worth, tuple(tried))


def _kept(model: nn.Module) -> float:
    """Sum of squared weights of matrices and kernels."""
    return sum(float(p.detach().double().square().sum()) for p in model.parameters() if p.dim() >= 2)
