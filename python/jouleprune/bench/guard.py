"""No wrong result is ever timed: every candidate's output is compared with a sum in double precision first."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["BOUNDS", "Expected", "WrongResult", "check"]


class WrongResult(Exception):
    """A candidate computed something else."""


@dataclass(frozen=True)
class Expected:
    """What a layer must give, in double precision.

    Attributes:
        output: the result.
        magnitude: the same sums over absolute values: what rounding errors are proportional to.
        terms: length of the longest sum.
    """

    output: Tensor
    magnitude: Tensor
    terms: int


#: Arithmetic: share of the result's norm that the error's norm may have; None where each element has its bound.
#: Winograd's transforms lose 3 digits of float32 (1.6e-3 measured on MNN's); int8 with one scale a tensor reaches 6 %
#: where rows are of unequal size.
BOUNDS: dict[str, float | None] = {"float32": None, "bfloat16": None, "winograd": 5e-3, "network": 1e-3, "int8": 0.1}


def check(output: Tensor, expected: Expected, arithmetic: str) -> float:
    """Compares; returns the relative error (norm over norm).

    float32 and bfloat16: each element within the bound of a sum of ``terms`` products in float32, in whatever order
    (Higham, "Accuracy and Stability of Numerical Algorithms", section 3.1), and of one rounding to bfloat16. The
    operands of every case are bfloat16 numbers, so that both compute the same sums.

    Raises:
        WrongResult: another shape, or an error above the bound.
    """
    if output.shape != expected.output.shape:
        raise WrongResult(f"shape: expected {list(expected.output.shape)}, got {list(output.shape)}")
    error = (output.detach().double() - expected.output).abs()
    relative = float(error.norm() / expected.output.norm().clamp(min=1e-300))
    limit = BOUNDS[arithmetic]
    if limit is not None:
        if not relative <= limit:  # a NaN is wrong too
            raise WrongResult(f"relative error: expected at most {limit:g}, got {relative:.3g}")
        return relative
    bound = (expected.terms + 2) * torch.finfo(torch.float32).eps / 2 * expected.magnitude
    if arithmetic == "bfloat16":
        bound = bound + torch.finfo(torch.bfloat16).eps / 2 * expected.output.abs() * (1 + 1e-2)
    worst = float((error - bound).max()) if error.numel() else 0.0
    if not worst <= 1e-30:
        where = int((error - bound).argmax())
        raise WrongResult(
            f"element {where}: expected {float(expected.output.flatten()[where]):.6g} within "
            f"{float(bound.flatten()[where]):.2g}, got {float(output.flatten()[where]):.6g}"
        )
    return relative
