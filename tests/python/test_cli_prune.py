"""``jouleprune prune``: to a budget at once or in training, into files that the library reads."""

from __future__ import annotations

import importlib
import json
import sys

import pytest
import torch

import jouleprune as jp
from jouleprune.cli import main

_MODULE = """
import torch
from torch import nn


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 10)), torch.randn(1, 64)


def training():
    model, x = net()
    inputs = torch.randn(128, 64)
    target = inputs[:, :10].argmax(1)
    data = torch.utils.data.TensorDataset(inputs, target)
    return model, x, torch.utils.data.DataLoader(data, batch_size=32), nn.functional.cross_entropy


def generator():
    model, x = net()
    return model, x, iter(()), nn.functional.cross_entropy


def empty():
    model, x = net()
    return model, x, [], nn.functional.cross_entropy


def bare():
    model, x = net()
    return model, x, [torch.randn(4, 64)], nn.functional.cross_entropy
"""


@pytest.fixture(autouse=True)
def small_nets(tmp_path, monkeypatch):
    (tmp_path / "nets_to_prune.py").write_text(_MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("nets_to_prune")
    sys.modules.pop("nets_to_prune", None)


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    code = main(["prune", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_at_once_into_a_file(capsys, tmp_path, small_nets):
    code, out, err = run(
        capsys, "nets_to_prune:net", "--energy", "85%", "--out", "pruned.safetensors", "--plan", "plan.json"
    )
    assert code == 0, err
    assert "written: pruned.safetensors" in out and "generic-cpu" in out
    plan = jp.Plan.from_json((tmp_path / "plan.json").read_text())
    assert plan.energy_j <= plan.budget_j == pytest.approx(0.85 * plan.dense_j)
    model, x = small_nets.net()
    loaded = jp.load(model, tmp_path / "pruned.safetensors")
    assert jp.estimate(loaded, x, profile="generic-cpu").energy_j == pytest.approx(plan.energy_j)
    assert any("Sparse" in type(module).__name__ for module in loaded)


def test_in_training_as_json(capsys, small_nets):
    code, out, err = run(
        capsys, "nets_to_prune:training", "--energy=30%", "--profile=eyeriss-65nm", "--epochs=3", "--frequency=2",
        "--keep-dense", "--out=dense.safetensors", "--json",
    )  # fmt: skip
    assert code == 0, err
    assert err.count("epoch ") == 3
    found = json.loads(out)
    plan = found["report"]["plan"]
    assert plan["energy_j"] <= plan["budget_j"] and found["out"] == "dense.safetensors"
    model, _ = small_nets.net()
    before = model[0].weight.detach().clone()
    jp.load(model, "dense.safetensors")
    kept = model[0].weight != 0
    assert 0 < float(kept.float().mean()) < 1
    assert not torch.equal(model[0].weight[kept], before[kept])  # it has learnt


@pytest.mark.parametrize("schedule", ["linear", "cosine", "exponential", "oneshot"])
def test_schedules(capsys, schedule):
    code, _, err = run(
        capsys, "nets_to_prune:training", "--energy=85%", "--epochs=1", "--frequency=1", f"--schedule={schedule}",
        "--importance=taylor",
    )  # fmt: skip
    assert code == 0, err


@pytest.mark.parametrize(
    ("told", "arguments"),
    [
        ("budget", ["nets_to_prune:net", "--energy", "120%"]),
        (
            "--out: expected a file in a folder",
            ["nets_to_prune:none", "--energy=50%", "--out", "nowhere/x.safetensors"],
        ),
        ("--plan: expected a file in a folder", ["nets_to_prune:none", "--energy=50%", "--plan", "nowhere/x.json"]),
        ("--energy: expected", ["nets_to_prune:net", "--energy", "half"]),
        ("pattern", ["nets_to_prune:net", "--energy", "50%", "--pattern", "3:7x"]),
        ("importance: expected", ["nets_to_prune:net", "--energy", "50%", "--importance", "loudest"]),
        ("data: importance 'wanda' needs", ["nets_to_prune:net", "--energy", "50%", "--importance", "wanda"]),
        ("ignored_layers", ["nets_to_prune:net", "--energy", "50%", "--ignore", "fc9"]),
        ("--epochs: expected at least 0", ["nets_to_prune:net", "--energy", "50%", "--epochs", "-1"]),
        (
            "--epochs: expected nets_to_prune:net to return",
            ["nets_to_prune:net", "--energy", "50%", "--epochs", "1"],
        ),
        ("a loader with a length", ["nets_to_prune:generator", "--energy", "50%", "--epochs", "1"]),
        ("at least one batch", ["nets_to_prune:empty", "--energy", "50%", "--epochs", "1"]),
        ("loader: expected batches", ["nets_to_prune:bare", "--energy", "85%", "--epochs", "1"]),
        ("--lr: expected", ["nets_to_prune:net", "--energy", "50%", "--lr", "0"]),
        ("--until: expected", ["nets_to_prune:net", "--energy", "50%", "--until", "2"]),
        ("--frequency: expected", ["nets_to_prune:net", "--energy", "50%", "--frequency", "0"]),
        ("dtype: 'int8'", ["nets_to_prune:net", "--energy", "50%", "--dtype", "int8", "--profile", "eyeriss-65nm"]),
        ("expected module:callable, got the file", ["nets_to_prune.py", "--energy", "50%"]),
    ],
)
def test_bad_arguments_are_one_line(capsys, told, arguments):
    code, out, err = run(capsys, *arguments)
    assert code == 1 and out == "" and told in err.splitlines()[-1]


def test_a_budget_of_bytes_writes_a_packed_file(capsys, small_nets, tmp_path):
    arguments = ["nets_to_prune:net", "--energy", "40%", "--prune-for", "bytes", "--json"]
    code, out, _ = run(capsys, *arguments, "--out", "m.safetensors", "--plan", "plan.json")
    assert code == 0
    plan = jp.Plan.from_json((tmp_path / "plan.json").read_text())
    assert json.loads(out)["report"]["plan"]["prune_for"] == "bytes"
    loaded = jp.load(small_nets.net()[0], tmp_path / "m.safetensors")
    assert jp.checkpoint.packed_bytes(loaded) == plan.amounts.used <= 0.4 * plan.amounts.dense
    assert (tmp_path / "m.safetensors").stat().st_size < plan.amounts.used + 8192
    code, out, _ = run(capsys, "nets_to_prune:net", "--energy", "40%", "--prune-for", "macs")
    assert code == 0 and "multiply-adds" in out
