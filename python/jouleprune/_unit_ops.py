"""Typed wrappers of the ops that mask units of weights; ``jouleprune.ops`` offers them.

Scores may have any real dtype and device and are compared by magnitude; NaN is above infinity, so that what is broken
is removed last. Of equal ones the first stay. On devices other than the CPU scores and masks are copied there and back.
Results are the same for any number of threads.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["mask_n_of_m", "mask_smallest", "spread_units", "unit_norms"]

_ops = torch.ops.jouleprune


def mask_smallest(scores: Sequence[Tensor], amount: int, *, left: Sequence[Tensor] | None = None) -> list[Tensor]:
    """Masks of what stays when the ``amount`` smallest of all entries of all tensors go.

    Nothing is sorted or joined: histograms of the bits of the scores, a few passes over them, find the last one that
    goes; so there may be more than 2^31 entries.

    Args:
        scores: tensors of any shapes; of several dtypes they are compared in the one that torch promotes to.
        amount: entries to remove.
        left: bool, a mask for each of ``scores``: what was removed before. None: everything is there.
    Returns:
        bool of the shapes of ``scores``, contiguous: left and not removed.
    Raises:
        TypeError: complex scores, or masks that are not bool.
        ValueError: shapes or devices disagree, or ``amount`` is negative or more than is left.
    """
    masks: list[Tensor] = _ops.mask_smallest(list(scores), [] if left is None else list(left), amount)
    return masks


def mask_n_of_m(scores: Tensor, n: int, m: int, *, dim: int, left: Tensor | None = None) -> Tensor:
    """The pattern n:m: of every m consecutive entries along ``dim`` the n largest of those left stay.

    Args:
        scores: any shape of at least one dimension.
        n, m: 0 <= n <= m. The last group may be shorter than m; n stay of it too.
        dim: along which groups run.
        left: bool, the shape of ``scores``: what was removed before counts as removed.
    Returns:
        bool of the shape of ``scores``, contiguous.
    Raises:
        TypeError, ValueError: as :func:`mask_smallest`, and a pattern that is none.
        IndexError: a dimension that ``scores`` lacks.
    """
    mask: Tensor = _ops.mask_n_of_m(scores, left, n, m, dim)
    return mask


def unit_norms(
    scores: Tensor, *, block_size: Sequence[int], norm: float = 1.0, left: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Norms of the units of a weight [rows, ...], which is flattened to [rows, cols] and cut into blocks of r x c.

    Args:
        scores: at least 2-d.
        block_size: (r, c), each at least 1; what reaches beyond the weight does not count.
        norm: p above 0. The norm is a mean, so that units at the edge compare: (sum |score|^p / entries)^(1/p), or the
            largest |score| for infinity.
        left: bool, the shape of ``scores``: entries that are not left count as 0.
    Returns:
        (norms float64, left bool), both [ceil(rows / r), ceil(cols / c)]: a unit is left while any of its entries is.
    Raises:
        TypeError, ValueError: as :func:`mask_smallest`, ``block_size``, ``norm``, or fewer than two dimensions.
    """
    norms, units = _ops.unit_norms(scores, left, list(block_size), float(norm))
    return norms, units


def spread_units(
    units: Tensor, size: Sequence[int], *, block_size: Sequence[int], left: Tensor | None = None
) -> Tensor:
    """The mask of a weight from the mask of its units.

    Args:
        units: bool [ceil(rows / r), ceil(cols / c)].
        size: of the weight [rows, ...].
        block_size: (r, c).
        left: bool of ``size``; what it does not keep is not kept.
    Returns:
        bool of ``size``, contiguous.
    Raises:
        TypeError, ValueError: dtypes, or shapes that do not go together.
    """
    mask: Tensor = _ops.spread_units(units, left, list(size), list(block_size))
    return mask
