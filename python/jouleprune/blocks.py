"""Blocks of a mask."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import pad

__all__ = ["kept_blocks"]


def kept_blocks(kept: Tensor, r: int, c: int) -> Tensor:
    """bool [ceil(rows / r), ceil(cols / c)]: which blocks of r x c hold a kept entry of bool [rows, cols]."""
    rows, cols = kept.shape
    padded = pad(kept, (0, -cols % c, 0, -rows % r))
    return padded.view(padded.shape[0] // r, r, padded.shape[1] // c, c).any(3).any(1)
