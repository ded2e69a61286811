"""Tucker-2 of a convolution: 1x1 into fewer channels, the kernel between few channels, 1x1 out of them.

Source: Kim et al., Compression of Deep Convolutional Neural Networks for Fast and Low Power Mobile Applications, ICLR
2016. tensorly computes the decomposition (higher-order orthogonal iteration).
"""

from __future__ import annotations

import importlib
import math
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["tucker_kept", "tucker_layers", "tucker_weights"]


def tucker_weights(out_channels: int, in_channels: int, taps: int, ranks: tuple[int, int]) -> int:
    """Weights of the three layers; ``ranks``: channels behind the kernel and in front of it."""
    behind, front = ranks
    return in_channels * front + front * behind * taps + behind * out_channels


def tucker_kept(conv: nn.Conv2d) -> Tensor:
    """float64 [out, in]: of the squared weights, what ranks (i + 1, j + 1) keep at least: that of the truncated
    higher-order SVD, from which the iteration starts."""
    weight = conv.weight.detach().double().flatten(2)
    unfolded = [weight.transpose(0, mode).flatten(1) for mode in (0, 1)]
    out, into = (torch.linalg.eigh(each @ each.T).eigenvectors.flip(1) for each in unfolded)  # left singular vectors
    core = torch.einsum("oit,oa,ib->abt", weight, out, into)
    return core.square().sum(2).cumsum(0).cumsum(1).cpu()


def tucker_layers(conv: nn.Conv2d, ranks: tuple[int, int]) -> nn.Sequential:
    """Three convolutions whose product is near the best approximation of these multilinear ranks.

    Raises:
        ImportError: tensorly is not installed.
        ValueError: ranks that the channels do not have, or that save nothing.
    """
    behind, front = ranks
    most = (conv.out_channels, conv.in_channels)
    sizes = (*most, math.prod(conv.kernel_size))
    if not (1 <= behind <= most[0] and 1 <= front <= most[1]) or tucker_weights(*sizes, ranks) >= conv.weight.numel():
        raise ValueError(f"rank: expected two ranks up to {most} that save weights, got {ranks}")
    try:
        decomposition: Any = importlib.import_module("tensorly.decomposition")
    except ImportError as error:
        raise ImportError("low rank needs tensorly: pip install 'jouleprune[lowrank]'") from error
    weight, bias = conv.weight.detach(), conv.bias
    (core, (out, into)), _ = decomposition.partial_tucker(
        weight.double().cpu().numpy(), rank=list(ranks), modes=[0, 1], init="svd", tol=1e-6
    )
    like: dict[str, Any] = {"device": weight.device, "dtype": weight.dtype}
    layers = nn.Sequential(
        nn.Conv2d(most[1], front, 1, bias=False, **like),
        nn.Conv2d(front, behind, conv.kernel_size, conv.stride, conv.padding, conv.dilation, bias=False, **like),  # type: ignore[arg-type]
        nn.Conv2d(behind, most[0], 1, bias=bias is not None, **like),
    )
    with torch.no_grad():
        for layer, values in zip(layers, (into.T[:, :, None, None], core, out[:, :, None, None]), strict=True):
            layer.get_parameter("weight").copy_(torch.from_numpy(values.copy()))
        if bias is not None:
            layers[2].get_parameter("bias").copy_(bias)
    layers.requires_grad_(conv.weight.requires_grad)
    return layers.train(conv.training)
