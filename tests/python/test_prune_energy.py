"""energy_unstructured: hooks by the planner's masks, under the budget, with nothing changed when it cannot be met."""

from __future__ import annotations

import copy

import pytest
import torch
from networks import NETWORKS, shared
from torch import nn

import jouleprune as jp
from jouleprune import prune

PROFILES = ["eyeriss-65nm", "generic-cpu"]


def pairs_of(model: nn.Module) -> list[tuple[nn.Module, str]]:
    return [(module, "weight") for module in model.modules() if isinstance(module, nn.Linear | nn.Conv2d)]


def state(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_same(model: nn.Module, before: dict[str, torch.Tensor]) -> None:
    after = model.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], value) for name, value in before.items())


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("network", NETWORKS)
def test_masks_are_the_plans_and_the_converted_network_costs_what_it_says(network, profile):
    model, x = NETWORKS[network]()
    energy = "50%" if (network, profile) != ("residual", "generic-cpu") else "90%"
    expected = jp.plan(model, x, energy=energy, profile=profile)
    dense = copy.deepcopy(model)
    plan = prune.energy_unstructured(pairs_of(model), energy=energy, model=model, example_inputs=x, profile=profile)
    assert plan.to_json() == expected.to_json()
    assert plan.energy_j <= plan.budget_j
    for (module, _), (twin, _) in zip(pairs_of(model), pairs_of(dense), strict=True):
        assert prune.is_pruned(module)
        assert torch.equal(module.weight_orig, twin.weight)
    model.eval()
    hooked = model(x)
    for module, name in pairs_of(model):
        prune.remove(module, name)
    converted = jp.convert(model, x, plan=plan)
    assert jp.estimate(converted, x, profile=profile).energy_j == plan.energy_j
    torch.testing.assert_close(converted(x), hooked, rtol=1e-4, atol=1e-5)


def test_masks_hold_through_training_and_budgets_that_fall():
    model, x = NETWORKS["mlp"]()
    pairs = pairs_of(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    removed = None
    for energy in ("80%", "50%", "20%"):
        plan = prune.energy_unstructured(pairs, energy=energy, model=model, example_inputs=x, profile="eyeriss-65nm")
        now = torch.cat([(module.weight_mask == 0).flatten() for module, _ in pairs])
        if removed is not None:
            assert (now | ~removed).all()  # what went stays gone
            assert int(now.sum()) > int(removed.sum())
        removed = now
        for _ in range(3):
            optimizer.zero_grad()
            model(x).square().sum().backward()
            optimizer.step()
        model(x)
        assert torch.cat([module.weight.flatten() for module, _ in pairs])[removed].eq(0).all()
        assert jp.estimate(model, x, profile="eyeriss-65nm").energy_j <= plan.energy_j
        assert plan.energy_j <= plan.budget_j


def test_a_looser_budget_removes_nothing_and_its_plan_is_a_bound():
    model, x = NETWORKS["mlp"]()
    arguments = {"model": model, "example_inputs": x, "profile": "eyeriss-65nm"}
    tight = prune.energy_unstructured(pairs_of(model), energy="60%", **arguments)
    masks = [module.weight_mask.clone() for module, _ in pairs_of(model)]
    loose = prune.energy_unstructured(pairs_of(model), energy="70%", **arguments)
    assert all(torch.equal(module.weight_mask, mask) for (module, _), mask in zip(pairs_of(model), masks, strict=True))
    model(x)
    assert jp.estimate(model, x, profile="eyeriss-65nm").energy_j == tight.energy_j < loose.energy_j <= loose.budget_j


def test_what_is_not_named_stays():
    model, x = NETWORKS["mlp"]()
    weight = model[3].weight
    plan = prune.energy_unstructured(
        [(model[1], "weight")], energy="60%", model=model, example_inputs=x, profile="eyeriss-65nm"
    )
    assert model[3].weight is weight and not prune.is_pruned(model[3])
    assert [layer.weight for layer in plan.layers] == ["1.weight"]


@pytest.mark.parametrize("removed", [False, True])
def test_importance_scores_decide(removed):
    model, x = NETWORKS["mlp"]()
    torch.manual_seed(4)
    if removed:
        prune.random_unstructured(model[1], "weight", 0.3)
    scores = -torch.rand(model[1].weight.shape)  # magnitudes count
    before = model[1].weight_mask != 0 if removed else torch.ones(scores.shape, dtype=torch.bool)
    plan = prune.energy_unstructured(
        [(model[1], "weight")],
        energy="50%",
        model=model,
        example_inputs=x,
        profile="eyeriss-65nm",
        importance_scores={(model[1], "weight"): scores},
    )
    kept = model[1].weight_mask != 0
    assert plan.importance == "importance_scores"
    assert not kept[~before].any()
    assert scores.abs()[kept].min() >= scores.abs()[before & ~kept].max()


@pytest.mark.parametrize("criterion", ["gradient", lambda name, weight, grad: torch.ones_like(weight)])
def test_criteria_respect_earlier_masks(criterion):
    """Their scores do not vanish where weights are zero."""
    model, x = NETWORKS["mlp"]()
    pairs = pairs_of(model)
    prune.global_unstructured(pairs, prune.RandomUnstructured, amount=0.3)
    gone = [module.weight_mask == 0 for module, _ in pairs]
    model(x).square().sum().backward()
    gradients = [module.weight_orig.grad.clone() for module, _ in pairs]
    plan = prune.energy_unstructured(
        pairs, energy="50%", model=model, example_inputs=x, profile="eyeriss-65nm", importance=criterion
    )
    for (module, _), before, gradient in zip(pairs, gone, gradients, strict=True):
        assert (module.weight_mask[before] == 0).all()
        assert torch.equal(module.weight_orig.grad, gradient)
    assert sum(layer.kept for layer in plan.layers) == sum(int(module.weight_mask.sum()) for module, _ in pairs)


def test_recurrent_weights():
    torch.manual_seed(5)
    model, x = nn.LSTM(20, 30), torch.randn(4, 2, 20)
    pairs = [(model, "weight_ih_l0"), (model, "weight_hh_l0")]
    arguments = dict(model=model, example_inputs=x, profile="eyeriss-65nm")
    for energy in ("60%", "40%"):
        plan = prune.energy_unstructured(pairs, energy=energy, **arguments)
        assert plan.energy_j <= plan.budget_j
        assert model._flat_weights[0] is model.weight_ih_l0
    model(x)[0].sum().backward()
    assert model.weight_ih_l0_orig.grad is not None
    before = state(model)
    weights = list(model._flat_weights)
    with pytest.raises(jp.BudgetError):
        prune.energy_unstructured(pairs, energy="0.001%", **arguments)
    assert_same(model, before)
    assert all(mine is theirs for mine, theirs in zip(model._flat_weights, weights, strict=True))


@pytest.mark.parametrize("pruned", [False, True])
def test_what_cannot_be_met_changes_nothing(pruned):
    model, x = NETWORKS["residual"]()
    pairs = pairs_of(model)
    if pruned:
        prune.global_unstructured(pairs, prune.L1Unstructured, amount=0.2)
        prune.l1_unstructured(model.head, "bias", 2)
    before = state(model)
    names = [list(module._parameters) for module in model.modules()]
    hooks = [dict(module._forward_pre_hooks) for module in model.modules()]
    weights = [getattr(*pair) for pair in pairs]
    arguments = dict(energy="50%", model=model, example_inputs=x, profile="eyeriss-65nm")
    outsider = nn.Linear(3, 3)

    def attempt(parameters=pairs, **changed):
        prune.energy_unstructured(parameters, **{**arguments, **changed})

    attempts = [
        (jp.BudgetError, "minimum", lambda: attempt(energy="0.01%")),
        (jp.BudgetError, "energy", lambda: attempt(energy=None)),
        (ValueError, "of the model", lambda: attempt([(outsider, "weight")])),
        (ValueError, "nothing", lambda: attempt([(model.head, "nothing")])),
        (ValueError, "head.bias", lambda: attempt([(model.head, "bias")])),
        (ValueError, "norm", lambda: attempt([(model.norm, "weight")])),
        (TypeError, "pairs", lambda: attempt([model.head])),
        (TypeError, "importance_scores", lambda: attempt(importance_scores=[1])),
        (ValueError, "shape", lambda: attempt(importance_scores={pairs[0]: torch.ones(2)})),
        (jp.PatternError, "loud", lambda: attempt(importance="loud")),
        (jp.ProfileError, "abacus", lambda: attempt(profile="abacus")),
        (RuntimeError, "example_inputs", lambda: attempt(example_inputs=torch.ones(2, 5, 7, 7))),
    ]
    for error, told, fails in attempts:
        with pytest.raises(error, match=told):
            fails()
        assert_same(model, before)
        assert [list(module._parameters) for module in model.modules()] == names
        assert [dict(module._forward_pre_hooks) for module in model.modules()] == hooks
        assert all(getattr(*pair) is weight for pair, weight in zip(pairs, weights, strict=True))


def test_shared_weights():
    model, x = shared()  # one module, called twice
    plan = prune.energy_unstructured(
        [(model[0], "weight")], energy="60%", model=model, example_inputs=x, profile="eyeriss-65nm"
    )
    assert plan.energy_j <= plan.budget_j
    tied = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 16))
    tied[2].weight = tied[0].weight
    arguments = dict(energy="60%", model=tied, example_inputs=torch.randn(2, 16), profile="eyeriss-65nm")
    with pytest.raises(ValueError, match=r"shared.*2\.weight"):
        prune.energy_unstructured([(tied[0], "weight")], **arguments)
    prune.energy_unstructured([(tied[0], "weight"), (tied[2], "weight")], **arguments)
    assert torch.equal(tied[0].weight_mask, tied[2].weight_mask)
    assert tied[0].weight_orig is tied[2].weight_orig
