"""Seconds, bytes and multiply-adds as bounds beside the joules of a plan."""

from __future__ import annotations

import copy

import pytest
import torch
from networks import lenet, mlp

import jouleprune as jp
from jouleprune.bounds import Bounds

CPU = "generic-cpu"


def dense_row(model, x, profile):
    return jp.compare(model, x, profiles=profile).rows[0]


def used_by(row, bound):
    return sum(layer.macs_effective for layer in row.report.layers) if bound == "macs" else row.levels[0].bytes


def row_of(plan, model, x, profile):
    """Of the network as it will run, recorded afresh."""
    pruner = jp.Pruner(model, x, plan=plan)
    pruner.prune_now()
    return dense_row(jp.convert(model, x, plan=plan), x, profile)


@pytest.mark.parametrize("profile", [CPU, "eyeriss-65nm"])
@pytest.mark.parametrize("bound", ["macs", "dram_bytes"])
def test_the_planned_network_keeps_the_bound_and_no_more(profile, bound):
    model, x = mlp()
    most = 0.5 * used_by(dense_row(model, x, profile), bound)
    dense = copy.deepcopy(model)
    plan = jp.plan(model, x, energy="100%", profile=profile, **{bound: most})
    assert plan.energy_j <= plan.budget_j < plan.dense_j
    assert used_by(row_of(plan, model, x, profile), bound) <= most
    more = jp.plan(dense, x, energy=min(plan.dense_j, 1.01 * plan.budget_j), profile=profile)
    assert Bounds(**{bound: most}).exceeded(more, jp.energy.load_profile(profile))  # the largest that keeps it


def test_seconds_and_joules_together():
    model, x = lenet()
    dense = dense_row(model, x, CPU)
    fast = jp.plan(model, x, energy="90%", profile=CPU, latency_s=0.4 * dense.latency_s)
    assert fast.budget_j < 0.9 * fast.dense_j
    assert row_of(fast, model, x, CPU).latency_s <= 0.4 * dense.latency_s
    model, x = lenet()
    loose = jp.plan(model, x, energy="50%", profile=CPU, latency_s=dense.latency_s)
    alone = jp.plan(model, x, energy="50%", profile=CPU)
    assert loose.to_json() == alone.to_json()  # the joules decide


def test_what_cannot_be_kept_is_told_before_anything_changes():
    model, x = mlp()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(jp.BudgetError, match=r"macs: expected at most 1, got .* of the network of the least energy"):
        jp.plan(model, x, energy="100%", profile="eyeriss-65nm", macs=1, min_density=0.2)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("bound", [{"stored_bytes": 1e5}, {"stored_bytes": 6000}, {"macs": 10}])
def test_bounds_where_the_least_is_nothing(bound):
    """Of multiply-adds every network can have none."""
    model, x = mlp()
    options = {"profile": CPU, "prune_for": "macs"}
    plan = jp.plan(model, x, energy="100%", **options, **bound)
    device = jp.energy.load_profile(CPU)
    assert plan.amounts.minimum == 0 and plan.amounts.used > 0
    assert not Bounds(**bound).exceeded(plan, device)
    more = jp.plan(model, x, energy=1.01 * plan.amounts.budget + plan.amounts.next, **options)
    assert Bounds(**bound).exceeded(more, device)


def test_a_bound_below_the_network_of_nothing_tells_so():
    model, x = mlp()
    told = "stored_bytes: expected at most 1000, got 1144, of the network of the least macs, 0 multiply-adds"
    with pytest.raises(jp.BudgetError, match=told) as error:
        jp.plan(model, x, energy="100%", profile=CPU, prune_for="macs", stored_bytes=1000)
    assert error.value.minimum_j == 0


def test_a_bound_that_the_profile_does_not_tell():
    model, x = mlp()
    with pytest.raises(ValueError, match="latency_s: profile 'horowitz-45nm' does not tell it"):
        jp.plan(model, x, energy="50%", profile="horowitz-45nm", latency_s=1e-3)


@pytest.mark.parametrize("bound", [0, -1.0, float("nan"), float("inf"), "1", True])
def test_bad_bounds(bound):
    model, x = mlp()
    with pytest.raises(ValueError, match="macs: expected a positive number, got"):
        jp.plan(model, x, energy="50%", profile=CPU, macs=bound)
