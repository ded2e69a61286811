"""Plans under every criterion of C++, which it must make bit for bit: a network with its data, and Python's plans.

python plans_criteria.py FOLDER
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import torch
from make_artifacts import write_tensor
from torch import nn

import jouleprune

#: importance, pattern
CASES = (
    ("lamp", "unstructured"), ("gradient", "unstructured"), ("taylor/sum", "unstructured"), ("random", "unstructured"),
    ("random/sum", "4x2"), ("l1/sum", "unstructured"), ("l2/lamp", "4x2"), ("linf/sum", "2:4"),
    ("fpgm/lamp", "unstructured"), ("bn_scale/sum", "unstructured"), ("wanda", "unstructured"), ("wanda/sum", "4x2"),
    ("apoz/sum", "unstructured"), ("mean_activation/lamp", "unstructured"), ("connection_low", "unstructured"),
    ("connection_high/sum", "unstructured"), ("fisher", "unstructured"), ("fisher/lamp", "auto"),
    ("movement/sum", "unstructured"), ("t_test/sum", "4x2"), ("f_test/sum", "unstructured"),
    ("random_path/sum", "unstructured"), ("multi_task/sum", "unstructured"),
)  # fmt: skip


def make_net() -> nn.Sequential:
    """same_criteria.cpp has the same."""
    return nn.Sequential(
        nn.Conv2d(1, 12, 3, bias=False), nn.BatchNorm2d(12), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(12, 18, 3, groups=3),
        nn.ReLU(), nn.Flatten(), nn.Linear(18 * 5 * 5, 32), nn.GELU(), nn.Linear(32, 10),
    )  # fmt: skip


def main(folder: Path) -> None:
    """Fills ``folder`` with criteria.txt, criteria_<tensor>, and the plan of each case."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(4)
    net = make_net().eval()
    with torch.no_grad():
        net[1].weight.uniform_(0.2, 2)
        net[1].bias.normal_(std=0.2)
    for name, tensor in net.state_dict().items():
        if tensor.is_floating_point():
            write_tensor(tensor, folder / f"criteria_{name}")
    batches = [(torch.randn(4, 1, 16, 16).relu(), torch.randint(10, (4,))) for _ in range(3)]
    for number, (x, target) in enumerate(batches):
        write_tensor(x, folder / f"criteria_x{number}")
        write_tensor(target.float(), folder / f"criteria_target{number}")
    lines = []
    losses = [nn.functional.cross_entropy, lambda outputs, _: outputs.square().mean()]
    for number, (importance, pattern) in enumerate(CASES):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", jouleprune.EmptyLayerWarning)
            plan = jouleprune.plan(
                net,
                batches[0][0],
                energy="70%",
                profile="eyeriss-65nm",
                importance=importance,
                pattern=pattern,
                data=batches,
                loss=losses if importance.startswith("multi_task") else losses[0],
            )
        (folder / f"criteria_case{number}.json").write_text(plan.to_json())
        for weight, bits in plan.masks.items():
            write_tensor(bits.float(), folder / f"criteria_case{number}_{weight}")
        lines.append(f"{importance} {pattern}")
    (folder / "criteria.txt").write_text("\n".join(lines) + "\n")
    print(f"wrote {len(lines)} plans to {folder}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: plans_criteria.py FOLDER")
    main(Path(sys.argv[1]))
