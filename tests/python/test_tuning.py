"""Measured times are kept and looked up; a damaged or unwritable file is told, and never stops a conversion."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

import jouleprune as jp
from jouleprune import race
from jouleprune.convert import decisions
from jouleprune.tuning import Tuning, tuned_call


def pruned(layer: nn.Module, density: float) -> nn.Module:
    with torch.no_grad():
        layer.weight.mul_(torch.rand_like(layer.weight) < density)
    return layer


def network() -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(
        pruned(nn.Conv2d(3, 8, 3, padding=1), 0.3), nn.ReLU(), nn.Flatten(), pruned(nn.Linear(8 * 64, 33), 0.1)
    )
    return model.eval(), torch.randn(2, 3, 8, 8)


@pytest.fixture
def quiet(monkeypatch):
    """A machine of our own: no other program is ever in between."""
    monkeypatch.setattr(race, "_sample", lambda work: race._Sample(1.0, 1.0))


def samples(monkeypatch, disturbed) -> list[int]:
    """A round of dense and sparse takes 2 and 1 seconds, 100 times as long by the wall where ``disturbed(round)``; the
    rounds that were taken are counted."""
    taken, rounds = [0], [0]

    def sample(work):
        work()
        position = taken[0] - 3  # three of dense come first, for how often to repeat
        taken[0] += 1
        if position < 0:
            return race._Sample(1.0, 1.0)
        rounds[0] = position // 2 + 1
        seconds = 1.0 if position % 2 else 2.0
        return race._Sample(seconds * disturbed(position // 2), seconds)

    monkeypatch.setattr(race, "_sample", sample)
    return rounds


def one_layer() -> tuple[nn.Module, torch.Tensor]:
    return nn.Sequential(pruned(nn.Linear(32, 16), 0.5)).eval(), torch.randn(4, 32)


def test_a_disturbed_round_is_taken_again(tmp_path, monkeypatch):
    path = tmp_path / "tuning.json"
    monkeypatch.setenv("JOULEPRUNE_TUNE", str(path))
    rounds = samples(monkeypatch, lambda number: 100 if number % 2 == 0 else 1)
    (decision,) = decisions(jp.convert(*one_layer()))
    assert rounds == [14], "seven of them undisturbed"
    assert (decision.dense_s, decision.sparse_s) == (2.0, 1.0) and "(measured)" in decision.reason
    (calls,) = json.loads(path.read_text())["machines"].values()
    assert next(iter(calls.values())) == {"dense": 2.0, "csr": 1.0}


def test_noisy_times_decide_but_are_not_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("JOULEPRUNE_TUNE", str(tmp_path / "tuning.json"))
    rounds = samples(monkeypatch, lambda number: 1.5 if number == 5 else 100)
    (decision,) = decisions(jp.convert(*one_layer()))
    assert rounds == [21], "bounded"
    assert decision.layout == "csr" and (decision.dense_s, decision.sparse_s) == (3.0, 1.5)
    assert "(measured, noisy)" in decision.reason
    assert not (tmp_path / "tuning.json").exists()


def test_times_that_scatter_are_noisy_whatever_the_cpu_time(tmp_path, monkeypatch):
    """A thread that waits for another one, which has lost its core, spins: its own CPU time says nothing."""
    monkeypatch.setenv("JOULEPRUNE_TUNE", str(tmp_path / "tuning.json"))
    growing = iter(range(1, 1000))
    monkeypatch.setattr(race, "_sample", lambda work: race._Sample(*[1.0 + next(growing)] * 2))
    (decision,) = decisions(jp.convert(*one_layer()))
    assert "(measured, noisy)" in decision.reason and not (tmp_path / "tuning.json").exists()


def test_a_layer_is_timed_once(tmp_path, monkeypatch, quiet):
    monkeypatch.setenv("JOULEPRUNE_TUNE", str(tmp_path / "deep" / "tuning.json"))
    model, x = network()
    first = jp.convert(model, x)
    text = (tmp_path / "deep" / "tuning.json").read_text()
    calls = next(iter(json.loads(text)["machines"].values()))
    assert len(calls) == 2 and all(set(times) == {"dense", "csr"} for times in calls.values())
    assert "(measured)" in jp.explain(first)
    again = jp.convert(model, x)
    assert "measured before" in jp.explain(again) and (tmp_path / "deep" / "tuning.json").read_text() == text
    assert [d.layout for d in decisions(again)] == [d.layout for d in decisions(first)]


def test_another_batch_is_another_call(tmp_path, monkeypatch, quiet):
    monkeypatch.setenv("JOULEPRUNE_TUNE", str(tmp_path / "tuning.json"))
    model, x = network()
    jp.convert(model, x)
    assert "(measured)" in jp.explain(jp.convert(model, torch.randn(5, 3, 8, 8)))


def test_kept_times_decide(tmp_path, monkeypatch, quiet):
    path = tmp_path / "tuning.json"
    monkeypatch.setenv("JOULEPRUNE_TUNE", str(path))
    model, x = network()
    jp.convert(model, x)
    data = json.loads(path.read_text())
    for calls in data["machines"].values():
        for call, times in calls.items():
            times["dense"], times["csr"] = (1.0, 0.5) if call.startswith("linear") else (0.5, 1.0)
    path.write_text(json.dumps(data))
    assert [d.layout for d in decisions(jp.convert(model, x))] == ["dense", "csr"]


def test_a_timer_of_the_users_own_leaves_the_file_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("JOULEPRUNE_TUNE", str(tmp_path / "tuning.json"))
    model, x = network()
    jp.convert(model, x, timer=lambda call: 1.0)
    assert not (tmp_path / "tuning.json").exists()


def test_a_damaged_file_is_told_and_made_anew(tmp_path, monkeypatch, quiet):
    path = tmp_path / "tuning.json"
    monkeypatch.setenv("JOULEPRUNE_TUNE", str(path))
    path.write_text("{")
    model, x = network()
    with pytest.warns(UserWarning, match=r"measured times are not used: tuning file .*tuning\.json"):
        jp.convert(model, x)
    assert json.loads(path.read_text())["schema"] == 1


def test_a_folder_that_cannot_be_written_is_told(tmp_path, monkeypatch, quiet):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("JOULEPRUNE_TUNE", str(tmp_path / "file" / "tuning.json"))
    model, x = network()
    with pytest.warns(UserWarning, match="measured times are not kept"):
        jp.convert(model, x)


def test_plans_leave_out_what_was_measured_to_lose(tmp_path, monkeypatch):
    monkeypatch.setenv("JOULEPRUNE_TUNE", str(tmp_path / "tuning.json"))
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10))
    x = torch.randn(64, 256)
    options = {"energy": "60%", "profile": "generic-cpu"}
    free = jp.plan(model, x, **options)
    assert free.layers[0].density > 0.2 and json.loads(free.measured) == []
    tuning = Tuning()
    for density, csr_s in ((0.1, 1e-4), (0.2, 2e-3)):
        call = tuned_call(model[0], (x,), {}, density)
        tuning.put(call, "dense", 1e-3)
        tuning.put(call, "csr", csr_s)
    tuning.save()
    plan = jp.plan(model, x, **options)
    assert plan.layers[0].density < 0.2
    assert json.loads(plan.measured) == [{"weight": "0.weight", "kernel": "csr", "dtype": "float32", "below": 0.2}]
    assert plan.tuning != free.tuning and plan.energy_j <= plan.budget_j
    (tmp_path / "tuning.json").unlink()  # frozen in the plan: a pruner that follows it asks no file
    pruner = jp.Pruner(model, x, plan=plan)
    pruner.prune_now()
    assert [layer.density for layer in pruner.plan.layers] == [layer.density for layer in plan.layers]
    assert pruner.plan.measured == plan.measured and pruner.energy_j == plan.energy_j
    converted = jp.convert(model, x, plan=pruner.plan)
    assert jp.estimate(converted, x, profile="generic-cpu").energy_j == plan.energy_j
