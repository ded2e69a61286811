"""Weights and masks of the kinds that pruning really makes: how zeros lie decides what a sparse kernel can do."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["KINDS", "masked_weight", "n_of_m"]

#: Columns that SparseGPT prunes together with one threshold (Frantar and Alistarh, ICML 2023, section 3.3).
_SPARSEGPT_BLOCK = 128

KINDS = {
    "random": "Gaussian weights, zeros anywhere with equal chance",
    "skewed": "Gaussian weights, densities of the rows log-normal (sigma 1)",
    "magnitude": "heavy-tailed weights with unequal rows and columns, the smallest removed",
    "sparsegpt": "scores that share column factors, one threshold per 128 columns",
    "nm": "n of every m consecutive inputs of a row kept, the smallest m that fits the sparsity",
}


def masked_weight(
    kind: str, rows: int, cols: int, sparsity: float, *, block: tuple[int, int] = (1, 1), seed: int = 0
) -> Tensor:
    """A float32 weight [rows, cols] with variance 1 / cols and zeros where it is pruned.

    Args:
        kind: of ``KINDS``.
        sparsity: share of zeros, 0 to 1.
        block: rows x columns that live and die together; they divide the weight's.
        seed: the same seed gives the same weight.
    Raises:
        ValueError: the block does not divide the weight.
    """
    high, wide = block
    if rows % high or cols % wide:
        raise ValueError(f"block {high}x{wide} does not divide a weight of {rows}x{cols}")
    random = torch.Generator().manual_seed(seed)
    weight = torch.randn(rows, cols, generator=random)
    if kind in ("magnitude", "sparsegpt"):
        weight = _heavy_tailed(weight, random)
    power = (weight * weight).view(rows // high, high, cols // wide, wide).sum((1, 3))
    keep = _MASKS[kind](power, 1 - sparsity, random)
    keep = keep.repeat_interleave(high, 0).repeat_interleave(wide, 1)
    # A kept weight that happens to be 0 would count as pruned.
    weight = torch.where(weight == 0, torch.full_like(weight, 1e-3), weight) / math.sqrt(cols)
    return torch.where(keep, weight, torch.zeros_like(weight))


def n_of_m(density: float) -> tuple[int, int]:
    """The smallest m from 4 on, up to 128, of which a whole number n makes the density."""
    for m in range(4, 129):
        n = round(m * density)
        if abs(n - m * density) < 1e-6:
            return n, m
    return round(128 * density), 128


def _heavy_tailed(weight: Tensor, random: torch.Generator) -> Tensor:
    """Student's t with 5 degrees of freedom, rows and columns scaled log-normally: what trained layers look like."""
    rows, cols = weight.shape
    chi = torch.zeros(rows, cols)
    for _ in range(5):
        chi += torch.randn(rows, cols, generator=random).square() / 5
    scales = (0.3 * torch.randn(rows, 1, generator=random)).exp() * (0.3 * torch.randn(1, cols, generator=random)).exp()
    scaled: Tensor = weight / chi.sqrt() * scales
    return scaled / scaled.std()


def _largest(scores: Tensor, density: float) -> Tensor:
    """Exactly the rounded share of the largest scores."""
    count = round(density * scores.numel())
    keep = torch.zeros(scores.numel(), dtype=torch.bool)
    keep[scores.flatten().topk(count).indices] = True
    return keep.view_as(scores)


def _random(power: Tensor, density: float, random: torch.Generator) -> Tensor:
    return _largest(torch.rand(power.shape, generator=random), density)


def _skewed(power: Tensor, density: float, random: torch.Generator) -> Tensor:
    wanted = torch.randn(power.shape[0], generator=random).exp()
    low, high = 0.0, 1 / float(wanted.min())
    for _ in range(50):  # a row keeps all at most, so the factor of the others is found by bisection
        factor = (low + high) / 2
        low, high = (low, factor) if (wanted * factor).clamp(max=1).mean() > density else (factor, high)
    wanted = wanted * high
    ranks = torch.rand(power.shape, generator=random).argsort(1).argsort(1)
    return ranks < (wanted.clamp(max=1) * power.shape[1]).round().unsqueeze(1)


def _magnitude(power: Tensor, density: float, random: torch.Generator) -> Tensor:
    return _largest(power, density)


def _sparsegpt(power: Tensor, density: float, random: torch.Generator) -> Tensor:
    scores = power * torch.randn(1, power.shape[1], generator=random).exp()
    return torch.cat([_largest(part, density) for part in scores.split(_SPARSEGPT_BLOCK, dim=1)], dim=1)


def _nm(power: Tensor, density: float, random: torch.Generator) -> Tensor:
    n, m = n_of_m(density)
    parts = []
    for part in power.split(m, dim=1):
        count = n if part.shape[1] == m else round(density * part.shape[1])
        keep = torch.zeros(part.shape, dtype=torch.bool)
        parts.append(keep.scatter_(1, part.topk(count, dim=1).indices, True))
    return torch.cat(parts, dim=1)


_MASKS: dict[str, Callable[[Tensor, float, torch.Generator], Tensor]] = {
    "random": _random,
    "skewed": _skewed,
    "magnitude": _magnitude,
    "sparsegpt": _sparsegpt,
    "nm": _nm,
}
