"""``jp.iterative`` layer by layer: who goes when, how far, and the budget at the end."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from networks import lenet, mlp, residual
from torch import nn

import jouleprune as jp
from jouleprune._units import unit_numbers

EYERISS = "eyeriss-65nm"


def train(model: nn.Module, keep) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    parameter = next(p for p in model.parameters() if p.dim() > 1)
    torch.manual_seed(5)
    x = torch.randn(4, 1, 28, 28) if parameter.shape[1] in (1, 784) else torch.randn(4, 3, 15, 11)
    for _ in range(2):
        optimizer.zero_grad()
        F.cross_entropy(model(x), torch.arange(4)).backward()
        optimizer.step()
        keep()


def zeros(model: nn.Module) -> set[str]:
    """Weights that have any."""
    return {name for name, p in model.named_parameters() if p.dim() > 1 and bool((p == 0).any())}


@pytest.mark.parametrize("network", [mlp, residual])
@pytest.mark.parametrize("pattern", ["unstructured", "3x2", "16x4", "2:4", "auto"])
def test_each_round_prunes_one_layer_more(network, pattern):
    model, x = network()
    share = "60%" if pattern == "2:4" else "75%"
    dense = copy.deepcopy(model)
    ahead = jp.plan(dense, x, energy=share, profile=EYERISS, pattern=pattern)
    seen: list[set[str]] = []

    def look(m: nn.Module, keep) -> None:
        seen.append(zeros(m))
        train(m, keep)

    pruner, rounds = jp.iterative(
        model, x, energy=share, profile=EYERISS, pattern=pattern, order="forward", train=look
    )  # fmt: skip
    wanted = [layer.weight for layer in ahead.layers if layer.weight in ahead.masks]
    assert len(wanted) >= (1 if network is mlp else 2)
    assert seen == [set(wanted[: number + 1]) for number in range(len(wanted))]
    assert [each.share for each in rounds] == [(number + 1) / len(wanted) for number in range(len(wanted))]
    joules = [each.energy_j for each in rounds]
    assert joules == sorted(joules, reverse=True)
    plan = pruner.plan
    assert pruner.done and plan.energy_j <= pruner.budget_j == ahead.budget_j
    assert plan.energy_j > 0.99 * plan.budget_j or plan.maximal
    before = {layer.weight: layer.kept for layer in ahead.layers}
    if network is mlp or "x" not in pattern:  # blocks at the edges of the other network's layers are smaller
        assert all(layer.kept >= before[layer.weight] for layer in plan.layers if layer.weight in plan.masks)
    assert jp.estimate(jp.convert(model, x, plan=plan), x, profile=EYERISS).energy_j == plan.energy_j


def test_orders():
    model, x = lenet()
    plan = jp.plan(model, x, energy="40%", profile=EYERISS)
    pruned = [layer.weight for layer in plan.layers if layer.weight in plan.masks]
    assert len(pruned) >= 3
    orders: dict[str, list[str]] = {}
    for order in ("forward", "energy", "reversed"):
        net, found = copy.deepcopy(model), []

        def look(m: nn.Module, keep, found=found) -> None:
            found += sorted(zeros(m) - set(found))

        asked = ["9", *pruned[::-1]] if order == "reversed" else order
        jp.iterative(net, x, energy="40%", profile=EYERISS, importance="lamp", order=asked, train=look)
        orders[order] = found
    assert orders["forward"] == pruned
    assert orders["reversed"] == orders["forward"][::-1]
    joules = {layer.weight: layer.dense_j for layer in plan.layers}
    assert orders["energy"] == sorted(orders["forward"], key=lambda name: -joules[name])


def test_a_budget_that_asks_for_nothing_and_an_early_stop():
    model, x = mlp()
    pruner, rounds = jp.iterative(model, x, energy="100%", profile=EYERISS, order="energy", train=train)
    assert pruner.done and len(rounds) == 1 and not zeros(model)
    model, x = residual()
    pruner, rounds = jp.iterative(
        model, x, energy="50%", profile=EYERISS, order="energy", train=train, stop=lambda _: True
    )
    assert not pruner.done and len(rounds) == 1 and pruner.energy_j > pruner.budget_j
    pruner.step()  # without a schedule the next step goes to the budget
    assert pruner.done and pruner.energy_j <= pruner.budget_j


def test_looking_ahead_changes_nothing():
    model, x = mlp()
    before = copy.deepcopy(model.state_dict())
    pruner = jp.Pruner(model, x, energy="30%", profile=EYERISS)
    ahead = pruner.look_ahead()
    assert not pruner.done and pruner.energy_j == pruner.dense_j
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    now = pruner.prune_now()
    assert now.to_json() == ahead.to_json() and all(torch.equal(now.masks[n], m) for n, m in ahead.masks.items())


@pytest.mark.parametrize(("shape", "block"), [((5, 7), (2, 3)), ((4, 5, 2, 3), (3, 2)), ((3, 4, 2), (1, 4))])
def test_numbers_of_units_by_loops(shape, block):
    found, kernel = unit_numbers(shape, block), shape[2:]
    flat = found.reshape(shape[0], shape[1], -1)
    across = -(-shape[1] // block[1])
    for row in range(shape[0]):
        for column in range(shape[1]):
            for tap in range(flat.shape[2]):
                number = (row // block[0] * across + column // block[1]) * flat.shape[2] + tap
                assert flat[row, column, tap] == number
    assert found.shape == shape and len(kernel) == found.dim() - 2
    # As the blocks of a norm, which gives each weight of a unit the same score.
    norms = jp.ops.norm_importance(torch.randn(shape), block_size=list(block))
    for number in range(int(found.max()) + 1):
        assert len(norms[found == number].unique()) == 1


@pytest.mark.parametrize(
    ("match", "options"),
    [
        ('order: expected "all", "energy", "forward" or a list of layers, got \'size\'', {"order": "size"}),
        ("order: expected .* got 3", {"order": 3}),
        ("order: expected prunable layers .* got 'nowhere'", {"order": ["nowhere"]}),
        ("order: lacks '1', which the budget prunes", {"order": ["3"]}),
        ("rounds: layer by layer there is a round for each layer", {"order": "energy", "rounds": 3}),
        ("schedule: layer by layer", {"order": "forward", "schedule": jp.OneShot()}),
    ],
)
def test_bad_orders(match, options):
    model, x = mlp()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=match):
        jp.iterative(model, x, **{"energy": "50%", "profile": EYERISS, "train": train, **options})
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_bad_layers_to_prune():
    model, x = mlp()
    pruner = jp.Pruner(model, x, energy="30%", profile=EYERISS)
    with pytest.raises(ValueError, match=r"weights: expected some of 1\.weight, .* got 'nowhere'"):
        pruner.prune_layers(["nowhere"], pruner.look_ahead())
    with pytest.raises(ValueError, match="like: expected a Plan"):
        pruner.prune_layers(["1.weight"], 3)
    assert not zeros(model)
