"""The budget rule over networks x patterns x profiles x budgets: at most the budget; above 99 % of it or maximal, which
is checked by putting a unit back; or a BudgetError whose minimum can be reached."""

from __future__ import annotations

import itertools

import pytest
import torch
from structured_networks import network

import jouleprune as jp

BUDGETS = (80, 50, 25, 10)
NETWORKS = ("mlp", "cnn", "residual", "depthwise", "lstm", "gru", "transformer")
PATTERNS = ("unstructured", "2:4", "4x1", "16x16", "16x1", "auto", "channel")
PROFILES = ("eyeriss-65nm", "systolic-12x14", "generic-cpu")
QUICK = {("unstructured", "eyeriss-65nm"), ("4x1", "systolic-12x14")}


def cases():
    for name, pattern, profile in itertools.product(NETWORKS, PATTERNS, PROFILES):
        slow = () if (pattern, profile) in QUICK else pytest.mark.slow
        yield pytest.param(name, pattern, profile, marks=slow)


@pytest.mark.parametrize(("name", "pattern", "profile"), list(cases()))
def test_the_rule(name, pattern, profile):
    model, x = network(name)
    dense_j = jp.estimate(model, x, profile=profile).energy_j
    minimum = None
    for budget in BUDGETS:
        energy = f"{budget}%"
        try:
            found = ask(model, x, energy, pattern, profile)
        except jp.BudgetError as error:
            assert dense_j * budget / 100 < error.minimum_j <= dense_j
            assert minimum is None or error.minimum_j == minimum
            minimum = error.minimum_j
            continue
        assert minimum is None, "a smaller budget was met after a larger one was not"
        assert found.energy_j <= found.budget_j == pytest.approx(dense_j * budget / 100)
        if found.energy_j < 0.99 * found.budget_j:
            assert found.maximal
            check_maximal(model, x, found, pattern, profile)
    if minimum is not None:
        check_minimum(model, x, minimum, pattern, profile)


def ask(model, x, energy, pattern, profile, **options):
    if pattern == "channel":
        pytest.importorskip("torch_pruning")
        return jp.plan_structure(model, x, energy=energy, profile=profile, importance="magnitude", **options)
    return jp.plan(model, x, energy=energy, profile=profile, pattern=pattern, **options)


def check_maximal(model, x, found, pattern, profile):
    """With a floor one unit above what stays of a layer, and the others as they are, the budget cannot be met."""
    if pattern == "channel":
        shares = {choice.name: (choice.kept, choice.units) for choice in found.choices}
    else:
        shares = {
            layer.weight.removesuffix(".weight"): (layer.density * layer.units, layer.units)
            for layer in found.layers
        }  # fmt: skip
    for name, (kept, units) in shares.items():
        if kept >= units - 1e-6:
            continue
        step = 1 if pattern == "channel" else units * (1e-6 if pattern != "2:4" else 1)
        floors = {other: max(0.0, mine / all_ - 1e-9) for other, (mine, all_) in shares.items()}
        floors[name] = min(1.0, (kept + step) / units)
        with pytest.raises(jp.BudgetError, match="below the least"):
            ask(model, x, found.budget_j, pattern, profile, min_density=floors)


def check_minimum(model, x, minimum, pattern, profile):
    """It can be reached, and nothing below it."""
    assert ask(model, x, minimum, pattern, profile).energy_j == minimum
    with pytest.raises(jp.BudgetError):
        ask(model, x, minimum * (1 - 1e-9), pattern, profile)


@pytest.mark.parametrize("profile", ["eyeriss-65nm", "systolic-12x14", "generic-cpu"])
def test_the_minimum_is_that_of_all_combinations(profile):
    """Each layer dense or without any weight, priced one by one through masked or converted copies."""
    model, x = network("mlp")
    with pytest.raises(jp.BudgetError) as error:
        jp.plan(model, x, energy=1e-12, profile=profile)
    energies = []
    for gone in itertools.product([False, True], repeat=2):
        pruned, _ = network("mlp")
        for layer, empty in zip((pruned[0], pruned[2]), gone, strict=True):
            if empty:
                with torch.no_grad():
                    layer.weight.zero_()
        converted = jp.convert(pruned, x, force=True)
        energies += [jp.estimate(net, x, profile=profile).energy_j for net in (pruned, converted)]
    assert error.value.minimum_j == pytest.approx(min(energies), rel=1e-12)
