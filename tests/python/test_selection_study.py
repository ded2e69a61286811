"""The statistics of the selection study, and that every method it compares stays within the joules it is given."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

import jouleprune as jp

pytest.importorskip("sklearn")
sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "benchmarks"))

from selection_networks import NETWORKS
from selection_study import CHANNELS, WEIGHTS, Weights, area, fewer_channels, holm, largest


def test_holm_by_hand():
    """Of three: the least times 3, the next times 2, and never below the one before."""
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.5]) == [1.0, 1.0]


def test_area_is_the_mean_over_the_logarithm():
    assert area({100: 90.0, 50: 90.0, 10: 90.0}) == pytest.approx(90.0)
    assert area({100: 100.0, 10: 50.0, 1: 0.0}) == pytest.approx(50.0)  # equal steps of the logarithm
    assert area({100: 100.0, 10: 50.0, 1: float("nan")}) == pytest.approx(75.0)
    assert largest(lambda share: share <= 0.3) == pytest.approx(0.3, abs=1e-3)


def test_every_method_keeps_to_the_joules():
    torch.manual_seed(0)
    model, x = NETWORKS["plain"]().eval(), torch.rand(1, 1, 8, 8)
    profile = jp.energy.load_profile("eyeriss-65nm")
    weights = Weights(model, x, profile)
    budget = 0.25 * weights.dense_j
    for method in WEIGHTS:
        masks = weights.masks(method, budget)
        joules = weights.joules(masks)
        assert 0.9 * budget < joules <= budget, method
        pruned = NETWORKS["plain"]()
        pruned.load_state_dict(model.state_dict())
        with torch.no_grad():
            for name, mask in masks.items():
                pruned.get_parameter(name).mul_(mask)
        assert jp.estimate(pruned, x, profile=profile).energy_j == pytest.approx(joules)


@pytest.mark.slow
def test_every_method_removes_channels_down_to_the_joules():
    pytest.importorskip("torch_pruning")
    torch.manual_seed(0)
    model, x = NETWORKS["residual"]().eval(), torch.rand(1, 1, 8, 8)
    profile = jp.energy.load_profile("eyeriss-65nm")
    budget = 0.5 * jp.estimate(model, x, profile=profile).energy_j
    for method in CHANNELS:
        smaller = fewer_channels(model, x, profile, method, budget)
        assert jp.estimate(smaller, x, profile=profile).energy_j <= budget, method
