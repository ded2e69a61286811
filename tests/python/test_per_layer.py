"""``PerLayer``: scores of any criterion, made comparable between layers."""

from __future__ import annotations

import pytest
import torch
from networks import mlp
from torch import nn

import jouleprune as jp
from jouleprune.criteria import Context, Norm, PerLayer
from jouleprune.importance import scores_of

P = "eyeriss-65nm"
NAMES = ("1.weight", "3.weight")


def context(model: nn.Module) -> Context:
    return Context(model, NAMES, dict.fromkeys(NAMES, "unstructured"), {"entries": []})


def test_sum_is_a_share_of_the_layer():
    model, _ = mlp()
    for name, scores in zip(NAMES, scores_of("l1/sum", context(model)), strict=True):
        weight = model.get_parameter(name).detach().abs().double()
        assert torch.allclose(scores.double(), (weight / weight.sum()).flatten(), rtol=1e-6, atol=0)
        assert float(scores.double().sum()) == pytest.approx(1, rel=1e-6)


def test_lamp_is_its_definition_on_any_score():
    """score / sum of the scores not smaller, in float64."""
    model, _ = mlp()
    for name, scores in zip(NAMES, scores_of(PerLayer(Norm(p=1), normalise="lamp"), context(model)), strict=True):
        weight = model.get_parameter(name).detach().abs().double().flatten()
        order = weight.argsort(stable=True)  # of equal scores the later ones count as larger, as in "lamp"
        expected = torch.empty_like(weight)
        expected[order] = weight[order] / weight[order].flip(0).cumsum(0).flip(0)
        assert torch.allclose(scores.double(), expected, rtol=1e-5, atol=0)


def test_magnitude_by_lamp_is_lamp():
    model, _ = mlp()
    for one, other in zip(scores_of("magnitude/lamp", context(model)), scores_of("lamp", context(model)), strict=True):
        assert torch.allclose(one, other, rtol=1e-5, atol=0)


def test_a_layer_without_any_score_stays_at_zero():
    model, x = mlp()
    with torch.no_grad():
        model[3].weight.zero_()
    first, second = scores_of("l1/sum", context(model))
    assert first.any() and not second.any()
    plan = jp.plan(model, x, energy="50%", profile=P, importance="l1/sum")
    assert plan.energy_j <= plan.budget_j


def test_names_instances_and_callables_agree():
    model, x = mlp()
    given = ["l1/sum", PerLayer("l1"), PerLayer(Norm(p=1)), PerLayer(lambda _, weight, __: weight.abs())]
    plans = [jp.plan(model, x, energy="50%", profile=P, importance=one) for one in given]
    assert [plan.importance for plan in plans] == ["l1/sum"] * 3 + ["<lambda>/sum"]
    for plan in plans[1:]:
        assert all(torch.equal(plan.masks[name], bits) for name, bits in plans[0].masks.items())


def test_a_plan_brings_its_normalised_criterion_along():
    model, x = mlp()
    plan = jp.plan(model, x, energy="50%", profile=P, importance="l1/lamp")
    again = jp.Pruner(model, x, plan=jp.Plan.from_json(plan.to_json())).prune_now()
    assert again.importance == "l1/lamp"
    assert all(torch.equal(plan.masks[name], bits) for name, bits in again.masks.items())


@pytest.mark.parametrize(
    ("importance", "error", "match"),
    [
        ("l1/mean", jp.PatternError, "alone or followed by /sum or /lamp, .* got 'l1/mean'"),
        ("loudest/sum", jp.PatternError, "got 'loudest/sum'"),
        ("l1/sum/sum", jp.PatternError, "got 'l1/sum/sum'"),
        ("wanda/sum", ValueError, "data: importance 'wanda/sum' needs calibration data"),
        (PerLayer("fisher"), ValueError, "data: importance 'fisher' needs calibration data"),
    ],
)
def test_bad_names(importance, error, match):
    model, x = mlp()
    with pytest.raises(error, match=match):
        jp.plan(model, x, energy="50%", profile=P, importance=importance)


def test_bad_arguments():
    with pytest.raises(ValueError, match="PerLayer: normalise: expected one of"):
        PerLayer("l1", normalise="max")
    with pytest.raises(jp.PatternError, match="importance: expected a name, a criterion or a callable, got int"):
        PerLayer(3)
