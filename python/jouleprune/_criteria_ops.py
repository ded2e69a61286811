"""Typed wrappers of the ops on criteria, significance and reconstruction; ``jouleprune.ops`` offers them.

Weights are [rows, ...], seen as matrices [rows, cols]; units are blocks of r x c entries of them. Scores are float32 of
the weight's shape, higher = keep, and each entry of a unit has the unit's score. Errors: ``ValueError`` for sizes,
numbers and devices, ``TypeError`` for dtypes; each names the op, the argument, what was expected and what came.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = [
    "add_hessian_",
    "alps",
    "benjamini_hochberg",
    "f_test",
    "fpgm_importance",
    "input_importance",
    "mask_threshold",
    "norm_importance",
    "random_importance",
    "refit",
    "shrink_units_",
    "sparsegpt",
    "t_test",
]

_ops = torch.ops.jouleprune


def norm_importance(weight: Tensor, *, block_size: Sequence[int] = (1, 1), norm: float = 2.0) -> Tensor:
    """(sum |w|^norm / entries)^(1 / norm) of the unit: a mean, so that units of any size compare; the largest |w| for
    infinity. A unit is a block of rows x cols, of a convolution of filters x channels at one tap."""
    scores: Tensor = _ops.norm_importance(weight, list(block_size), float(norm))
    return scores


def random_importance(weight: Tensor, *, block_size: Sequence[int] = (1, 1), seed: int, stream: int = 0) -> Tensor:
    """Uniform in (0, 1], one draw per unit; the same for any device, by splitmix64 of (seed, stream, unit)."""
    scores: Tensor = _ops.random_importance(weight, list(block_size), seed, stream)
    return scores


def fpgm_importance(weight: Tensor) -> Tensor:
    """Sum of the Euclidean distances from a row (a filter) to all others: near the geometric median it is least, and
    the others can stand in. Source: He et al., Filter Pruning via Geometric Median, CVPR 2019, eq. 3."""
    scores: Tensor = _ops.fpgm_importance(weight)
    return scores


def input_importance(weight: Tensor, inputs: Tensor, *, scale: float = 1.0) -> Tensor:
    """|w| x inputs of its group and input feature x scale.

    Args:
        weight: [rows, channels, ...].
        inputs: [groups, channels], at least 0; rows / groups rows of the weight read each group. Norms of the input
            features make it Wanda (Sun et al., ICLR 2024), probabilities that they are not zero the energy of
            connections, with the MACs of one connection as ``scale``.
    """
    scores: Tensor = _ops.input_importance(weight, inputs, float(scale))
    return scores


def mask_threshold(values: Tensor, amount: float, *, rule: str = "absolute") -> tuple[Tensor, Tensor]:
    """Keeps |value| >= theta; those equal to theta stay.

    Args:
        rule: what theta is: "absolute": amount; "quantile": the magnitude below which the share ``amount`` of all lies
            (rank floor(amount x entries)); "std": amount x standard deviation of the values (of the population);
            "max": amount x the largest magnitude.
    Returns:
        (mask bool, theta float64 []).
    """
    mask, theta = _ops.mask_threshold(values, float(amount), rule)
    return mask, theta


def t_test(sums: Tensor, square_sums: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """t = |mean| / (std / sqrt(n)) and its two-sided p-value, from sums and sums of squares (float64) of n
    measurements."""
    t, p = _ops.t_test(sums, square_sums, n)
    return t, p


def f_test(sums: Tensor, square_sums: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """F = variance between units / variance within units, and its p-value (one-way analysis of variance): whether the
    units' means differ at all. ``sums``, ``square_sums`` [units] float64, n measurements of each."""
    f, p = _ops.f_test(sums, square_sums, n)
    return f, p


def benjamini_hochberg(p: Tensor, alpha: float) -> Tensor:
    """Which p-values (float64) are significant when at most the share ``alpha`` of those may be false discoveries."""
    significant: Tensor = _ops.benjamini_hochberg(p, float(alpha))
    return significant


def shrink_units_(weight: Tensor, amounts: Tensor, *, block_size: Sequence[int] = (1, 1)) -> None:
    """Moves each unit by its amount (in its L2 norm) towards zero, in place, and to zero at most: the proximal step of
    a group lasso; the soft threshold for units of one entry.

    Args:
        amounts: [ceil(rows / r), ceil(cols / c)], at least 0.
    """
    _ops.shrink_units_(weight, amounts, list(block_size))


def add_hessian_(hessian: Tensor, inputs: Tensor) -> None:
    """hessian [groups, cols, cols] float64 += sum of x x^T over inputs [groups, n, cols], in place."""
    _ops.add_hessian_(hessian, inputs)


def refit(weight: Tensor, hessian: Tensor, mask: Tensor, *, damp: float = 0.01) -> Tensor:
    """The weight of least output error that is zero outside of ``mask``: exact least squares, row by row.

    Args:
        hessian: [groups, cols, cols] float64, of :func:`add_hessian_`.
        mask: bool of the weight's shape.
        damp: times the mean of the diagonal of ``hessian`` is added to that diagonal; above 0.
    """
    refitted: Tensor = _ops.refit(weight, hessian, mask, float(damp))
    return refitted


def sparsegpt(
    weight: Tensor,
    hessian: Tensor,
    *,
    mask: Tensor | None = None,
    sparsity: float = 0.0,
    block_size: Sequence[int] = (1, 1),
    n_of_m: Sequence[int] = (),
    damp: float = 0.01,
) -> tuple[Tensor, Tensor]:
    """One sweep over the columns: what a removed weight did is made up for by the columns after it.

    Args:
        hessian, damp: as of :func:`refit`.
        mask: what to keep, bool; or None: it is chosen on the way, by ``sparsity`` in units of ``block_size``, or n of
            every m neighbouring columns.
    Returns:
        (weight, mask).
    Source: Frantar and Alistarh, SparseGPT, ICML 2023, algorithm 1; blocks and the exact share are ours.
    """
    changed, kept = _ops.sparsegpt(weight, hessian, mask, float(sparsity), list(block_size), list(n_of_m), float(damp))
    return changed, kept


def alps(
    weight: Tensor,
    hessian: Tensor,
    *,
    sparsity: float = 0.0,
    block_size: Sequence[int] = (1, 1),
    n_of_m: Sequence[int] = (),
    damp: float = 0.01,
    iterations: int = 300,
) -> tuple[Tensor, Tensor]:
    """What to keep by ADMM on the output error, then :func:`refit`; arguments as of :func:`sparsegpt`.

    Source: after Meng et al., ALPS, NeurIPS 2024, algorithm 1.
    """
    changed, kept = _ops.alps(weight, hessian, float(sparsity), list(block_size), list(n_of_m), float(damp), iterations)
    return changed, kept
