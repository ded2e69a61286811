"""convert, plans, checkpoints and joules of recurrent, attention and 1-d convolution layers; fusion."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from torch import Tensor, nn

import jouleprune as jp
from jouleprune.convert import decisions
from jouleprune.record import record


class Speech(nn.Module):
    """1-d convolutions, an LSTM, a GRU, and attention."""

    def __init__(self) -> None:
        super().__init__()
        self.front = nn.Sequential(nn.Conv1d(5, 12, 3, stride=2, padding=1), nn.ReLU())
        self.lstm = nn.LSTM(12, 9, num_layers=2, bidirectional=True, batch_first=True)
        self.gru = nn.GRU(18, 16, batch_first=True)
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True)
        self.head = nn.Linear(16, 7)

    def forward(self, x: Tensor) -> Tensor:
        x = self.lstm(self.front(x).transpose(1, 2))[0]
        x = self.gru(x)[0]
        return self.head(self.attention(x, x, x, need_weights=False)[0])


def speech() -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    return Speech().eval(), torch.randn(3, 5, 23)


def pruned(module: nn.Module, density: float = 0.3) -> nn.Module:
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.dim() > 1 and "bias" not in name:
                parameter.mul_(torch.rand_like(parameter) < density)
    return module


@pytest.mark.parametrize("energy", ["80%", "40%"])
@pytest.mark.parametrize("profile", ["eyeriss-65nm", "horowitz-45nm", "generic-cpu", "generic-gpu-hbm"])
def test_converted_network_costs_what_the_pruner_says(profile, energy):
    model, x = speech()
    try:
        pruner = jp.Pruner(model, x, energy=energy, profile=profile)
    except jp.BudgetError as error:
        pruner = jp.Pruner(model, x, energy=error.minimum_j * (1 + 1e-9), profile=profile)
    pruner.prune_now()
    assert pruner.energy_j <= pruner.budget_j
    for force in (False, True):
        if force and not pruner.plan.profile.startswith(("eyeriss", "horowitz")):
            continue  # there the layout decides over joules
        converted = jp.convert(model, x, plan=pruner.plan, force=force)
        assert jp.estimate(converted, x, profile=profile).energy_j == pruner.energy_j
        with torch.no_grad():
            torch.testing.assert_close(converted(x), model(x), rtol=1e-4, atol=1e-5)


def test_every_weight_of_the_network_can_be_pruned():
    model, x = speech()
    plan = jp.plan(model, x, energy="50%", profile="eyeriss-65nm")
    expected = {name for name, value in model.named_parameters() if value.dim() > 1}
    assert {layer.weight for layer in plan.layers} == expected


def test_sparse_entries_are_the_dense_ones_with_fewer_weights():
    model, x = speech()
    pruned(model)
    converted = jp.convert(model, x, force=True)
    dense, sparse = (json.loads(record(module, x))["entries"] for module in (model, converted))
    assert len(dense) == len(sparse)
    changed = {"pattern", "layout", "kernel"}
    for before, after in zip(dense, sparse, strict=True):
        if before["op"] == "conv1d":  # run as a 2-d convolution of height 1
            assert after["op"] == "conv2d"
            changed_here = changed | {"op", "shape", "image", "stride", "dilation"}
        else:
            changed_here = changed
        assert {key: value for key, value in before.items() if key not in changed_here} == {
            key: value for key, value in after.items() if key not in changed_here
        }
        if before["weight"]:
            assert (after["layout"], after["kernel"]) == ("csr", "csr")


def test_what_is_not_pruned_stays_dense_inside():
    model, x = speech()
    with torch.no_grad():
        model.lstm.weight_hh_l1[:18] = 0
        model.attention.out_proj.weight[3:] = 0
        converted = jp.convert(model, x, force=True)
        kinds = {name: type(child).__name__ for name, child in converted.lstm.named_children()}
        assert [name for name, kind in kinds.items() if kind == "SparseLinearCSR"] == ["weight_hh_l1"]
        assert type(converted.gru) is nn.GRU and [d.weight for d in decisions(converted)] == [
            "lstm.weight_hh_l1", "attention.out_proj.weight",
        ]  # fmt: skip
        torch.testing.assert_close(converted(x), model(x), rtol=1e-4, atol=1e-5)


def test_the_clock_decides_for_a_module_at_once():
    model, x = speech()
    pruned(model)
    calls = []

    def timer(call):
        call()
        calls.append(call)
        return 2.0 if len(calls) % 2 else 1.0

    converted = jp.convert(model, x, timer=timer)
    by_module: dict[str, set[str]] = {}
    for decision in decisions(converted):
        by_module.setdefault(decision.name.split(".")[0], set()).add(decision.layout)
    assert all(len(layouts) == 1 for name, layouts in by_module.items() if name != "front")
    assert "measured" in jp.explain(converted)


def test_cost_entries_decide_when_tuning_is_off(monkeypatch):
    monkeypatch.setenv("JOULEPRUNE_TUNE", "off")
    model, x = speech()
    converted = jp.convert(pruned(model, 0.02), x)
    assert jp.explain(converted).count("modelled, generic-cpu") == len(decisions(converted)) > 0


def test_save_and_load(tmp_path):
    model, x = speech()
    pruned(model)
    with torch.no_grad():
        model.lstm.weight_hh_l0.uniform_(-0.1, 0.1)  # stays dense inside the sparse module
        converted = jp.convert(model, x, force=True)
        jp.save(converted, tmp_path / "m.safetensors")
        fresh = jp.load(Speech().eval(), tmp_path / "m.safetensors")
        assert torch.equal(fresh(x), converted(x))
        again = jp.load(fresh, tmp_path / "m.safetensors")  # into a sparse model, too
        assert torch.equal(again(x), converted(x))
    assert decisions(fresh) == decisions(converted)
    other = Speech()
    other.lstm = nn.LSTM(12, 9, batch_first=True)
    before = copy.deepcopy(other.state_dict())
    with pytest.raises(ValueError, match="load: layer 'lstm'"):
        jp.load(other, tmp_path / "m.safetensors")
    assert all(torch.equal(value, before[name]) for name, value in other.state_dict().items())


def vision() -> tuple[nn.Module, Tensor]:
    """Every kind of layer that takes over what follows it, in a Sequential."""
    torch.manual_seed(1)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 8, 3, groups=2), nn.SiLU(),
        nn.Conv2d(8, 6, 1), nn.BatchNorm2d(6, affine=False),
        nn.Flatten(2),
        nn.Conv1d(6, 9, 3), nn.BatchNorm1d(9), nn.GELU(),
        nn.Flatten(), nn.Linear(9 * 23, 11), nn.BatchNorm1d(11), nn.GELU(approximate="tanh"), nn.Linear(11, 5),
    )  # fmt: skip
    x = torch.randn(4, 3, 9, 9)
    model.train()
    for _ in range(3):
        model(torch.randn(16, 3, 9, 9))  # statistics
    with torch.no_grad():
        for norm in (
            module for module in model if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.affine
        ):
            norm.weight.uniform_(-2, 2)
            norm.bias.uniform_(-1, 1)
    return pruned(model).eval(), x


def test_fused_outputs_are_equal_and_joules_fewer():
    model, x = vision()
    plain, fused = jp.convert(model, x, force=True), jp.convert(model, x, force=True, fuse=True)
    with torch.no_grad():
        torch.testing.assert_close(fused(x), model(x), rtol=1e-4, atol=1e-5)
    kinds = [type(module).__name__ for module in fused]
    assert [i for i, kind in enumerate(kinds) if kind == "Identity"] == [1, 2, 4, 6, 9, 10, 13]
    assert [fused[i].activation for i in (0, 3, 5, 8, 12, 15)] == ["relu", "silu", "none", "gelu", "none", "none"]
    assert "fused BatchNorm2d 1 and ReLU 2" in jp.explain(fused) and "fused" not in jp.explain(plain)
    assert "activation=relu" in repr(fused[0])
    assert (
        jp.estimate(fused, x, profile="eyeriss-65nm").energy_j < jp.estimate(plain, x, profile="eyeriss-65nm").energy_j
    )
    for before, after in zip(plain, fused, strict=True):  # rows are scaled: masks stay
        if hasattr(before, "nnz"):
            assert torch.equal(before.col_indices, after.col_indices)


@pytest.mark.filterwarnings("ignore")
def test_front_ends_of_a_fused_network(tmp_path):
    torch._dynamo.reset()
    model, x = vision()
    fused = jp.convert(model, x, force=True, fuse=True)
    with torch.no_grad():
        torch.jit.script(fused).save(str(tmp_path / "m.pt"))
        assert torch.equal(torch.jit.load(str(tmp_path / "m.pt"))(x), fused(x))
        torch.testing.assert_close(torch.export.export(fused, (x,)).module()(x), fused(x))
        torch.testing.assert_close(torch.compile(fused, backend="aot_eager", fullgraph=True)(x), fused(x))


def test_a_fused_network_is_saved_and_loaded(tmp_path):
    model, x = vision()
    fused = jp.convert(model, x, force=True, fuse=True)
    jp.save(fused, tmp_path / "m.safetensors")
    fresh = jp.load(vision()[0], tmp_path / "m.safetensors")
    with torch.no_grad():
        assert torch.equal(fresh(x), fused(x))
    assert jp.explain(fresh) == jp.explain(fused)


class Block(nn.Module):
    """What may and may not be folded outside a Sequential."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm_a, self.act = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()
        self.b, self.norm_b = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.c, self.norm_c = nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.norm_a(self.a(x)))
        y = self.b(x)
        y = self.norm_b(y) + y  # somebody else looks at what b gives
        return self.act(self.norm_c(self.c(y)))  # act is called twice


class Branching(Block):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if x.sum() > -1e9 else x  # cannot be traced


def block(kind=Block) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(2)
    model = kind()
    for _ in range(2):
        model(torch.randn(4, 3, 7, 7))
    return pruned(model).eval(), torch.randn(2, 3, 7, 7)


def test_only_what_nobody_else_sees_is_folded():
    model, x = block()
    fused = jp.convert(model, x, force=True, fuse=True)
    identities = [name for name, module in fused.named_modules() if isinstance(module, nn.Identity)]
    assert identities == ["norm_a", "norm_c"]
    with torch.no_grad():
        torch.testing.assert_close(fused(x), model(x), rtol=1e-4, atol=1e-5)


def test_what_cannot_be_traced_is_not_folded_outside_sequentials():
    model, x = block(Branching)
    fused = jp.convert(model, x, force=True, fuse=True)
    assert not any(isinstance(module, nn.Identity) for module in fused.modules())
    nested = nn.ModuleDict({"body": nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU())})
    with torch.no_grad():
        nested["body"][0].weight[0] = 0

    class Untraceable(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = nested

        def forward(self, x: Tensor) -> Tensor:
            return self.parts["body"](x) if x.sum() > -1e9 else x

    fused = jp.convert(Untraceable().eval(), x, force=True, fuse=True)
    assert fused.parts["body"][0].activation == "relu"


class Peeks(nn.Module):
    """Takes apart a Sequential in a way that no trace shows."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 6), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        y = self.body[0](x)
        return self.body(x) + y if bool(y.sum() > -1e9) else y


def test_a_fusion_that_would_change_outputs_is_dropped():
    model, x = pruned(Peeks(), 0.6).eval(), torch.randn(3, 6)
    fused = jp.convert(model, x, force=True, fuse=True)
    with torch.no_grad():
        torch.testing.assert_close(fused(x), model(x), rtol=1e-4, atol=1e-5)
    assert "not fused: outputs would change" in jp.explain(fused)


def test_a_model_in_training_is_not_folded():
    model, x = vision()
    with pytest.warns(UserWarning, match="in training mode, where nothing is fused"):
        fused = jp.convert(model.train(), x, force=True, fuse=True)
    assert not any(isinstance(module, nn.Identity) for module in fused)
    assert all(module.activation == "none" for module in fused if hasattr(module, "activation"))


def test_a_batch_norm_over_another_dimension_is_not_folded():
    """[n, length, features] with as many steps as features: the norm works on the steps."""
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6))
    for _ in range(3):
        model(torch.randn(8, 6, 5) * 3)
    x = torch.randn(2, 6, 5)
    fused = jp.convert(pruned(model).eval(), x, force=True, fuse=True)
    with torch.no_grad():
        torch.testing.assert_close(fused(x), model(x), rtol=1e-4, atol=1e-5)
    assert isinstance(fused[1], nn.BatchNorm1d)


def test_fused_networks_stay_within_the_budget():
    model, x = vision()
    pruner = jp.Pruner(model, x, energy="60%", profile="eyeriss-65nm")
    pruner.prune_now()
    fused = jp.convert(model, x, plan=pruner.plan, force=True, fuse=True)
    assert jp.estimate(fused, x, profile="eyeriss-65nm").energy_j < pruner.energy_j <= pruner.budget_j


@pytest.mark.parametrize("profile", ["generic-cpu", "eyeriss-65nm"])
def test_a_module_under_two_names_is_sparse_under_both(profile, tmp_path):
    """Else its second call would be dense, and the network would take more than its plan says."""
    torch.manual_seed(0)
    layer = nn.Linear(64, 64)
    model, x = nn.Sequential(layer, nn.ReLU(), layer, nn.Linear(64, 5)).eval(), torch.randn(8, 64)
    pruner = jp.Pruner(model, x, energy="80%", profile=profile)
    plan = pruner.prune_now()
    assert "0.weight" in plan.masks
    converted = jp.convert(model, x, plan=plan, force=True)
    assert converted[0] is converted[2] and isinstance(converted[0], jp.nn.SparseLinear)
    assert jp.estimate(converted, x, profile=profile).energy_j == plan.energy_j
    torch.testing.assert_close(converted(x), model(x), rtol=1e-4, atol=1e-5)
    jp.save(converted, tmp_path / "m.safetensors")
    fresh = nn.Linear(64, 64)
    loaded = jp.load(nn.Sequential(fresh, nn.ReLU(), fresh, nn.Linear(64, 5)).eval(), tmp_path / "m.safetensors")
    assert loaded[0] is loaded[2] and torch.equal(loaded(x), converted(x))
