"""Importance criteria: scores per weight, higher = keep.

The built-in criteria run in C++ (op ``jouleprune::importance``, and those of ``jouleprune.criteria``); any callable
``(name, weight, grad) -> scores`` and any object with ``name`` and ``scores(context)`` is a criterion too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeGuard

import torch
from torch import Tensor

from .criteria import NAMED, NEEDS_DATA, NEEDS_LOSS, NORMALISATIONS, Context, Criterion, Gradient, PerLayer
from .errors import PatternError
from .ops import importance as importance_op

__all__ = [
    "CRITERIA",
    "NAMES",
    "Importance",
    "check_given",
    "flat_scores",
    "importance_name",
    "is_named",
    "raw_scores",
    "scores_of",
    "scores_of_one",
]

#: Criteria of a weight and its gradient alone. "lamp": w^2 over the sum of squares not smaller (Lee et al., ICLR 2021);
#: "magnitude": w^2; "gradient": |g|; "taylor": |w g| (first order).
CRITERIA = ("lamp", "magnitude", "gradient", "taylor")

#: All names that ``importance=`` takes, alone or followed by "/sum" or "/lamp" (:class:`jouleprune.criteria.PerLayer`).
NAMES = (*CRITERIA, *NAMED)

#: A criterion by name; ``(name, weight, grad) -> scores`` with scores of the weight's shape, finite and not negative;
#: or an object that scores all weights together.
Importance = str | Callable[[str, Tensor, Tensor | None], Tensor] | Criterion


def importance_name(importance: Importance) -> str:
    """Name for plans and reports.

    Raises:
        PatternError: an unknown name.
    """
    if isinstance(importance, str):
        if not is_named(importance):
            raise PatternError(
                f"importance: expected one of {', '.join(NAMES)}, alone or followed by "
                f"{' or '.join(f'/{word}' for word in NORMALISATIONS)}, a criterion or a callable, got {importance!r}"
            )
        return importance
    if _is_criterion(importance):
        return importance.name
    if isinstance(importance, type) or not callable(importance):
        what = importance.__name__ + ": write " + importance.__name__ + "()" if isinstance(importance, type) else ""
        raise PatternError(
            f"importance: expected a name, a criterion or a callable, got {what or type(importance).__name__}"
        )
    return getattr(importance, "__name__", type(importance).__name__)


def is_named(importance: object) -> bool:
    """Whether it is a name that ``importance=`` takes."""
    name, mark, normalise = importance.partition("/") if isinstance(importance, str) else ("", "", "")
    return name in NAMES and (not mark or normalise in NORMALISATIONS)


def check_given(importance: Importance, data: object, loss: object) -> None:
    """Refuses a criterion by name that lacks what it looks at, before anything runs."""
    importance_name(importance)
    while isinstance(importance, PerLayer):
        importance = importance.importance
    name = importance.partition("/")[0] if isinstance(importance, str) else ""
    if name in NEEDS_DATA and data is None:
        raise ValueError(f"data: importance {importance!r} needs calibration data: data=<batches>, got None")
    if name in NEEDS_LOSS and loss is None:
        raise ValueError(f"loss: importance {importance!r} needs a callable (outputs, target) -> scalar, got None")


def raw_scores(importance: Importance, context: Context) -> Mapping[str, Tensor]:
    """What the criterion says, by weight, unchecked.

    Raises:
        ValueError: NaN or infinite weights, a missing gradient, no data; the message names the weight or the argument.
    """
    if isinstance(importance, str) and "/" in importance:
        name, _, normalise = importance.partition("/")
        return PerLayer(name, normalise).scores(context)
    if isinstance(importance, str) and importance in NAMED:
        return NAMED[importance]().scores(context)
    if importance in ("gradient", "taylor") and context.data is not None:
        return Gradient(times_weight=importance == "taylor").scores(context)
    if _is_criterion(importance):
        return importance.scores(context)
    found = {}
    for name in context.weights:
        weight = context.parameter(name)
        found[name] = scores_of_one(importance, name, weight, weight.grad)
    return found


@torch.no_grad()
def scores_of(importance: Importance, context: Context) -> list[Tensor]:
    """Scores of each weight, float32, flattened, on the CPU.

    Raises:
        ValueError: as :func:`raw_scores`, and scores that are missing or of another shape.
    """
    found = raw_scores(importance, context)
    result = []
    for name in context.weights:
        scores, shape = found.get(name), context.model.get_parameter(name).shape
        if not isinstance(scores, Tensor) or scores.shape != shape:
            got = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
            raise ValueError(f"importance of {name!r}: expected scores of shape {tuple(shape)}, got {got}")
        result.append(flat_scores(scores))
    return result


@torch.no_grad()
def flat_scores(scores: Tensor) -> Tensor:
    """As the planner reads them: float32, flat, on the CPU."""
    largest = torch.finfo(torch.float32).max  # what float32 cannot hold saturates; NaN goes on to be refused
    single = scores.detach().to(device="cpu")
    if single.dtype != torch.float32 or (single.numel() > 0 and not bool(single.amax() <= largest)):
        single = single.to(torch.float32).clamp_max(largest)  # not before: 16 bits cannot hold the bound
    return single.reshape(-1).contiguous()


def _is_criterion(importance: object) -> TypeGuard[Criterion]:
    scores, name = getattr(importance, "scores", None), getattr(importance, "name", None)
    return callable(scores) and isinstance(name, str) and not isinstance(importance, type)


@torch.no_grad()
def scores_of_one(importance: Importance, name: str, weight: Tensor, grad: Tensor | None) -> Tensor:
    """Of one weight, or of a part of it; for criteria that look at nothing else.

    Raises:
        ValueError: as the criterion; the message names the weight.
    """
    try:
        if isinstance(importance, str):
            return importance_op(weight.detach(), grad, importance)
        assert callable(importance)
        scores: Tensor = importance(name, weight.detach(), grad)
        return scores
    except ValueError as error:
        raise type(error)(f"importance of {name!r}: {error}") from error
