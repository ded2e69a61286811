"""Which unit of a pattern each weight belongs to."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["unit_numbers"]


def unit_numbers(shape: Sequence[int], block: tuple[int, int]) -> Tensor:
    """int64 of the weight's shape: the number of its unit, row by row of blocks; of a convolution [out, in, *kernel] a
    block is r outputs x c inputs at one tap, and those of the same channels at all taps are side by side.

    Args:
        shape: at least 2-d.
        block: (r, c); what reaches beyond the weight makes smaller units.
    """
    rows, inputs, *kernel = shape
    taps = 1
    for size in kernel:
        taps *= size
    across = -(-inputs // block[1])
    row = torch.arange(rows).div(block[0], rounding_mode="floor")[:, None, None]
    column = torch.arange(inputs).div(block[1], rounding_mode="floor")[None, :, None]
    return ((row * across + column) * taps + torch.arange(taps)[None, None, :]).reshape(tuple(shape))
