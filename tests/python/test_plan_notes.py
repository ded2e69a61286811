"""What a plan says beyond its joules: layers that it empties, and layers that were sparse before."""

from __future__ import annotations

import copy
import json
import warnings

import pytest
import torch
from networks import lenet
from torch import nn

import jouleprune as jp
from jouleprune.convert import decisions

P = "eyeriss-65nm"
EMPTYING = ("l1", "l2", "linf", "random", "fpgm", "apoz", "connection_high", "movement")


def data() -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [(torch.randn(4, 1, 28, 28, generator=generator), torch.arange(4))]


def made(importance: str, **options) -> jp.Plan:
    model, x = lenet()
    given = {"data": data(), "loss": nn.functional.cross_entropy, **options}
    return jp.plan(model, x, energy="50%", profile=P, importance=importance, **given)


def kept(plan: jp.Plan) -> dict[str, int]:
    return {layer.name: layer.kept for layer in plan.layers}


@pytest.mark.parametrize("importance", EMPTYING)
def test_emptied_layers_are_named(importance):
    with pytest.warns(jp.EmptyLayerWarning) as told:
        plan = made(importance)
    empty = [name for name, count in kept(plan).items() if count == 0]
    assert empty and set(empty) <= set(plan.emptied)
    message = str(told[0].message)
    assert ", ".join(plan.emptied) in message and f'"{importance}/sum"' in message
    assert str(plan).endswith(f"emptied, so that nothing passes through: {', '.join(plan.emptied)}")


@pytest.mark.parametrize("normalise", ["sum", "lamp"])
@pytest.mark.parametrize("importance", EMPTYING)
def test_normalised_scores_empty_nothing(importance, normalise):
    with warnings.catch_warnings():
        warnings.simplefilter("error", jp.EmptyLayerWarning)
        plan = made(f"{importance}/{normalise}")
    assert plan.emptied == () and min(kept(plan).values()) > 0
    assert plan.importance == f"{importance}/{normalise}" and plan.energy_j <= plan.budget_j


def test_a_floor_keeps_layers_from_being_emptied():
    with warnings.catch_warnings():
        warnings.simplefilter("error", jp.EmptyLayerWarning)
        assert made("l1", min_density=0.1).emptied == ()


def test_a_pruner_warns_once_for_each_layer():
    model, x = lenet()
    pruner = jp.Pruner(model, x, energy="50%", profile=P, importance="l1", schedule=jp.LinearDecay(end_step=3))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for _ in range(6):
            pruner.step()
    named = [str(one.message).split(" in ")[1].split(":")[0].split(", ") for one in told]
    flat = [name for names in named for name in names]
    assert sorted(flat) == sorted(set(flat)) == sorted(pruner.plan.emptied)
    assert told[0].filename == __file__


def test_searches_are_quiet():
    model, x = lenet()
    with warnings.catch_warnings():
        warnings.simplefilter("error", jp.EmptyLayerWarning)
        points = jp.sweep(model, x, profile=P, budgets=["50%"], importance="l1")
        jp.prune_to_floor(model, x, profile=P, importance="l1", evaluate=lambda _: 1.0)
    assert points[0].plan.emptied


def sparse_twice() -> tuple[nn.Module, torch.Tensor, jp.Plan]:
    model, x = lenet()
    pruner = jp.Pruner(model.eval(), x, energy="30%", profile="generic-cpu")
    plan = pruner.prune_now()
    return jp.convert(model, x, plan=plan), x, plan


def test_converting_again_keeps_and_tells():
    converted, x, _ = sparse_twice()
    again = jp.convert(converted, x)
    before, after = decisions(converted), decisions(again)
    assert [one.name for one in after] == [one.name for one in before]
    assert all(
        two.reason == f"sparse before, kept as it is: {one.reason}" for one, two in zip(before, after, strict=True)
    )
    assert torch.equal(converted(x), again(x))
    assert {type(module) for module in again.modules()} == {type(module) for module in converted.modules()}
    third = jp.explain(jp.convert(again, x))
    assert third == jp.explain(again)  # told once, however often it is converted


def test_converting_what_a_user_made_sparse():
    model = nn.Sequential(jp.nn.SparseLinear.from_dense(nn.Linear(8, 8)), nn.Linear(8, 4))
    assert jp.explain(model) == "0  csr    density 1.000  sparse before, kept as it is"
    assert jp.explain(jp.convert(model, torch.randn(2, 8))).startswith("0  csr    density 1.000  sparse before")


def test_plans_leave_sparse_layers_as_they_are():
    converted, x, plan = sparse_twice()
    further = jp.plan(converted, x, energy="90%", profile=P)
    assert set(further.sparse_before) == {layer.name for layer in plan.layers if layer.layout != "dense"}
    assert not set(further.sparse_before) & {layer.name for layer in further.layers}
    assert f"sparse before, kept as they are: {', '.join(further.sparse_before)}" in str(further)
    assert jp.Plan.from_json(further.to_json()).sparse_before == further.sparse_before
    with pytest.raises(jp.BudgetError, match=r"7: is a SparseLinearCSR already, at density .*: it stays as it is"):
        jp.plan(converted, x, energy="50%", profile="generic-cpu")


def test_a_plan_of_the_dense_network_is_refused_with_the_reason():
    converted, x, plan = sparse_twice()
    for call in (lambda: jp.convert(converted, x, plan=plan), lambda: jp.Pruner(converted, x, plan=plan)):
        with pytest.raises(ValueError, match="is a SparseConv2dCSR already: a plan goes with the dense network"):
            call()


def test_fusing_in_training_mode_warns():
    model, x = lenet()
    jp.Pruner(model, x, energy="30%", profile=P).prune_now()
    with pytest.warns(UserWarning, match=r"fuse=True: .*0.*: in training mode, where nothing is fused"):
        told = jp.explain(jp.convert(model.train(), x, fuse=True, force=True))
    assert "not fused: in training mode" in told
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        jp.convert(copy.deepcopy(model).eval(), x, fuse=True, force=True)


def test_emptied_survives_json():
    with pytest.warns(jp.EmptyLayerWarning):
        plan = made("l1")
    assert jp.Plan.from_json(json.dumps(json.loads(plan.to_json()))).emptied == plan.emptied


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (torch.nn.Conv3d(2, 3, 2), (1, 2, 4, 4, 4)),
        (torch.nn.ConvTranspose2d(2, 3, 2), (1, 2, 4, 4)),
        (torch.nn.RNN(4, 5), (3, 1, 4)),
    ],
)
def test_layers_without_a_sparse_kernel_are_named(layer, shape):
    model, x = torch.nn.Sequential(layer), torch.randn(shape)
    with pytest.raises(jp.BudgetError, match=f"not prunable: 0: {type(layer).__name__} has no sparse kernel"):
        jp.plan(model, x, energy="50%", profile="generic-cpu")
    # Where hardware skips zeros no kernel is needed.
    plan = jp.Pruner(model, x, energy="90%", profile=P).prune_now()
    assert plan.masks and plan.energy_j <= plan.budget_j
    assert jp.estimate(model, x, profile=P).energy_j == plan.energy_j
