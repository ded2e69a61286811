"""Importance criteria: scores per weight, higher = keep.

The built-in criteria run in C++ (op ``jouleprune::importance``); any callable ``(name, weight, grad) -> scores`` is a
criterion too.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from .errors import PatternError
from .ops import importance as importance_op

__all__ = ["CRITERIA", "Importance", "importance_name", "score"]

#: Built-in criteria. "lamp": w^2 over the sum of squares not smaller (Lee et al., ICLR 2021); "magnitude": w^2;
#: "gradient": |g|; "taylor": |w g| (first order).
CRITERIA = ("lamp", "magnitude", "gradient", "taylor")

#: A criterion by name, or ``(name, weight, grad) -> scores`` with scores of the weight's shape, finite and not
#: negative.
Importance = str | Callable[[str, torch.Tensor, torch.Tensor | None], torch.Tensor]


def importance_name(importance: Importance) -> str:
    """Name for plans and reports.

    Raises:
        PatternError: an unknown name.
    """
    if isinstance(importance, str):
        if importance not in CRITERIA:
            raise PatternError(f"importance: expected one of {', '.join(CRITERIA)} or a callable, got {importance!r}")
        return importance
    if not callable(importance):
        raise PatternError(f"importance: expected a name or a callable, got {type(importance).__name__}")
    return getattr(importance, "__name__", type(importance).__name__)


@torch.no_grad()
def score(importance: Importance, name: str, weight: torch.Tensor) -> torch.Tensor:
    """Scores of one weight, float32, flattened.

    Raises:
        ValueError: NaN or infinite weights or scores, a missing gradient, or scores of another shape; the message
        names the weight.
    """
    grad = weight.grad
    try:
        if isinstance(importance, str):
            scores = importance_op(weight.detach(), grad, importance)
        else:
            scores = importance(name, weight.detach(), grad)
    except ValueError as error:
        raise type(error)(f"importance of {name!r}: {error}") from error
    if not isinstance(scores, torch.Tensor) or scores.shape != weight.shape:
        got = tuple(scores.shape) if isinstance(scores, torch.Tensor) else type(scores).__name__
        raise ValueError(f"importance of {name!r}: expected scores of shape {tuple(weight.shape)}, got {got}")
    return scores.detach().to(device="cpu", dtype=torch.float32).reshape(-1).contiguous()
