"""The main job: two networks on real MNIST images, pruned in a training loop to joule budgets on two device profiles.

They are then converted, scripted, saved and compared with the dense network.
Run: python examples/python/prune_to_budget.py [--quick]
"""

from __future__ import annotations

import argparse
import copy
import tempfile
import warnings
from pathlib import Path

import torch
from common import Data, accuracy, file_bytes, latency_ratio, lenet, mlp, mnist, train_epochs

import jouleprune as jp
from jouleprune.report import si, table

BUDGETS = ("50%", "25%", "10%")
PROFILES = ("eyeriss-65nm", "generic-cpu")
MIN_DENSITY = 0.02  # per layer: without a floor the least a device allows is a network without weights
OUT = Path(__file__).resolve().parents[1] / "out"


def prune(
    dense: torch.nn.Module, data: Data, profile: str, energy: str | float, epochs: int
) -> tuple[torch.nn.Module, jp.Pruner]:
    """A normal training loop with one line more: pruner.step()."""
    model = copy.deepcopy(dense)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    steps = epochs * data.batches
    schedule = jp.PolynomialDecay(begin_step=0, end_step=steps // 2, frequency=10)
    pruner = jp.Pruner(model, data.one, energy=energy, profile=profile, schedule=schedule, min_density=MIN_DENSITY)
    train_epochs(model, data, epochs, optimizer, after_step=pruner.step)
    return model, pruner


def reachable(model: torch.nn.Module, data: Data, profile: str, energy: str) -> str | float:
    """The budget, or the least the device allows when the budget lies below it."""
    try:
        jp.plan(model, data.one, energy=energy, profile=profile, min_density=MIN_DENSITY)
        return energy
    except jp.BudgetError as error:
        print(f"\nBudgetError: {error}\n-> running the least instead: {si(error.minimum_j, 'J')}")
        return error.minimum_j


def deploy(model: torch.nn.Module, pruner: jp.Pruner, data: Data, path: Path) -> torch.nn.Module:
    """Convert, script, save, and read back; all three must compute the same."""
    converted = jp.convert(model, data.one, plan=pruner.plan).eval()
    jp.save(converted, path, plan=pruner.plan)
    with warnings.catch_warnings():  # TorchScript is deprecated upstream and supported here
        warnings.filterwarnings("ignore", message=".*torch.jit.*")
        scripted = torch.jit.script(converted)
    loaded = jp.load(copy.deepcopy(model).eval(), path)
    with torch.no_grad():
        expected = converted(data.test_x)
        torch.testing.assert_close(scripted(data.test_x), expected)
        torch.testing.assert_close(loaded(data.test_x), expected)
        torch.testing.assert_close(expected, model.eval()(data.test_x), rtol=1e-3, atol=1e-4)
    return converted


def run(name: str, dense: torch.nn.Module, data: Data, epochs: int, budgets: tuple[str, ...]) -> None:
    dense_accuracy = accuracy(dense, data)
    print(f"\n=== {name}: dense, accuracy {dense_accuracy:.1%} on {len(data.test_y)} held-out images")
    with tempfile.TemporaryDirectory() as folder:
        jp.save(dense, Path(folder) / "dense.safetensors")
        dense_bytes = file_bytes(Path(folder) / "dense.safetensors")
    summary = []
    for profile in PROFILES:
        dense_j = jp.estimate(dense, data.one, profile=profile).energy_j
        for budget in budgets:
            energy = reachable(dense, data, profile, budget)
            model, pruner = prune(dense, data, profile, energy, epochs)
            path = OUT / f"{name}-{profile}-{budget[:-1]}.safetensors"
            converted = deploy(model, pruner, data, path)
            assert jp.estimate(converted, data.one, profile=profile).energy_j == pruner.energy_j <= pruner.budget_j
            after = pruner.report().after
            print(f"\n--- {name} on {profile}, budget {budget}\n{pruner.report()}\n{jp.explain(converted)}")
            batch, single = (latency_ratio(dense, converted, data.test_x[:n]) for n in (64, 1))
            summary.append([
                profile, budget, f"{pruner.energy_j / dense_j:.1%}", si(after.energy_j, "J"),
                f"{si(after.low_j, 'J')}..{si(after.high_j, 'J')}", after.label, f"{accuracy(converted, data):.1%}",
                f"{batch:.2f}x", f"{single:.2f}x", f"{file_bytes(path) / dense_bytes:.2f}x",
            ])  # fmt: skip
    columns = [
        "profile",
        "budget",
        "joules",
        "per inference",
        "interval",
        "label",
        "accuracy",
        "speed b64",
        "speed b1",
        "bytes",
    ]
    print(f"\n=== {name}: dense accuracy {dense_accuracy:.1%}, {dense_bytes:,} bytes")
    print("speed and bytes are against dense; speed is measured here: one thread, medians of interleaved runs")
    print(table(columns, summary, left=2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one epoch and one budget: checks that everything runs")
    quick = parser.parse_args().quick
    OUT.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)  # on networks this small a busy neighbour costs more than a second thread gives
    torch.manual_seed(0)
    data = mnist(quick=quick)
    for name, make in (("lenet", lenet), ("mlp", mlp)):
        dense = make()
        train_epochs(dense, data, 1 if quick else 8, torch.optim.Adam(dense.parameters(), lr=1e-3))
        run(name, dense, data, epochs=1 if quick else 4, budgets=BUDGETS[1:2] if quick else BUDGETS)


if __name__ == "__main__":
    main()
