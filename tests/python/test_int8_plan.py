"""Plans that run convolutions in int8, in quads of channels at one tap: converted networks cost what was planned."""

from __future__ import annotations

import json

import pytest
import torch
from networks import NETWORKS
from torch import nn

import jouleprune as jp

PROFILE = "generic-cpu"

CONVS = {
    "plain": lambda: nn.Conv2d(16, 32, 3, padding=1),
    "odd": lambda: nn.Conv2d(7, 30, 3, padding=1, bias=False),
    "strided": lambda: nn.Conv2d(21, 20, 3, stride=2),
    "wide": lambda: nn.Conv2d(8, 24, (1, 5), padding=(0, 2), dilation=(1, 2)),
    "grouped": lambda: nn.Conv2d(18, 24, 3, padding=1, groups=3),
    "depthwise": lambda: nn.Conv2d(24, 24, 3, padding=1, groups=24),
    "pointwise": lambda: nn.Conv2d(33, 64, 1),
    "same": lambda: nn.Conv2d(12, 32, 3, padding="same"),
}


def network(kind: str) -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(5)
    conv = CONVS[kind]()
    head = nn.Conv2d(conv.out_channels, 10, 1)
    return nn.Sequential(conv, nn.ReLU(), head), torch.randn(3, conv.in_channels, 14, 13)


def pruned(model: nn.Module, x: torch.Tensor, share: float, pattern: str, **options) -> jp.Pruner:
    """``share`` of the way from the least joules to the dense ones."""
    options = {"profile": PROFILE, "pattern": pattern, "dtype": "int8", **options}
    plan = jp.plan(model, x, energy="100%", **options)
    pruner = jp.Pruner(model, x, energy=plan.minimum_j + share * (plan.dense_j - plan.minimum_j), **options)
    pruner.prune_now()
    return pruner


def in_int8(plan: jp.Plan) -> list:
    return [layer for layer in plan.layers if layer.kernel == "bsr-int8"]


@pytest.mark.parametrize("pattern", ["1x4", "16x4", "1x8", "auto"])
@pytest.mark.parametrize("kind", CONVS)
def test_converted_convolution_costs_what_was_planned(kind, pattern):
    model, x = network(kind)
    pruner = pruned(model, x, 0.05, pattern)
    plan = pruner.plan
    assert plan.energy_j <= plan.budget_j
    assert plan.energy_j > 0.99 * plan.budget_j or plan.maximal
    converted = jp.convert(model, x, plan=plan).eval()
    assert jp.estimate(converted, x, profile=PROFILE).energy_j == plan.energy_j
    planned = {entry["weight"]: entry for entry in json.loads(plan.workload)["entries"]}
    for layer in in_int8(plan):
        made = converted.get_submodule(layer.name)
        assert isinstance(made, jp.nn.SparseConv2dInt8)
        weight = model.get_parameter(layer.weight)
        assert planned[layer.weight]["nnz"] == min(made.nnz, weight.numel())
        if layer.pattern == "dense":
            assert layer.weight not in plan.masks and made.density == 1.0
            continue
        # Whole blocks: what stays fills its quads, padding at the last channels aside.
        kept = jp.ops.unpack_mask(plan.masks[layer.weight], list(weight.shape))
        quads = nn.functional.pad(kept, (0, 0, 0, 0, 0, -kept.shape[1] % 4)).unflatten(1, (-1, 4))
        assert int(quads.any(2).sum()) * 4 == made.nnz
        if layer.pattern == "1x4":
            full = nn.functional.pad(kept, (0, 0, 0, 0, 0, -kept.shape[1] % 4), value=True).unflatten(1, (-1, 4))
            assert torch.equal(quads.any(2), full.all(2))
    with torch.no_grad():
        want = model.eval()(x)
        assert (converted(x) - want).norm() < 0.05 * want.norm()


def test_int8_is_chosen_and_only_where_asked():
    model, x = network("plain")
    chosen = {pattern: in_int8(pruned(network("plain")[0], x, 0.05, pattern).plan) for pattern in ("1x4", "auto")}
    assert all(layers and layers[0].name == "0" for layers in chosen.values())
    plan = pruned(model, x, 0.05, "1x4", dtype=None).plan
    assert not in_int8(plan) and plan.masks
    assert not in_int8(pruned(network("plain")[0].double(), x.double(), 0.05, "1x4").plan)
    circular = nn.Sequential(nn.Conv2d(8, 16, 3, padding=1, padding_mode="circular"), nn.Conv2d(16, 32, 3))
    plan = pruned(circular, torch.randn(2, 8, 12, 12), 0.05, "1x4").plan
    assert [layer.name for layer in in_int8(plan)] == ["1"]


def test_patterns_that_share_quads_stay_out_of_int8():
    model, x = network("plain")
    plan = pruned(model, x, 0.05, "16x1").plan
    assert not [layer for layer in in_int8(plan) if layer.pattern != "dense"]


@pytest.mark.parametrize("name", ["lenet", "residual"])
@pytest.mark.parametrize("share", [0.0, 0.2, 0.6])
def test_whole_networks(name, share, tmp_path):
    model, x = NETWORKS[name]()
    pruner = pruned(model, x, share, "auto")
    converted = jp.convert(model, x, plan=pruner.plan).eval()
    assert jp.estimate(converted, x, profile=PROFILE).energy_j == pruner.energy_j <= pruner.budget_j
    jp.save(converted, tmp_path / "m.safetensors", plan=pruner.plan)
    loaded = jp.load(NETWORKS[name]()[0], tmp_path / "m.safetensors").eval()
    with torch.no_grad():
        assert torch.equal(loaded(x), converted(x))
    assert jp.checkpoint.read_plan(tmp_path / "m.safetensors") == pruner.plan
    followed = jp.Pruner(NETWORKS[name]()[0], x, plan=pruner.plan)
    followed.prune_now()
    assert followed.energy_j == pruner.energy_j
    assert all(torch.equal(followed.plan.masks[weight], bits) for weight, bits in pruner.plan.masks.items())


def test_a_schedule_ends_in_int8_convolutions():
    model, x = network("plain")
    options = {"profile": PROFILE, "pattern": "1x4", "dtype": "int8"}
    plan = jp.plan(model, x, energy="100%", **options)
    schedule = jp.PolynomialDecay(begin_step=0, end_step=6, frequency=2)
    pruner = jp.Pruner(model, x, energy=plan.minimum_j * 1.05, schedule=schedule, **options)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    while not pruner.done:
        model(x).square().mean().backward()
        optimizer.step()
        pruner.step()
        optimizer.zero_grad()
    assert in_int8(pruner.plan) and pruner.energy_j <= pruner.budget_j
    converted = jp.convert(model, x, plan=pruner.plan)
    assert jp.estimate(converted, x, profile=PROFILE).energy_j == pruner.energy_j


def test_explain_tells_int8_beside_the_plan():
    model, x = network("odd")
    pruner = pruned(model, x, 0.05, "1x4")
    told = jp.explain(jp.convert(model, x, plan=pruner.plan))
    assert "bsr-int8 int8: " in told and "torch dense int8: " in told
