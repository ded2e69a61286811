"""Tucker-2 of convolutions beside the truncated SVD: three layers, their error, the front of both, the budget."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from structured_networks import network
from torch import nn

import jouleprune as jp
from jouleprune.structured.ranks import factorised, forms_of, saves
from jouleprune.structured.tucker import tucker_kept, tucker_weights

pytest.importorskip("tensorly")
PROFILE = "eyeriss-65nm"


def planted(conv: nn.Conv2d, behind: int, front: int, noise: float = 0.0) -> nn.Conv2d:
    """The weight of ``conv`` becomes one of these multilinear ranks."""
    torch.manual_seed(5)
    out, into = torch.randn(conv.out_channels, behind), torch.randn(conv.in_channels, front)
    with torch.no_grad():
        core = torch.randn(behind, front, *conv.kernel_size)
        conv.weight.copy_(torch.einsum("oa,abhw,ib->oihw", out, core, into) + noise * torch.randn_like(conv.weight))
    return conv


def product(layers: nn.Sequential) -> torch.Tensor:
    """The weight of the one convolution that the three make."""
    into, core, out = (layer.weight.detach().double() for layer in layers)
    return torch.einsum("oa,abhw,bi->oihw", out[:, :, 0, 0], core, into[:, :, 0, 0])


CONVS = {
    "plain": lambda: nn.Conv2d(6, 10, 3),
    "strided": lambda: nn.Conv2d(8, 7, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2), bias=False),
    "same": lambda: nn.Conv2d(5, 8, 3, padding="same"),
}


@pytest.mark.parametrize("conv", CONVS)
def test_three_layers_are_one_convolution_with_their_product(conv):
    torch.manual_seed(0)
    layer = CONVS[conv]()
    three, x = factorised(layer, (3, 2)), torch.randn(2, layer.in_channels, 9, 8)
    assert [type(each) for each in three] == [nn.Conv2d] * 3 and three.training == layer.training
    exact = copy.deepcopy(layer)
    exact.weight.data = product(three).float()
    torch.testing.assert_close(three(x), exact(x), rtol=1e-4, atol=1e-5)
    weights = sum(each.weight.numel() for each in three)
    taps = math.prod(layer.kernel_size)
    assert weights == tucker_weights(layer.out_channels, layer.in_channels, taps, (3, 2)) < layer.weight.numel()


def test_planted_ranks_are_found_again():
    layer = planted(nn.Conv2d(6, 10, 3), 3, 2)
    found = product(factorised(layer, (3, 2)))
    torch.testing.assert_close(found.float(), layer.weight.detach(), rtol=1e-4, atol=1e-4)
    kept, whole = tucker_kept(layer), float(layer.weight.detach().double().square().sum())
    assert float(kept[2, 1]) == pytest.approx(whole) and float(kept[1, 1]) < 0.999 * whole


@pytest.mark.parametrize("behind", [1, 4, 7])
@pytest.mark.parametrize("front", [1, 3, 5])
def test_what_is_kept_is_at_least_what_is_told(behind, front):
    """Against the projection by hand, and the error of the layers that are made."""
    torch.manual_seed(1)
    layer = nn.Conv2d(6, 10, 3)
    weight = layer.weight.detach().double()
    told = float(tucker_kept(layer)[behind - 1, front - 1])
    out = torch.linalg.svd(weight.flatten(1))[0][:, :behind]
    into = torch.linalg.svd(weight.transpose(0, 1).flatten(1))[0][:, :front]
    projected = torch.einsum("oa,pa,pihw,ib,jb->ojhw", out, out, weight, into, into)
    assert told == pytest.approx(float(projected.square().sum()))
    lost = float((product(factorised(layer, (behind, front))) - weight).square().sum())
    assert float(weight.square().sum()) - lost >= told * (1 - 1e-6)


def test_forms_are_the_front_of_all_there_are():
    """Brute force over every rank and every pair of ranks."""
    layer = planted(nn.Conv2d(5, 8, 3), 3, 2, noise=0.05)
    weight = layer.weight.detach().double()
    values = torch.linalg.svdvals(weight.flatten(1)).square()
    every = [(r * (8 + 45), float(values[:r].sum())) for r in range(1, 9) if saves(r, 8, 5, 9)]
    kept = tucker_kept(layer)
    every += [
        (5 * b + a * b * 9 + 8 * a, float(kept[a - 1, b - 1]))
        for a in range(1, 9)
        for b in range(1, 6)
        if 5 * b + a * b * 9 + 8 * a < 360
    ]
    for least in (0, 100):
        forms = forms_of(layer, least)
        sizes = [rank * 53 if isinstance(rank, int) else tucker_weights(8, 5, 9, rank) for rank, _ in forms]
        assert sizes == sorted(set(sizes)) and sizes[0] >= least
        assert any(isinstance(rank, tuple) for rank, _ in forms)
        for size, worth in every:  # none is better than the form that has as many weights or fewer
            if size >= least:
                best = max(kept for own, (_, kept) in zip(sizes, forms, strict=True) if own <= size)
                assert best >= worth * (1 - 1e-9)
    assert all(isinstance(rank, int) for rank, _ in forms_of(nn.Conv2d(9, 8, 1), 0))  # one tap: the SVD is the best
    assert 88 < len(forms_of(nn.Conv2d(64, 64, 3), 0)) <= 96  # not all of the front's


def test_the_budget_is_met_by_tucker_where_it_fits():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 4, 3)).eval()
    x = torch.randn(2, 8, 10, 10)
    planted(model[0], 4, 3, noise=1e-3)
    before = copy.deepcopy(model.state_dict())
    result = jp.shrink(model, x, energy="60%", profile=PROFILE, pattern="rank", importance="magnitude")
    assert jp.estimate(result.model, x, profile=PROFILE).energy_j == result.energy_j <= result.plan.budget_j
    assert result.energy_j > 0.99 * result.plan.budget_j or result.plan.maximal
    rank = result.plan.structure.ranks["0"]
    assert isinstance(rank, tuple) and rank[0] >= 4 and rank[1] >= 3
    torch.testing.assert_close(result.model[0](x), model[0](x), rtol=0.05, atol=0.05)
    plan = jp.StructurePlan.from_json(result.plan.to_json())
    assert plan == result.plan and plan.structure.ranks["0"] == rank
    again = jp.convert(model, x, plan=plan)
    assert torch.equal(again(x), result.model(x))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    tight = jp.shrink(model, x, energy="80%", profile=PROFILE, pattern="rank", min_density={"0": 0.9})
    left = sum(p.numel() for name, p in tight.model[0].named_parameters() if "weight" in name)
    assert left >= 0.9 * model[0].weight.numel()


def test_zeros_in_what_low_rank_leaves():
    model, x = network("cnn")
    result = jp.cascade(model, x, energy="30%", profile=PROFILE, structure="rank", splits=(0.4,))
    assert result.structure.structure.ranks and any(layer.density < 1 for layer in result.plan.layers)
    converted = jp.convert(result.model, x, plan=result.plan, force=True)
    assert jp.estimate(converted, x, profile=PROFILE).energy_j == result.energy_j <= result.plan.budget_j


@pytest.mark.parametrize("name", ["residual", "cnn"])
def test_tucker_and_channels_under_one_budget(name):
    pytest.importorskip("torch_pruning")
    model, x = network(name)
    result = jp.shrink(model, x, energy="50%", profile=PROFILE, pattern=("channel", "rank"))
    assert jp.estimate(result.model, x, profile=PROFILE).energy_j == result.energy_j <= result.plan.budget_j
    assert result.model(x).shape == model(x).shape


@pytest.mark.parametrize(
    ("layer", "rank"),
    [("conv", (11, 2)), ("conv", (3, 0)), ("conv", (10, 6)), ("linear", (2, 2))],
)
def test_bad_ranks(layer, rank):
    layer = nn.Conv2d(6, 10, 3) if layer == "conv" else nn.Linear(9, 9)
    with pytest.raises(ValueError, match="rank: expected"):
        factorised(layer, rank)
