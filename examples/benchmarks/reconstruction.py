"""Layer-wise reconstruction against masks alone: what a network still computes after one shot, without training.

Prints docs/results/reconstruction.md (extras ``examples`` and ``minilm``, and Debian's package wordnet-base):
python examples/benchmarks/reconstruction.py > docs/results/reconstruction.md
"""

from __future__ import annotations

import argparse
import copy
import shlex
import sys
from typing import Any

import torch
from reconstruction_cases import CASES, Case
from torch import nn

import jouleprune as jp
from jouleprune.bench.machine import describe

METHODS = ("magnitude", "wanda", "wanda + refit", "sparsegpt", "alps")
PROFILE = "eyeriss-65nm"  # skips zeros: each layer can be pruned by the same share
INTRODUCTION = """\
# Reconstruction

Printed by `{command}`.

{machine}

The same share of the weights of each layer goes, once, without training afterwards. *magnitude* and *wanda* (masks of
`jp.plan`) leave the kept weights as they were; *wanda + refit* is `jp.reconstruct(plan=..., method="refit")` with the
masks of wanda; *sparsegpt* and *alps* are `jp.reconstruct(sparsity=..., method=...)`, which choose masks by themselves.
All but *magnitude* see the same calibration data. Error: squared difference to the dense outputs on held-out
data, over their squares. Joules are not compared: on a device that skips zeros equal shares cost the same.
"""


def uniform_plan(model: nn.Module, data: list[Any], zeros: float, importance: str) -> jp.Plan:
    """Masks that remove the share from each layer: the least joules above a floor for each."""
    options: dict[str, Any] = {"profile": PROFILE, "importance": importance, "min_density": 1 - zeros, "data": data}
    least = jp.plan(model, data[0], energy="100%", **options).minimum_j
    return jp.plan(model, data[0], energy=least, **options)


def pruned(case: Case, zeros: float, method: str) -> nn.Module:
    """A copy."""
    model, data = copy.deepcopy(case.model), case.calibration
    if method in ("sparsegpt", "alps"):
        jp.reconstruct(model, data, sparsity=zeros, method=method)
        return model
    plan = uniform_plan(model, data, zeros, method.split()[0])
    if method.endswith("refit"):
        jp.reconstruct(model, data, plan=plan, method="refit")
    else:
        jp.Pruner(model, data[0], plan=plan, data=data).prune_now()
    return model


def table(case: Case, methods: list[str], shares: list[int]) -> list[str]:
    """Lines of Markdown: error and score, by method and share of zeros."""
    lines = ["| method | " + " | ".join(f"{share} %" for share in shares) + " |", "| --- " * (len(shares) + 1) + "|"]
    dense = case.outputs(case.model)
    for method in methods:
        cells = []
        for share in shares:
            found = case.outputs(pruned(case, share / 100, method))
            error = float((found - dense).square().sum() / dense.square().sum())
            cells.append(f"{error:.4f} / {case.score(found):.3f}")
            print(f"{method}, {share} %: {cells[-1]}", file=sys.stderr)
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--zeros", type=int, nargs="+", default=[50, 60, 70, 80, 90], help="percent of each layer")
    parser.add_argument("--calibration", type=int, default=256, help="images or sentences")
    parser.add_argument("--tests", type=int, default=1000, help="images or sentences")
    options = parser.parse_args()
    torch.set_num_threads(1)
    machine = describe(1, {}, "")
    libraries = f"torch {machine.torch} ({machine.torch_isa}), jouleprune {machine.jouleprune} ({machine.isa})"
    told = f"{machine.cpu}, one thread; {libraries}."
    command = shlex.join(["python", "examples/benchmarks/reconstruction.py", *sys.argv[1:]])
    lines = INTRODUCTION.format(command=command, machine=told).splitlines()
    for name in options.networks:
        case = CASES[name](options.calibration, options.tests)
        lines += ["", f"## {case.title}", "", case.told, "", *table(case, options.methods, options.zeros)]
    print("\n".join(lines))


if __name__ == "__main__":
    main()
