"""What a Pruner costs in training: its updates and its masking, as a share of a training step of a ResNet-18, or of the
networks of examples/python.

    python examples/benchmarks/mask_update.py [--network resnet18] [--size 64] [--batch 32] [--importance lamp]

Seconds are processor time of one thread. A selection happens every ``frequency`` steps, masks are applied in each: the
amortised cost is selection / frequency + masking. The hooks that mask gradients are part of the step that is timed
with them; the last line tells what they add.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

import jouleprune as jp


class Block(nn.Module):
    """Two 3 x 3 convolutions around a skip."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs),
        )  # fmt: skip
        same = inputs == outputs and stride == 1
        self.skip = (
            nn.Identity()
            if same
            else nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.skip(x))


def resnet18() -> nn.Module:
    """The layers of ResNet-18 (He et al., CVPR 2016): 11.7 million weights, untrained."""
    layers: list[nn.Module] = [
        nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
    ]  # fmt: skip
    inputs = 64
    for width, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        layers += [Block(inputs, width, stride), Block(width, width, 1)]
        inputs = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000))


def network(name: str, batch: int, size: int) -> tuple[nn.Module, Tensor, int]:
    """The model, a batch of noise, and the number of classes."""
    if name == "resnet18":
        return resnet18(), torch.randn(batch, 3, size, size), 1000
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))
    from common import lenet, mlp

    return {"mlp": mlp, "lenet": lenet}[name](), torch.randn(batch, 1, 28, 28), 10


def seconds(call: Callable[[], object], runs: int) -> float:
    """Median of the processor time of a call."""
    taken = []
    for _ in range(runs):
        begin = time.process_time()
        call()
        taken.append(time.process_time() - begin)
    return statistics.median(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--network", choices=["resnet18", "mlp", "lenet"], default="resnet18", help="of examples/python"
    )
    parser.add_argument("--size", type=int, default=64, help="side of the images of resnet18")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--importance", default="lamp")
    parser.add_argument("--frequency", type=int, default=20)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)  # waiting threads count as processor time
    torch.manual_seed(0)
    model, x, classes = network(options.network, options.batch, options.size)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    target = torch.randint(classes, (options.batch,))

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), target).backward()
        optimizer.step()

    step()
    plain = seconds(step, options.runs)
    pruner = jp.Pruner(model, x[:1], energy="50%", profile="eyeriss-65nm", importance=options.importance)
    pruner.prune_to(0.5)
    hooked = seconds(step, options.runs)
    update = seconds(lambda: pruner.prune_to(0.75), options.runs)
    masking = seconds(pruner.keep, options.runs)
    cost = update / options.frequency + masking
    weights = sum(parameter.numel() for parameter in model.parameters())
    print(f"{options.network}, {weights / 1e6:.3g} M weights, batch {options.batch} of {x.shape[2]} x {x.shape[3]}")
    print(f"training step   {plain:8.4f} s")
    print(f"selection       {update:8.4f} s, every {options.frequency} steps ({options.importance})")
    print(f"masking         {masking:8.4f} s, each step")
    print(f"amortised       {100 * cost / plain:8.2f} % of a step")
    print(f"gradient hooks  {100 * (hooked - plain) / plain:8.2f} % of a step")


if __name__ == "__main__":
    main()
