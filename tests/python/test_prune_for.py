"""Budgets of bytes and of multiply-adds: the same rule as for joules, and the numbers are those of the network that is
stored, or counted afresh."""

from __future__ import annotations

import json

import pytest
import torch
from networks import NETWORKS, lenet, mlp
from safetensors import safe_open
from torch import nn

import jouleprune as jp
from jouleprune.checkpoint import packed_bytes
from jouleprune.convert import decisions

CPU, ASIC = "generic-cpu", "eyeriss-65nm"


class Mixed(nn.Module):
    """Layers that nothing runs sparse, and layers of several weights."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(40, 16)
        self.rnn = nn.RNN(16, 12, batch_first=True)
        self.lstm = nn.LSTM(12, 16, batch_first=True)
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.up = nn.ConvTranspose1d(16, 12, 3)
        self.volume = nn.Conv3d(1, 8, 3)
        self.head = nn.Linear(8, 5)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.lstm(self.rnn(self.words(tokens))[0])[0]
        x = self.attention(x, x, x, need_weights=False)[0]
        x = self.up(x.transpose(1, 2))
        return self.head(self.volume(x.reshape(-1, 1, 3, 4, x.shape[2])).mean((2, 3, 4)))


def mixed() -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(4)
    return Mixed(), torch.randint(40, (2, 6))


def counted_macs(plan: jp.Plan) -> float:
    entries = json.loads(plan.workload)["entries"]
    masked = {name: int(jp.ops.unpack_mask(bits, [8 * len(bits)]).sum()) for name, bits in plan.masks.items()}
    kept = [masked.get(entry["weight"], entry["weight_elements"]) for entry in entries]
    return sum(
        entry["macs"] * (here / entry["weight_elements"] if entry["weight"] else 1)
        for entry, here in zip(entries, kept, strict=True)
    )


def assert_rule(plan: jp.Plan) -> None:
    amounts = plan.amounts
    assert amounts is not None and amounts.used <= amounts.budget
    assert amounts.used > 0.99 * amounts.budget or plan.maximal
    assert amounts.slack == amounts.budget - amounts.used
    if plan.maximal:
        assert amounts.next is None or amounts.used + amounts.next > amounts.budget
    assert plan.budget_j == plan.minimum_j == plan.energy_j and plan.slack_j == 0


#: Every pattern on the two kinds of device; an array, whose joules come from another engine, once for each network.
CASES = [
    *((profile, pattern) for profile in (CPU, ASIC) for pattern in ("unstructured", "2:4", "3x2", "16x16", "auto")),
    ("systolic-12x14", "unstructured"),
]


@pytest.mark.parametrize("prune_for", ["bytes", "macs"])
@pytest.mark.parametrize(("profile", "pattern"), CASES)
@pytest.mark.parametrize("network", [*NETWORKS, "mixed"])
def test_the_rule_holds_and_the_numbers_are_those_of_the_network(network, pattern, prune_for, profile, monkeypatch):
    monkeypatch.setenv("JOULEPRUNE_TUNE", "off")
    model, x = {**NETWORKS, "mixed": mixed}[network]()
    options = {"profile": profile, "pattern": pattern, "prune_for": prune_for}
    dense = jp.plan(model, x, energy="100%", **options)
    assert dense.amounts.used == dense.amounts.dense and not dense.masks
    assert dense.energy_j == dense.dense_j == jp.estimate(model, x, profile=profile).energy_j
    for share in (0.3, 0.8):
        budget = dense.amounts.minimum + share * (dense.amounts.dense - dense.amounts.minimum)
        plan = jp.plan(model, x, energy=budget, **options)
        assert_rule(plan)
        assert plan.masks
    pruner = jp.Pruner(model, x, plan=plan)
    assert pruner.prune_now().amounts == plan.amounts
    if prune_for == "macs":
        assert counted_macs(plan) == pytest.approx(plan.amounts.used, rel=1e-12)
        return
    converted = jp.convert(model, x, plan=plan)
    assert packed_bytes(converted) == plan.amounts.used == plan.stored_bytes
    assert jp.estimate(converted, x, profile=profile).energy_j == plan.energy_j


@pytest.mark.parametrize("profile", [ASIC, "systolic-12x14"])
@pytest.mark.parametrize("pattern", ["unstructured", "4x4", "16x1", "2:4"])
def test_where_hardware_skips_zeros_joules_too_need_no_kernel(pattern, profile, monkeypatch):
    monkeypatch.setenv("JOULEPRUNE_TUNE", "off")
    model, x = mixed()
    options = {"profile": profile, "pattern": pattern}
    dense = jp.plan(model, x, energy="100%", **options)
    pruner = jp.Pruner(model, x, energy=(dense.minimum_j + dense.dense_j) / 2, **options)
    plan = pruner.prune_now()
    assert plan.energy_j <= plan.budget_j and (plan.energy_j > 0.99 * plan.budget_j or plan.maximal)
    assert {"volume.weight", "up.weight"} <= {layer.weight for layer in plan.layers}
    assert jp.estimate(jp.convert(model, x, plan=plan), x, profile=profile).energy_j == plan.energy_j


def test_the_file_has_the_bytes_that_were_planned_and_gives_the_network_back(tmp_path):
    model, x = mixed()
    model = model.eval()
    pruner = jp.Pruner(model, x, energy="30%", profile=CPU, prune_for="bytes")
    plan = pruner.prune_now()
    jp.save(model, tmp_path / "m.safetensors", plan=plan, packed=True)
    with safe_open(str(tmp_path / "m.safetensors"), framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    stored = sum(each.numel() * each.element_size() for name, each in tensors.items() if not name.startswith("mask:"))
    assert stored == plan.amounts.used <= 0.3 * plan.amounts.dense
    assert plan.amounts.dense == sum(each.numel() * each.element_size() for each in model.state_dict().values())
    again = jp.load(mixed()[0].eval(), tmp_path / "m.safetensors")
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    assert torch.equal(again(x), model(x))


@pytest.mark.parametrize("damage", ["bits", "values", "shape", "told", "both"])
def test_damaged_packed_weights_are_refused_by_name(damage, tmp_path):
    from jouleprune._checkpoint_file import read_whole, write_whole

    model, x = mlp()
    jp.Pruner(model, x, energy="30%", profile=CPU, prune_for="bytes").prune_now()
    file = tmp_path / "m.safetensors"
    jp.save(model, file, packed=True)
    metadata, tensors = read_whole(file)
    if damage == "bits":
        tensors["bits:1.weight"] = tensors["bits:1.weight"][:-1]
    elif damage == "values":
        tensors["kept:1.weight"] = tensors["kept:1.weight"][:-1]
    elif damage == "both":
        tensors["1.weight"] = model.state_dict()["1.weight"]
    else:
        told = json.loads(metadata["packed"])
        told["1.weight"] = [-128, -784] if damage == "shape" else told["1.weight"]
        if damage == "told":
            del told["1.weight"]
        metadata["packed"] = json.dumps(told)
    write_whole(file, {name: each.clone() for name, each in tensors.items()}, metadata)
    with pytest.raises(ValueError, match=r"1\.weight"):
        jp.load(mlp()[0], file)


def test_layers_that_gain_nothing_in_joules_are_pruned_for_bytes_and_run_dense():
    model, x = mlp()
    with pytest.raises(jp.BudgetError):
        jp.plan(model, x, energy="3%", profile=CPU, min_density=0.6)
    plan = jp.plan(model, x, energy="70%", profile=CPU, min_density=0.6, prune_for="bytes")
    assert [layer.layout for layer in plan.layers if layer.pattern != "dense"] == ["bitmap"] * len(plan.masks)
    assert plan.energy_j == plan.dense_j  # zeros alone save nothing on a CPU
    jp.Pruner(model, x, plan=plan).prune_now()
    told = decisions(jp.convert(model, x, plan=plan))
    assert [one.layout for one in told] == ["dense"] * len(plan.masks)
    assert all("kept" in one.reason and "save(packed=True)" in one.reason for one in told)


def test_multiply_adds_run_where_joules_say():
    """Of forms with as many multiply-adds the one of less energy: sparse only where that wins."""
    model, x = mlp()
    dense, sparse = (jp.plan(model, x, energy=share, profile=CPU, prune_for="macs") for share in ("90%", "2%"))
    assert dense.layers[0].kernel == "dense" and dense.energy_j <= dense.dense_j
    assert sparse.layers[0].kernel == "csr" and sparse.energy_j < dense.energy_j
    bound = jp.plan(model, x, energy="100%", profile=CPU, macs=sparse.amounts.used)
    assert bound.layers[0].kernel == "csr"


def test_what_runs_dense_under_multiply_adds_stays_dense_whatever_the_clock_says():
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10)), torch.randn(32, 256)
    plan = jp.plan(model, x, energy="80%", profile=CPU, prune_for="macs", min_density=0.75)
    assert [layer.layout for layer in plan.layers if layer.pattern != "dense"] == ["dense"] * len(plan.masks)
    jp.Pruner(model, x, plan=plan).prune_now()
    clock = iter(range(10**6))
    converted = jp.convert(model, x, plan=plan, timer=lambda run: 1.0 / (1 + next(clock)))
    assert jp.estimate(converted, x, profile=CPU).energy_j == plan.energy_j
    assert packed_bytes(converted) == plan.stored_bytes
    forced = jp.convert(model, x, plan=plan, force=True)
    assert [one.layout for one in decisions(forced)] == ["csr"] * len(plan.masks)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_dense_matrices_beside_sparse_ones_are_packed_too(kind, tmp_path):
    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.head = kind(32, 128, batch_first=True), nn.Linear(128, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.rnn(x)[0][:, -1])

    torch.manual_seed(0)
    model, x = Network().eval(), torch.randn(1, 3, 32)
    with torch.no_grad():  # few large weights: csr is the smaller form of this matrix, bits that of the other
        model.rnn.weight_hh_l0.mul_((torch.rand_like(model.rnn.weight_hh_l0) < 0.005) * 1000.0 + 1e-6)
    plan = jp.plan(model, x, energy="10%", profile=CPU, prune_for="bytes", importance="magnitude")
    assert {"csr", "bitmap"} <= {layer.layout for layer in plan.layers}
    jp.Pruner(model, x, plan=plan).prune_now()
    converted = jp.convert(model, x, plan=plan)
    assert packed_bytes(converted) == plan.stored_bytes <= plan.amounts.budget
    jp.save(converted, tmp_path / "m.safetensors", packed=True)
    assert torch.equal(jp.load(Network().eval(), tmp_path / "m.safetensors")(x), converted(x))


@pytest.mark.parametrize("prune_for", ["bytes", "macs"])
def test_a_schedule_meets_each_target_and_resumes(prune_for):
    schedule = jp.LinearDecay(end_step=4, frequency=1)

    def made():
        model, x = lenet()
        return jp.Pruner(model, x, energy="40%", profile=CPU, prune_for=prune_for, schedule=schedule)

    pruner, used = made(), []
    for step in range(5):
        pruner.step()
        amounts = pruner.plan.amounts
        share = schedule.value(step)
        assert amounts.used <= amounts.budget + (amounts.dense - amounts.budget) * (1 - share)
        used.append(amounts.used)
        if step == 2:
            state = pruner.state_dict()
    assert used == sorted(used, reverse=True) and pruner.done
    assert_rule(pruner.plan)
    resumed = made()
    resumed.load_state_dict(state)
    for _ in range(2):
        resumed.step()
    assert all(torch.equal(mask, resumed.plan.masks[name]) for name, mask in pruner.plan.masks.items())
    other, x = lenet()
    with pytest.raises(ValueError, match="prune_for: expected 'joules'"):
        jp.Pruner(other, x, energy="40%", profile=CPU).load_state_dict(state)


def test_bytes_beside_joules():
    model, x = mlp()
    free = jp.plan(model, x, energy="60%", profile=CPU)
    bound = jp.plan(model, x, energy="60%", profile=CPU, stored_bytes=0.5 * free.stored_bytes)
    assert bound.stored_bytes <= 0.5 * free.stored_bytes and bound.budget_j < free.budget_j
    jp.Pruner(model, x, plan=bound).prune_now()
    assert packed_bytes(jp.convert(model, x, plan=bound)) == bound.stored_bytes
    with pytest.raises(jp.BudgetError, match="stored_bytes: expected at most 10"):
        jp.plan(model, x, energy="60%", profile=CPU, stored_bytes=10)
    # The bounds go with other budgets too.
    few = jp.plan(model, x, energy="60%", profile=CPU, prune_for="bytes", macs=0.3 * 4 * 101632)
    assert few.amounts.budget < 0.6 * few.amounts.dense and counted_macs(few) <= 0.3 * 4 * 101632


def test_int8_and_half_types_are_counted_as_they_are_stored():
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(70, 64), nn.ReLU(), nn.Linear(64, 33)), torch.randn(32, 70)
    plan = jp.plan(model, x, energy="25%", profile=CPU, pattern="1x4", dtype="int8", prune_for="bytes")
    assert "int8" in {layer.dtype for layer in plan.layers}
    jp.Pruner(model, x, plan=plan).prune_now()
    assert packed_bytes(jp.convert(model, x, plan=plan)) == plan.amounts.used
    half = nn.Sequential(nn.Linear(70, 64), nn.ReLU(), nn.Linear(64, 33)).to(torch.bfloat16)
    plan = jp.Pruner(half, x.bfloat16(), energy="50%", profile=CPU, prune_for="bytes").prune_now()
    assert packed_bytes(half) == plan.amounts.used


def test_tied_weights_are_stored_under_each_name():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 32))
    model[2].weight = model[0].weight
    x = torch.randn(2, 32)
    plan = jp.Pruner(model, x, energy="50%", profile=CPU, prune_for="bytes").prune_now()
    assert packed_bytes(model) == plan.amounts.used <= 0.5 * plan.amounts.dense


@pytest.mark.parametrize(
    ("changes", "error", "told"),
    [
        ({"prune_for": "watts"}, ValueError, 'prune_for: expected "joules", "bytes" or "macs", got \'watts\''),
        ({"prune_for": None}, ValueError, "prune_for: expected"),
        ({"prune_for": ["bytes"]}, ValueError, r"prune_for: expected .*, got \['bytes'\]"),
        ({"prune_for": "bytes", "energy": 1e9}, jp.BudgetError, "at most the dense network's 407080 bytes"),
        ({"prune_for": "macs", "energy": 10}, jp.BudgetError, "the minimum is"),
        ({"prune_for": "bytes", "energy": "1%", "min_density": 0.5}, jp.BudgetError, "bytes is below the least"),
        ({"prune_for": "bytes", "energy": -1}, jp.BudgetError, "energy: expected a positive number of bytes, got -1"),
        ({"prune_for": "macs", "energy": 0}, jp.BudgetError, "a positive number of multiply-adds, got 0"),
        ({"prune_for": "macs", "energy": None}, jp.BudgetError, 'energy: expected "N%" or multiply-adds, got None'),
        ({"prune_for": "bytes", "energy": "0%"}, jp.BudgetError, "budget"),
        ({"prune_for": "bytes", "energy": "50%", "stored_bytes": -1}, ValueError, "stored_bytes: expected a positive"),
    ],
)
def test_bad_arguments(changes, error, told):
    model, x = mlp()
    with pytest.raises(error, match=told):
        jp.plan(model, x, **{"energy": "50%", "profile": CPU, "min_density": 0.1, **changes})


def test_the_minimum_of_a_refused_budget_can_be_reached():
    model, x = mlp()
    for prune_for in ("bytes", "macs"):
        with pytest.raises(jp.BudgetError) as told:
            jp.plan(model, x, energy=1, profile=CPU, prune_for=prune_for, min_density=0.2)
        plan = jp.plan(model, x, energy=told.value.minimum_j, profile=CPU, prune_for=prune_for, min_density=0.2)
        assert plan.amounts.used == plan.amounts.minimum == told.value.minimum_j


def test_rounds_layer_by_layer_go_by_joules():
    model, x = mlp()
    options = {"energy": "50%", "profile": CPU, "prune_for": "bytes", "train": lambda *_: None}
    assert jp.iterative(model, x, **options)[0].plan.amounts.used <= 0.5 * 407080
    with pytest.raises(ValueError, match="prune_for: a layer at a time goes by joules"):
        jp.iterative(mlp()[0], x, order="forward", **options)
    with pytest.raises(ValueError, match="prune_for: expected 'joules'"):
        jp.prune_to_floor(mlp()[0], x, profile=CPU, prune_for="macs", evaluate=lambda _: 1.0)


def test_admm_projects_onto_the_bytes():
    def made(energy):
        model, x = mlp()
        return jp.Admm(model, x, energy=energy, profile=CPU, prune_for="bytes", rho=1e-2, frequency=1)

    admm = made("40%")
    admm.step()
    with pytest.raises(ValueError, match="budget_j: expected"):
        made("50%").load_state_dict(admm.state_dict())
    made("40%").load_state_dict(admm.state_dict())
    assert admm.finish().plan.amounts.used <= 0.4 * 407080


@pytest.mark.parametrize(
    ("made_for", "changes", "told"),
    [
        ("macs", {"amounts": None}, "amounts: expected an object beside prune_for 'macs', got None"),
        ("macs", {"prune_for": "joules"}, "amounts: expected null beside prune_for 'joules', got {"),
        ("joules", {"prune_for": "bytes"}, "amounts: expected an object beside prune_for 'bytes'"),
        ("joules", {"prune_for": "watts"}, 'prune_for: expected "joules", "bytes" or "macs", got \'watts\''),
        ("joules", {"prune_for": ["macs"]}, "prune_for: expected"),
        ("macs", {"amounts": {"budget": 1.0}}, "amounts.used: missing"),
    ],
)
def test_plans_from_json_have_amounts_of_what_they_count(made_for, changes, told):
    model, x = mlp()
    plan = jp.plan(model, x, energy="50%", profile=CPU, prune_for=made_for)
    data = json.loads(plan.to_json())
    assert jp.Plan.from_json(json.dumps(data)) == plan
    with pytest.raises(ValueError, match=f"^Plan.from_json: {told}"):
        jp.Plan.from_json(json.dumps({**data, **changes}))
