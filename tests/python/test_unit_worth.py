"""What channels, heads, layers and components are worth in structure plans, and the search that compares them."""

from __future__ import annotations

import copy
import itertools
import math

import pytest
import torch
from structured_networks import network
from torch import nn

import jouleprune as jp
from jouleprune.criteria import Context
from jouleprune.structured.search import search
from jouleprune.structured.worth import Scores, all_of, ranked, scores_for

EYERISS = "eyeriss-65nm"


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_lamp_of_units_by_hand():
    order, gains = ranked([tensor(1, 4, 1, 2)], 1, True)
    assert order.tolist() == [[1, 3, 0, 2]]  # equal ones in their order
    assert gains == pytest.approx([1, math.log(6 / 4), math.log(7 / 6), math.log(8 / 7)])
    assert sum(gains[2:]) == pytest.approx(-math.log(6 / 8))  # of what is lost the log of the share that stays
    assert all_of(torch.tensor([[0.5, 0.5], [4, 0], [1, 0], [1, 1]]), True) == pytest.approx(1 + math.log(8 / 4))
    assert all_of(torch.tensor([[0.5, 0.5], [4, 0]]), False) == 5


def test_small_units_are_worth_their_lamp_score():
    scores = torch.rand(500, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 0.5
    order, gains = ranked([scores], 1, True)
    lamp = jp.ops.importance(scores.sqrt(), None, "lamp").double()
    assert torch.tensor(gains)[50:].double().numpy() == pytest.approx(lamp[order[0]][50:].numpy(), rel=0.02)


def test_several_weights_and_parts():
    one, two = tensor(3, 1, 2, 4), tensor(10, 30, 0, 20)
    order, gains = ranked([one, two], 1, False)
    assert order.tolist() == [[1, 3, 0, 2]] and gains == (31, 24, 13, 2)
    order, gains = ranked([one, two], 1, True)  # shares .3 + .167, .1 + .5, .2 + 0, .4 + .333
    assert order.tolist() == [[3, 1, 0, 2]]
    expected = [1 + 1, math.log(5 / 4) + math.log(50 / 20), math.log(8 / 5) + math.log(60 / 50), math.log(10 / 8)]
    assert gains == pytest.approx(expected)
    order, gains = ranked([one], 2, True)  # two parts of two: the best of each together, then the rest
    assert order.tolist() == [[0, 1], [3, 2]] and gains == pytest.approx([1, math.log(10 / 7)])


@pytest.mark.parametrize("relative", [False, True])
def test_units_without_scores_are_worth_nothing(relative):
    order, gains = ranked([tensor(0, 0, 0), tensor(0, 2, 0)], 1, relative)
    assert order.tolist() == [[1, 0, 2]] and gains == ((1 if relative else 2), 0, 0)
    assert ranked([tensor(0, 0)], 1, relative)[1] == (0, 0)
    # Of the second weight only the unit that goes last takes anything, and that is all of it.
    assert ranked([tensor(9, 1), tensor(0, 5)], 1, True)[1] == pytest.approx((1 + 1, math.log(10)))


def scored(importance) -> Scores:
    model = network("cnn")[0]
    names = ("0.weight", "2.weight")
    return scores_for(importance, Context(model, names, dict.fromkeys(names, "unstructured"), {}))


@pytest.mark.parametrize("importance", ["lamp", "magnitude/lamp", jp.criteria.PerLayer("magnitude", "lamp")])
def test_lamp_is_the_magnitude_of_units_made_comparable(importance):
    scores, weights = scored(importance), network("cnn")[0]
    assert scores.relative
    for name, each in scores.of.items():
        assert torch.equal(each, weights.get_parameter(name).square())


@pytest.mark.parametrize("importance", ["magnitude", "l1", "magnitude/sum", jp.criteria.Norm(p=1)])
def test_other_criteria_are_summed_as_they_are(importance):
    scores = scored(importance)
    assert not scores.relative and list(scores.of) == ["0.weight", "2.weight"]
    if importance == "magnitude/sum":
        assert all(float(each.sum()) == pytest.approx(1) for each in scores.of.values())


@pytest.mark.parametrize("importance", ["l1/lamp", jp.criteria.PerLayer(jp.criteria.Norm(p=1), "lamp")])
def test_any_criterion_can_compare_units(importance):
    scores = scored(importance)
    assert scores.relative
    assert all(torch.equal(scores.of[name], scored("l1").of[name]) for name in scores.of)


@pytest.mark.parametrize("pattern", [("head", "neuron"), ("layer", "filter")])
def test_heads_and_layers_share_one_currency(pattern):
    """What is lost of a group is the log of the share that stays, of heads and channels alike; a layer loses all."""
    model, x = network("transformer" if "head" in pattern else "residual")
    plan = jp.plan_structure(model, x, energy="70%", profile=EYERISS, pattern=pattern)
    assert plan.energy_j <= plan.budget_j and {choice.kind for choice in plan.choices} == set(pattern)
    for choice in plan.choices:
        gone = choice.units - choice.kept
        assert (choice.importance_lost == 0) == (gone == 0)
        if choice.kind == "layer" and gone:
            assert choice.importance_lost > len(choice.weights)


def test_the_scale_of_a_layer_does_not_matter_to_lamp():
    model, x = network("cnn")
    before = jp.plan_structure(model, x, energy="40%", profile=EYERISS)
    with torch.no_grad():
        model[0].weight.mul_(100)
        model[2].weight.div_(10)
    after = jp.plan_structure(model, x, energy="40%", profile=EYERISS)
    assert [choice.kept for choice in after.choices] == [choice.kept for choice in before.choices]
    assert after.structure == before.structure
    raw = jp.plan_structure(model, x, energy="40%", profile=EYERISS, importance="magnitude")
    assert [choice.kept for choice in raw.choices] != [choice.kept for choice in before.choices]


def test_depthwise_filters_are_no_layer_of_their_own():
    model, x = network("depthwise")
    plans = []
    for importance in ("lamp", "magnitude"):
        for scale in (torch.ones(12), torch.arange(1.0, 13)):
            changed = copy.deepcopy(model)
            with torch.no_grad():
                changed.depthwise.weight.mul_(scale.view(-1, 1, 1, 1) * 4)
            plans.append(jp.plan_structure(changed, x, energy="40%", profile=EYERISS, importance=importance))
    assert plans[0].choices == plans[1].choices and plans[0].structure == plans[1].structure
    assert plans[2].choices != plans[3].choices  # a sum of scores counts them


def test_no_layer_ends_while_others_are_wide():
    """Summed scores empty the dear layers; a share of what stays grows as a layer nears its end."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 24, 3, padding=1), nn.ReLU(), nn.Conv2d(24, 32, 3, padding=1), nn.ReLU(), nn.AvgPool2d(8),
        nn.Flatten(), nn.Linear(32, 48), nn.ReLU(), nn.Linear(48, 5),
    )  # fmt: skip
    narrowest = {}
    for importance in ("lamp", "magnitude/sum"):
        plan = jp.plan_structure(
            model, torch.randn(1, 3, 8, 8), energy="6%", profile=EYERISS, pattern="filter", importance=importance
        )
        narrowest[importance] = min(choice.kept / choice.units for choice in plan.choices)
    assert narrowest["lamp"] > 2 * narrowest["magnitude/sum"]


@pytest.mark.parametrize("share", [0.02, 0.05, 0.1, 0.3])
def test_steps_shorten_as_layers_thin_out(share):
    """Against all combinations, where importance is lost by the log of what stays."""
    sizes, dear = (64, 48), (5.0, 1.0)

    def joules(kept):
        return dear[0] * kept[0] + dear[1] * kept[1] + 0.3 * kept[0] * kept[1]

    lost = [lambda kept, size=size: math.log(size / kept) for size in sizes]
    widths = [range(1, size + 1) for size in sizes]
    budget = share * joules(sizes)
    found = search(joules, widths, lost, budget)
    best = min(
        sum(loss(stay) for loss, stay in zip(lost, kept, strict=True))
        for kept in itertools.product(*widths)
        if joules(kept) <= budget
    )
    mine = sum(loss(stay) for loss, stay in zip(lost, found.kept, strict=True))
    assert found.energy_j <= budget and found.maximal
    assert mine <= best + 0.1
