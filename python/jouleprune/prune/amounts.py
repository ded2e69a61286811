"""How much to prune: ``amount`` as a share or a count, checked as torch checks it."""

from __future__ import annotations

import math
import numbers

import torch
from torch import Tensor
from torch.nn.utils import prune as torch_prune

__all__ = [
    "_compute_norm",
    "_compute_nparams_toprune",
    "_validate_pruning_amount",
    "_validate_pruning_amount_init",
    "_validate_pruning_dim",
    "_validate_structured_pruning",
    "amount_of",
]


def _validate_pruning_amount_init(amount: float) -> None:
    """Whether ``amount`` can be one at all.

    Raises:
        TypeError: neither int nor float.
        ValueError: a share outside [0, 1] (NaN included, which torch lets through), or a negative count.
    """
    if not isinstance(amount, numbers.Real):
        raise TypeError(f"amount: expected an int or a float, got {amount!r}")
    is_count = isinstance(amount, numbers.Integral)
    if math.isnan(amount) or amount < 0 or (not is_count and amount > 1):
        raise ValueError(f"amount: expected a share in [0.0, 1.0] or a count of at least 0, got {amount!r}")


def _validate_pruning_amount(amount: float, tensor_size: int) -> None:
    """Whether that much is there.

    Raises:
        ValueError: a count above ``tensor_size``.
    """
    if isinstance(amount, numbers.Integral) and amount > tensor_size:
        raise ValueError(f"amount: expected at most the {tensor_size} units that are left, got {amount}")


def _compute_nparams_toprune(amount: float, tensor_size: int) -> int:
    """Units to remove: ``amount`` when it is a count, else its share of ``tensor_size``, rounded half to even."""
    return int(amount) if isinstance(amount, numbers.Integral) else round(amount * tensor_size)


def amount_of(amount: float, left: int) -> int:
    """Units to remove of the ``left`` ones. Raises ValueError when more are asked for."""
    count = _compute_nparams_toprune(amount, left)
    _validate_pruning_amount(count, left)
    return count


def _validate_structured_pruning(t: Tensor) -> None:
    """Raises ValueError for a tensor of fewer than two dimensions, which has no channels."""
    if t.dim() <= 1:
        raise ValueError(f"structured pruning: expected a tensor of at least 2 dimensions, got {list(t.shape)}")


def _validate_pruning_dim(t: Tensor, dim: int) -> None:
    """Raises IndexError for a dimension that the tensor lacks."""
    if not -t.dim() <= dim < t.dim():
        raise IndexError(f"dim: expected a dimension in [{-t.dim()}, {t.dim() - 1}] of {list(t.shape)}, got {dim}")


def _compute_norm(t: Tensor, n: float | str, dim: int) -> Tensor:
    """L_n norm of each slice along ``dim``: [t.shape[dim]]. ``n`` as ``p`` of :func:`torch.norm`."""
    with torch.no_grad():
        norm: Tensor = torch_prune._compute_norm(t, n, dim)
    return norm
