"""Checkpoints of training under a Pruner: killed at any step it goes on to the same masks, to the bit."""

from __future__ import annotations

import copy
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from networks import mlp

import jouleprune as jp

SCHEDULE = jp.PolynomialDecay(end_step=10, frequency=3)


def pruner_of(model: torch.nn.Module, x: torch.Tensor, **options) -> jp.Pruner:
    return jp.Pruner(model, x, energy="20%", profile="eyeriss-65nm", schedule=SCHEDULE, **options)


@pytest.mark.slow
@pytest.mark.parametrize(("kills", "ranks"), [(20, 1), (3, 2)])
def test_killed_at_any_step_it_ends_with_the_same_masks(tmp_path, kills, ranks):
    program = Path(__file__).with_name("kill_and_resume.py")
    environment = {"GLOO_SOCKET_IFNAME": "lo", **os.environ}
    command = [sys.executable, str(program), str(tmp_path), str(kills), str(ranks), "7"]
    run = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert run.returncode == 0, run.stderr
    told = json.loads(run.stdout)
    assert told["codes"][0] == told["codes"][-1] == [0] * ranks, run.stderr
    assert told["codes"][1:-1] == [[-signal.SIGKILL] * ranks] * kills, run.stderr
    assert told["killed"] == told["undisturbed"]
    assert all(final == told["killed"][0] and final[2] for final in told["killed"])  # one network on all ranks


def test_the_state_is_read_without_code(tmp_path):
    model, x = mlp()
    pruner = pruner_of(model, x)
    pruner.prune_now()
    torch.save(pruner.state_dict(), tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert state["rng"].dtype == torch.uint8 and all(mask.dtype == torch.uint8 for mask in state["masks"].values())
    assert state["masks"].keys() == pruner.plan.masks.keys() and state["masks"]["1.weight"].numel() == 784 * 128 // 8
    pruner_of(*mlp()).load_state_dict(state)


def test_draws_go_on_where_they_stopped():
    """A criterion that draws from torch's generator: the masks of a resumed run are those of one that went on."""

    def noisy(name, weight, grad):
        return weight.abs() * torch.rand_like(weight)

    model, x = mlp()
    pruner = pruner_of(model, x, importance=noisy)
    for _ in range(5):
        pruner.step()
    weights, state = copy.deepcopy(model.state_dict()), copy.deepcopy(pruner.state_dict())
    for _ in range(6):
        pruner.step()
    torch.manual_seed(99)
    again, _ = mlp()
    again.load_state_dict(weights)
    resumed = pruner_of(again, x, importance=noisy)
    resumed.load_state_dict(state)
    for _ in range(6):
        resumed.step()
    assert all(torch.equal(resumed.plan.masks[name], mask) for name, mask in pruner.plan.masks.items())
    before = torch.get_rng_state()
    resumed.load_state_dict(state, restore_rng=False)
    assert torch.equal(torch.get_rng_state(), before)


def test_times_measured_in_between_do_not_move_masks():
    """The limits of the tuning table travel with the state: what another job measured since plays no part."""
    model, x = mlp()

    def on_cpu(model: torch.nn.Module) -> jp.Pruner:
        return jp.Pruner(model, x, energy="60%", profile="generic-cpu", schedule=SCHEDULE)

    pruner, other = on_cpu(model), on_cpu(copy.deepcopy(model))
    limits = [{"weight": "1.weight", "kernel": "csr", "dtype": "float32", "below": 0.05}]
    other._selector = replace(other._selector, measured=json.dumps(limits))
    other._reach = other._selector.probe("60%")
    pruner.step(), other.step()
    assert pruner.plan.tuning != other.plan.tuning
    other.load_state_dict(pruner.state_dict())
    assert other.minimum_j == pruner.minimum_j
    for _ in range(12):
        pruner.step(), other.step()
    assert other.plan.to_json() == pruner.plan.to_json()


def test_regrowth_resumes():
    model, x = mlp()
    pruner = pruner_of(model, x)
    pruner.prune_now()
    regrow = jp.Regrow(pruner, end_step=20, frequency=3, grow="random")
    for _ in range(4):
        regrow.step()
    weights = copy.deepcopy(model.state_dict())
    states = copy.deepcopy((pruner.state_dict(), regrow.state_dict()))
    for _ in range(6):
        regrow.step()
    again, _ = mlp()
    again.load_state_dict(weights)
    resumed = pruner_of(again, x)
    resumed.load_state_dict(states[0])
    more = jp.Regrow(resumed, end_step=20, frequency=3, grow="random")
    more.load_state_dict(states[1])
    for _ in range(6):
        more.step()
    assert all(torch.equal(resumed.plan.masks[name], mask) for name, mask in pruner.plan.masks.items())
    with pytest.raises(ValueError, match=r"Regrow.load_state_dict: expected schema 1"):
        more.load_state_dict({"step": -1, "schema": 1})


@pytest.mark.parametrize(
    ("key", "value"),
    [("rng", torch.zeros(3)), ("rng", "seed"), ("measured", "{"), ("measured", [1]), ("measured", "3")],
)
def test_damaged_states_are_refused(key, value):
    model, x = mlp()
    pruner = pruner_of(model, x)
    pruner.step()
    with pytest.raises(ValueError, match=f"Pruner.load_state_dict: {key}: expected"):
        pruner_of(*mlp()).load_state_dict({**pruner.state_dict(), key: value})


@pytest.mark.parametrize("steps", [1, 30])
@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"energy": "60%"}, "budget_j: expected .* got"),
        ({"pattern": "16x1"}, "plan: pattern: expected '16x1', got 'unstructured'"),
        ({"importance": "magnitude"}, "plan: importance: expected 'magnitude', got 'lamp'"),
    ],
)
def test_a_state_of_another_pruner_is_refused(other, told, steps):
    options = {"energy": "50%", "profile": "eyeriss-65nm"}
    schedule = jp.PolynomialDecay(end_step=20, frequency=5)
    model, x = mlp()
    pruner = jp.Pruner(model, x, schedule=schedule, **options)
    for _ in range(steps):
        pruner.step()
    state = pruner.state_dict()
    taker = jp.Pruner(*mlp(), schedule=schedule, **{**options, **other})
    with pytest.raises(ValueError, match=f"Pruner.load_state_dict: {told}"):
        taker.load_state_dict(state)
    if pruner.done:  # states of C++, and of before the budget was kept beside the plan
        with pytest.raises(ValueError, match=f"Pruner.load_state_dict: {told}"):
            taker.load_state_dict({key: value for key, value in state.items() if key != "budget_j"})
    assert taker.state_dict()["step"] == 0 and not taker.done


def test_states_from_before_generators_were_kept_are_read():
    model, x = mlp()
    pruner = pruner_of(model, x)
    pruner.step()
    old = {key: value for key, value in pruner.state_dict().items() if key not in ("rng", "measured", "budget_j")}
    resumed = pruner_of(*mlp())
    resumed.load_state_dict(old)
    assert resumed.plan.to_json() == pruner.plan.to_json()
