"""Networks whose channels, heads and layers can go."""

from __future__ import annotations

import torch
from torch import nn


class DepthwiseCNN(nn.Module):
    """Separable convolutions with batch norm, a grouped pointwise layer, and a head on flattened pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 12, 3, padding=1), nn.BatchNorm2d(12)
        self.depthwise = nn.Conv2d(12, 12, 3, groups=12)
        self.pointwise = nn.Conv2d(12, 20, 1, groups=2)
        self.head = nn.Linear(20 * 16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm(self.stem(x)))
        return self.head(torch.relu(self.pointwise(self.depthwise(x))).flatten(1))


class Branches(nn.Module):
    """A concatenation, a transposed convolution, a 3-d and a 1-d one."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 7, 3, padding=1)
        self.c, self.up = nn.Conv2d(15, 6, 1), nn.ConvTranspose2d(6, 4, 2, 2)
        self.volume, self.line = nn.Conv3d(4, 6, (1, 3, 3)), nn.Conv1d(6, 5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = torch.relu(self.a(x))
        x = self.up(self.c(torch.cat([a, torch.relu(self.b(a))], 1)))
        return self.line(self.volume(x.unsqueeze(2)).squeeze(2).mean(3))


class ResidualCNN(nn.Module):
    """Two residual blocks, which can go as a whole."""

    class Block(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.one, self.norm = nn.Conv2d(width, 10, 3, padding=1), nn.BatchNorm2d(10)
            self.two = nn.Conv2d(10, width, 3, padding=1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(x + self.two(torch.relu(self.norm(self.one(x)))))

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.blocks = nn.Sequential(self.Block(8), self.Block(8))
        self.head = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.blocks(torch.relu(self.stem(x))).mean((2, 3)))


class Recurrent(nn.Module):
    """A classifier on the last step of an LSTM or GRU."""

    def __init__(self, kind: type[nn.Module], **options: object) -> None:
        super().__init__()
        self.recurrent = kind(9, 14, batch_first=True, **options)
        width = 14 * (2 if options.get("bidirectional") else 1)
        self.hidden, self.head = nn.Linear(width, 11), nn.Linear(11, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.hidden(self.recurrent(x)[0][:, -1])))


class Encoder(nn.Module):
    """A Transformer encoder of two layers."""

    def __init__(self, layers: int = 2) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(24, 4, 40, batch_first=True, dropout=0.0)
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = nn.Linear(24, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.encoder(x).mean(1))


def network(name: str) -> tuple[nn.Module, torch.Tensor]:
    """By name, with deterministic weights."""
    torch.manual_seed(3)
    image, sequence = torch.randn(2, 3, 6, 6), torch.randn(2, 7, 9)
    made = {
        "mlp": lambda: (nn.Sequential(nn.Linear(30, 40), nn.ReLU(), nn.Linear(40, 7)), torch.randn(3, 30)),
        "cnn": lambda: (
            nn.Sequential(
                nn.Conv2d(3, 10, 3), nn.ReLU(), nn.Conv2d(10, 12, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 6)
            ),
            image,
        ),
        "residual": lambda: (ResidualCNN(), image),
        "depthwise": lambda: (DepthwiseCNN(), image),
        "branches": lambda: (Branches(), image),
        "lstm": lambda: (Recurrent(nn.LSTM), sequence),
        "lstm deep": lambda: (Recurrent(nn.LSTM, num_layers=2, bidirectional=True), sequence),
        "gru": lambda: (Recurrent(nn.GRU), sequence),
        "transformer": lambda: (Encoder(), torch.randn(2, 6, 24)),
    }[name]()
    return made[0].eval(), made[1]


NAMES = ("mlp", "cnn", "residual", "depthwise", "branches", "lstm", "lstm deep", "gru", "transformer")
