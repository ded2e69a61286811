"""The networks that every method must work on, by name: sizes of their layers as asked for, small inputs."""

from __future__ import annotations

import itertools

import torch
from structured_networks import Encoder, Recurrent, ResidualCNN
from torch import nn

__all__ = ["NAMED", "named"]


def _mlp(*widths: int) -> nn.Module:
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in itertools.pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _cnn(channels: tuple[int, ...], widths: tuple[int, ...]) -> nn.Module:
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(channels):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, *_mlp(*widths))


class _Generator(nn.Module):
    """Of a GAN: a vector becomes an image."""

    def __init__(self) -> None:
        super().__init__()
        self.start = nn.Linear(16, 24 * 9)
        self.up, self.norm = nn.ConvTranspose2d(24, 12, 4, 2, 1), nn.BatchNorm2d(12)
        self.mix, self.last = nn.Conv2d(12, 12, 3, padding=1), nn.ConvTranspose2d(12, 1, 4, 2, 1)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.start(z)).view(-1, 24, 3, 3)
        return torch.tanh(self.last(torch.relu(self.mix(torch.relu(self.norm(self.up(x)))))))


NAMED = {
    "MLP 784-128-10": lambda: (_mlp(784, 128, 10), torch.randn(4, 1, 28, 28)),
    "MLP 784-128-64-10": lambda: (_mlp(784, 128, 64, 10), torch.randn(4, 1, 28, 28)),
    "CNN 32-64-64-10": lambda: (_cnn((1, 32, 64), (64 * 4, 64, 10)), torch.randn(2, 1, 8, 8)),
    "CNN 3-64-128": lambda: (_cnn((3, 64, 128), (128 * 4, 10)), torch.randn(2, 3, 8, 8)),
    "residual CNN": lambda: (ResidualCNN(), torch.randn(2, 3, 6, 6)),
    "LSTM": lambda: (Recurrent(nn.LSTM), torch.randn(2, 7, 9)),
    "GRU": lambda: (Recurrent(nn.GRU), torch.randn(2, 7, 9)),
    "Transformer": lambda: (Encoder(), torch.randn(2, 6, 24)),
    "GAN generator": lambda: (_Generator(), torch.randn(3, 16)),
}


def named(name: str) -> tuple[nn.Module, torch.Tensor]:
    """The network in eval mode with deterministic weights, and its input."""
    torch.manual_seed(7)
    model, x = NAMED[name]()
    return model.eval(), x
