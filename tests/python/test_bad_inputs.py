"""Bad input to the public surface gets a named error and changes nothing. (Ops: test_bad_ops.py; files:
test_checkpoint.py.)"""

from __future__ import annotations

import json
import math

import pytest
import torch
from networks import lenet, mlp
from torch import nn

import jouleprune as jp
from jouleprune.schedule import checked_schedule

P = "eyeriss-65nm"


def plan(**changes):
    model, x = mlp()
    jp.plan(model, x, **{"energy": "50%", "profile": P, **changes})


def pruner(**changes):
    model, x = mlp()
    return jp.Pruner(model, x, **{"energy": "50%", "profile": P, **changes})


def nan_weights(value: float) -> None:
    model, x = mlp()
    with torch.no_grad():
        model[1].weight[3, 5] = value
    jp.Pruner(model, x, energy="50%", profile=P).step()


def other_plan() -> jp.Plan:
    model, x = lenet()
    return jp.plan(model, x, energy="50%", profile=P)


def revived() -> None:
    model, x = mlp()
    made = jp.Pruner(model, x, energy="20%", profile=P)
    made.prune_now()
    with torch.no_grad():
        model[1].weight.add_(1.0)
    jp.convert(model, x, plan=made.plan)


def complex_network() -> tuple[nn.Module, torch.Tensor]:
    return nn.Sequential(nn.Linear(8, 4, dtype=torch.complex64)), torch.randn(2, 8, dtype=torch.complex64)


def sparse_input(layout: str, how: str) -> None:
    options = {"dtype": "int8"} if layout == "int8" else {"layout": layout}
    jp.nn.SparseLinear.from_dense(nn.Linear(8, 8), **options)(getattr(torch.eye(8), how)())


def edited_plan(**changes) -> None:
    jp.Plan.from_json(json.dumps({**json.loads(other_plan().to_json()), **changes}))


def edited_layer(**changes) -> None:
    layers = json.loads(other_plan().to_json())["layers"]
    layers[1].update(changes)
    edited_plan(layers=layers)


CASES = {
    "budget above dense, percent": (jp.BudgetError, "120", lambda: plan(energy="120%")),
    "budget above dense, joules": (jp.BudgetError, "0.5", lambda: plan(energy=0.5)),
    "budget zero": (jp.BudgetError, "energy|budget", lambda: plan(energy="0%")),
    "budget negative": (jp.BudgetError, "energy|budget", lambda: plan(energy=-1e-6)),
    "budget negative percent": (jp.BudgetError, "energy|budget", lambda: plan(energy="-3%")),
    "budget nan": (jp.BudgetError, "energy", lambda: plan(energy=math.nan)),
    "budget infinite": (jp.BudgetError, "energy", lambda: plan(energy=math.inf)),
    "budget words": (jp.BudgetError, "abc", lambda: plan(energy="abc")),
    "budget empty": (jp.BudgetError, "energy|budget", lambda: plan(energy="")),
    "budget of the wrong type": (jp.BudgetError, "energy", lambda: plan(energy=[1])),
    "budget a bool": (jp.BudgetError, "energy", lambda: plan(energy=True)),
    "budget below the least": (jp.BudgetError, "least|minimum", lambda: plan(energy="0.0001%")),
    "pruner: below the least": (jp.BudgetError, "least|minimum", lambda: pruner(energy="0.0001%")),
    "pruner: no budget": (jp.BudgetError, "energy and plan", lambda: pruner(energy=None)),
    "pruner: budget and plan": (jp.BudgetError, "energy and plan", lambda: pruner(plan=other_plan())),
    "pruner: plan of another network": (ValueError, "", lambda: pruner(energy=None, plan=other_plan()).prune_now()),
    "pruner: plan of another profile": (
        jp.ProfileError, "plan", lambda: pruner(energy=None, plan=other_plan(), profile="horowitz-45nm"),
    ),
    "unknown profile": (jp.ProfileError, "no-such-device", lambda: plan(profile="no-such-device")),
    "profile none": (jp.ProfileError, "profile", lambda: pruner(profile=None)),
    "profile of the wrong type": ((jp.ProfileError, TypeError), "profile", lambda: plan(profile=3)),
    "profile dict": (jp.ProfileError, "", lambda: plan(profile={"name": "x"})),
    "unknown pattern": (jp.PatternError, "3:7x", lambda: plan(pattern="3:7x")),
    "unknown importance": (jp.PatternError, "loudest", lambda: plan(importance="loudest")),
    "importance of the wrong type": (jp.PatternError, "importance", lambda: plan(importance=3)),
    "importance of another shape": (ValueError, "shape", lambda: plan(importance=lambda n, w, g: torch.ones(3))),
    "importance nan": (ValueError, "weight", lambda: plan(importance=lambda n, w, g: w * math.nan)),
    "importance negative": (ValueError, "weight", lambda: plan(importance=lambda n, w, g: -w.abs())),
    "importance gradient without gradients": (ValueError, "grad", lambda: plan(importance="gradient")),
    "nan weights": (ValueError, "1.weight", lambda: nan_weights(math.nan)),
    "infinite weights": (ValueError, "1.weight", lambda: nan_weights(math.inf)),
    "ignored layer unknown": (ValueError, "ignored_layers", lambda: plan(ignored_layers=["fc9"])),
    "ignored layer of another model": (ValueError, "ignored_layers", lambda: plan(ignored_layers=[nn.Linear(1, 1)])),
    "ignored layers a string": (ValueError, "ignored_layers", lambda: plan(ignored_layers="1")),
    "everything ignored": (jp.BudgetError, "", lambda: plan(ignored_layers=["1", "3"])),
    "min_density above 1": (ValueError, "min_density", lambda: plan(min_density=1.5)),
    "min_density unknown layer": (ValueError, "min_density", lambda: plan(min_density={"fc9": 0.5})),
    "min_density leaves no room": (jp.BudgetError, "", lambda: plan(min_density=0.99)),
    "batch zero": (ValueError, "batch", lambda: plan(batch=0)),
    "batch negative": (ValueError, "batch", lambda: plan(batch=-2)),
    "count zero": (ValueError, "count", lambda: plan(per="token", count=0)),
    "per unknown": (ValueError, "per", lambda: plan(per="fortnight")),
    "per token without count": (ValueError, "count", lambda: plan(per="token")),
    "activation density above 1": (ValueError, "activation_density", lambda: plan(activation_density=1.5)),
    "activation density unknown layer": (ValueError, "activation_density", lambda: plan(activation_density={"x": 0.5})),
    "activation density a word": (ValueError, "activation_density", lambda: plan(activation_density="guess")),
    "budget beyond a float": (jp.BudgetError, "energy", lambda: plan(energy=10**400)),
    "ignored layers none": (ValueError, "ignored_layers: .*NoneType", lambda: plan(ignored_layers=None)),
    "ignored layers a number": (ValueError, "ignored_layers: .*int", lambda: plan(ignored_layers=3)),
    "ignored layers nested": (ValueError, "ignored_layers", lambda: plan(ignored_layers=[["1"]])),
    "batch beyond 64 bits": (ValueError, "batch: .*2.53", lambda: plan(batch=10**30)),
    "count beyond 64 bits": (ValueError, "count: .*2.53", lambda: jp.estimate(*mlp(), profile=P, count=2**53 + 1)),
    "complex weights": (jp.BudgetError, "", lambda: jp.plan(*complex_network(), energy="50%", profile=P)),
    "schedule of the wrong type": (ValueError, "schedule", lambda: pruner(schedule=3)),
    "schedule begin_step": (ValueError, "Constant: begin_step", lambda: jp.Constant(begin_step=-1)),
    "schedule begin_step a float": (ValueError, "begin_step", lambda: jp.PolynomialDecay(begin_step=0.5, end_step=2)),
    "schedule end_step a word": (ValueError, "end_step", lambda: jp.PolynomialDecay(end_step="x")),
    "schedule power a word": (ValueError, "power: .*'x'", lambda: jp.PolynomialDecay(end_step=2, power="x")),
    "schedule power infinite": (ValueError, "power: .*inf", lambda: jp.PolynomialDecay(end_step=2, power=math.inf)),
    "schedule power nan": (ValueError, "power: .*nan", lambda: jp.PolynomialDecay(end_step=2, power=math.nan)),
    "schedule power a bool": (ValueError, "power: .*True", lambda: jp.PolynomialDecay(end_step=2, power=True)),
    "schedule initial above 1": (ValueError, "initial: .*1.5", lambda: jp.PolynomialDecay(end_step=2, initial=1.5)),
    "schedule initial a word": (ValueError, "initial: .*'x'", lambda: jp.PolynomialDecay(end_step=2, initial="x")),
    "schedule final": (ValueError, "final: .*7", lambda: jp.Constant(final=7)),
    "schedule below initial": (ValueError, "initial", lambda: jp.PolynomialDecay(end_step=2, initial=0.5, final=0.2)),
    "schedule short of the budget": (ValueError, "final: .*0.5", lambda: pruner(schedule=jp.Constant(final=0.5))),
    "schedule a class": (ValueError, r"schedule: .*write Constant\(\)", lambda: checked_schedule(jp.Constant)),
    "schedule without methods": (ValueError, "schedule: .*int", lambda: checked_schedule(3)),
    "schedule out of order": (ValueError, "end_step", lambda: jp.PolynomialDecay(begin_step=5, end_step=2)),
    "schedule frequency": (ValueError, "frequency", lambda: jp.PolynomialDecay(end_step=2, frequency=0)),
    "schedule power": (ValueError, "power", lambda: jp.PolynomialDecay(end_step=2, power=0)),
    "plan before pruning": (ValueError, "prune_now", lambda: pruner().plan),
    "model is no module": (ValueError, "model", lambda: jp.plan(lambda x: x, torch.ones(1), energy="50%", profile=P)),
    "model without priced ops": (ValueError, "", lambda: jp.estimate(nn.Identity(), torch.ones(2, 3), profile=P)),
    "inputs that do not fit": (
        RuntimeError, "example_inputs: .*mat1 and mat2", lambda: jp.estimate(mlp()[0], torch.ones(2, 3), profile=P),
    ),
    "inputs of another name": (
        TypeError, "example_inputs: .*'y'", lambda: jp.estimate(mlp()[0], {"y": torch.ones(2, 3)}, profile=P),
    ),
    "inputs none": (AttributeError, "example_inputs: .*NoneType", lambda: jp.estimate(mlp()[0], None, profile=P)),
    "input in coordinates": (ValueError, "SparseLinear: input: .*sparse_coo", lambda: sparse_input("csr", "to_sparse")),
    "input in coordinates, blocks": (ValueError, "SparseLinearBSR: input", lambda: sparse_input("bsr", "to_sparse")),
    "input in coordinates, int8": (ValueError, "SparseLinearInt8: input", lambda: sparse_input("int8", "to_sparse")),
    "convert: revived weights": (ValueError, "pruner.step", revived),
    "convert: plan of another network": (ValueError, "plan", lambda: jp.convert(*mlp(), plan=other_plan())),
    "convert: no module": (ValueError, "model", lambda: jp.convert(3, torch.ones(1))),
    "plan json": (ValueError, "Plan.from_json", lambda: jp.Plan.from_json("{}")),
    "plan json truncated": (ValueError, "Plan", lambda: jp.Plan.from_json('{"schema": 1, "layers": [')),
    "plan json not UTF-8": (ValueError, "Plan.from_json: .*UTF-8", lambda: jp.Plan.from_json(b"\xff")),
    "plan json no text": (ValueError, "Plan.from_json: .*int", lambda: jp.Plan.from_json(3)),
    "plan json of another schema": (ValueError, "schema", lambda: edited_plan(schema=2)),
    "plan json energy in words": (ValueError, "energy_j: expected a finite .*'x'", lambda: edited_plan(energy_j="x")),
    "plan json energy nan": (ValueError, "budget_j", lambda: edited_plan(budget_j=math.nan)),
    "plan json energy beyond a float": (ValueError, "budget_j", lambda: edited_plan(budget_j=10**400)),
    "plan json batch a bool": (ValueError, "batch", lambda: edited_plan(batch=True)),
    "plan json without a workload": (ValueError, "workload: expected an object", lambda: edited_plan(workload=None)),
    "plan json workload of nothing": (ValueError, "workload.entries", lambda: edited_plan(workload={})),
    "plan json layers no list": (ValueError, "layers: expected an array", lambda: edited_plan(layers={})),
    "plan json layer a number": (ValueError, r"layers\[0\]: expected an object", lambda: edited_plan(layers=[5])),
    "plan json weight a number": (ValueError, r"layers\[1\].weight: .*string, got 5", lambda: edited_layer(weight=5)),
    "plan json kept a number with a point": (ValueError, r"layers\[1\].kept", lambda: edited_layer(kept=1.5)),
    "plan json layer with another field": (ValueError, r"layers\[1\].colour", lambda: edited_layer(colour="red")),
    "plan json next unit": (ValueError, "next_unit.weight: missing", lambda: edited_plan(next_unit={"index": 3})),
    "plan json decided": (ValueError, r"decided\[0\]", lambda: edited_plan(decided=[1])),
    "plan masks": (ValueError, "masks: .*int", lambda: jp.Plan.from_json(other_plan().to_json(), 3)),
    "plan mask of another dtype": (
        ValueError, "masks: 'a'", lambda: jp.Plan.from_json(other_plan().to_json(), {"a": torch.ones(3)}),
    ),
    "report json": (ValueError, "EnergyReport.from_json", lambda: jp.energy.EnergyReport.from_json("x")),
    "report json not UTF-8": (ValueError, "EnergyReport.from_json", lambda: jp.energy.EnergyReport.from_json(b"\xff")),
    "profile path not UTF-8": (jp.ProfileError, "UTF-8", lambda: plan(profile="\udcff.json")),
    "pruner state of another schema": (ValueError, "schema", lambda: pruner().load_state_dict({"schema": 7})),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_named_error(case):
    kind, fragment, call = CASES[case]
    with pytest.raises(kind, match=fragment or None) as raised:
        call()
    assert not isinstance(raised.value, SystemError)
    assert len(str(raised.value)) > 10


def test_there_are_enough_cases():
    assert len(CASES) >= 40


@pytest.mark.parametrize("energy", ["0.0001%", 0.5, "abc"])
def test_a_refused_budget_changes_nothing(energy):
    model, x = mlp()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(jp.BudgetError):
        jp.Pruner(model, x, energy=energy, profile=P)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not model[1].weight._post_accumulate_grad_hooks


def test_a_failing_update_leaves_the_masks_of_the_last():
    model, x = mlp()
    made = jp.Pruner(model, x, energy="20%", profile=P)
    made.step()
    old = made.plan.to_json()
    with torch.no_grad():
        model[1].weight[0, 0] = math.nan
    with pytest.raises(ValueError, match=r"1\.weight"):
        made.prune_now()
    assert made.plan.to_json() == old


def test_the_minimum_can_be_reached():
    model, x = mlp()
    with pytest.raises(jp.BudgetError) as raised:
        jp.plan(model, x, energy="0.0001%", profile=P)
    minimum = raised.value.minimum_j
    assert minimum > 0
    assert jp.plan(model, x, energy=minimum, profile=P).energy_j == minimum
    with pytest.raises(jp.BudgetError):
        jp.plan(model, x, energy=minimum * (1 - 1e-6), profile=P)


def test_a_profile_file_that_is_not_utf8(tmp_path):
    file = tmp_path / "profile.json"
    file.write_bytes(b'{"name": "\xff\xfe"}')
    with pytest.raises(jp.ProfileError, match=r"expected JSON, got .*\\xff"):
        jp.estimate(*mlp(), profile=str(file))


def test_complex_weights_stay_dense():
    model, x = complex_network()
    with torch.no_grad():
        model[0].weight[0] = 0
    converted = jp.convert(model, x, force=True)
    assert type(converted[0]) is nn.Linear
    assert "complex64 has no sparse kernel" in jp.explain(converted)
