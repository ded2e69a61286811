"""Plans in blocks, vectors and n:m, of layers in int8, and "auto": the budget's promise, masks that hold the pattern,
and converted networks that cost what was planned."""

from __future__ import annotations

import pytest
import torch
from networks import NETWORKS
from torch import nn

import jouleprune as jp

PATTERNS = ["1x4", "4x4", "16x1", "16x16", "3x2", "2:4", "5:7", "auto"]


def reachable(model, x, **options):
    """A fifth of the way from the least to dense, in joules."""
    plan = jp.plan(model, x, energy="100%", **options)
    return plan.minimum_j + 0.2 * (plan.dense_j - plan.minimum_j)


def assert_holds(weight: torch.Tensor, kept: torch.Tensor, pattern: str) -> None:
    rows = weight.shape[0]
    matrix = kept.reshape(rows, -1)
    cols = matrix.shape[1]
    if ":" in pattern:
        n, m = (int(part) for part in pattern.split(":"))
        groups = nn.functional.pad(matrix.int(), (0, -cols % m)).view(rows, -1, m)
        assert int(groups.sum(2).max()) <= n
    elif "x" in pattern:
        r, c = (int(part) for part in pattern.split("x"))
        for tap in kept.flatten(2).unbind(2) if kept.dim() > 2 else [kept]:
            inputs = tap.shape[1]
            edges = (0, -inputs % c, 0, -rows % r)
            shape = (-(-rows // r), r, -(-inputs // c), c)
            some = nn.functional.pad(tap, edges).view(shape).any(3).any(1)
            every = nn.functional.pad(tap, edges, value=True).view(shape).all(3).all(1)
            assert torch.equal(some, every)


def pruned(network, profile, **options):
    model, x = NETWORKS[network]()
    energy = reachable(model, x, profile=profile, **options)
    pruner = jp.Pruner(model, x, energy=energy, profile=profile, **options)
    pruner.prune_now()
    return model, x, pruner


@pytest.mark.parametrize("profile", ["generic-cpu", "eyeriss-65nm"])
@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("network", NETWORKS)
def test_converted_network_costs_what_was_planned(network, pattern, profile, monkeypatch):
    monkeypatch.setenv("JOULEPRUNE_TUNE", "off")  # on eyeriss nothing but the host's speed is open: no need to time it
    model, x, pruner = pruned(network, profile, pattern=pattern)
    plan = pruner.plan
    assert plan.energy_j <= plan.budget_j
    assert plan.energy_j > 0.99 * plan.budget_j or plan.maximal
    assert plan.masks
    shapes = dict(model.named_parameters())
    for layer in plan.layers:
        if layer.pattern == "dense":
            continue
        assert pattern in ("auto", layer.pattern)
        kept = jp.ops.unpack_mask(plan.masks[layer.weight], list(shapes[layer.weight].shape))
        assert_holds(shapes[layer.weight], kept, layer.pattern)
        assert layer.density == pytest.approx(float(kept.float().mean()), rel=1e-6)
    converted = jp.convert(model, x, plan=plan)
    assert jp.estimate(converted, x, profile=profile).energy_j == plan.energy_j
    model.eval()
    with torch.no_grad():
        torch.testing.assert_close(converted.eval()(x), model(x), rtol=1e-4, atol=1e-5)


def test_vectors_become_block_modules_and_convolutions_csr():
    torch.manual_seed(0)
    layers = [nn.Conv2d(4, 32, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32 * 36, 64)]
    model, x = nn.Sequential(*layers), torch.randn(64, 4, 8, 8)
    options = {"profile": "generic-cpu", "pattern": "16x1"}
    plan = jp.plan(model, x, energy="100%", **options)
    pruner = jp.Pruner(model, x, energy=plan.minimum_j + 0.1 * (plan.dense_j - plan.minimum_j), **options)
    pruner.prune_now()
    converted = jp.convert(model, x, plan=pruner.plan)
    kinds = {layer.name: (layer.layout, type(converted.get_submodule(layer.name))) for layer in pruner.plan.layers}
    assert kinds["3"] == ("bsr", jp.nn.SparseLinearBSR)
    assert converted.get_submodule("3").block_size == (16, 1)
    assert kinds["0"][0] == "csr" and isinstance(converted.get_submodule("0"), jp.nn.SparseConv2d)
    assert "in blocks of 16x1" in jp.explain(converted)


@pytest.mark.parametrize("pattern", ["1x4", "auto", "16x4"])
def test_int8_layers_are_planned_and_replayed(pattern):
    model, x, pruner = pruned("mlp", "generic-cpu", pattern=pattern, dtype="int8")
    assert pruner.dense_j == jp.estimate(NETWORKS["mlp"]()[0], x, profile="generic-cpu").energy_j
    in_int8 = [layer for layer in pruner.plan.layers if layer.dtype == "int8"]
    assert in_int8
    converted = jp.convert(model, x, plan=pruner.plan)
    assert jp.estimate(converted, x, profile="generic-cpu").energy_j == pruner.energy_j <= pruner.budget_j
    for layer in in_int8:
        assert isinstance(converted.get_submodule(layer.name), jp.nn.SparseLinearInt8)
    with torch.no_grad():
        expected = model.eval()(x)
        assert (converted.eval()(x) - expected).norm() < 0.05 * expected.norm()


def test_int8_alone_may_meet_the_budget():
    model, x = NETWORKS["mlp"]()
    plan = jp.plan(model, x, energy="80%", profile="generic-cpu", pattern="1x4", dtype=["int8"])
    assert not plan.masks and plan.maximal and plan.energy_j <= plan.budget_j
    first = plan.layers[0]
    assert (first.pattern, first.layout, first.dtype, first.density) == ("dense", "bsr", "int8", 1.0)
    assert "int8, nothing removed" in first.reason
    converted = jp.convert(model, x, plan=plan)
    assert jp.estimate(converted, x, profile="generic-cpu").energy_j == plan.energy_j
    assert converted.get_submodule(first.name).density == 1.0


def test_numerics_do_not_change_unasked():
    _, _, pruner = pruned("mlp", "generic-cpu", pattern="auto")
    assert {layer.dtype for layer in pruner.plan.layers} == {"float32"}


def test_auto_loses_no_more_than_any_pattern_of_it():
    model, x = NETWORKS["mlp"]()
    options = {"energy": "45%", "profile": "generic-cpu"}
    lost = {
        pattern: sum(layer.importance_lost for layer in jp.plan(model, x, pattern=pattern, **options).layers)
        for pattern in ("auto", "unstructured", "1x4", "16x1", "16x4", "16x16")
    }
    assert lost["auto"] <= min(lost.values()) * (1 + 1e-9)
    plan = jp.plan(model, x, pattern="auto", **options)
    assert plan.duality_gap is not None and 0 <= plan.duality_gap <= 0.05 * lost["auto"] + 1e-9
    assert jp.Plan.from_json(plan.to_json()).duality_gap == plan.duality_gap
    assert jp.plan(model, x, pattern="16x1", **options).duality_gap is None


@pytest.mark.parametrize("pattern", ["16x1", "2:4", "auto"])
def test_schedules_keep_the_pattern_they_began_with(pattern):
    model, x = NETWORKS["mlp"]()
    energy = reachable(model, x, profile="generic-cpu", pattern=pattern)
    schedule = jp.PolynomialDecay(begin_step=0, end_step=8, frequency=2)
    pruner = jp.Pruner(model, x, energy=energy, profile="generic-cpu", pattern=pattern, schedule=schedule)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    seen: dict[str, set[str]] = {}
    while not pruner.done:
        model(x).square().mean().backward()
        optimizer.step()
        pruner.step()
        optimizer.zero_grad()
        for layer in pruner.plan.layers:
            if layer.pattern != "dense":
                seen.setdefault(layer.name, set()).add(layer.pattern)
                assert_holds(model.get_parameter(layer.weight), model.get_parameter(layer.weight) != 0, "unstructured")
        if pruner.plan.masks:
            resumed = jp.Pruner(
                NETWORKS["mlp"]()[0], x, energy=energy, profile="generic-cpu", pattern=pattern, schedule=schedule
            )
            resumed.load_state_dict(pruner.state_dict())
            assert resumed.plan == pruner.plan
    assert all(len(patterns) == 1 for patterns in seen.values()) and seen
    assert pruner.energy_j <= pruner.budget_j
    converted = jp.convert(model, x, plan=pruner.plan)
    assert jp.estimate(converted, x, profile="generic-cpu").energy_j == pruner.energy_j


@pytest.mark.parametrize("options", [{"pattern": "auto"}, {"pattern": "16x1"}, {"pattern": "1x4", "dtype": "int8"}])
def test_a_pruner_follows_such_a_plan_to_the_letter(options):
    model, x = NETWORKS["lenet"]()
    energy = reachable(model, x, profile="generic-cpu", **options)
    plan = jp.plan(model, x, energy=energy, profile="generic-cpu", **options)
    pruner = jp.Pruner(model, x, plan=plan)
    pruner.prune_now()
    mine, theirs = ([{**vars(layer), "reason": ""} for layer in made.layers] for made in (pruner.plan, plan))
    assert mine == theirs and pruner.energy_j == plan.energy_j
    assert pruner.plan.masks.keys() == plan.masks.keys()
    assert all(torch.equal(pruner.plan.masks[name], bits) for name, bits in plan.masks.items())


@pytest.mark.parametrize("options", [{"pattern": "16x1"}, {"pattern": "2:4"}, {"pattern": "1x4", "dtype": "int8"}])
def test_saved_and_loaded(options, tmp_path):
    model, x, pruner = pruned("lenet", "generic-cpu", **options)
    converted = jp.convert(model, x, plan=pruner.plan).eval()
    jp.save(converted, tmp_path / "m.safetensors", plan=pruner.plan)
    loaded = jp.load(NETWORKS["lenet"]()[0], tmp_path / "m.safetensors").eval()
    with torch.no_grad():
        assert torch.equal(loaded(x), converted(x))
    plan = jp.checkpoint.read_plan(tmp_path / "m.safetensors")
    assert plan == pruner.plan and plan.masks.keys() == pruner.plan.masks.keys()


def test_recurrent_layers_take_vectors_as_csr():
    torch.manual_seed(0)
    model = nn.Sequential()
    model.lstm, model.head = nn.LSTM(48, 64, batch_first=True), nn.Linear(64, 32)
    model.forward = lambda x: model.head(model.lstm(x)[0])  # type: ignore[method-assign]
    x = torch.randn(16, 12, 48)
    plan = jp.plan(model, x, energy=reachable(model, x, profile="generic-cpu", pattern="16x1"), profile="generic-cpu",
                   pattern="16x1")  # fmt: skip
    layouts = {layer.weight: layer.layout for layer in plan.layers if layer.pattern != "dense"}
    assert layouts and all(layout == "csr" for weight, layout in layouts.items() if weight.startswith("lstm"))


@pytest.mark.parametrize("pattern", ["", "block", "16", "0x4", "1x1", "4:2", "2:33", "16x1 ", 16, None])
def test_unknown_patterns_are_refused_by_name(pattern):
    model, x = NETWORKS["mlp"]()
    for make in (jp.plan, jp.Pruner):
        with pytest.raises(jp.PatternError, match="pattern: expected"):
            make(model, x, energy="50%", profile="generic-cpu", pattern=pattern)


@pytest.mark.parametrize("dtype", ["bfloat16", ["int8", "float16"], "int4"])
def test_number_types_that_need_converted_activations_are_refused(dtype):
    model, x = NETWORKS["mlp"]()
    with pytest.raises(ValueError, match="dtype: expected None, 'int8'"):
        jp.plan(model, x, energy="50%", profile="generic-cpu", dtype=dtype)


def test_what_a_plan_decides_is_not_given_again():
    model, x = NETWORKS["mlp"]()
    plan = jp.plan(model, x, energy="60%", profile="generic-cpu", pattern="16x1")
    for options in ({"pattern": "4x4"}, {"dtype": "int8"}):
        with pytest.raises(ValueError, match="comes from the plan"):
            jp.Pruner(model, x, plan=plan, **options)


def test_floors_count_weights():
    model, x = NETWORKS["lenet"]()
    for pattern in ("16x1", "3x7"):
        options = {"profile": "eyeriss-65nm", "pattern": pattern, "min_density": 0.3}
        plan = jp.plan(model, x, energy="100%", **options)
        plan = jp.plan(model, x, energy=plan.minimum_j * (1 + 1e-6), **options)
        assert min(layer.density for layer in plan.layers) >= 0.3


@pytest.mark.parametrize("pattern", ["16x1", "16x16"])
def test_plans_for_a_gpu_use_blocks(pattern):
    """A profile of a GPU offers the kernels for blocks."""
    model = nn.Sequential(nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 64))
    x = torch.randn(32, 512)
    plan = jp.plan(model, x, energy="100%", pattern=pattern, profile="generic-gpu-hbm")
    least = plan.minimum_j + 0.05 * (plan.dense_j - plan.minimum_j)
    plan = jp.plan(model, x, energy=f"{100 * least / plan.dense_j}%", pattern=pattern, profile="generic-gpu-hbm")
    assert "bsr" in {layer.kernel for layer in plan.layers}
    assert plan.energy_j <= plan.budget_j


def test_layers_on_a_gpu_may_hold_blocks_but_no_int8():
    from torch._subclasses.fake_tensor import FakeTensorMode

    from jouleprune.patterns import freedom_of

    with FakeTensorMode():
        model = nn.Sequential(nn.Linear(16, 16), nn.Conv2d(4, 4, 3))
        for layer in model:
            layer.weight = nn.Parameter(torch.empty(layer.weight.shape, device="cuda:0"))
    linear, conv = (freedom_of(model, f"{i}.weight", ["int8"]) for i in range(2))
    assert (linear.layouts, linear.dtypes) == (("csr", "bsr"), ())
    assert (conv.layouts, conv.dtypes) == (("csr",), ())
    here = freedom_of(nn.Sequential(nn.Linear(16, 16)), "0.weight", ["int8"])
    assert (here.layouts, here.dtypes) == (("csr", "bsr"), ("int8",))
