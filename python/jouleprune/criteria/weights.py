"""Criteria that look at weights alone: random, norms of units, geometric median, scales of batch norms."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .. import ops
from ..errors import PatternError
from .context import Context, block_of
from .follow import followed_outputs

__all__ = ["BatchNormScale", "GeometricMedian", "Norm", "Random", "of_rows"]

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


@dataclass(frozen=True, kw_only=True)
class Random:
    """Uniform draws, one per unit of the pattern; the same seed gives the same scores on any device."""

    seed: int = 0

    @property
    def name(self) -> str:
        return "random"

    def scores(self, context: Context) -> Mapping[str, Tensor]:
        return {
            name: ops.random_importance(
                context.weight(name), block_size=block_of(context.patterns[name]), seed=self.seed, stream=stream
            )
            for stream, name in enumerate(context.weights)
        }


@dataclass(frozen=True, kw_only=True)
class Norm:
    """L_p norm of the unit that a weight belongs to, as a mean over the unit: (sum |w|^p / entries)^(1/p).

    Units are those of the pattern; single weights (|w|) for "unstructured", "N:M" and "auto". Source: Li et al.,
    Pruning Filters for Efficient ConvNets, ICLR 2017 (L1 of filters); the mean is ours, so that sizes compare.

    Raises:
        ValueError: p is not above 0.
    """

    p: float = 2.0

    def __post_init__(self) -> None:
        if isinstance(self.p, bool) or not isinstance(self.p, int | float) or not self.p > 0:
            raise ValueError(f"Norm: p: expected a number above 0, got {self.p!r}")

    @property
    def name(self) -> str:
        return "linf" if math.isinf(self.p) else f"l{self.p:g}"

    def scores(self, context: Context) -> Mapping[str, Tensor]:
        return {
            name: ops.norm_importance(
                context.weight(name), block_size=block_of(context.patterns[name]), norm=float(self.p)
            )
            for name in context.weights
        }


@dataclass(frozen=True, kw_only=True)
class GeometricMedian:
    """Sum of the distances from a filter (a row of the weight) to all others of its layer.

    Source: He et al., Filter Pruning via Geometric Median for Deep Convolutional Neural Networks Acceleration, CVPR
    2019, eq. 3.
    """

    @property
    def name(self) -> str:
        return "fpgm"

    def scores(self, context: Context) -> Mapping[str, Tensor]:
        return {name: ops.fpgm_importance(context.weight(name)) for name in context.weights}


@dataclass(frozen=True, kw_only=True)
class BatchNormScale:
    """|gamma| of the batch norm that a layer's output goes into, per filter.

    Layers without a batch norm right after them have the largest scale of all: they go last. Source: Liu et al.,
    Learning Efficient Convolutional Networks through Network Slimming, ICCV 2017.

    Raises (at selection):
        PatternError: no layer goes into a batch norm with weights.
    """

    @property
    def name(self) -> str:
        return "bn_scale"

    def scores(self, context: Context) -> Mapping[str, Tensor]:
        scales: dict[str, Tensor] = {}
        for name, path in followed_outputs(context).items():
            norm = next((module for module in path if isinstance(module, _NORMS)), None)
            if norm is not None and norm.weight is not None:
                scales[name] = norm.weight.detach().abs()
        if not scales:
            raise PatternError("importance 'bn_scale': expected a batch norm after one of the layers, found none")
        largest = torch.stack([scale.max().cpu() for scale in scales.values()]).max()
        return {
            name: of_rows(context.weight(name), scales[name])
            if name in scales
            else torch.full_like(context.weight(name), float(largest), dtype=torch.float32)
            for name in context.weights
        }


def of_rows(weight: Tensor, rows: Tensor) -> Tensor:
    """Scores [rows] of filters -> scores of their weights."""
    return rows.to(weight.device, torch.float32).view(-1, *[1] * (weight.dim() - 1)).expand_as(weight)
