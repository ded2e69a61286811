"""Channels that go in training: the masked network computes what the smaller one does, to the budget, step by step."""

from __future__ import annotations

import copy
import itertools
from dataclasses import fields

import pytest
import torch
from structured_networks import network
from torch import nn

import jouleprune as jp
from jouleprune.structured.options import StructureKeywords, StructureOptions

pytest.importorskip("torch_pruning")
EYERISS, CPU = "eyeriss-65nm", "generic-cpu"


def trained(model: nn.Module, x: torch.Tensor, pruner: jp.ChannelPruner, steps: int) -> None:
    """With momentum and weight decay, which must revive nothing."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
        pruner.step()


@pytest.mark.parametrize("profile", [EYERISS, CPU])
@pytest.mark.parametrize("name", ["mlp", "residual", "depthwise", "lstm", "gru", "transformer"])
def test_the_masked_network_is_the_smaller_one(name, profile):
    model, x = network(name)
    pattern = ("channel", "head") if name == "transformer" else "channel"
    schedule = jp.LinearDecay(end_step=4, frequency=2)
    share = 0.7 if profile == EYERISS else 0.98  # on a CPU most joules of networks as small as these are launches
    pruner = jp.ChannelPruner(
        model, x, energy=f"{100 * share}%", profile=profile, schedule=schedule, pattern=pattern, round_to=1
    )
    shapes = {key: value.shape for key, value in model.state_dict().items()}
    trained(model.train(), x, pruner, 7)
    model.eval()
    assert pruner.done and pruner.energy_j <= pruner.budget_j == pytest.approx(share * pruner.dense_j)
    assert pruner.energy_j > 0.99 * pruner.budget_j or pruner.plan.maximal
    assert {key: value.shape for key, value in model.state_dict().items()} == shapes
    smaller = pruner.shrink()
    assert smaller.energy_j == pruner.energy_j
    assert sum(p.numel() for p in smaller.model.parameters()) < sum(p.numel() for p in model.parameters())
    with torch.no_grad():
        torch.testing.assert_close(smaller.model(x), model(x), rtol=1e-4, atol=1e-5)
    fresh = jp.estimate(smaller.model, x, profile=profile).energy_j
    assert fresh == pruner.energy_j


def test_joules_go_down_step_by_step():
    model, x = network("cnn")
    pruner = jp.ChannelPruner(
        model, x, energy="40%", profile=EYERISS, schedule=jp.LinearDecay(end_step=4), round_to=1, importance="magnitude"
    )
    assert pruner.energy_j == pruner.dense_j == jp.estimate(model, x, profile=EYERISS).energy_j
    joules, zero = [], []
    for step in range(5):
        trained(model, x, pruner, 1)
        joules.append(pruner.energy_j)
        target = pruner.budget_j + (pruner.dense_j - pruner.budget_j) * (1 - step / 4)
        assert pruner.energy_j <= target * (1 + 1e-12) and pruner.done == (step == 4)
        zero.append({n: (p == 0).flatten(1).all(1) for n, p in model.named_parameters() if p.dim() > 1})
    assert joules == sorted(joules, reverse=True) and joules[-1] < 0.4001 * pruner.dense_j
    for before, after in itertools.pairwise(zero):  # what is gone is worth nothing, and stays away
        assert all(bool(after[name][gone].all()) for name, gone in before.items())
    assert zero[-1]["0.weight"].any() or zero[-1]["2.weight"].any()


def test_training_goes_on_after_shrinking_with_the_momentum_of_what_stays():
    model, x = network("mlp")
    pruner = jp.ChannelPruner(model, x, energy="50%", profile=EYERISS)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    for _ in range(2):
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
        pruner.step()
    smaller = pruner.shrink(optimizer)
    kept = list(smaller.plan.structure.out["0"])
    weight = smaller.model[0].weight
    assert optimizer.state[weight]["momentum_buffer"].shape == weight.shape == (len(kept), 30)
    before = weight.detach().clone()
    optimizer.zero_grad()
    smaller.model(x).square().mean().backward()
    optimizer.step()
    assert not torch.equal(before, weight)


def test_a_restart_goes_on_to_the_same():
    options = {"energy": "50%", "profile": EYERISS, "round_to": 1, "schedule": jp.LinearDecay(end_step=5)}
    model, x = network("cnn")
    pruner = jp.ChannelPruner(model, x, **options)
    trained(model, x, pruner, 3)
    other, _ = network("cnn")
    other.load_state_dict(model.state_dict())
    resumed = jp.ChannelPruner(other, x, **options)
    resumed.load_state_dict(copy.deepcopy(pruner.state_dict()))
    assert resumed.energy_j == pruner.energy_j and not resumed.done
    for each, net in ((pruner, model), (resumed, other)):
        trained(net, x, each, 3)
    assert resumed.done and resumed.plan == pruner.plan
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), other.state_dict().values(), strict=True))
    resumed.remove()
    for each, net in ((pruner, model), (resumed, other)):
        with torch.no_grad():
            net[0].weight.fill_(1.0)
        each.keep()
    assert (model[0].weight == 0).any() and not (other[0].weight == 0).any()  # only the first still holds


@pytest.mark.parametrize(
    ("error", "match", "options"),
    [
        (jp.PatternError, "pattern: expected some of channel, .* in training, got 'layer'", {"pattern": "layer"}),
        (jp.PatternError, "pattern: expected some of", {"pattern": "2:4"}),
        (jp.BudgetError, "below the least that can be reached", {"energy": "0.1%"}),
        (jp.BudgetError, "energy: expected", {"energy": "150%"}),
        (ValueError, "schedule: expected an instance", {"schedule": jp.OneShot}),
        (ValueError, "round_to: expected a whole number", {"round_to": 0}),
        (ValueError, "ignored_layers: expected names", {"ignored_layers": ["nowhere"]}),
    ],
)
def test_bad_inputs_change_nothing(error, match, options):
    model, x = network("mlp")
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(error, match=match):
        jp.ChannelPruner(model, x, **{"energy": "50%", "profile": EYERISS, **options})
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_bad_states_and_calls():
    model, x = network("mlp")
    pruner = jp.ChannelPruner(model, x, energy="50%", profile=EYERISS)
    for call in (lambda: pruner.plan, pruner.shrink):
        with pytest.raises(ValueError, match="nothing has been pruned yet"):
            call()
    good = pruner.state_dict()
    for state, match in (
        (3, "schema 1"), ({**good, "schema": 2}, "schema 1"), ({**good, "step": -1}, "do not go together"),
        ({**good, "step": True}, "step: expected int"), ({**good, "dense_j": None}, "dense_j: expected float"),
        ({**good, "plan": "{}"}, "expected a structure plan"), ({**good, "done": True}, "do not go together"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=match):
            pruner.load_state_dict(state)
    other, y = network("cnn")
    foreign = jp.ChannelPruner(other, y, energy="50%", profile=EYERISS)
    foreign.prune_now()
    with pytest.raises(ValueError, match=r"dense_j: expected .* of the network here"):
        pruner.load_state_dict(foreign.state_dict())
    elsewhere = jp.ChannelPruner(network("mlp")[0], x, energy="98%", profile=CPU)
    elsewhere.prune_now()
    with pytest.raises(ValueError, match="made with another profile"):
        pruner.load_state_dict(elsewhere.state_dict())
    assert pruner.energy_j == pruner.dense_j


@pytest.mark.parametrize("steps", [0, 1])
def test_states_that_belong_elsewhere_are_refused(steps):
    model, x = network("mlp")
    options = {"energy": "50%", "profile": EYERISS, "round_to": 1}
    pruner = jp.ChannelPruner(model, x, **options)
    if steps:
        pruner.prune_now()
    before, mine = copy.deepcopy(model.state_dict()), pruner.state_dict()
    for changes, told in (
        ({"energy": "60%"}, "budget_j: expected"), ({"profile": "horowitz-45nm"}, "another profile"),
        ({"pattern": "neuron", "energy": "80%"}, "pattern: expected"),
        ({"importance": "magnitude"}, "importance: expected 'lamp'"),
    ):  # fmt: skip
        other = jp.ChannelPruner(network("mlp")[0], x, **{**options, **changes})
        if steps:
            other.prune_now()
        with pytest.raises(ValueError, match=f"ChannelPruner.load_state_dict: .*{told}"):
            pruner.load_state_dict(other.state_dict())
    for budget in (float("nan"), -1.0, 2 * pruner.dense_j):
        with pytest.raises(ValueError, match="budget_j: expected"):
            pruner.load_state_dict({**mine, "budget_j": budget})
    wider = nn.Sequential(nn.Linear(30, 64), nn.ReLU(), nn.Linear(64, 5))
    with pytest.raises(ValueError, match="dense_j: expected"):
        jp.ChannelPruner(wider, torch.randn(2, 30), **options).load_state_dict(mine)
    assert pruner.state_dict() == mine
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    pruner.load_state_dict({key: value for key, value in mine.items() if key not in ("profile_hash", "pattern")})
    with pytest.raises(
        jp.PatternError, match=r"call jouleprune\.shrink with it, or train with jouleprune\.ChannelPruner"
    ):
        jp.Pruner(model, x, energy="50%", profile=EYERISS, pattern="channel")


def mlp_with_zeros(zeros: str) -> tuple[nn.Module, torch.Tensor]:
    model, x = network("mlp")
    with torch.no_grad():
        if zeros == "one":
            model[0].weight[3, 4] = 0
        elif zeros == "channels":
            model[0].weight[::2] = 0
            model[2].weight[:, ::2] = 0
    return model, x


@pytest.mark.parametrize("zeros", ["one", "channels"])
def test_percentages_refer_to_the_unmasked_dense_network(zeros):
    dense, x = network("mlp")
    dense_j = jp.estimate(dense, x, profile=EYERISS).energy_j
    model, _ = mlp_with_zeros(zeros)
    assert jp.estimate(model, x, profile=EYERISS).energy_j < dense_j
    schedule = jp.PolynomialDecay(end_step=8, frequency=2)
    pruner = jp.ChannelPruner(model, x, energy="50%", profile=EYERISS, schedule=schedule)
    assert pruner.dense_j == dense_j and pruner.budget_j == 0.5 * dense_j
    trained(model, x, pruner, 9)
    assert pruner.done and pruner.energy_j <= pruner.budget_j
    plan = jp.plan_structure(mlp_with_zeros(zeros)[0], x, energy="50%", profile=EYERISS)
    assert plan.dense_j == dense_j and plan.budget_j == 0.5 * dense_j and plan.energy_j <= plan.budget_j


def test_zeros_come_after_it_was_made():
    model, x = network("mlp")
    pruner = jp.ChannelPruner(
        model, x, energy="50%", profile=EYERISS, schedule=jp.PolynomialDecay(end_step=8, frequency=2)
    )
    with torch.no_grad():
        model[0].weight[3, 4] = 0
    for _ in range(9):
        pruner.step()
    assert pruner.done and pruner.energy_j <= pruner.budget_j
    assert jp.estimate(pruner.shrink().model, x, profile=EYERISS).energy_j <= pruner.energy_j


def test_a_restart_may_load_the_weights_first():
    options = {"energy": "30%", "profile": EYERISS, "round_to": 1, "schedule": jp.LinearDecay(end_step=3)}
    model, x = network("mlp")
    pruner = jp.ChannelPruner(model, x, **options)
    trained(model, x, pruner, 5)
    other, _ = network("mlp")
    other.load_state_dict(model.state_dict())
    resumed = jp.ChannelPruner(other, x, **options)
    assert (resumed.dense_j, resumed.budget_j) == (pruner.dense_j, pruner.budget_j)
    resumed.load_state_dict(pruner.state_dict())
    assert resumed.done and resumed.energy_j == pruner.energy_j
    assert resumed.minimum_j == pytest.approx(pruner.minimum_j)


def test_gradients_of_the_trained_network_count():
    model, x = network("mlp")
    model(x).square().mean().backward()
    pruner = jp.ChannelPruner(model, x, energy="50%", profile=EYERISS, importance="taylor")
    pruner.step()
    assert pruner.done and model[0].weight.grad is not None


def test_an_adaptive_schedule_is_kept_in_the_state_and_serves_one_pruner():
    losses = iter([1.0, 1.0, 2.0, 1.0, 1.0])
    options = {"energy": "50%", "profile": EYERISS, "round_to": 1, "importance": "magnitude"}

    def made(loss):
        model, x = network("cnn")
        schedule = jp.AdaptiveSchedule(loss, end_step=5, stride=0.25)
        return jp.ChannelPruner(model, x, schedule=schedule, **options), schedule

    pruner, schedule = made(lambda: next(losses))
    joules = []
    for _ in range(3):
        pruner.step()
        joules.append(pruner.energy_j)
    assert joules[1] < joules[0] < pruner.dense_j and joules[2] > joules[1]  # at the third step the loss was too high
    state = pruner.state_dict()
    assert state["adaptive"]["share"] == 0.25
    other, resumed = made(lambda: 1.0)
    other.load_state_dict(state)
    for each in (pruner, other):
        each.step()
    assert other.energy_j == pruner.energy_j and resumed.state_dict() == schedule.state_dict()
    model, x = network("cnn")
    with pytest.raises(ValueError, match="has begun with another Pruner"):
        jp.ChannelPruner(model, x, schedule=schedule, **options)
    damaged = {**state, "adaptive": {"schema": 1}}
    with pytest.raises(ValueError, match=r"AdaptiveSchedule\.load_state_dict"):
        other.load_state_dict(damaged)
    for step in range(2):
        pruner.step()
        assert pruner.done == (step == 1)
    assert pruner.energy_j <= pruner.budget_j


def test_measured_activations():
    """Zeros behind a ReLU are counted: of the smaller network afresh, and never more joules than without them."""
    model, x = network("cnn")
    options = {"energy": "50%", "profile": EYERISS, "round_to": 1}
    plain = jp.ChannelPruner(model, x, **options)
    measured = jp.ChannelPruner(model, x, activation_density="measured", **options)
    assert measured.dense_j < plain.dense_j
    assert measured.dense_j == jp.estimate(model, x, profile=EYERISS, activation_density="measured").energy_j
    measured.prune_now()
    assert measured.energy_j <= measured.budget_j
    smaller = measured.shrink()
    fresh = jp.estimate(smaller.model, x, profile=EYERISS, activation_density="measured").energy_j
    assert fresh == pytest.approx(measured.energy_j, rel=1e-6)


def test_a_step_whose_gradients_overflowed_is_waited_for():
    model, x = network("cnn")
    schedule = jp.LinearDecay(begin_step=0, end_step=3, initial=0.5)
    model(x).square().mean().backward()
    pruner = jp.ChannelPruner(
        model, x, energy="60%", profile=EYERISS, round_to=1, schedule=schedule, importance="taylor"
    )
    model[0].weight.grad[0] = torch.inf
    pruner.step()
    assert pruner.energy_j == pruner.dense_j and pruner.state_dict()["owed"] is True
    model[0].weight.grad[0] = 0
    pruner.step()
    assert pruner.energy_j < pruner.dense_j and pruner.state_dict()["owed"] is False


def test_copies_keep_their_own_masks():
    model, x = network("cnn")
    pruner = jp.ChannelPruner(model, x, energy="60%", profile=EYERISS, round_to=1)
    pruner.prune_now()
    other_model, other = copy.deepcopy((model, pruner))
    assert other.prunes(other_model) and not other.prunes(model) and other.energy_j == pruner.energy_j
    pruner.remove()
    with torch.no_grad():
        for parameter in other_model.parameters():
            parameter.fill_(1)
    other.keep()
    assert other.shrink().energy_j == pruner.energy_j
    zeros = {name: parameter == 0 for name, parameter in other_model.named_parameters() if parameter.dim() > 1}
    assert any(bool(each.any()) for each in zeros.values())


def test_unknown_options_are_named():
    assert list(StructureKeywords.__annotations__) == [field.name for field in fields(StructureOptions)]
    model, x = network("mlp")
    for call in (jp.ChannelPruner, jp.shrink, jp.plan_structure):
        with pytest.raises(TypeError, match=r"expected options among pattern, importance, .*, got .patern."):
            call(model, x, energy="60%", profile=EYERISS, patern="channel")
