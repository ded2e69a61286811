"""The promise of the product, on several networks and profiles: what the budget says is what the converted network
costs."""

from __future__ import annotations

import copy

import pytest
import torch
from networks import NETWORKS

import jouleprune as jp

PROFILES = ["eyeriss-65nm", "horowitz-45nm", "generic-cpu", "generic-gpu-hbm"]
BUDGETS = ["80%", "50%", "25%", "10%"]


def snapshot(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_same(model: torch.nn.Module, before: dict[str, torch.Tensor]) -> None:
    after = model.state_dict()
    assert after.keys() == before.keys()
    for name, value in before.items():
        assert torch.equal(after[name], value), name


def reachable(model, x, profile, budget):
    """The budget itself, or the least above the minimum when it is below the floor."""
    try:
        jp.plan(model, x, energy=budget, profile=profile)
        return budget
    except jp.BudgetError as error:
        assert error.minimum_j > 0
        return error.minimum_j * (1 + 1e-9)


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("network", NETWORKS)
def test_converted_network_costs_what_the_pruner_says(network, profile, budget):
    model, x = NETWORKS[network]()
    before = snapshot(model)
    modes = [module.training for module in model.modules()]
    dense_j = jp.estimate(model, x, profile=profile).energy_j
    energy = reachable(model, x, profile, budget)
    plan = jp.plan(model, x, energy=energy, profile=profile)
    assert_same(model, before)  # estimate and plan leave no trace
    assert [module.training for module in model.modules()] == modes

    pruner = jp.Pruner(model, x, energy=energy, profile=profile)
    assert_same(model, before)  # nor does making a pruner
    assert pruner.energy_j == pruner.dense_j == pytest.approx(dense_j, rel=1e-12)
    pruner.prune_now()
    budget_j = dense_j * float(budget[:-1]) / 100 if energy == budget else energy
    assert pruner.plan.budget_j == pytest.approx(budget_j, rel=1e-12)
    assert pruner.energy_j <= pruner.plan.budget_j
    assert pruner.energy_j > 0.99 * pruner.plan.budget_j or pruner.plan.maximal
    assert plan.energy_j == pruner.energy_j  # the plan was no promise but the same computation

    pruned = snapshot(model)
    converted = jp.convert(model, x, plan=pruner.plan)
    assert_same(model, pruned)
    assert jp.estimate(converted, x, profile=profile).energy_j == pruner.energy_j
    converted.eval(), model.eval()
    with torch.no_grad():
        torch.testing.assert_close(converted(x), model(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("profile", ["eyeriss-65nm", "generic-cpu"])
@pytest.mark.parametrize("network", NETWORKS)
def test_maximal_plans_have_no_room_for_one_more_weight(network, profile):
    """Puts back one weight in each pruned layer of a plan just above the minimum, where slack is largest."""
    model, x = NETWORKS[network]()
    minimum = jp.plan(model, x, energy="99%", profile=profile).minimum_j
    plan = jp.plan(model, x, energy=minimum * 1.001, profile=profile)
    assert plan.energy_j <= plan.budget_j
    if plan.energy_j > 0.99 * plan.budget_j and not plan.maximal:
        return
    import json

    from jouleprune.energy import price_workload

    for layer in plan.layers:
        if layer.pattern == "dense" or layer.kept == layer.units:
            continue
        workload = json.loads(plan.workload)
        for entry in workload["entries"]:
            if entry["weight"] == layer.weight:
                entry["nnz"] += 1
        more = price_workload(json.dumps(workload), jp.energy.load_profile(profile)).energy_j
        assert more > plan.budget_j, layer.name


def test_percentages_refer_to_the_unmasked_network():
    model, x = NETWORKS["mlp"]()
    first = jp.Pruner(model, x, energy="50%", profile="eyeriss-65nm")
    first.prune_now()
    again = jp.Pruner(model, x, energy="50%", profile="eyeriss-65nm")
    assert again.dense_j == first.dense_j
    assert again.budget_j == first.budget_j


def test_masks_alone_save_nothing_on_a_cpu():
    model, x = NETWORKS["mlp"]()
    dense_j = jp.estimate(model, x, profile="generic-cpu").energy_j
    with torch.no_grad():
        model[1].weight.masked_fill_(torch.rand(128, 784) < 0.95, 0.0)
    assert jp.estimate(model, x, profile="generic-cpu").energy_j == dense_j


def test_same_input_same_masks():
    plans = []
    for _ in range(2):
        model, x = NETWORKS["lenet"]()
        plans.append(jp.plan(model, x, energy="30%", profile="eyeriss-65nm"))
    assert plans[0].to_json() == plans[1].to_json()
    for name, bits in plans[0].masks.items():
        assert torch.equal(bits, plans[1].masks[name])


def test_energy_aware_beats_uniform_importance_at_equal_joules():
    """At the same joules the selection loses less LAMP importance than equal density in every layer."""
    model, x = NETWORKS["lenet"]()
    plan = jp.plan(model, x, energy="30%", profile="eyeriss-65nm")
    uniform = copy.deepcopy(model)
    low, high = 0.0, 1.0
    for _ in range(25):
        density = (low + high) / 2
        with torch.no_grad():
            for ours, theirs in zip(uniform.parameters(), model.parameters(), strict=True):
                if theirs.dim() > 1:
                    cut = theirs.abs().flatten().sort(descending=True).values[max(0, int(density * theirs.numel()) - 1)]
                    ours.copy_(theirs * (theirs.abs() >= cut))
        joules = jp.estimate(uniform, x, profile="eyeriss-65nm").energy_j
        low, high = (density, high) if joules <= plan.energy_j else (low, density)
    lost = 0.0
    for (name, weight), kept in zip(model.named_parameters(), uniform.parameters(), strict=True):
        if weight.dim() > 1:
            scores = jp.ops.importance(weight.detach(), None, "lamp")
            lost += float(scores[kept == 0].sum())
            assert name
    assert sum(layer.importance_lost for layer in plan.layers) < lost
