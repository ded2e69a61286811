"""Small networks that the tests share, with deterministic weights."""

from __future__ import annotations

import torch
from torch import nn


def mlp() -> tuple[nn.Module, torch.Tensor]:
    """784-128-10 at batch 4."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10)), torch.randn(4, 1, 28, 28)


def lenet() -> tuple[nn.Module, torch.Tensor]:
    """LeNet-5 in Caffe's widths, at batch 1."""
    torch.manual_seed(1)
    layers = [
        nn.Conv2d(1, 20, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(20, 50, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(800, 500), nn.ReLU(), nn.Linear(500, 10),
    ]  # fmt: skip
    return nn.Sequential(*layers), torch.randn(1, 1, 28, 28)


class Residual(nn.Module):
    """Two convolutions with batch norm around a skip, one of them grouped, strided head: odd sizes throughout."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 18, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(18)
        self.grouped = nn.Conv2d(18, 18, 3, padding=2, dilation=2, groups=3)
        self.down = nn.Conv2d(18, 30, (3, 1), stride=(2, 1))
        self.head = nn.Linear(30, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm(self.stem(x)))
        x = x + torch.relu(self.grouped(x))
        return self.head(self.down(x).mean((2, 3)))


def residual() -> tuple[nn.Module, torch.Tensor]:
    """A residual network at batch 2."""
    torch.manual_seed(2)
    return Residual(), torch.randn(2, 3, 15, 11)


def shared() -> tuple[nn.Module, torch.Tensor]:
    """A linear layer called twice: its weights are paid for twice."""
    torch.manual_seed(3)
    layer = nn.Linear(48, 48)
    return nn.Sequential(layer, nn.ReLU(), layer, nn.ReLU(), nn.Linear(48, 5)), torch.randn(3, 48)


NETWORKS = {"mlp": mlp, "lenet": lenet, "residual": residual}
