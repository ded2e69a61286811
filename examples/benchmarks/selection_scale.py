"""Selection over many scores: processor time and memory, against np.partition on the same data.

    python examples/benchmarks/selection_scale.py                    # 10^9 scores: 4 GB, and 4 GB more for np.partition
    python examples/benchmarks/selection_scale.py --scores 100000000

"amount": the op mask_smallest, half of all entries of all tensors go (``prune.global_unstructured``). "budget": the
planner, half of the joules of a stack of Linear layers on eyeriss-65nm. Memory is the peak of the process beyond the
scores and the masks that come back; time is that of the process on one thread. Linux only: the peak comes from /proc.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import jouleprune as jp
from jouleprune.selection import Selector

SIDE = 4096  # of a weight


def scores_of(count: int) -> tuple[np.ndarray, list[Tensor]]:
    """Squares of normal draws, as of weights: one array, and the same memory as a tensor per layer."""
    flat = torch.empty(count)
    generator = torch.Generator().manual_seed(0)
    layers = list(flat.split(SIDE * SIDE))
    for layer in layers:
        layer.normal_(generator=generator).square_()
    return flat.numpy(), layers


def resident() -> tuple[int, int]:
    """(now, peak) of the process in bytes."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    now, peak = (int(lines[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))
    return now, peak


def measured(call: Callable[[], int]) -> tuple[float, float]:
    """(seconds of the process, peak bytes beyond those before and those that the call gives back)."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before, _ = resident()
    begin = time.process_time()
    returned = call()
    seconds = time.process_time() - begin
    _, peak = resident()
    return seconds, peak - before - returned


def by_amount(layers: list[Tensor], count: int) -> int:
    return sum(mask.numel() for mask in jp.ops.mask_smallest(layers, count // 2))


def by_budget(selector: Selector, layers: list[Tensor]) -> int:
    masks, text = selector._ask(layers, {"budget": "50%"})
    plan = json.loads(text)
    assert plan["energy_j"] <= plan["budget_j"] and (plan["maximal"] or plan["energy_j"] > 0.99 * plan["budget_j"])
    return sum(mask.numel() for mask in masks)


def selector_of(layers: list[Tensor]) -> Selector:
    """Of Linear layers without memory: the planner needs their sizes alone."""
    with torch.device("meta"):
        model = nn.Sequential(*(nn.Linear(SIDE, layer.numel() // SIDE, bias=False) for layer in layers[:1]))
        for layer in layers[1:]:
            model.append(nn.Linear(model[-1].out_features, layer.numel() // model[-1].out_features, bias=False))
        x = torch.empty(1, SIDE)
    return Selector.record(
        model, x, profile=jp.energy.load_profile("eyeriss-65nm"), pattern="unstructured", importance="magnitude",
        ignored_layers=(), min_density=0.0, activation_density=1.0, batch=None, per="inference", count=None,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scores", type=int, default=10**9, help="about so many: whole rows of layers")
    parser.add_argument("--without-numpy", action="store_true", help="needs half the memory")
    options = parser.parse_args()
    torch.set_num_threads(1)
    count = max(options.scores // SIDE, 1) * SIDE
    flat, layers = scores_of(count)
    selector = selector_of(layers)
    small = [layer[:SIDE] for layer in layers[:1]]
    jp.ops.mask_smallest(small, 1)  # what the first call sets up
    rows = {
        "amount": measured(lambda: by_amount(layers, count)),
        "budget": measured(lambda: by_budget(selector, layers)),
    }
    print(f"{count} scores in {len(layers)} layers, one thread")
    for name, (seconds, extra) in rows.items():
        print(f"{name:<14} {seconds:8.2f} s  {extra / 1e6:8.1f} MB beyond scores and masks")
    if not options.without_numpy:
        begin = time.process_time()
        np.partition(flat, count // 2)
        seconds = time.process_time() - begin
        ratios = ", ".join(f"{name} {seconds / own:.1f} x as fast" for name, (own, _) in rows.items())
        print(f"{'np.partition':<14} {seconds:8.2f} s  {flat.nbytes / 1e6:8.1f} MB (its copy); {ratios}")


if __name__ == "__main__":
    main()
