"""Low rank, cascades of structure and zeros, evolutionary search, random paths."""

from __future__ import annotations

import copy
import itertools

import numpy as np
import pytest
import torch
from networks import lenet, mlp
from structured_networks import network
from torch import nn

import jouleprune as jp
from jouleprune.criteria.paths import first_draws
from jouleprune.structured.ranks import factorised, largest_rank, singular_values

PROFILE = "eyeriss-65nm"


@pytest.mark.parametrize(
    "layer", [nn.Linear(20, 14), nn.Conv2d(6, 10, (3, 2), stride=2, padding=1, dilation=2, bias=False)]
)
def test_two_layers_are_the_best_of_their_rank(layer):
    """Eckart and Young: the squared error is the sum of the squared singular values that are left out."""
    pytest.importorskip("tensorly")
    rank = largest_rank(layer) - 1
    both = factorised(layer, rank)
    shape = (5, 20) if isinstance(layer, nn.Linear) else (2, 6, 9, 9)
    assert both(torch.randn(shape)).shape == layer(torch.randn(shape)).shape
    first, second = (part.weight.detach().double().flatten(1) for part in both)
    error = (second @ first - layer.weight.detach().double().flatten(1)).square().sum()
    assert float(error) == pytest.approx(float(singular_values(layer)[rank:].square().sum()), rel=1e-5)
    exact = copy.deepcopy(layer)
    exact.weight.data = (second @ first).float().reshape(layer.weight.shape)
    x = torch.randn(shape)
    torch.testing.assert_close(both(x), exact(x), rtol=1e-4, atol=1e-5)


def test_low_rank_competes_with_channels_under_one_budget():
    pytest.importorskip("torch_pruning"), pytest.importorskip("tensorly")
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 32)), torch.randn(2, 64)
    with torch.no_grad():  # the first layer has rank 5 but for a whisper; all of its neurons matter alike
        model[0].weight.copy_(torch.randn(48, 5) @ torch.randn(5, 64) + 1e-3 * torch.randn(48, 64))
    result = jp.shrink(model, x, energy="55%", profile=PROFILE, pattern=("neuron", "rank"), importance="magnitude")
    assert jp.estimate(result.model, x, profile=PROFILE).energy_j == result.energy_j <= result.plan.budget_j
    assert 5 <= result.plan.structure.ranks["0"] < largest_rank(model[0])
    torch.testing.assert_close(result.model[0](x), model[0](x), rtol=0.05, atol=0.05)
    with pytest.raises(jp.BudgetError):
        jp.shrink(model, x, energy="1%", profile=PROFILE, pattern="rank")


def test_cascade_meets_the_budget_with_both():
    pytest.importorskip("torch_pruning")
    model, x = network("cnn")
    before = copy.deepcopy(model.state_dict())
    result = jp.cascade(model, x, energy="30%", profile=PROFILE, splits=(0.3, 0.6))
    dense = jp.estimate(model, x, profile=PROFILE).energy_j
    assert result.energy_j <= result.plan.budget_j == pytest.approx(0.3 * dense)
    assert [share for share, _ in result.tried] == [0.3, 0.6]
    assert result.worth == max(worth for _, worth in result.tried)
    assert result.structure.energy_j < dense and any(layer.density < 1 for layer in result.plan.layers)
    converted = jp.convert(result.model, x, plan=result.plan, force=True)
    assert jp.estimate(converted, x, profile=PROFILE).energy_j == result.energy_j
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    judged = jp.cascade(
        model, x, energy="30%", profile=PROFILE, splits=(0.3, 0.6), evaluate=lambda pruned: -len(pruned)
    )
    assert judged.split == 0.3 and judged.worth == -len(model)  # equal: the first
    with pytest.raises(ValueError, match="splits"):
        jp.cascade(model, x, energy="30%", profile=PROFILE, splits=(1.0,))


def test_cascade_of_heads_channels_and_weights():
    pytest.importorskip("torch_pruning")
    model, x = network("transformer")
    result = jp.cascade(model, x, energy="30%", profile=PROFILE, splits=(0.6,), pattern="unstructured")
    assert result.energy_j <= result.plan.budget_j
    assert any(choice.kind == "head" and choice.kept < choice.units for choice in result.structure.choices)
    zeros = sum(int((p == 0).sum()) for name, p in result.model.named_parameters() if name in result.plan.masks)
    assert zeros > 0
    assert jp.estimate(result.model, x, profile=PROFILE).energy_j == result.energy_j


def test_evolution_finds_a_front_and_resumes_to_the_same():
    pytest.importorskip("pymoo")
    model, x = mlp()
    options = {"profile": "generic-cpu", "patterns": ("unstructured", "16x1"), "population": 6, "seed": 3}
    whole = jp.evolve(model, x, generations=3, **options)
    half = jp.evolve(model, x, generations=2, **options)
    resumed = jp.evolve(model, x, generations=1, resume=half, **options)
    assert [(one.energy_j, one.lost) for one in resumed.front] == [(one.energy_j, one.lost) for one in whole.front]
    assert resumed.generations == whole.generations == 3
    for cheaper, dearer in itertools.pairwise(whole.front):
        assert cheaper.energy_j < dearer.energy_j and cheaper.lost > dearer.lost
    one = whole.front[0]
    pruner = jp.Pruner(copy.deepcopy(model), x, plan=one.plan)
    assert pruner.prune_now().energy_j == one.energy_j
    assert one.lost == pytest.approx(sum(layer.importance_lost for layer in one.plan.layers))


def test_evolution_takes_a_real_loss():
    pytest.importorskip("pymoo")
    model, x = mlp()
    zeros = []

    def loss(pruned):
        zeros.append(sum(int((p == 0).sum()) for p in pruned.parameters()))
        return float((pruned(x) - model(x)).detach().square().mean())

    result = jp.evolve(model, x, profile=PROFILE, evaluate=loss, population=4, generations=1)
    assert max(zeros) > 0 and all(np.isfinite(one.lost) for one in result.front)
    for match, options in {
        "population": {"population": 2},
        "generations": {"generations": 0},
        "patterns": {"patterns": []},
    }.items():
        with pytest.raises(ValueError, match=match):
            jp.evolve(model, x, profile=PROFILE, **options)


def test_paths_are_drawn_inverse_to_their_product():
    """Two layers of 2 x 2: each of the eight paths as often as 1 / (|w1| |w2|) says."""
    weights = [torch.tensor([[1.0, 2.0], [4.0, 0.0]]).double(), torch.tensor([[1.0, 0.5], [3.0, 1.0]]).double()]
    expected: dict[tuple[int, int, int], float] = {}
    for i, j, k in itertools.product(range(2), repeat=3):
        product = float(weights[0][j, i] * weights[1][k, j])
        if product:
            expected[i, j, k] = 1 / product
    total = sum(expected.values())
    generator, count = torch.Generator().manual_seed(0), dict.fromkeys(expected, 0)
    for _ in range(3000):
        first = first_draws(weights, 1, generator)
        (j, i), (k, _) = ((draw == 0).nonzero()[0].tolist() for draw in first)
        count[i, j, k] += 1
    for path, weight in expected.items():
        share = weight / total
        assert abs(count[path] / 3000 - share) < 4 * (share * (1 - share) / 3000) ** 0.5, path


def test_random_paths_go_first_to_last_and_are_seeded():
    model, x = lenet()
    plan = jp.plan(model, x, energy="50%", profile=PROFILE, importance="random_path")
    again = jp.plan(model, x, energy="50%", profile=PROFILE, importance=jp.criteria.RandomPaths(paths=1000, seed=0))
    other = jp.plan(model, x, energy="50%", profile=PROFILE, importance=jp.criteria.RandomPaths(seed=1))
    assert plan.energy_j <= plan.budget_j
    assert all(torch.equal(mask, again.masks[name]) for name, mask in plan.masks.items())
    assert any(not torch.equal(mask, other.masks[name]) for name, mask in plan.masks.items())
    with pytest.raises(ValueError, match="paths"):
        jp.criteria.RandomPaths(paths=0)


def test_one_path_takes_one_weight_of_each_layer():
    first = first_draws([torch.rand(7, 5).double() + 0.1, torch.rand(3, 7).double() + 0.1], 1, torch.Generator())
    (row, _), (_, column) = ((draw == 0).nonzero()[0].tolist() for draw in first)
    assert [int((draw == 0).sum()) for draw in first] == [1, 1] and row == column
