"""How long an estimate takes: a ResNet-50 after it is recorded, and a workload of 10,000 entries.

Prints medians of the seconds that pass and, in brackets, of the process's CPU time: where others use the cores, the
first is longer. "First" is the first estimate of a process: profiles of dataflow fixed-nest search a mapping for each
layer then, and keep it.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import nn

import jouleprune as jp
from jouleprune.record import record


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 around a skip."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = 4 * width
        self.body = nn.Sequential(
            nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, outputs, 1, bias=False), nn.BatchNorm2d(outputs),
        )  # fmt: skip
        same = inputs == outputs and stride == 1
        self.skip = (
            nn.Identity()
            if same
            else nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.body(x) + self.skip(x))


def resnet50() -> tuple[nn.Module, torch.Tensor]:
    """The layers of ResNet-50 (He et al., CVPR 2016), untrained, on one image of 224 x 224."""
    layers: list[nn.Module] = [
        nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
    ]  # fmt: skip
    inputs = 64
    for width, blocks, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for block in range(blocks):
            layers.append(Bottleneck(inputs, width, stride if block == 0 else 1))
            inputs = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 1000)), torch.zeros(
        1, 3, 224, 224
    )


def medians(call: Callable[[], object], runs: int) -> str:
    """Milliseconds by the wall clock and by the process's; ``call`` has run before."""
    taken = []
    for _ in range(runs):
        wall, cpu = time.perf_counter(), time.process_time()
        call()
        taken.append((time.perf_counter() - wall, time.process_time() - cpu))
    wall_s, cpu_s = (statistics.median(values) for values in zip(*taken, strict=True))
    return f"{1e3 * wall_s:.1f} ms ({1e3 * cpu_s:.1f} ms)"


def main() -> int:
    model, image = resnet50()
    workload = record(model, image)
    data = json.loads(workload)
    entries = data["entries"]
    data["entries"] = [entries[index % len(entries)] for index in range(10_000)]
    large = json.dumps(data)
    print(f"{'profile':<20} {'first':>12} {'ResNet-50, ' + str(len(entries)) + ' entries':>24} {'10,000 entries':>24}")
    for name in jp.energy.profiles():
        profile = jp.energy.load_profile(name)
        begun = time.perf_counter()
        jp.energy.price_workload(workload, profile)
        first = f"{1e3 * (time.perf_counter() - begun):.1f} ms"
        small = medians(partial(jp.energy.price_workload, workload, profile), 21)
        of_10000 = medians(partial(jp.energy.price_workload, large, profile), 5)
        print(f"{name:<20} {first:>12} {small:>24} {of_10000:>24}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
