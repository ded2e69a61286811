"""Which weights of a layer stay when magnitude chooses some and the output error the others (EAP, section 4.2)."""

from __future__ import annotations

import torch
from torch import Tensor

from . import ops

__all__ = ["gains_of_restoring", "magnitude_and_restored", "output_energy"]

#: In which weights come back. Each costs two products with the Hessian.
_STEPS = 4


def output_energy(weight: Tensor, hessian: Tensor) -> float:
    """tr(W H W^T): the squared output over the data.

    Args:
        weight: [rows, ...]; rows / groups of them read each group.
        hessian: [groups, cols, cols] float64, the sum of x x^T.
    """
    grouped = weight.double().reshape(hessian.shape[0], -1, hessian.shape[1])
    return float(((grouped @ hessian) * grouped).sum())


def gains_of_restoring(weight: Tensor, hessian: Tensor, mask: Tensor) -> Tensor:
    """By how much the squared output error falls when one weight outside of ``mask`` comes back; float64 of the
    weight's shape. With r the removed part of a row: 2 w_j (H r)_j - w_j^2 H_jj, negative where it rises."""
    grouped = weight.double().reshape(hessian.shape[0], -1, hessian.shape[1])
    removed = grouped * ~mask.reshape(grouped.shape)
    gains: Tensor = 2 * grouped * (removed @ hessian) - grouped.square() * hessian.diagonal(dim1=1, dim2=2).unsqueeze(1)
    return gains.reshape(weight.shape)


def magnitude_and_restored(weight: Tensor, hessian: Tensor, keep: int, restore: float) -> Tensor:
    """The mask of ``keep`` weights: the largest by magnitude, but the share ``restore`` of them chosen afterwards, by
    what their return undoes of the error; where all in all that leaves more error than magnitude alone, the mask by
    magnitude alone. Of equal ones the first stay.

    Args:
        weight, hessian: as of :func:`output_energy`.
    """
    back = round(restore * keep)
    plain = _largest(weight, keep)
    if back == 0:
        return plain
    mask = _restored(weight, hessian, _largest(weight, keep - back), back)
    better = output_energy(weight * ~mask, hessian) <= output_energy(weight * ~plain, hessian)
    return mask if better else plain


def _largest(weight: Tensor, keep: int, among: Tensor | None = None) -> Tensor:
    """Mask of the ``keep`` largest magnitudes, all of them in ``among``."""
    left, there = (None, weight.numel()) if among is None else ([among], int(among.sum()))
    (mask,) = ops.mask_smallest([weight.detach()], there - keep, left=left)
    return mask


def _restored(weight: Tensor, hessian: Tensor, mask: Tensor, back: int) -> Tensor:
    """``mask`` and ``back`` weights more. They come in steps, because gains do not add up: weights of a row that make
    up for the same error, each by itself, overshoot together. A row whose step undoes less than its best weight alone
    takes that one. When no return helps, the largest come."""
    left = back
    for step in range(_STEPS):
        gains = gains_of_restoring(weight, hessian, mask)
        chosen = _positive(gains.masked_fill(mask, 0.0), -(-left // (_STEPS - step)))
        chosen = _not_too_far(weight, hessian, mask, chosen, gains)
        count = int(chosen.sum())
        if count == 0:
            break
        mask, left = mask | chosen, left - count
        if left == 0:
            return mask
    return mask | _largest(weight, left, ~mask)


def _positive(gains: Tensor, most: int) -> Tensor:
    """Mask of the largest gains above 0, at most so many."""
    (mask,) = ops.mask_smallest([gains.clamp_min(0.0)], gains.numel() - most)
    return mask & (gains > 0)


def _not_too_far(weight: Tensor, hessian: Tensor, mask: Tensor, chosen: Tensor, gains: Tensor) -> Tensor:
    """``chosen``, and in rows that all of it together helps less than the best single weight, that one."""
    grouped = weight.double().reshape(hessian.shape[0], -1, hessian.shape[1])
    removed, returned = grouped * ~mask.reshape(grouped.shape), grouped * chosen.reshape(grouped.shape)
    together = ((2 * removed - returned) @ hessian * returned).sum(-1, keepdim=True)  # r H r - (r - d) H (r - d)
    single, place = (gains.reshape(grouped.shape) * chosen.reshape(grouped.shape)).max(-1, keepdim=True)
    best = torch.zeros(grouped.shape, dtype=torch.bool, device=weight.device).scatter_(-1, place, single > 0)
    return torch.where(together < single, best, chosen.reshape(grouped.shape)).reshape(weight.shape)
