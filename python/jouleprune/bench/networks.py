"""Whole networks in code, with the widths of their namesakes and random weights: time does not depend on training."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["NETWORKS", "build"]


class _Norm(nn.Sequential):
    """Convolution and batch norm."""

    def __init__(self, inside: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        convolution = nn.Conv2d(inside, out, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
        super().__init__(convolution, nn.BatchNorm2d(out))


class _Residual(nn.Module):
    """A branch beside a shortcut."""

    def __init__(self, branch: nn.Module, inside: int, out: int, stride: int) -> None:
        super().__init__()
        self.branch = branch
        self.shortcut = nn.Identity() if inside == out and stride == 1 else _Norm(inside, out, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.branch(x) + self.shortcut(x))


def _basic(inside: int, width: int, stride: int) -> tuple[nn.Module, int]:
    branch = nn.Sequential(_Norm(inside, width, 3, stride), nn.ReLU(), _Norm(width, width, 3))
    return _Residual(branch, inside, width, stride), width


def _bottleneck(inside: int, width: int, stride: int) -> tuple[nn.Module, int]:
    out = 4 * width
    branch = nn.Sequential(
        _Norm(inside, width, 1), nn.ReLU(), _Norm(width, width, 3, stride), nn.ReLU(), _Norm(width, out, 1)
    )
    return _Residual(branch, inside, out, stride), out


def _resnet(block: Callable[[int, int, int], tuple[nn.Module, int]], depths: tuple[int, ...]) -> nn.Module:
    """He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, table 1."""
    layers: list[nn.Module] = [_Norm(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, padding=1)]
    channels = 64
    for stage, depth in enumerate(depths):
        for place in range(depth):
            layer, channels = block(channels, 64 << stage, 2 if stage and not place else 1)
            layers.append(layer)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 1000))


def _mobilenet() -> nn.Module:
    """Howard et al., "MobileNets", 2017, table 1: the depthwise convolutions stay dense, the 1x1 are pruned."""
    layers: list[nn.Module] = [_Norm(3, 32, 3, 2), nn.ReLU()]
    inside = 32
    wide = [(512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]
    for out, stride in [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), *wide]:
        layers += [_Norm(inside, inside, 3, stride, groups=inside), nn.ReLU(), _Norm(inside, out, 1), nn.ReLU()]
        inside = out
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inside, 1000))


class _EncoderLayer(nn.Module):
    """Pre-norm self-attention and feed-forward, projections as plain linear layers."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value = nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, width)
        self.out = nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        q, k, v = (
            layer(y).unflatten(-1, (self.heads, -1)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        x = x + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        out: Tensor = x + self.down(F.gelu(self.up(self.norm2(x))))
        return out


def _transformer() -> nn.Module:
    """Four layers of BERT base's width."""
    return nn.Sequential(*[_EncoderLayer(768, 12) for _ in range(4)])


class _Lstm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(512, 512, num_layers=2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.lstm(x)[0]
        return out


#: Name: maker and input size.
_MAKERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "resnet18 224x224 b1": (lambda: _resnet(_basic, (2, 2, 2, 2)), (1, 3, 224, 224)),
    "resnet50 224x224 b1": (lambda: _resnet(_bottleneck, (3, 4, 6, 3)), (1, 3, 224, 224)),
    "mobilenet 224x224 b1": (_mobilenet, (1, 3, 224, 224)),
    "transformer 4x768 128 tokens": (_transformer, (1, 128, 768)),
    "lstm 2x512 32 steps": (_Lstm, (32, 1, 512)),
}
NETWORKS = tuple(_MAKERS)


def build(name: str, seed: int = 0) -> tuple[nn.Module, Tensor]:
    """The network in eval mode, its batch norms with statistics that are not the identity, and an input."""
    torch.manual_seed(seed)
    maker, size = _MAKERS[name]
    network = maker().eval()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)  # type: ignore[union-attr]
                module.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
    return network.requires_grad_(False), torch.randn(size)
