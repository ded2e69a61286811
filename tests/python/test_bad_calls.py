"""Bad arguments of the functions around pruning (reports, metrics, rounds, claims) get a sentence that names them."""

from __future__ import annotations

import math

import pytest
import torch
from networks import mlp

import jouleprune as jp
from jouleprune.cli import main

P = "eyeriss-65nm"


def metrics(**changes):
    model, x = mlp()
    jp.metrics(model, x, **{"profile": P, "seconds": 0, "data": [(x, torch.zeros(4).long())], **changes})


def report(**changes):
    model, x = mlp()
    jp.report(model, x, profiles=P, **changes)


def saves(**changes):
    model, x = mlp()
    jp.assert_saves(model, model, x, energy=0.0, profile=P, **changes)


def floor(**changes):
    model, x = mlp()
    jp.prune_to_floor(model, x, **{"profile": P, "evaluate": lambda _: 1.0, **changes})


def iterative(**changes):
    model, x = mlp()
    jp.iterative(model, x, **{"energy": "50%", "profile": P, "train": lambda *_: None, **changes})


def sweep(**changes):
    model, x = mlp()
    jp.sweep(model, x, profile=P, **changes)


def compare(batches):
    model, x = mlp()
    jp.compare(model, x, profiles=P, batches=batches)


def int8(dtype="int8", profile=P):
    model, x = mlp()
    jp.plan(model, x, energy="50%", profile=profile, pattern="1x4", dtype=dtype)


def one_plan() -> jp.Plan:
    model, x = mlp()
    return jp.plan(model, x, energy="50%", profile=P)


X = torch.zeros(4, 1, 28, 28)
CASES = {
    "metrics: a tensor": ("data: expected batches .*, got a tensor", lambda: metrics(data=X)),
    "metrics: a number": ("data: expected batches .*, got int", lambda: metrics(data=3)),
    "metrics: bare inputs": ("data: expected batches .*, got a tensor", lambda: metrics(data=[X])),
    "metrics: three of them": ("data: expected batches .*, got tuple of 3", lambda: metrics(data=[(X, X, X)])),
    "metrics: no loss": ("loss: expected a callable", lambda: metrics(loss=3)),
    "metrics: loss of each": (
        r"loss: expected one number .* tensor \[4, 10\]", lambda: metrics(loss=lambda outputs, classes: outputs),
    ),
    "metrics: loss none": ("loss: expected one number .* NoneType", lambda: metrics(loss=lambda *_: None)),
    "metrics: seconds a bool": ("seconds: expected a number", lambda: metrics(seconds=True)),
    "report: one plan": (r"plans: expected a list of plans, as in plans=\[plan\], got Plan",
                         lambda: report(plans=one_plan())),
    "report: no plans": ("plans: expected a list of plans", lambda: report(plans=[3])),
    "report: a batch": ("batches: expected whole numbers", lambda: report(batches=4)),
    "report: one layer": ("explain: expected a list of layers", lambda: report(explain="1")),
    "report: explain a number": ("explain: expected a list of layers", lambda: report(explain=3)),
    "report: measurements": ("measurements: expected what measure found", lambda: report(measurements=3)),
    "compare: a batch": ("batches: expected whole numbers .* got 4", lambda: compare(4)),
    "compare: words": ("batches: expected whole numbers .* got '1,32'", lambda: compare("1,32")),
    "compare: beyond": ("batches: .* at most 2\\^53", lambda: compare([10**20])),
    "saves: negative time": ("max_s: expected finite seconds above 0, got -1", lambda: saves(max_s=-1)),
    "saves: nan": ("max_s: expected finite seconds above 0, got nan", lambda: saves(max_s=math.nan)),
    "saves: words": ("check_s: expected finite seconds above 0, got '1'", lambda: saves(check_s="1")),
    "floor: energy": ("energy: prune_to_floor decides it", lambda: floor(energy="50%")),
    "floor: plan": ("plan: prune_to_floor decides it", lambda: floor(plan=one_plan())),
    "floor: schedule": ("schedule: prune_to_floor decides it", lambda: floor(schedule=jp.OneShot())),
    "floor: evaluate": (r"evaluate: expected a callable \(model\) -> metric, got 3", lambda: floor(evaluate=3)),
    "floor: metric": ("evaluate: expected a number, got 'high'", lambda: floor(evaluate=lambda _: "high")),
    "floor: metrics": ("evaluate: expected a number", lambda: floor(evaluate=lambda _: torch.ones(2))),
    "floor: train": ("train: expected a callable", lambda: floor(train=3)),
    "iterative: plan": ("plan: iterative decides it", lambda: iterative(plan=one_plan())),
    "iterative: train": (r"train: expected a callable \(model, keep\)", lambda: iterative(train=None)),
    "iterative: stop": ("stop: expected a callable", lambda: iterative(stop=True)),
    "iterative: metric": ("evaluate: expected a number, got None", lambda: iterative(evaluate=lambda _: None)),
    "sweep: one budget": ("budgets: expected a list", lambda: sweep(budgets="50%")),
    "sweep: a number": ("budgets: expected a list", lambda: sweep(budgets=0.5)),
    "sweep: evaluate": ("evaluate: expected a callable", lambda: sweep(evaluate=3)),
    "int8 on an accelerator": ("dtype: 'int8' chooses among kernels for CPUs: .*'asic'", int8),
    "int8 on a GPU": ("dtype: 'int8' chooses .*'gpu'", lambda: int8(profile="generic-gpu-hbm")),
    "dtype a number": (r"dtype: expected None, 'int8' or \['int8'\], got 8", lambda: int8(8, "generic-cpu")),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_sentence_names_the_argument(case):
    match, call = CASES[case]
    with pytest.raises(ValueError, match=match):
        call()


@pytest.mark.parametrize("call", [floor, iterative, sweep], ids=["floor", "iterative", "sweep"])
def test_unknown_options_are_named(call):
    with pytest.raises(TypeError, match=r"expected options among .*pattern.*, got 'pruning_ratio'"):
        call(pruning_ratio=0.5)


@pytest.mark.parametrize("batches", ["", "a", "0", "1,,2", "\u00b2", "9" * 30, "-1", "1.5"])
def test_batches_on_the_command_line(batches, tmp_path, monkeypatch, capsys):
    (tmp_path / "small_net.py").write_text(
        "import torch\ndef make():\n    return torch.nn.Sequential(torch.nn.Linear(8, 4)), torch.ones(2, 8)\n"
    )
    monkeypatch.chdir(tmp_path)
    assert main(["report", "small_net:make", "--compare", f"--batches={batches}"]) == 1
    assert "batches: expected whole numbers" in capsys.readouterr().err


def reordered(**changes):
    jp.reorder(*mlp(), **changes)


def evolved(**changes):
    jp.evolve(*mlp(), profile=P, **changes)


def distilled(**changes):
    jp.distillation_loss(**{"student": torch.zeros(2, 3), "teacher": torch.zeros(2, 3), **changes})


def shrunk(**changes):
    jp.shrink(*mlp(), **{"energy": "50%", "profile": P, **changes})


@pytest.mark.parametrize(
    ("call", "changes", "match"),
    [
        (reordered, {"seed": 1.5}, r"seed: expected a whole number of at least 0, got 1\.5"),
        (reordered, {"seed": -1}, "seed: expected a whole number of at least 0, got -1"),
        (evolved, {"seed": -1}, "seed: expected a whole number of at least 0, got -1"),
        (evolved, {"resume": 5}, "resume: expected an Evolution, from evolve, got 5"),
        (evolved, {"evaluate": 5}, r"evaluate: expected a callable .*, got 5"),
        (distilled, {"student": None}, r"student: expected a tensor of logits \[..., classes\], got None"),
        (distilled, {"teacher": torch.zeros(2, 3).long()}, r"teacher: expected a tensor of logits .*, got torch.int64"),
        (distilled, {"student": torch.tensor(1.0)}, r"student: expected a tensor of logits .*, got torch.float32 \[\]"),
        (distilled, {"target": 1}, "target: expected a tensor of class indices, got 1"),
        (distilled, {"temperature": "2"}, "temperature: expected a number, got '2'"),
        (distilled, {"weight": None}, "weight: expected a number, got None"),
        (shrunk, {"pattern": None}, "pattern: expected some of channel, .*, got None"),
        (shrunk, {"pattern": ["channel", None]}, "pattern: expected some of channel, .*, got None"),
    ],
)
def test_search_and_structure_name_the_argument(call, changes, match):
    with pytest.raises(ValueError, match=match):
        call(**changes)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_no_numbers_are_named(value):
    model, x = mlp()
    with torch.no_grad():
        model[1].weight[0, 0] = value
    for call in (jp.shrink, jp.plan_structure, jp.ChannelPruner):
        with pytest.raises(ValueError, match=r"model: expected finite weights, got NaN or infinity in '1\.weight'"):
            call(model, x, energy="50%", profile=P)
