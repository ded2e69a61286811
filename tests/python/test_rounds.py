"""Rounds, the accuracy floor, rewinding and distillation, on the digits of scikit-learn where accuracy is claimed."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from networks import mlp
from torch import nn

import jouleprune as jp

EYERISS = "eyeriss-65nm"


@pytest.fixture(scope="module")
def digits():
    """A small trained network and its data: 1,797 real images of 8 x 8."""
    datasets = pytest.importorskip("sklearn.datasets")
    images, labels = datasets.load_digits(return_X_y=True)
    x, y = torch.tensor(images, dtype=torch.float32) / 16, torch.tensor(labels)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10))
    train_on(model, x[:1400], y[:1400], lambda: None, epochs=15)
    return model, x, y


def train_on(model, x, y, keep, epochs=2):
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(epochs):
        for start in range(0, len(x), 100):
            optimizer.zero_grad()
            F.cross_entropy(model(x[start : start + 100]), y[start : start + 100]).backward()
            optimizer.step()
            keep()


def accuracy(model, x, y):
    with torch.no_grad():
        return float((model(x[1400:]).argmax(1) == y[1400:]).double().mean())


def test_rounds_go_down_to_the_budget_and_keep_accuracy(digits):
    dense, x, y = digits
    model = copy.deepcopy(dense)
    before = accuracy(model, x, y)
    assert before > 0.85
    pruner, rounds = jp.iterative(
        model, x[:4], energy="20%", profile=EYERISS, rounds=4,
        train=lambda m, keep: train_on(m, x[:1400], y[:1400], keep), evaluate=lambda m: accuracy(m, x, y),
    )  # fmt: skip
    assert [each.share for each in rounds] == [0.25, 0.5, 0.75, 1.0]
    joules = [each.energy_j for each in rounds]
    assert joules == sorted(joules, reverse=True) and joules[-1] == pruner.energy_j <= pruner.budget_j
    assert pruner.done and rounds[-1].metric > before - 0.05
    for name, bits in pruner.plan.masks.items():
        weight = model.get_parameter(name)
        assert torch.all(weight[~jp.ops.unpack_mask(bits, weight.shape)] == 0)  # Adam's momentum revived none


def test_rounds_can_stop_early_and_follow_a_schedule(digits):
    dense, x, _ = digits
    pruner, rounds = jp.iterative(
        copy.deepcopy(dense), x[:4], energy="20%", profile=EYERISS, rounds=4, train=lambda *_: None,
        stop=lambda done: done.share >= 0.5,
    )  # fmt: skip
    assert len(rounds) == 2 and not pruner.done and pruner.energy_j > pruner.budget_j
    trained = []
    pruner, rounds = jp.iterative(
        copy.deepcopy(dense), x[:4], energy="20%", profile=EYERISS, rounds=5, train=lambda *_: trained.append(1),
        schedule=jp.MultiStep(milestones=[1, 3]),
    )  # fmt: skip
    assert [each.share for each in rounds] == [0, 0.5, 0.5, 1, 1] and len(trained) == 5 and pruner.done


def test_the_floor_holds_and_is_near_the_edge(digits):
    dense, x, y = digits
    model = copy.deepcopy(dense)
    result = jp.prune_to_floor(model, x[:4], profile=EYERISS, evaluate=lambda m: accuracy(m, x, y), max_drop=0.05)
    assert result.metric >= result.dense_metric - 0.05
    assert accuracy(model, x, y) == result.metric  # what is left is the state that held
    assert result.energy_j < 0.9 * result.dense_j and result.pruner.energy_j == result.plan.energy_j == result.energy_j
    asked = sorted(energy for energy, _ in result.trials)
    held = {energy for energy, metric in result.trials if metric >= result.dense_metric - 0.05}
    edge = min(held)
    below = [energy for energy in asked if energy < edge]
    assert below and edge - below[-1] <= 0.01 * result.dense_j  # the next budget tried failed
    with torch.no_grad():  # and the masks are held from now on
        for parameter in model.parameters():
            parameter.add_(1.0)
    result.pruner.keep()
    density = sum(int((model.get_parameter(name) != 0).sum()) for name in result.plan.masks)
    assert density == sum(layer.kept for layer in result.plan.layers if layer.weight in result.plan.masks)


def test_a_floor_that_nothing_holds_rolls_back(digits):
    dense, x, _ = digits
    model = copy.deepcopy(dense)
    calls = []

    def evaluate(m):
        calls.append(1)
        return 1.0 if len(calls) == 1 else 0.0  # every pruned network is useless

    result = jp.prune_to_floor(model, x[:4], profile=EYERISS, evaluate=evaluate, tolerance=0.2)
    assert result.pruner is None and result.energy_j == result.dense_j
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), dense.state_dict().values(), strict=True))


def test_a_floor_that_all_hold_is_the_minimum(digits):
    dense, x, _ = digits
    model = copy.deepcopy(dense)
    result = jp.prune_to_floor(model, x[:4], profile=EYERISS, evaluate=lambda _: 1.0, min_density=0.1)
    assert len(result.trials) == 1 and result.energy_j <= result.plan.minimum_j * (1 + 1e-9)


def test_a_tolerance_below_what_numbers_resolve_ends():
    torch.manual_seed(0)
    model, x = torch.nn.Linear(8, 8), torch.randn(2, 8)
    trials = []

    def evaluate(m):
        trials.append(1)
        return float((m.weight != 0).float().mean())

    jp.prune_to_floor(model, x, profile=EYERISS, evaluate=evaluate, max_drop=0.5, tolerance=1e-30)
    assert len(trials) < 120


def test_rewind_brings_kept_weights_back():
    model, x = mlp()
    early = jp.Rewind(model)
    then = model[1].weight.detach().clone()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    F.cross_entropy(model(x), torch.arange(4)).backward()
    optimizer.step()
    pruner = jp.Pruner(model, x, energy="30%", profile=EYERISS)
    pruner.prune_now()
    early.rewind(pruner)
    mask = jp.ops.unpack_mask(pruner.plan.masks["1.weight"], then.shape)
    assert torch.equal(model[1].weight, then * mask) and 0 < mask.sum() < mask.numel()
    other, _ = mlp()
    with pytest.raises(ValueError, match="pruner: expected one of the model"):
        jp.Rewind(other).rewind(pruner)


def test_distillation_is_its_definition():
    torch.manual_seed(0)
    student, teacher = torch.randn(5, 7, requires_grad=True), torch.randn(5, 7, requires_grad=True)
    target = torch.randint(7, (5,))
    p, q = torch.softmax(teacher / 3, 1), torch.softmax(student / 3, 1)
    soft = 9 * (p * (p / q).log()).sum(1).mean()
    hard = -torch.log_softmax(student, 1)[torch.arange(5), target].mean()
    loss = jp.distillation_loss(student, teacher, target, temperature=3, weight=0.7)
    torch.testing.assert_close(loss, 0.7 * soft + 0.3 * hard)
    torch.testing.assert_close(jp.distillation_loss(student, teacher, temperature=3), soft)
    assert float(jp.distillation_loss(teacher.detach(), teacher)) == pytest.approx(0, abs=1e-6)
    loss.backward()
    assert student.grad is not None and teacher.grad is None
    sequence = jp.distillation_loss(student.detach().view(1, 5, 7), teacher.detach().view(1, 5, 7), temperature=3)
    torch.testing.assert_close(sequence, soft.detach())


@pytest.mark.parametrize(
    ("match", "call"),
    [
        ("teacher: expected the shape", lambda: jp.distillation_loss(torch.ones(2, 3), torch.ones(2, 4))),
        ("temperature", lambda: jp.distillation_loss(torch.ones(2, 3), torch.ones(2, 3), temperature=0)),
        ("weight", lambda: jp.distillation_loss(torch.ones(2, 3), torch.ones(2, 3), weight=2)),
    ],
)
def test_bad_distillation(match, call):
    with pytest.raises(ValueError, match=match):
        call()


@pytest.mark.parametrize(
    ("match", "options"),
    [
        ("max_drop: expected a finite number", {"max_drop": -1}),
        ("tolerance: expected a number above 0", {"tolerance": 0}),
        ("evaluate: expected a finite metric", {"evaluate": lambda _: float("nan")}),
    ],
)
def test_bad_floors(match, options):
    model, x = mlp()
    with pytest.raises(ValueError, match=match):
        jp.prune_to_floor(model, x, **{"profile": EYERISS, "evaluate": lambda _: 1.0, **options})


def test_bad_rounds():
    model, x = mlp()
    options = {"energy": "50%", "profile": EYERISS, "train": lambda *_: None}
    with pytest.raises(ValueError, match="rounds: expected a whole number of at least 1, got 0"):
        jp.iterative(model, x, rounds=0, **options)
    with pytest.raises(ValueError, match="rounds: expected enough for the schedule to end, got 3"):
        jp.iterative(model, x, rounds=3, schedule=jp.LinearDecay(end_step=5), **options)
    with pytest.raises(ValueError, match="share: expected a number in"):
        jp.Pruner(model, x, energy="50%", profile=EYERISS).prune_to(1.5)
