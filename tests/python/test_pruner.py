"""The Pruner in training loops: the schedule meets its energies, and no pruned weight ever comes back."""

from __future__ import annotations

import copy
import os

import pytest
import torch
from networks import NETWORKS, mlp, shared
from torch import nn

import jouleprune as jp


def zeros(pruner: jp.Pruner, model: nn.Module) -> dict[str, torch.Tensor]:
    """Where the plan removed weights, by parameter."""
    return {
        name: ~jp.ops.unpack_mask(bits, list(model.get_parameter(name).shape))
        for name, bits in pruner.plan.masks.items()
    }


def assert_pruned(pruner: jp.Pruner, model: nn.Module) -> None:
    removed = zeros(pruner, model)
    assert removed
    for name, where in removed.items():
        assert where.any()
        assert not model.get_parameter(name).detach()[where].any(), name


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(16, 1, 28, 28), torch.randint(10, (16,))


OPTIMIZERS = {
    "sgd-momentum": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9),
    "nesterov-decay": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=1e-2, nesterov=True),
    "adam": lambda p: torch.optim.Adam(p, lr=1e-3),
    "adamw": lambda p: torch.optim.AdamW(p, lr=1e-3, weight_decay=0.1),
    "adam-fused": lambda p: torch.optim.Adam(p, lr=1e-3, fused=True),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=1e-3, momentum=0.9),
}


def test_momentum_decays_where_weights_stay_zero():
    model, x = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.5)
    model(x).square().mean().backward()
    optimizer.step()  # before masks there are
    pruner = jp.Pruner(model, x, energy="20%", profile="eyeriss-65nm")
    pruner.prune_now()
    weight = pruner.parameter("1.weight")
    removed = ~jp.ops.unpack_mask(pruner.plan.masks["1.weight"], weight.shape)
    for _ in range(3):
        before = optimizer.state[weight]["momentum_buffer"][removed].clone()
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
        pruner.step()
        assert bool(before.any()) and torch.equal(optimizer.state[weight]["momentum_buffer"][removed], before / 2)
        assert not weight[removed].any()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_pruned_weights_stay_zero(optimizer):
    model, x = mlp()
    optimizer = OPTIMIZERS[optimizer](model.parameters())
    loss = nn.CrossEntropyLoss()
    for _ in range(3):  # momentum from before pruning must not revive anything either
        data, target = batch()
        loss(model(data), target).backward()
        optimizer.step()
        optimizer.zero_grad()
    pruner = jp.Pruner(model, x, energy="20%", profile="eyeriss-65nm")
    for _ in range(5):
        data, target = batch()
        loss(model(data), target).backward()
        optimizer.step()
        pruner.step()
        assert_pruned(pruner, model)
        optimizer.zero_grad()


def test_gradients_of_pruned_weights_are_masked_as_they_accumulate():
    model, x = mlp()
    pruner = jp.Pruner(model, x, energy="20%", profile="eyeriss-65nm")
    pruner.step()
    for _ in range(2):  # accumulation
        data, target = batch()
        nn.functional.cross_entropy(model(data), target).backward()
        for name, where in zeros(pruner, model).items():
            grad = model.get_parameter(name).grad
            assert not grad[where].any()
            assert grad[~where].any()


def test_grad_scaler():
    model, x = mlp()
    pruner = jp.Pruner(model, x, energy="20%", profile="eyeriss-65nm")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    for step in range(4):
        data, target = batch()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = nn.functional.cross_entropy(model(data), target)
        scaler.scale(loss * (float("inf") if step == 2 else 1.0)).backward()  # one skipped step
        scaler.step(optimizer)
        scaler.update()
        pruner.step()
        optimizer.zero_grad()
        assert_pruned(pruner, model)


@pytest.mark.slow
def test_compiled_step():
    model, x = mlp()
    pruner = jp.Pruner(model, x, energy="20%", profile="eyeriss-65nm")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    compiled = torch.compile(model, backend="aot_eager")

    @torch.compile(backend="eager")
    def update() -> None:
        optimizer.step()

    for _ in range(3):
        data, target = batch()
        nn.functional.cross_entropy(compiled(data), target).backward()
        update()
        pruner.step()
        optimizer.zero_grad()
        assert_pruned(pruner, model)


def test_deepcopy_keeps_model_and_pruner_together():
    model, x = mlp()
    pruner = jp.Pruner(model, x, energy="20%", profile="eyeriss-65nm")
    pruner.step()
    twin, twin_pruner = copy.deepcopy((model, pruner))
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-2)
    for _ in range(3):
        data, target = batch()
        nn.functional.cross_entropy(twin(data), target).backward()
        optimizer.step()
        twin_pruner.step()
        assert_pruned(twin_pruner, twin)
    assert_pruned(pruner, model)
    assert not torch.equal(twin[1].weight, model[1].weight)
    alone = copy.deepcopy(model)  # a copy without its pruner keeps the zeros it was copied with
    assert torch.equal(alone[1].weight, model[1].weight)


def test_polynomial_decay_meets_each_energy():
    model, x = NETWORKS["lenet"]()
    schedule = jp.PolynomialDecay(begin_step=2, end_step=12, frequency=5)
    pruner = jp.Pruner(model, x, energy="25%", profile="eyeriss-65nm", schedule=schedule)
    dense_j, budget_j = pruner.dense_j, pruner.budget_j
    energies = []
    for _ in range(15):
        pruner.step()
        energies.append(pruner.energy_j)
    assert energies[:2] == [dense_j] * 2
    for step in range(2, 13):
        updated = 2 + (step - 2) // 5 * 5
        target = budget_j + (dense_j - budget_j) * (1 - (updated - 2) / 10) ** 3
        assert energies[step] <= target * (1 + 1e-12)
        assert energies[step] > 0.98 * target
    assert pruner.done and energies[-1] <= budget_j and energies[-1] > 0.99 * budget_j


def test_schedule_on_a_cpu_decides_layers_once_and_ends_at_the_budget():
    model, x = mlp()
    minimum = jp.plan(model, x, energy="99%", profile="generic-cpu").minimum_j
    dense_j = jp.estimate(model, x, profile="generic-cpu").energy_j
    energy = minimum + 0.3 * (dense_j - minimum)
    pruner = jp.Pruner(
        model, x, energy=energy, profile="generic-cpu", schedule=jp.PolynomialDecay(end_step=6, frequency=2)
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    kept = []
    for _ in range(8):
        data, target = batch()
        nn.functional.cross_entropy(model(data), target).backward()
        optimizer.step()
        pruner.step()
        optimizer.zero_grad()
        kept.append(sum(layer.kept for layer in pruner.plan.layers))
    assert pruner.energy_j <= energy
    assert kept == sorted(kept, reverse=True) and kept[0] > kept[-1]
    converted = jp.convert(model, x, plan=pruner.plan)
    assert jp.estimate(converted, x, profile="generic-cpu").energy_j == pruner.energy_j


def test_plan_first_then_prune():
    model, x = NETWORKS["lenet"]()
    plan = jp.plan(model, x, energy="40%", profile="eyeriss-65nm")
    pruner = jp.Pruner(model, x, plan=plan)
    pruner.prune_now()
    assert pruner.energy_j == plan.energy_j
    for name, bits in plan.masks.items():
        assert torch.equal(bits, pruner.plan.masks[name])


def test_shared_weights_are_paid_per_call():
    model, x = shared()
    report = jp.estimate(model, x, profile="eyeriss-65nm")
    assert [layer.name for layer in report.layers if layer.op == "linear"] == ["0", "0", "4"]
    pruner = jp.Pruner(model, x, energy="50%", profile="eyeriss-65nm")
    pruner.prune_now()
    assert len([layer for layer in pruner.plan.layers if layer.name == "0"]) == 1
    assert pruner.energy_j <= pruner.budget_j
    converted = jp.convert(model, x, plan=pruner.plan)
    assert jp.estimate(converted, x, profile="eyeriss-65nm").energy_j == pruner.energy_j


@pytest.mark.parametrize("importance", ["lamp", "magnitude", "gradient", "taylor"])
def test_importances(importance):
    model, x = mlp()
    if importance in ("gradient", "taylor"):
        with pytest.raises(ValueError, match="grad"):
            jp.plan(model, x, energy="50%", profile="eyeriss-65nm", importance=importance)
        data, target = batch()
        nn.functional.cross_entropy(model(data), target).backward()
    plan = jp.plan(model, x, energy="50%", profile="eyeriss-65nm", importance=importance)
    assert plan.importance == importance
    assert plan.energy_j <= plan.budget_j


def test_a_callable_is_an_importance():
    model, x = mlp()

    def keep_first_columns(name, weight, grad):
        return torch.arange(weight.shape[1], 0, -1.0).expand_as(weight)

    pruner = jp.Pruner(model, x, energy="50%", profile="eyeriss-65nm", importance=keep_first_columns)
    pruner.prune_now()
    kept = (model[1].weight != 0).sum(0)
    assert kept[0] >= kept[-1] and kept[0] == 128


def test_ignored_layers_and_floors():
    model, x = NETWORKS["lenet"]()
    plan = jp.plan(
        model, x, energy="60%", profile="eyeriss-65nm", ignored_layers=[model[0], "9"], min_density={"7.weight": 0.5}
    )
    assert {layer.name for layer in plan.layers} == {"3", "7"}
    assert next(layer for layer in plan.layers if layer.name == "7").density >= 0.5


def test_state_dict_resumes():
    model, x = mlp()
    schedule = jp.PolynomialDecay(end_step=10, frequency=3)
    pruner = jp.Pruner(model, x, energy="20%", profile="eyeriss-65nm", schedule=schedule)
    for _ in range(5):
        pruner.step()
    weights, state = copy.deepcopy(model.state_dict()), pruner.state_dict()
    for _ in range(6):
        pruner.step()
    again, _ = mlp()
    again.load_state_dict(weights)
    resumed = jp.Pruner(again, x, energy="20%", profile="eyeriss-65nm", schedule=schedule)
    resumed.load_state_dict(state)
    for _ in range(6):
        resumed.step()
    assert resumed.plan.to_json() == pruner.plan.to_json()
    assert torch.equal(again[1].weight, model[1].weight)


def _ddp_worker(rank: int, folder: str) -> None:
    import torch.distributed as dist

    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    torch.set_num_threads(1)
    model, x = mlp()
    ddp = nn.parallel.DistributedDataParallel(model)
    pruner = jp.Pruner(model, x, energy="20%", profile="eyeriss-65nm")
    optimizer = torch.optim.SGD(ddp.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-2)
    torch.manual_seed(rank)  # different data on each rank
    for _ in range(4):
        data, target = batch()
        nn.functional.cross_entropy(ddp(data), target).backward()
        optimizer.step()
        pruner.step()
        optimizer.zero_grad()
        assert_pruned(pruner, model)
    torch.save((model.state_dict(), dict(pruner.plan.masks)), f"{folder}/rank{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_ddp_two_ranks(tmp_path):
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    torch.multiprocessing.spawn(_ddp_worker, (str(tmp_path),), nprocs=2)
    (weights0, masks0), (weights1, masks1) = (torch.load(tmp_path / f"rank{rank}.pt") for rank in range(2))
    assert masks0.keys() == masks1.keys() and masks0
    assert all(torch.equal(masks0[name], masks1[name]) for name in masks0)
    assert all(torch.equal(weights0[name], weights1[name]) for name in weights0)


def test_schedules():
    schedule = jp.PolynomialDecay(initial=0.0, final=0.2, begin_step=1000, end_step=10000)
    assert schedule.value(1000) == 0.0
    assert schedule.value(5500) == pytest.approx(0.2 * (1 - 0.5**3))
    assert schedule.value(10000) == schedule.value(20000) == 0.2
    ahead = jp.PolynomialDecay(initial=0.2, end_step=10, power=1)
    assert (ahead.value(0), ahead.value(5), ahead.value(10)) == (pytest.approx(0.2), pytest.approx(0.6), 1.0)
    assert [
        step for step in range(12) if jp.PolynomialDecay(end_step=9, begin_step=1, frequency=3).updates_at(step)
    ] == [1, 4, 7, 9]


@pytest.mark.parametrize("network", ["mlp", "lenet"])
def test_report(network):
    model, x = NETWORKS[network]()
    pruner = jp.Pruner(model, x, energy="50%", profile="eyeriss-65nm")
    assert pruner.report().before.energy_j == pruner.report().after.energy_j
    pruner.prune_now()
    report = pruner.report()
    assert report.after.energy_j == pruner.energy_j < report.before.energy_j
    text = str(report)
    assert "modelled" in text and "eyeriss-65nm" in text
    for layer in report.after.layers:
        assert layer.name in text
