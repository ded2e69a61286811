"""ADMM training: its projection against brute force, its steps by hand, and what it leaves to prune."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from networks import mlp, residual
from torch import nn

import jouleprune as jp

EYERISS = "eyeriss-65nm"


def tiny() -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 2)), torch.randn(2, 3)


def test_the_projection_is_the_nearest_network_within_the_budget():
    """All 2^10 masks of a tiny network: none within the budget is nearer by more than one weight."""
    model, x = tiny()
    admm = jp.Admm(model, x, energy="70%", profile=EYERISS)
    budget = admm.finish().budget_j
    dense, _ = tiny()
    weights = [dense[0].weight.detach(), dense[2].weight.detach()]
    joules: dict[tuple[int, int], float] = {}
    best = float("inf")
    for bits in itertools.product((0.0, 1.0), repeat=10):
        mask = torch.tensor(bits)
        kept = (int(mask[:6].sum()), int(mask[6:].sum()))  # joules of this device follow from the counts
        if kept not in joules:
            priced, _ = tiny()
            with torch.no_grad():
                priced[0].weight.copy_(mask[:6].reshape(2, 3)), priced[2].weight.copy_(mask[6:].reshape(2, 2))
            joules[kept] = jp.estimate(priced, x, profile=EYERISS).energy_j
        if joules[kept] <= budget:
            lost = sum(
                float((w.flatten() * (1 - m)).square().sum()) for w, m in zip(weights, mask.split((6, 4)), strict=True)
            )
            best = min(best, lost)
    ours = sum(
        float((w - now.weight.detach()).square().sum()) for w, now in zip(weights, (model[0], model[2]), strict=True)
    )
    largest = max(float(w.square().max()) for w in weights)
    assert best - 1e-6 <= ours <= best + largest


def test_the_steps_by_hand():
    model, x = mlp()
    admm = jp.Admm(model, x, energy="50%", profile=EYERISS, rho=0.5, frequency=2)
    name, weight = "1.weight", model[1].weight
    first = weight.detach().clone()
    bits = jp.plan(model, x, energy="50%", profile=EYERISS, importance="magnitude").masks[name]
    target = first * jp.ops.unpack_mask(bits, weight.shape)
    expected = 0.25 * (first - target).square().sum()
    torch.testing.assert_close(admm.penalty(), expected)
    admm.penalty().backward()
    torch.testing.assert_close(weight.grad, 0.5 * (first - target))
    with torch.no_grad():
        weight.mul_(0.9)
    admm.step()
    torch.testing.assert_close(admm.penalty(), 0.25 * (0.9 * first - target).square().sum())  # no projection yet
    admm.step()
    # Z: the projection of W + U with U = 0; U: W - Z.
    second = weight.detach().clone()
    other, _ = mlp()
    other.load_state_dict(model.state_dict())
    bits = jp.plan(other, x, energy="50%", profile=EYERISS, importance="magnitude").masks[name]
    z = second * jp.ops.unpack_mask(bits, weight.shape)
    u = second - z
    torch.testing.assert_close(admm.penalty(), 0.25 * (second - z + u).square().sum())
    admm.step(), admm.step()
    # W unchanged: what is projected now is W + U, twice the pruned part.
    with torch.no_grad():
        other[1].weight.copy_(second + u)
    bits = jp.plan(other, x, energy="50%", profile=EYERISS, importance="magnitude").masks[name]
    z = (second + u) * jp.ops.unpack_mask(bits, weight.shape)
    u = u + second - z
    torch.testing.assert_close(admm.penalty(), 0.25 * (second - z + u).square().sum())


@pytest.mark.parametrize(("network", "pattern"), [(mlp, "16x4"), (residual, "unstructured")])
def test_training_goes_to_the_budget_before_anything_is_pruned(network, pattern):
    model, x = network()
    other, wanted = copy.deepcopy(model), model(x).detach()
    admm = jp.Admm(model, x, energy="60%", profile=EYERISS, rho=1.0, frequency=10, pattern=pattern)
    before = admm.distance()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
    for _ in range(80):
        optimizer.zero_grad()
        ((model(x) - wanted).square().mean() + admm.penalty()).backward()
        optimizer.step()
        admm.step()
    assert all(torch.all(p != 0) for p in model.parameters() if p.dim() > 1)
    assert admm.distance() < 0.5 * before
    jp.Pruner(other, x, energy="60%", profile=EYERISS, importance="magnitude", pattern=pattern).prune_now()
    pruner = admm.finish()
    assert pruner.done and pruner.energy_j <= pruner.budget_j
    assert float(admm.penalty()) == 0 and admm.distance() == 0
    assert jp.estimate(jp.convert(model, x, plan=pruner.plan), x, profile=EYERISS).energy_j == pruner.energy_j
    lost = [float((net(x) - wanted).detach().square().mean()) for net in (model, other)]
    assert lost[0] < lost[1]  # nearer to what the dense network says than pruning at once


def test_training_resumes():
    torch.manual_seed(3)
    batches = [(torch.randn(2, 3), torch.randn(2, 2)) for _ in range(10)]

    def train(model, admm, part):
        for x, target in part:
            model.zero_grad()
            (nn.functional.mse_loss(model(x), target) + admm.penalty()).backward()
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter -= 0.1 * parameter.grad
            admm.step()

    options = {"energy": "70%", "profile": EYERISS, "rho": 0.5, "frequency": 2}
    model, x = tiny()
    admm = jp.Admm(model, x, **options)
    train(model, admm, batches[:5])  # between two projections
    weights, state = copy.deepcopy(model.state_dict()), admm.state_dict()
    train(model, admm, batches[5:])
    again, _ = tiny()
    again.load_state_dict(weights)
    resumed = jp.Admm(again, x, **options)
    resumed.load_state_dict(state)
    train(again, resumed, batches[5:])
    assert all(torch.equal(again.state_dict()[name], value) for name, value in model.state_dict().items())
    assert resumed.distance() == admm.distance() > 0
    assert any(bool(dual.any()) for dual in resumed.state_dict()["duals"].values())
    before = resumed.state_dict()
    for told, change in (
        ("expected the dict of state_dict", {"schema": 2}),
        ("step: expected a whole number", {"step": -1}),
        ("budget_j: expected", {"budget_j": 1.0}),
        ("duals: expected tensors by weight name, got int", {"duals": 3}),
        ("duals: expected those of", {"duals": {}}),
        ("targets: names 'nowhere'", {"targets": {"nowhere": torch.ones(2)}}),
        (r"targets: '0.weight': expected torch.float32 \[2, 3\]", {"targets": {"0.weight": torch.ones(2)}}),
    ):
        with pytest.raises(ValueError, match=f"Admm.load_state_dict: {told}"):
            resumed.load_state_dict({**state, **change})
    assert resumed.state_dict()["step"] == before["step"] == 10


@pytest.mark.parametrize(
    ("error", "match", "options"),
    [
        (ValueError, "rho: expected a finite number above 0", {"rho": 0}),
        (ValueError, "frequency: expected a whole number >= 1", {"frequency": 0}),
        (ValueError, "importance: Admm decides it", {"importance": "lamp"}),
        (ValueError, "schedule: Admm decides it", {"schedule": jp.OneShot()}),
        (TypeError, "expected options among .* got 'amount'", {"amount": 0.5}),
        (jp.BudgetError, "energy|budget|dense", {"energy": "120%"}),
        (jp.PatternError, "pattern", {"pattern": "5:4"}),
    ],
)
def test_bad_inputs(error, match, options):
    model, x = mlp()
    with pytest.raises(error, match=match):
        jp.Admm(model, x, **{"energy": "50%", "profile": EYERISS, **options})
