"""Which weights of a layer stay when magnitude chooses some and the output error the others (EAP, section 4.2)."""

from __future__ import annotations

from torch import Tensor

from . import ops

__all__ = ["gains_of_restoring", "magnitude_and_restored", "output_energy"]


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
    what their return alone would undo of the error. Of equal ones the first stay.

    Args:
        weight, hessian: as of :func:`output_energy`.
    """
    back = round(restore * keep)
    (mask,) = ops.mask_smallest([weight.detach()], weight.numel() - (keep - back))
    if back == 0:
        return mask
    gains = gains_of_restoring(weight, hessian, mask)
    (restored,) = ops.mask_smallest([gains - gains.min()], weight.numel() - keep, left=[~mask])
    return mask | restored
