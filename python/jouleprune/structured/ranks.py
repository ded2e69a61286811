"""Low rank: a Linear layer or convolution as two smaller ones in a row, from a truncated SVD, or a convolution as
three, from Tucker-2 (tucker.py).

Source: Denton et al., NIPS 2014 (SVD of layers). tensorly computes the decompositions.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .tucker import tucker_kept, tucker_layers, tucker_weights

__all__ = ["Rank", "can_factorise", "factorised", "forms_of", "largest_rank", "saves", "singular_values"]

#: Of two layers; or of Tucker's three: channels behind the kernel, and in front of it.
Rank = int | tuple[int, int]
_MOST_FORMS = 96  # of a convolution: each may be priced


def _tensorly() -> Any:
    try:
        package = importlib.import_module("tensorly")
    except ImportError as error:
        raise ImportError("low rank needs tensorly: pip install 'jouleprune[lowrank]'") from error
    return package


def can_factorise(module: nn.Module) -> bool:
    """Linear layers, and convolutions in one group without a padding mode of their own."""
    if type(module) is nn.Linear:
        return True
    return type(module) is nn.Conv2d and module.groups == 1 and module.padding_mode == "zeros"


def _matrix(module: nn.Module) -> Tensor:
    """[outputs, all that an output reads]"""
    weight = module.get_parameter("weight").detach()
    return weight.reshape(weight.shape[0], -1)


def largest_rank(module: nn.Module) -> int:
    """The largest rank at which the two factors have fewer weights than the layer; 0: none."""
    rows, cols = _matrix(module).shape
    return max(0, (rows * cols - 1) // (rows + cols))


def singular_values(module: nn.Module) -> Tensor:
    """float64 [min(rows, cols)], descending, of the weight as a matrix of outputs."""
    values: Tensor = torch.linalg.svdvals(_matrix(module).double())
    return values.cpu()


def saves(rank: Rank, outputs: int, inputs: int, taps: int) -> bool:
    """Whether layers of this rank have fewer weights than the layer."""
    if isinstance(rank, int):
        return rank * (outputs + inputs * taps) < outputs * inputs * taps
    fewer = tucker_weights(outputs, inputs, taps, rank) < outputs * inputs * taps
    return rank[0] <= outputs and rank[1] <= inputs and fewer


def forms_of(conv: nn.Conv2d, least: int) -> list[tuple[Rank, float]]:
    """The forms that keep the most squared weights for their number of weights, by SVD and by Tucker, ascending in
    both: (rank, squared weights kept); of Tucker what is kept at least.

    Args:
        least: weights that a form has at least.
    """
    outputs, inputs, taps = conv.out_channels, conv.in_channels, math.prod(conv.kernel_size)
    of_svd = singular_values(conv).square().cumsum(0).tolist()
    found: list[tuple[int, float, Rank]] = [
        (rank * (outputs + inputs * taps), of_svd[rank - 1], rank) for rank in range(1, largest_rank(conv) + 1)
    ]
    if taps > 1:  # of one tap the SVD is the best there is
        kept = tucker_kept(conv).tolist()
        found += [
            (tucker_weights(outputs, inputs, taps, (behind, front)), kept[behind - 1][front - 1], (behind, front))
            for behind in range(1, outputs + 1)
            for front in range(1, inputs + 1)
            if saves((behind, front), outputs, inputs, taps)
        ]
    best: list[tuple[Rank, float]] = []
    for weights, kept_here, rank in sorted(found, key=lambda form: (form[0], -form[1])):
        if weights >= least and (not best or kept_here > best[-1][1]):
            best.append((rank, kept_here))
    if len(best) <= _MOST_FORMS:
        return best
    return [best[round(place * (len(best) - 1) / (_MOST_FORMS - 1))] for place in range(_MOST_FORMS)]


def factorised(module: nn.Module, rank: Rank) -> nn.Sequential:
    """Two layers whose product is the best approximation of that rank: inputs to ``rank``, ``rank`` to outputs.

    A convolution becomes one with ``rank`` filters of the same kernel and a 1x1; of two ranks, the three of Tucker.

    Raises:
        ImportError: tensorly is not installed.
        ValueError: a module that cannot be factorised, or a rank that saves nothing.
    """
    if not can_factorise(module):
        raise ValueError(f"module: expected a Linear or an ungrouped Conv2d, got {type(module).__name__}")
    if not isinstance(rank, int):
        if not isinstance(module, nn.Conv2d):
            raise ValueError(f"rank: expected one number for a {type(module).__name__}, got {rank}")
        return tucker_layers(module, rank)
    if not 1 <= rank <= largest_rank(module):
        raise ValueError(f"rank: expected 1 to {largest_rank(module)}, above which nothing is saved, got {rank}")
    matrix, weight, bias = _matrix(module), module.get_parameter("weight"), getattr(module, "bias", None)
    package = _tensorly()
    u, s, vh = package.truncated_svd(matrix.double().cpu().numpy(), n_eigenvecs=rank)
    root = torch.from_numpy(s).sqrt()
    first = (root[:, None] * torch.from_numpy(vh)).to(matrix)
    second = (torch.from_numpy(u) * root[None, :]).to(matrix)
    like: Mapping[str, Any] = {"device": weight.device, "dtype": weight.dtype}
    if isinstance(module, nn.Conv2d):
        narrow: nn.Module = nn.Conv2d(
            module.in_channels, rank, module.kernel_size, module.stride, module.padding, module.dilation, bias=False,  # type: ignore[arg-type]
            **like,
        )  # fmt: skip
        wide: nn.Module = nn.Conv2d(rank, module.out_channels, 1, bias=bias is not None, **like)
    else:
        assert isinstance(module, nn.Linear)
        narrow = nn.Linear(module.in_features, rank, bias=False, **like)
        wide = nn.Linear(rank, module.out_features, bias=bias is not None, **like)
    with torch.no_grad():
        for layer, values in ((narrow, first), (wide, second)):
            layer.get_parameter("weight").copy_(values.reshape(layer.get_parameter("weight").shape))
        if bias is not None:
            wide.get_parameter("bias").copy_(bias)
    for parameter in (*narrow.parameters(), *wide.parameters()):
        parameter.requires_grad_(weight.requires_grad)
    return nn.Sequential(narrow, wide).train(module.training)
