"""convert and explain: the clock decides where joules do not, and says so."""

from __future__ import annotations

import pytest
import torch
from networks import NETWORKS, mlp
from torch import nn

import jouleprune as jp
from jouleprune.convert import decisions
from jouleprune.tuning import Tuning, tuned_call


def pruned(network: str = "mlp", energy: str = "20%", profile: str = "eyeriss-65nm"):
    model, x = NETWORKS[network]()
    pruner = jp.Pruner(model, x, energy=energy, profile=profile)
    pruner.prune_now()
    return model.eval(), x, pruner


class FakeTimer:
    """Gives dense and sparse calls, which come in turn, the times it was told."""

    def __init__(self, dense_s: float, sparse_s: float) -> None:
        self.times, self.calls = (dense_s, sparse_s), 0

    def __call__(self, call):
        call()
        self.calls += 1
        # The first call of each race sizes the sample; then dense and sparse take turns.
        return self.times[(self.calls % 15 or 15) % 2] if (self.calls % 15) != 1 else 1.0


def test_the_clock_decides_on_devices_that_skip_zeros():
    model, x, pruner = pruned()
    fast = jp.convert(model, x, plan=pruner.plan, timer=FakeTimer(2.0, 1.0))
    slow = jp.convert(model, x, plan=pruner.plan, timer=FakeTimer(1.0, 2.0))
    close = jp.convert(model, x, plan=pruner.plan, timer=FakeTimer(1.02, 1.0))
    assert {decision.layout for decision in decisions(fast)} == {"csr"}
    assert {decision.layout for decision in decisions(slow)} == {"dense"}
    assert {decision.layout for decision in decisions(close)} == {"dense"}  # within the margin
    assert "measured" in jp.explain(fast) and "csr" in jp.explain(fast)
    for converted in (fast, slow, close):
        assert jp.estimate(converted, x, profile="eyeriss-65nm").energy_j == pruner.energy_j


def test_force_converts_every_pruned_layer():
    model, x, pruner = pruned("lenet")
    converted = jp.convert(model, x, plan=pruner.plan, force=True)
    layers = [layer.name for layer in pruner.plan.layers if layer.pattern != "dense"]
    assert [
        name
        for name, module in converted.named_modules()
        if isinstance(module, (jp.nn.SparseLinear, jp.nn.SparseConv2d))
    ] == layers
    assert "forced" in jp.explain(converted)
    torch.testing.assert_close(converted(x), model(x), rtol=1e-4, atol=1e-5)


def test_cost_entries_decide_when_tuning_is_off(monkeypatch):
    monkeypatch.setenv("JOULEPRUNE_TUNE", "off")
    model, x, pruner = pruned(energy="3%")

    def no_timer(call):
        raise AssertionError("nothing may be timed")

    converted = jp.convert(model, x, plan=pruner.plan, timer=no_timer)
    assert "modelled, generic-cpu" in jp.explain(converted)


def test_without_a_plan_every_layer_with_zeros_is_a_candidate():
    model, x = mlp()
    with torch.no_grad():
        model[1].weight.masked_fill_(torch.rand(128, 784) < 0.95, 0.0)
    converted = jp.convert(model, x, timer=FakeTimer(2.0, 1.0))
    assert isinstance(converted[1], jp.nn.SparseLinear) and isinstance(converted[3], nn.Linear)
    priced = jp.convert(model, x, profile="generic-cpu")
    assert [decision.name for decision in decisions(priced)] == ["1"]
    assert (
        jp.estimate(priced, x, profile="generic-cpu").energy_j < jp.estimate(model, x, profile="generic-cpu").energy_j
    )


def test_a_dense_network_stays_as_it_is():
    model, x = mlp()
    converted = jp.convert(model, x, profile="generic-cpu")
    assert decisions(converted) == ()
    assert "no layer holds zeros" in jp.explain(converted) and "not converted" in jp.explain(model)


def test_a_layer_that_cannot_follow_the_plan_is_over_budget():
    model, x = mlp()
    minimum = jp.plan(model, x, energy="99%", profile="generic-cpu").minimum_j
    pruner = jp.Pruner(model, x, energy=minimum * 1.2, profile="generic-cpu")
    pruner.prune_now()

    class Reads(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x)

    tied = Reads(model)
    tied.other = nn.Linear(784, 128)  # the weight now has a second owner: no module can take its place
    tied.other.weight = model[1].weight
    plan = jp.Plan.from_json(
        pruner.plan.to_json().replace('"1.weight"', '"inner.1.weight"').replace('"3.weight"', '"inner.3.weight"')
    )
    with pytest.raises(jp.BudgetError, match="shared by"):
        jp.convert(tied, x, plan=plan)
    kept = jp.convert(tied, x, plan=plan, allow_over_budget=True)
    assert "shared by" in jp.explain(kept)


def test_modules_that_read_their_childrens_weights_call_them_instead():
    torch.manual_seed(0)
    model, x = (
        nn.Sequential(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, dropout=0.0)).eval(),
        torch.randn(2, 5, 16),
    )
    pruner = jp.Pruner(model, x, energy="50%", profile="eyeriss-65nm")
    pruner.prune_now()
    converted = jp.convert(model, x, plan=pruner.plan, force=True).eval()
    assert {decision.layout for decision in decisions(converted)} == {"csr"}
    torch.testing.assert_close(converted(x), model(x))
    assert jp.estimate(converted, x, profile="eyeriss-65nm").energy_j == pruner.energy_j


def test_sweep():
    model, x = mlp()
    points = jp.sweep(
        model,
        x,
        profile="eyeriss-65nm",
        budgets=["50%", "10%", "0.001%"],
        evaluate=lambda m: float(m(x).detach().abs().sum()),
    )
    assert points[0].energy_j > points[1].energy_j and points[0].importance_lost < points[1].importance_lost
    assert points[2].plan is None and points[2].minimum_j > 0
    assert points[0].metric is not None
    assert not any((p == 0).any() for p in (model[1].weight, model[3].weight))


def test_explain_lists_what_could_run_a_layer(tmp_path, monkeypatch):
    monkeypatch.setenv("JOULEPRUNE_TUNE", str(tmp_path / "tuning.json"))
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(512, 256), nn.ReLU()), torch.randn(64, 512)
    plan = jp.plan(model, x, energy="60%", profile="generic-cpu", pattern="16x1")
    pruner = jp.Pruner(model, x, plan=plan)
    pruner.prune_now()
    lines = jp.explain(jp.convert(model, x, plan=pruner.plan)).splitlines()
    listed = [line.strip().split(":")[0] for line in lines if line.startswith("    ")]
    assert listed[:6] == [
        "dense float32", "csr float32", "bsr float32 in blocks of 16x1", "bsr-int8 int8", "torch dense bfloat16",
        "torch dense int8",
    ]  # fmt: skip
    assert sum("us predicted, not measured" in line for line in lines) == 6
    assert "    (predicted for generic-cpu)" in lines
    tuning, density = Tuning(), float((model[0].weight != 0).float().mean())
    for kernel, seconds in (("dense", 3e-4), ("csr", 1e-4), ("torch-int8", 2e-4)):
        tuning.put(tuned_call(model[0], (x,), {}, density), kernel, seconds)
    tuning.save()
    timed = jp.explain(jp.convert(model, x, plan=pruner.plan)).splitlines()
    measured = {line.strip().split(":")[0]: line.split(", ")[1] for line in timed if "us measured" in line}
    assert measured == {
        "dense float32": "300.0 us measured",
        "csr float32": "100.0 us measured",
        "torch dense int8": "200.0 us measured",
    }


def test_explained_candidates_are_saved_with_the_model(tmp_path):
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(512, 256), nn.ReLU()), torch.randn(64, 512)
    pruner = jp.Pruner(model, x, energy="60%", profile="generic-cpu")
    pruner.prune_now()
    converted = jp.convert(model, x, plan=pruner.plan)
    jp.save(converted, tmp_path / "m.safetensors")
    fresh = jp.load(nn.Sequential(nn.Linear(512, 256), nn.ReLU()), tmp_path / "m.safetensors")
    assert jp.explain(fresh) == jp.explain(converted) and "torch dense int8" in jp.explain(fresh)
