"""Accuracy at equal modelled joules: removal by importance per joule against removal by importance alone.

Prints docs/results/selection.md:
python examples/benchmarks/selection_study.py --seeds 10 > docs/results/selection.md
"""

from __future__ import annotations

import argparse
import copy
import itertools
import json
import math
import sys
import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from selection_networks import NETWORKS, Digits, accuracy, digits, train
from torch import Tensor, nn

import jouleprune as jp
from jouleprune.energy import price_workload
from jouleprune.record import record

BUDGETS, UNITS = (50, 25, 10, 5), ("weights", "channels")
WEIGHTS, CHANNELS = ("per joule", "magnitude", "LAMP", "uniform"), ("per joule", "Torch-Pruning", "uniform")
Masks = dict[str, Tensor]


def largest(fits: Callable[[float], bool], steps: int = 14) -> float:
    """The largest share that fits, by bisection; 0 always does."""
    low, high = 0.0, 1.0
    for _ in range(steps):
        middle = (low + high) / 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


class Weights:
    """Masks of single weights for one trained network."""

    def __init__(self, model: nn.Module, x: Tensor, profile: jp.energy.Profile) -> None:
        self.model, self.x, self.profile = model, x, profile
        self.workload = json.loads(record(model, x))
        self.names = [layer.weight for layer in jp.plan(model, x, energy="100%", profile=profile).layers]
        self.dense_j = jp.estimate(model, x, profile=profile).energy_j

    def joules(self, masks: Mapping[str, Tensor]) -> float:
        kept = {name: int(mask.sum()) for name, mask in masks.items()}
        entries = [{**e, "nnz": kept.get(e["weight"], e["nnz"])} for e in self.workload["entries"]]
        return price_workload(json.dumps({**self.workload, "entries": entries}), self.profile).energy_j

    def masks(self, method: str, budget_j: float) -> Masks:
        weights = {name: self.model.get_parameter(name).detach() for name in self.names}
        if method == "per joule":
            plan = jp.plan(self.model, self.x, energy=budget_j, profile=self.profile)
            return {name: jp.ops.unpack_mask(bits, weights[name].shape) for name, bits in plan.masks.items()}
        how = "lamp" if method == "LAMP" else "magnitude"
        scores = {name: jp.ops.importance(weight, None, how) for name, weight in weights.items()}
        ranked = torch.cat([each.flatten() for each in scores.values()]).sort(descending=True).values

        def chosen(share: float) -> Masks:
            if method == "uniform":
                own = {name: each.flatten().sort(descending=True).values for name, each in scores.items()}
                return {name: each >= threshold(own[name], share) for name, each in scores.items()}
            return {name: each >= threshold(ranked, share) for name, each in scores.items()}

        masks = chosen(largest(lambda share: self.joules(chosen(share)) <= budget_j))
        if self.joules(masks) > budget_j:
            raise jp.BudgetError(f"energy: {method} does not reach {budget_j:.3g} J")
        return masks


def threshold(ranked: Tensor, share: float) -> float:
    """The least score among that share of all."""
    count = int(share * len(ranked))
    return float(ranked[count - 1]) if count else math.inf


def fewer_channels(model: nn.Module, x: Tensor, profile: jp.energy.Profile, method: str, budget_j: float) -> nn.Module:
    """A smaller dense network.

    Raises:
        BudgetError: the budget is below what the method reaches.
    """
    if method == "per joule":
        return jp.shrink(model, x, energy=budget_j, profile=profile, pattern="channel").model
    import torch_pruning as tp

    def pruned(kept: float) -> nn.Module:
        other = copy.deepcopy(model).eval()
        head = [module for module in other.modules() if isinstance(module, nn.Linear)][-1]
        tp.pruner.BasePruner(
            other, x, importance=tp.importance.MagnitudeImportance(p=2), pruning_ratio=1 - kept,
            global_pruning=method == "Torch-Pruning", ignored_layers=[head],
        ).step()  # fmt: skip
        return other

    def joules(kept: float) -> float:
        return jp.estimate(pruned(kept), x, profile=profile).energy_j

    kept = largest(lambda share: share > 0.01 and joules(share) <= budget_j, steps=7)
    if kept == 0.0:
        raise jp.BudgetError(f"energy: {method} does not reach {budget_j:.3g} J")
    return pruned(kept)


def cells(network: str, seed: int, options: argparse.Namespace) -> dict[tuple[str, str, int], float]:
    """Accuracy after fine-tuning, by (unit, method, budget); NaN where a budget is not reached. Budget 100: dense."""
    torch.manual_seed(seed)
    data = digits(seed)
    dense = train(NETWORKS[network](), data, options.epochs, 2e-3, seed)
    found, x = {("dense", "", 100): accuracy(dense, data)}, data.test_x[:1]
    profile = jp.energy.load_profile(options.profile)
    weights = Weights(dense, x, profile)
    for budget in BUDGETS:
        joules = weights.dense_j * budget / 100
        for method in WEIGHTS if "weights" in options.units else ():
            try:
                masks = weights.masks(method, joules)
            except jp.BudgetError:
                found["weights", method, budget] = math.nan
                continue
            assert weights.joules(masks) <= joules
            found["weights", method, budget] = tuned(dense, data, options, seed, masks)
        for method in CHANNELS if "channels" in options.units else ():
            try:
                smaller = fewer_channels(dense, x, profile, method, joules)
            except jp.BudgetError:
                found["channels", method, budget] = math.nan
                continue
            assert jp.estimate(smaller, x, profile=profile).energy_j <= joules
            found["channels", method, budget] = tuned(smaller, data, options, seed, {})
    return found


def tuned(model: nn.Module, data: Digits, options: argparse.Namespace, seed: int, masks: Masks) -> float:
    return accuracy(train(model, data, options.tune, 1e-3, seed, masks), data)


def area(curve: Mapping[int, float]) -> float:
    """Mean accuracy over the logarithm of the budget: the area under the curve, over its width."""
    points = sorted((math.log(budget), value) for budget, value in curve.items() if not math.isnan(value))
    parts = [(b - a) * (left + right) / 2 for (a, left), (b, right) in itertools.pairwise(points)]
    return sum(parts) / (points[-1][0] - points[0][0])


def holm(values: Sequence[float]) -> list[float]:
    """p-values corrected for their number (Holm, 1979)."""
    order = sorted(range(len(values)), key=lambda i: values[i])
    corrected, worst = [0.0] * len(values), 0.0
    for rank, i in enumerate(order):
        worst = max(worst, min(1.0, (len(values) - rank) * values[i]))
        corrected[i] = worst
    return corrected


def known(path: Path | None) -> dict[tuple[str, int], dict[tuple[str, str, int], float]]:
    lines = path.read_text().splitlines() if path is not None and path.exists() else []
    found = [json.loads(line) for line in lines]
    return {(one["network"], one["seed"]): {(u, m, b): v for u, m, b, v in one["cells"]} for one in found}


def remember(path: Path | None, network: str, seed: int, found: Mapping[tuple[str, str, int], float]) -> None:
    if path is not None:
        with path.open("a") as file:
            told = [[*key, value] for key, value in found.items()]
            file.write(json.dumps({"network": network, "seed": seed, "cells": told}) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=15, help="of the dense network")
    parser.add_argument("--tune", type=int, default=4, help="epochs of fine-tuning after pruning")
    parser.add_argument("--profile", default="eyeriss-65nm", help="a device that skips zeros by itself")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--units", nargs="+", choices=UNITS, default=list(UNITS))
    parser.add_argument("--cells", type=Path, help="file of what is done already; the rest is added to it")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # Torch-Pruning's
    done = known(options.cells)
    for network, seed in itertools.product(options.networks, range(options.seeds)):
        if (network, seed) not in done:
            done[network, seed] = cells(network, seed, options)
            remember(options.cells, network, seed, done[network, seed])
            print(f"{network}: seed {seed} done", file=sys.stderr)
    table: dict[tuple[str, str, str, int], list[float]] = defaultdict(list)
    for network, seed in itertools.product(options.networks, range(options.seeds)):
        for (unit, method, budget), value in done[network, seed].items():
            table[network, unit, method, budget].append(value)
    from selection_report import page

    print(page(table, options, area, holm))


if __name__ == "__main__":
    main()
