"""Typed wrappers of the ops of layout nm; part of ``jouleprune.ops``."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["linear_nm", "pack_nm", "unpack_nm"]

_ops = torch.ops.jouleprune


def pack_nm(weight: Tensor, mask: Tensor | None = None, *, n: int, m: int) -> tuple[Tensor, Tensor, Tensor]:
    """Packs a dense weight of which at most ``n`` of each ``m`` neighbouring inputs are kept.

    Args:
        weight: as of :func:`pack_csr`.
        mask: as of :func:`pack_csr`.
        n, m: 1 <= n < m <= 32.
    Returns:
        (values, indices, key). Where fewer than n are kept, the first others of the group take the places that are
        left: they are 0 and may be trained.
    Raises:
        TypeError, ValueError: as :func:`pack_csr`; also where more than n of a group are kept.
    Not differentiable. Shapes do not depend on the data.
    """
    packed: tuple[Tensor, Tensor, Tensor] = _ops.pack_nm(weight, mask, n, m)
    return packed


def unpack_nm(values: Tensor, indices: Tensor, cols: int, *, n: int, m: int) -> Tensor:
    """The dense weight [rows, cols] of a weight in layout nm.

    Args:
        values: [rows, kept], floating point.
        indices: [rows, kept], uint8.
        cols: columns of the weight, at least 0.
    Returns:
        [rows, cols], dtype and device of ``values``.
    Raises:
        TypeError: a dtype.
        ValueError: shapes or devices disagree, or the structure is unsound (checked on each call).
    Differentiable in ``values``.
    """
    dense: Tensor = _ops.unpack_nm(values, indices, cols, n, m)
    return dense


def linear_nm(
    input: Tensor,
    values: Tensor,
    indices: Tensor,
    key: Tensor,
    bias: Tensor | None = None,
    *,
    in_features: int,
    n: int,
    m: int,
    activation: str = "none",
) -> Tensor:
    """``activation(input @ W.T + bias)`` for a weight W [rows, in_features] in layout nm.

    Args:
        input: [..., in_features]; any leading dimensions (none, or of size 0) and strides.
        values: [rows, kept], dtype and device of ``input``.
        indices: [rows, kept], uint8.
        key: [2], int64, as :func:`pack_nm` made it.
        bias, activation: as of :func:`linear_csr`.
    Returns:
        [..., rows], contiguous, as :func:`linear_csr` of the same weight gives it.
    Raises:
        TypeError, ValueError: as :func:`linear_csr`.
    Differentiable once in ``input``, ``values`` and ``bias``. Every kept entry multiplies, those that are zero too.
    """
    out: Tensor = _ops.linear_nm(input, values, indices, key, None, bias, in_features, n, m, activation)
    return out
