"""Low rank: a Linear layer or convolution as two smaller ones in a row, from a truncated SVD or a partial Tucker.

Sources: Denton et al., NIPS 2014 (SVD of layers); Kim et al., Compression of Deep Convolutional Neural Networks, ICLR
2016 (Tucker-2). tensorly computes the decompositions.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["can_factorise", "factorised", "largest_rank", "singular_values"]


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


def factorised(module: nn.Module, rank: int) -> nn.Sequential:
    """Two layers whose product is the best approximation of that rank: inputs to ``rank``, ``rank`` to outputs.

    A convolution becomes one with ``rank`` filters of the same kernel and a 1x1 (for a decomposition along one mode
    Tucker and SVD are the same).

    Raises:
        ImportError: tensorly is not installed.
        ValueError: a module that cannot be factorised, or a rank that saves nothing.
    """
    if not can_factorise(module):
        raise ValueError(f"module: expected a Linear or an ungrouped Conv2d, got {type(module).__name__}")
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
