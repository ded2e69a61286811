"""Weights of modules that have several: each is a child, in layout csr or dense."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

from .linear import SparseLinearCSR

__all__ = [
    "DenseMatrix",
    "Masks",
    "all_weights",
    "check_names",
    "dense_matrices",
    "give",
    "kept",
    "matrix",
    "owned",
]

#: Masks of several weights by their names in the dense module; a weight without one is packed by its zeros.
Masks = Mapping[str, Tensor]


class DenseMatrix(nn.Linear):
    """A weight that stays dense beside pruned ones."""

    def _matrix(self) -> list[Tensor]:
        bias = self.bias
        return [self.weight] if bias is None else [self.weight, bias]


def as_linear(weight: Tensor, bias: Tensor | None, kind: type[nn.Linear] = nn.Linear) -> nn.Linear:
    """A linear layer that holds these very parameters."""
    layer = kind(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    layer.weight, layer.bias = weight, bias  # type: ignore[assignment]
    return layer


def matrices(module: nn.Module) -> dict[str, SparseLinearCSR | nn.Linear]:
    """The children of a module of several weights, by name."""
    return {name: child for name, child in module.named_children() if isinstance(child, SparseLinearCSR | nn.Linear)}


def kept(module: nn.Module) -> int:
    """Kept weights of all matrices."""
    return sum(
        child.nnz if isinstance(child, SparseLinearCSR) else child.weight.numel() for child in matrices(module).values()
    )


def all_weights(module: nn.Module) -> int:
    """Weights of all matrices, kept or not."""
    return sum(child.in_features * child.out_features for child in matrices(module).values())


def dense_matrices(module: nn.Module) -> dict[str, nn.Linear]:
    """Dense layers with the weights of all matrices."""
    return {
        name: child.to_dense() if isinstance(child, SparseLinearCSR) else child
        for name, child in matrices(module).items()
    }


def give(source: Tensor, target: Tensor) -> None:
    """Contents and ``requires_grad``."""
    with torch.no_grad():
        target.copy_(source)
    target.requires_grad_(source.requires_grad)


def owned(parameter: Tensor | None) -> nn.Parameter | None:
    """A parameter of one's own with the same contents."""
    if parameter is None:
        return None
    return nn.Parameter(parameter.detach().clone(), requires_grad=parameter.requires_grad)


def matrix(
    weight: Tensor,
    bias: Tensor | None,
    mask: Tensor | None,
    *,
    dense: bool,
    sparse_kind: type[SparseLinearCSR] = SparseLinearCSR,
    dense_kind: type[nn.Linear] = DenseMatrix,
) -> nn.Module:
    """A child that multiplies by the weight and shares nothing with it."""
    if dense:
        copy = owned(weight)
        assert copy is not None
        return as_linear(copy, owned(bias), dense_kind)
    return sparse_kind(as_linear(weight, bias), mask)


def check_names(module: str, weights: Collection[str], masks: Masks | None, dense: Collection[str]) -> None:
    """Refuses masks and dense weights that the module lacks."""
    for argument, names in (("mask", masks or {}), ("dense", dense)):
        if isinstance(names, str | Tensor):
            raise ValueError(f"{module}: {argument}: expected names of weights, got {type(names).__name__}")
        for name in names:
            if name not in weights:
                raise ValueError(f"{module}: {argument}: expected one of {', '.join(weights)}, got {name!r}")
