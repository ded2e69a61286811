"""Int8 plans on matrix tiles, priced by whether rows share their blocks: converted networks cost what was planned."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import jouleprune as jp

PROFILE = "xeon-amx"


def network(batch: int) -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 120), nn.ReLU(), nn.Linear(120, 1)).eval()
    return model, torch.randn(batch, 256)


@pytest.mark.parametrize("pattern", ["16x4", "32x4", "1x4", "unstructured", "auto"])
@pytest.mark.parametrize("batch", [4, 9, 64])
def test_converted_network_costs_what_was_planned(batch, pattern):
    model, x = network(batch)
    options = {"profile": PROFILE, "pattern": pattern, "dtype": "int8"}
    whole = jp.plan(model, x, energy="100%", **options)
    for share in (0.0, 0.2, 0.6, 0.9):
        energy = whole.minimum_j + share * (whole.dense_j - whole.minimum_j)
        pruned = copy.deepcopy(model)
        pruner = jp.Pruner(pruned, x, energy=energy, **options)
        pruner.prune_now()
        converted = jp.convert(pruned, x, plan=pruner.plan)
        assert jp.estimate(converted, x, profile=PROFILE).energy_j == pruner.plan.energy_j, share
        assert pruner.plan.energy_j <= pruner.plan.budget_j


def test_blocks_shared_by_chance_stay_within_the_budget():
    """All rows keep the same inputs: the mask of single blocks is one of 16 rows, too, which costs no more."""
    model, x = network(64)
    with torch.no_grad():
        model[0].weight.sign_()
        model[0].weight[:, 32:] *= 1e-3
    options = {"profile": PROFILE, "pattern": "1x4", "dtype": "int8"}
    whole = jp.plan(model, x, energy="100%", **options)
    recorded = set()  # patterns of the first layer
    for share in (0.05, 0.1, 0.15, 0.2, 0.3):
        pruned = copy.deepcopy(model)
        energy = whole.minimum_j + share * (whole.dense_j - whole.minimum_j)
        pruner = jp.Pruner(pruned, x, energy=energy, **options)
        pruner.prune_now()
        converted = jp.convert(pruned, x, plan=pruner.plan)
        report = jp.estimate(converted, x, profile=PROFILE)
        assert report.energy_j <= pruner.plan.energy_j
        recorded.add(report.layers[0].pattern)
    assert "16x4" in recorded
