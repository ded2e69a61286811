"""A few layers that follow or stand beside each other, as whole networks have them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn

__all__ = ["CHAINS", "build_chain"]


class _Beside(nn.Module):
    """Layers of one input, such as queries, keys and values."""

    def __init__(self, width: int, count: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(count))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([layer(x) for layer in self.layers], -1)


def _mlp(*widths: int) -> nn.Module:
    layers: list[nn.Module] = []
    for inside, out in pairwise(widths):
        layers += [nn.Linear(inside, out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _convolutions(channels: int, count: int) -> nn.Module:
    layers: list[nn.Module] = []
    for _ in range(count):
        layers += [nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


#: Name: maker and input size.
_MAKERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "ffn 768-3072-768 n=128": (lambda: _mlp(768, 3072, 768), (128, 768)),
    "mlp 4 x 1024 n=256": (lambda: _mlp(*[1024] * 5), (256, 1024)),
    "qkv 768 n=128": (lambda: _Beside(768, 3), (128, 768)),
    "3 conv 3x3 128ch 28x28": (lambda: _convolutions(128, 3), (1, 128, 28, 28)),
}
CHAINS = tuple(_MAKERS)


def build_chain(name: str, seed: int = 0) -> tuple[nn.Module, Tensor]:
    """The layers in eval mode, and an input."""
    torch.manual_seed(seed)
    maker, size = _MAKERS[name]
    return maker().eval().requires_grad_(False), torch.randn(size)
