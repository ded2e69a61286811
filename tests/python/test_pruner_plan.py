"""A Pruner made from a plan follows that plan; its saved state is read with suspicion; wrapped models are unwrapped."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from networks import NETWORKS, lenet, mlp
from torch import nn
from torch.nn.utils.prune import random_unstructured

import jouleprune as jp

EYERISS = "eyeriss-65nm"


def assert_same_plan(ours: jp.Plan, theirs: jp.Plan) -> None:
    assert ours.energy_j == theirs.energy_j
    for mine, other in zip(ours.layers, theirs.layers, strict=True):
        assert replace(mine, reason="") == replace(other, reason="")
    assert ours.masks.keys() == theirs.masks.keys()
    assert all(torch.equal(ours.masks[name], theirs.masks[name]) for name in ours.masks)


@pytest.mark.parametrize(("seed", "rows"), [(0, 16), (1, 16), (2, 32), (3, 64)])
@pytest.mark.parametrize("energy", ["60%", "50%", "40%", "35%", "30%"])
def test_masks_are_those_of_a_plan_with_a_choice_of_number_types(energy, seed, rows):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 128)).eval()
    x = torch.randn(rows, 256)
    plan = jp.plan(model, x, energy=energy, profile="generic-cpu", dtype="int8")
    assert_same_plan(jp.Pruner(model, x, plan=plan).prune_now(), plan)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"importance": "magnitude"},
        {"per": "token", "count": 80},
        {"batch": 2},
        {"min_density": {"7": 0.3}},
        {"ignored_layers": ["0"]},
        {"activation_density": 0.3},
    ],
    ids=str,
)
@pytest.mark.parametrize("profile", [EYERISS, "generic-cpu"])
def test_a_pruner_follows_its_plan(options, profile):
    model, x = lenet()
    least = jp.plan(model, x, energy="90%", profile=profile, **options).minimum_j
    dense = jp.plan(model, x, energy="90%", profile=profile, **options).dense_j
    plan = jp.plan(model, x, energy=(least + dense) / 2, profile=profile, **options)
    pruner = jp.Pruner(model, x, plan=plan)
    assert_same_plan(pruner.prune_now(), plan)
    assert pruner.energy_j <= plan.budget_j
    scheduled = jp.Pruner(model, x, plan=jp.Plan.from_json(plan.to_json()), schedule=jp.PolynomialDecay(end_step=3))
    assert scheduled.budget_j == plan.budget_j


@pytest.mark.parametrize("from_json", [False, True])
def test_a_plan_of_auto_is_applied_as_it_is(from_json):
    """Among the plan's patterns alone a selection would keep 142 and 55 weights: the plan's choice loses less."""
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(33, 17), nn.ReLU(), nn.Linear(17, 5)), torch.randn(1, 33)
    plan = jp.plan(model, x, energy="40%", profile=EYERISS, pattern="auto")
    assert [layer.kept for layer in plan.layers] == [132, 84]
    given = jp.Plan.from_json(plan.to_json()) if from_json else plan
    pruner, trained = jp.Pruner(model, x, plan=given), copy.deepcopy(model)
    assert_same_plan(pruner.look_ahead(), plan)
    assert_same_plan(pruner.prune_now(), plan)
    assert pruner.plan.to_json() == plan.to_json()
    converted = jp.convert(model, x, plan=plan)
    assert jp.estimate(converted, x, profile=EYERISS).energy_j == plan.energy_j
    with torch.no_grad():
        trained[0].weight.mul_(torch.rand(17, 33))
    other = jp.Pruner(trained, x, plan=given).prune_now()  # other weights: chosen anew, in the same patterns
    assert 0.99 * plan.budget_j < other.energy_j <= plan.budget_j
    assert not torch.equal(other.masks["0.weight"], plan.masks["0.weight"])


def test_a_callable_goes_with_its_plan():
    model, x = mlp()

    def first_columns(name, weight, grad):
        return torch.arange(weight.shape[1], 0, -1.0).expand_as(weight)

    plan = jp.plan(model, x, energy="50%", profile=EYERISS, importance=first_columns)
    assert_same_plan(jp.Pruner(model, x, plan=plan, importance=first_columns).prune_now(), plan)
    with pytest.raises(ValueError, match="importance: expected the plan's, 'first_columns', got 'lamp'"):
        jp.Pruner(model, x, plan=plan)


def test_a_plan_of_something_else_is_refused():
    model, x = mlp()
    plan = jp.plan(model, x, energy="50%", profile=EYERISS)
    with pytest.raises(ValueError, match="inputs of other sizes: '1': expected n 4, got 1"):
        jp.Pruner(model, x[:1], plan=plan)
    other = nn.Sequential(nn.Flatten(), nn.Linear(784, 96), nn.ReLU(), nn.Linear(96, 10))
    with pytest.raises(ValueError, match="belongs to another model"):
        jp.Pruner(other, x, plan=plan)
    with pytest.raises(ValueError, match="belongs to another model: it has 3 calls"):
        jp.Pruner(nn.Sequential(*model, nn.ReLU()), x, plan=plan)
    with pytest.raises(ValueError, match=r"plan: expected a Plan .* got str"):
        jp.Pruner(model, x, plan="50%")
    for name, value in {"min_density": 0.1, "batch": 4, "ignored_layers": ["1"], "per": "token"}.items():
        with pytest.raises(ValueError, match=f"{name}: comes from the plan"):
            jp.Pruner(model, x, plan=plan, **{name: value})
    with pytest.raises(ValueError, match="importance: expected the plan's, 'lamp', got 'taylor'"):
        jp.Pruner(model, x, plan=plan, importance="taylor")


def sparse_already() -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(50, 40), nn.ReLU(), nn.Linear(40, 10))
    with torch.no_grad():
        for layer in (model[0], model[2]):
            layer.weight.mul_(torch.rand_like(layer.weight) > 0.8)
    return model, torch.randn(1, 50)


def test_the_last_step_is_maximal_though_one_before_it_met_the_budget():
    """Relaxed steps prune whole thresholds: many equal scores (zeros) can take the energy far below the target."""
    model, x = sparse_already()
    pruner = jp.Pruner(model, x, energy="50%", profile=EYERISS, schedule=jp.PolynomialDecay(end_step=4))
    pruner.step()
    for _ in range(3):
        pruner.step()
        assert not pruner.done
    pruner.step()
    assert pruner.done and pruner.plan.maximal
    assert 0.99 * pruner.budget_j < pruner.energy_j <= pruner.budget_j
    plan = pruner.plan
    pruner.step()
    assert pruner.plan is plan


def test_prune_now_ends_the_schedule():
    model, x = mlp()
    pruner = jp.Pruner(model, x, energy="20%", profile=EYERISS, schedule=jp.PolynomialDecay(end_step=9))
    pruner.step()
    plan = pruner.prune_now()
    for _ in range(12):
        pruner.step()
    assert pruner.plan is plan and pruner.done


def test_a_schedule_that_stops_short_of_the_budget_is_refused():
    model, x = mlp()
    with pytest.raises(ValueError, match=r"schedule: final: .* expected 1.0, got 0.5"):
        jp.Pruner(model, x, energy="20%", profile=EYERISS, schedule=jp.PolynomialDecay(end_step=4, final=0.5))


@pytest.mark.parametrize("wrap", [torch.compile, nn.DataParallel], ids=["compile", "DataParallel"])
def test_wrapped_models(wrap):
    model, x = mlp()
    expected = jp.plan(model, x, energy="40%", profile=EYERISS)
    wrapped = wrap(model)
    assert_same_plan(jp.plan(wrapped, x, energy="40%", profile=EYERISS), expected)
    pruner = jp.Pruner(wrapped, x, energy="40%", profile=EYERISS)
    pruner.prune_now()
    assert int((model[1].weight == 0).sum()) > 0
    converted = jp.convert(wrapped, x, plan=pruner.plan, force=True)
    torch.testing.assert_close(converted(x), model(x))


def test_an_unreachable_budget_names_what_cannot_be_pruned():
    model, x = mlp()
    random_unstructured(model[1], "weight", amount=0.1)
    with pytest.raises(jp.BudgetError, match="not prunable: 1: its weight is computed"):
        jp.plan(model, x, energy="1%", profile=EYERISS)
    tied, x = mlp()
    tied[3] = nn.Linear(128, 128)
    tied.append(nn.Linear(128, 128))
    tied[4].weight = tied[3].weight
    with pytest.raises(jp.BudgetError, match="not prunable: 3: shared by 3, 4"):
        jp.plan(tied, x, energy="1%", profile="generic-cpu")


def _change(state, **changes):
    return {**state, **changes}


BAD_STATES = {
    "no dict": (lambda s: None, "expected the dict of state_dict"),
    "no masks": (lambda s: _change(s, masks={}), "masks: expected those of"),
    "masks none": (lambda s: _change(s, masks=None), "masks: expected a dict"),
    "another mask": (
        lambda s: _change(s, masks={**s["masks"], "3.weight": torch.zeros(160, dtype=torch.uint8)}),
        "masks: expected those of",
    ),
    "zero masks": (
        lambda s: _change(s, masks={name: torch.zeros_like(mask) for name, mask in s["masks"].items()}),
        "kept weights as planned, got 0",
    ),
    "short mask": (
        lambda s: _change(s, masks={name: mask[:-1] for name, mask in s["masks"].items()}),
        r"mask of '1.weight': expected uint8 \[12544\]",
    ),
    "mask of numbers": (lambda s: _change(s, masks={name: 3 for name in s["masks"]}), "expected a uint8 tensor"),
    "step": (lambda s: _change(s, step=-5), "step: expected a whole number"),
    "done": (lambda s: _change(s, done=1), "done: expected True or False"),
    "frozen": (lambda s: _change(s, frozen=3), "frozen: expected None or 2 flags"),
    "frozen's length": (lambda s: _change(s, frozen=[True]), "frozen: expected None or 2 flags"),
    "no plan": (lambda s: _change(s, plan=None), "plan: expected a plan beside masks"),
    "plan of numbers": (lambda s: _change(s, plan=5), "plan: expected JSON"),
    "plan cut": (lambda s: _change(s, plan=s["plan"][:-9]), "Plan.from_json"),
}


@pytest.mark.parametrize("case", BAD_STATES)
def test_a_damaged_state_changes_nothing(case):
    damage, message = BAD_STATES[case]
    model, x = mlp()
    pruner = jp.Pruner(model, x, energy="20%", profile=EYERISS)
    pruner.prune_now()
    state = pruner.state_dict()
    before, weights = pruner.plan, copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=message):
        pruner.load_state_dict(damage(state))
    assert pruner.plan is before and pruner.done
    assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("profile", [EYERISS, "generic-cpu"])
def test_convert_takes_another_batch_than_the_plan(network, profile):
    model, x = NETWORKS[network]()
    energy = "70%" if profile == EYERISS else "90%"
    pruner = jp.Pruner(model, x, energy=energy, profile=profile)
    pruner.prune_now()
    many = torch.randn(16 * x.shape[0], *x.shape[1:])
    converted = jp.convert(model, many, plan=pruner.plan, force=True)
    torch.testing.assert_close(converted.eval()(many), model.eval()(many), rtol=1e-4, atol=1e-5)
    assert any(type(module).__name__.startswith("Sparse") for module in converted.modules())


def test_hooks_of_converted_layers_are_kept():
    model, x = mlp()
    calls = []
    model[1].register_forward_hook(lambda module, args, out: calls.append(type(module).__name__))
    model[1].register_forward_pre_hook(lambda module, args: calls.append("before"))
    jp.Pruner(model, x, energy="20%", profile=EYERISS).prune_now()
    converted = jp.convert(model, x, force=True)
    calls.clear()
    converted(x)
    assert calls == ["before", "SparseLinearCSR"]
    in_int8 = jp.convert(model, x, force=True, dtype="int8")
    calls.clear()
    in_int8(x)
    assert calls == ["before", "SparseLinearInt8"]


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda m, x: jp.plan(m, x, energy=10**400, profile=EYERISS), "energy: expected a finite number of joules"),
        (
            lambda m, x: jp.plan(m, x, energy="50%", profile=EYERISS, ignored_layers=3),
            "ignored_layers: expected a list",
        ),
        (lambda m, x: jp.plan(m, x, energy="50%", profile=EYERISS, ignored_layers=None), "ignored_layers: expected"),
        (lambda m, x: jp.plan(3, x, energy="50%", profile=EYERISS), "model: expected a torch.nn.Module, got int"),
        (
            lambda m, x: jp.plan(torch.jit.script(m), x, energy="50%", profile=EYERISS),
            "model: expected an eager module",
        ),
        (
            lambda m, x: jp.Pruner(torch.jit.script(m), x, plan=jp.plan(m, x, energy="50%", profile=EYERISS)),
            "model: expected an eager module, got TorchScript",
        ),
        (lambda m, x: jp.convert(m, x, plan=3), "plan: expected a Plan .* got int"),
        (lambda m, x: jp.explain(3), "model: expected a torch.nn.Module, got int"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(*mlp())
