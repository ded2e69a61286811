"""Data and networks of the selection study: scikit-learn's digits (1,797 real images of 8 x 8) and three small
convolutional networks."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

__all__ = ["NETWORKS", "Digits", "accuracy", "digits", "train"]


@dataclass(frozen=True)
class Digits:
    """A stratified split: 1,297 images to train with, 500 to test."""

    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor


def digits(seed: int) -> Digits:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    data = load_digits()
    images = torch.tensor(data.images / 16.0, dtype=torch.float32).unsqueeze(1)
    labels = torch.tensor(data.target)
    train, test = train_test_split(range(len(labels)), test_size=500, stratify=data.target, random_state=seed)
    return Digits(images[train], labels[train], images[test], labels[test])


class Residual(nn.Module):
    """A stem and two residual blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 24, 3, padding=1), nn.BatchNorm2d(24), nn.ReLU())
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(24, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 24, 3, padding=1)
            )
            for _ in range(2)
        )
        self.head = nn.Linear(24 * 4, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = nn.functional.max_pool2d(torch.relu(x + block(x)), 2)
        return self.head(x.flatten(1))


def plain() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip


def depthwise() -> nn.Module:
    def separable(width: int, out: int) -> list[nn.Module]:
        return [
            nn.Conv2d(width, width, 3, padding=1, groups=width), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, out, 1), nn.BatchNorm2d(out), nn.ReLU(), nn.MaxPool2d(2),
        ]  # fmt: skip

    stem = [nn.Conv2d(1, 24, 3, padding=1), nn.BatchNorm2d(24), nn.ReLU()]
    return nn.Sequential(*stem, *separable(24, 48), *separable(48, 64), nn.Flatten(), nn.Linear(256, 10))


NETWORKS = {"plain": plain, "residual": Residual, "depthwise": depthwise}


def train(
    model: nn.Module, data: Digits, epochs: int, rate: float, seed: int, masks: Mapping[str, Tensor] | None = None
) -> nn.Module:
    """A trained copy; masked weights stay zero."""
    model = copy.deepcopy(model).train()
    named = {name: model.get_parameter(name) for name in masks or {}}
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    generator = torch.Generator().manual_seed(seed)

    def keep() -> None:
        with torch.no_grad():
            for name, parameter in named.items():
                parameter *= masks[name] if masks else 1

    keep()
    for _ in range(epochs):
        for batch in torch.randperm(len(data.train_x), generator=generator).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(data.train_x[batch]), data.train_y[batch]).backward()
            optimizer.step()
            keep()
    return model.eval()


def accuracy(model: nn.Module, data: Digits) -> float:
    """Percent of the test images."""
    with torch.no_grad():
        return 100.0 * float((model(data.test_x).argmax(1) == data.test_y).float().mean())
