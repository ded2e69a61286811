"""Two processes on gloo: replicated and sharded networks get the same masks to the bit, whatever data each sees; an
error of one is an error of all."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from networks import mlp
from torch import Tensor, nn

import jouleprune as jp
from jouleprune._ranks import Ranks

P = "eyeriss-65nm"
SCHEDULE = jp.PolynomialDecay(end_step=4, frequency=2)


def run_all(rank: int, folder: str, works: list[str]) -> None:
    """One process: each piece of work in turn, its result or its error in a file."""
    torch.set_num_threads(1)
    store = f"file://{folder}/store"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=2, timeout=timedelta(seconds=60))
    for work in works:
        torch.manual_seed(100 + rank)  # other data on each rank
        try:
            found = {"result": WORKS[work](rank)}
        except Exception as error:
            found = {"error": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()}
        torch.save(found, Path(folder, f"{work}{rank}.pt"))
        dist.barrier()
    dist.destroy_process_group()


def train(model: nn.Module, pruner: jp.Pruner, steps: int = 6) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        x, target = torch.randn(16, 1, 28, 28), torch.randint(10, (16,))
        nn.functional.cross_entropy(model(x), target).backward()
        optimizer.step()
        pruner.step()


def kept(pruner: jp.Pruner) -> dict[str, Tensor]:
    return {name: mask.clone() for name, mask in pruner.plan.masks.items()}


def replicated(rank: int, **options) -> tuple[nn.Module, jp.Pruner]:
    model, x = mlp()
    ddp = nn.parallel.DistributedDataParallel(model)
    return ddp, jp.Pruner(ddp, x, energy="20%", profile=P, schedule=SCHEDULE, **options)


def data() -> list[tuple[Tensor, Tensor]]:
    return [(torch.randn(8, 1, 28, 28), torch.randint(10, (8,))) for _ in range(2)]


def of_replicas(**options) -> Callable[[int], object]:
    def work(rank: int) -> object:
        given = {name: make() if callable(make) and name == "data" else make for name, make in options.items()}
        ddp, pruner = replicated(rank, **given)
        train(ddp, pruner)
        return kept(pruner), ddp.module.state_dict(), pruner.energy_j <= pruner.budget_j

    return work


def sharded(rank: int, **options) -> tuple[nn.Module, jp.Pruner]:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    model, x = mlp()
    mesh = init_device_mesh("cpu", (2,))
    for module in (model[1], model[3], model):
        fully_shard(module, mesh=mesh)
    return model, jp.Pruner(model, x, energy="20%", profile=P, schedule=SCHEDULE, **options)


def of_shards(**options) -> Callable[[int], object]:
    def work(rank: int) -> object:
        model, pruner = sharded(rank, **options)
        train(model, pruner)
        weights = {name: parameter.full_tensor() for name, parameter in model.named_parameters()}
        return kept(pruner), weights, pruner.energy_j <= pruner.budget_j

    return work


def alike(rank: int) -> object:
    """The same data on both ranks, so that replicas, shards and one process do the same up to roundings."""
    torch.manual_seed(5)
    _, pruner = sharded(rank)
    pruner.prune_now()
    plain, x = mlp()
    alone = jp.Pruner(plain, x, energy="20%", profile=P)
    alone.prune_now()
    return kept(pruner), kept(alone)


def gradients_stay_masked(rank: int) -> object:
    model, pruner = sharded(rank)
    pruner.prune_now()
    model(torch.randn(4, 1, 28, 28)).sum().backward()
    grads = {name: model.get_parameter(name).grad.full_tensor() for name in pruner.plan.masks}
    masks = {name: jp.ops.unpack_mask(mask, grads[name].shape) for name, mask in pruner.plan.masks.items()}
    return all(bool((grads[name][~masks[name]] == 0).all()) and bool(grads[name].any()) for name in grads)


def one_fails(rank: int) -> object:
    """A loader that breaks on rank 1, at the first selection."""

    def broken():
        raise OSError("disk gone")
        yield

    class Loader:
        def __iter__(self):
            return broken() if rank == 1 else iter(data())

    ddp, pruner = replicated(rank, importance="wanda", data=Loader())
    try:
        pruner.prune_now()
    finally:
        assert not any((parameter == 0).any() for parameter in ddp.module.parameters() if parameter.dim() > 1)
    return None


def other_inputs(rank: int) -> object:
    model, x = mlp()
    ddp = nn.parallel.DistributedDataParallel(model)
    return jp.Pruner(ddp, x if rank == 0 else x[:2], energy="20%", profile=P)


def other_weights(rank: int) -> object:
    ddp, pruner = replicated(rank)
    torch.manual_seed(rank)
    with torch.no_grad():
        ddp.module[1].weight += torch.rand_like(ddp.module[1].weight)
    return pruner.prune_now()


def sharded_needs_no_run(rank: int) -> object:
    _, pruner = sharded(rank, importance="wanda", data=data())
    return pruner.prune_now()


def channels(rank: int) -> object:
    """Whole channels by a criterion of data, and by one of the present gradients; each rank has other data."""
    found = []
    for options in ({"importance": "wanda", "data": data()}, {"importance": "taylor"}):
        model, x = mlp()
        ddp = nn.parallel.DistributedDataParallel(model)
        nn.functional.cross_entropy(ddp(torch.randn(16, 1, 28, 28)), torch.randint(10, (16,))).backward()
        pruner = jp.ChannelPruner(ddp, x, energy="60%", profile=P, schedule=SCHEDULE, **options)
        train(ddp, pruner, 5)
        found.append((pruner.plan.to_json(), model.state_dict(), pruner.energy_j <= pruner.budget_j and pruner.done))
    return found


def channels_of_shards(rank: int) -> object:
    model, _ = sharded(rank)
    return jp.ChannelPruner(model, mlp()[1], energy="60%", profile=P)


def regrown(rank: int, forgets: bool = False, **options) -> object:
    ddp, pruner = replicated(rank)
    pruner.prune_now()
    before = kept(pruner)
    regrow = jp.Regrow(pruner, end_step=8, frequency=2, **options)
    optimizer = torch.optim.SGD(ddp.parameters(), lr=0.05, momentum=0.9)
    for _ in range(1 if forgets else 5):
        optimizer.zero_grad()
        x, target = torch.randn(16, 1, 28, 28), torch.randint(10, (16,))
        nn.functional.cross_entropy(ddp(x), target).backward()
        optimizer.step()
        regrow.step()
    if forgets:
        regrow.step()
        if rank == 0:  # of the step that moves masks only rank 0 runs backward, outside of DDP
            ddp.module(torch.randn(2, 1, 28, 28)).sum().backward()
        regrow.step()
    after = kept(pruner)
    assert not any(torch.equal(after[name], mask) for name, mask in before.items())
    return after, ddp.module.state_dict(), pruner.energy_j <= pruner.budget_j


def regrown_by_hand(rank: int) -> object:
    """Both processes against one that sees both their batches: the mean of the gradients is that of the whole batch."""
    x, target = data()[0]  # another one on each rank
    ddp, pruner = replicated(rank)
    pruner.prune_now()
    alone, example = mlp()
    single = jp.Pruner(alone, example, energy="20%", profile=P)
    single.prune_now()
    gathered: list = [None, None]
    dist.all_gather_object(gathered, (x, target))
    both = [torch.cat(parts) for parts in zip(*gathered, strict=True)]
    for model, owner, batch in ((ddp, pruner, (x, target)), (alone, single, both)):
        regrow = jp.Regrow(owner, end_step=8, frequency=1)
        regrow.step()
        nn.functional.cross_entropy(model(batch[0]), batch[1]).backward()
        regrow.step()
    ours, theirs = kept(pruner), kept(single)
    bits = {name: (jp.ops.unpack_mask(ours[name], single.parameter(name).shape),
                   jp.ops.unpack_mask(theirs[name], single.parameter(name).shape)) for name in ours}  # fmt: skip
    return {name: float((a == b).double().mean()) for name, (a, b) in bits.items()}


def not_gathered(rank: int) -> object:
    """Rows that two processes do not share evenly, and one layer of a single row: a process has nothing of it."""
    from jouleprune import selection

    def gathers(*_: object) -> None:
        raise AssertionError("weights were gathered")

    def network() -> tuple[nn.Module, Tensor]:
        torch.manual_seed(3)
        layers = [nn.Linear(40, 31), nn.ReLU(), nn.Linear(31, 7), nn.ReLU(), nn.Linear(7, 1)]
        model = nn.Sequential(*layers)
        with torch.no_grad():
            model[0].weight.copy_((model[0].weight * 40).round() / 40)  # ties across shards
        return model, torch.randn(2, 40)

    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    found, before = [], selection.whole_weights
    for importance in ("magnitude", "gradient", "taylor"):
        model, x = network()
        alone, _ = network()
        alone(x).square().mean().backward()
        mesh = init_device_mesh("cpu", (2,))
        for module in (model[0], model[2], model[4], model):
            fully_shard(module, mesh=mesh)
        model(x).square().mean().backward()
        selection.whole_weights = gathers
        try:
            options = {"energy": "40%", "profile": P, "importance": importance, "schedule": SCHEDULE}
            pruner = jp.Pruner(model, x, **options)
            single = jp.Pruner(alone, x, **options)
            for _ in range(5):
                pruner.step(), single.step()
                found.append((importance, pruner.plan.to_json() == single.plan.to_json(), kept(pruner), kept(single)))
        finally:
            selection.whole_weights = before
    return found


def any_of(rank: int) -> object:
    ranks = Ranks()
    return [ranks.any_of(rank == 1), ranks.any_of(False), ranks.any_of(True)]


def overflow_of_one(rank: int) -> object:
    """Gradients that overflow on rank 1 alone make both wait a step, so that they go on selecting together."""
    ddp, pruner = replicated(rank, importance="gradient")
    found = []
    for overflows in (True, False):
        ddp.zero_grad()
        nn.functional.cross_entropy(ddp(torch.randn(16, 1, 28, 28)), torch.randint(10, (16,))).backward()
        if overflows and rank == 1:
            ddp.module[1].weight.grad[0, 0] = torch.inf
        pruner.step()
        found.append((pruner.state_dict()["owed"], pruner.state_dict()["plan"] is not None))
    return found, kept(pruner)


WORKS: dict[str, Callable[[int], object]] = {
    "replicas": of_replicas(),
    "replicas_taylor": of_replicas(importance="taylor"),
    "replicas_wanda": of_replicas(importance="wanda", data=data),
    "replicas_fisher": of_replicas(importance="fisher", data=data, loss=nn.functional.cross_entropy, pattern="16x1"),
    "shards": of_shards(),
    "shards_taylor": of_shards(importance="taylor", pattern="2:4"),
    "shards_magnitude": of_shards(importance="magnitude"),
    "channels": channels,
    "channels_of_shards": channels_of_shards,
    "alike": alike,
    "replicas_regrown": regrown,
    "replicas_regrown_at_random": partial(regrown, grow="random"),
    "regrown_by_hand": regrown_by_hand,
    "regrow_forgets": partial(regrown, forgets=True),
    "regrow_seeds": lambda rank: regrown(rank, grow="random", seed=rank),
    "not_gathered": not_gathered,
    "any_of": any_of,
    "overflow_of_one": overflow_of_one,
    "masked": gradients_stay_masked,
    "fails": one_fails,
    "inputs": other_inputs,
    "weights": other_weights,
    "wanda_on_shards": sharded_needs_no_run,
}


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict[str, list[dict[str, object]]]:
    """By piece of work: what both ranks found. One pair of processes does all."""
    folder = tmp_path_factory.mktemp("ranks")
    before = os.environ.get("GLOO_SOCKET_IFNAME")
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    try:
        torch.multiprocessing.spawn(run_all, (str(folder), list(WORKS)), nprocs=2)
    finally:
        if before is None:
            del os.environ["GLOO_SOCKET_IFNAME"]
    return {work: [torch.load(folder / f"{work}{rank}.pt", weights_only=False) for rank in (0, 1)] for work in WORKS}


@pytest.mark.slow
@pytest.mark.parametrize("work", [name for name in WORKS if name.startswith(("replicas", "shards"))])
def test_masks_and_weights_are_equal_on_all_ranks(found, work):
    for rank in found[work]:
        assert "error" not in rank, rank.get("trace")
    (masks0, weights0, within0), (masks1, weights1, within1) = (rank["result"] for rank in found[work])
    assert within0 and within1 and masks0 and masks0.keys() == masks1.keys()
    assert all(torch.equal(masks0[name], masks1[name]) for name in masks0)
    assert all(torch.equal(weights0[name], weights1[name]) for name in weights0)
    for name, mask in masks0.items():
        removed = ~jp.ops.unpack_mask(mask, weights0[name].shape)
        assert removed.any() and not weights0[name][removed].any()


@pytest.mark.slow
def test_shards_are_selected_without_gathering_them(found):
    for rank in found["not_gathered"]:
        assert "error" not in rank, rank.get("trace")
        for importance, same_plan, ours, alone in rank["result"]:
            assert same_plan or importance != "magnitude"  # gradients of shards are summed in another order
            assert ours.keys() == alone.keys()
            if importance == "magnitude":
                assert all(torch.equal(ours[name], alone[name]) for name in ours)
        assert all(step[2] for step in rank["result"][2::5])  # masks, when a part of the removal is done
    for (_, _, masks0, _), (_, _, masks1, _) in zip(*(rank["result"] for rank in found["not_gathered"]), strict=True):
        assert all(torch.equal(masks0[name], masks1[name]) for name in masks0)


@pytest.mark.slow
def test_what_one_process_sees_counts_in_all(found):
    assert [rank.get("result", rank.get("trace")) for rank in found["any_of"]] == [[True, False, True]] * 2
    for rank in found["overflow_of_one"]:
        assert "error" not in rank, rank.get("trace")
        assert rank["result"][0] == [(True, False), (False, True)]
    (_, masks0), (_, masks1) = (rank["result"] for rank in found["overflow_of_one"])
    assert masks0 and all(torch.equal(masks0[name], masks1[name]) for name in masks0)


@pytest.mark.slow
def test_replicas_lose_the_same_channels(found):
    pytest.importorskip("torch_pruning")
    for rank in found["channels"]:
        assert "error" not in rank, rank.get("trace")
    for (plan0, weights0, met0), (plan1, weights1, met1) in zip(
        *(rank["result"] for rank in found["channels"]), strict=True
    ):
        assert plan0 == plan1 and met0 and met1
        assert all(torch.equal(weights0[name], weights1[name]) for name in weights0)
    for rank in found["channels_of_shards"]:
        assert "model: expected whole parameters" in rank["error"]


@pytest.mark.slow
def test_shards_are_pruned_as_one_process_would(found):
    for rank in found["alike"]:
        assert "error" not in rank, rank.get("trace")
        ours, alone = rank["result"]
        assert ours.keys() == alone.keys() and all(torch.equal(ours[name], alone[name]) for name in ours)


@pytest.mark.slow
def test_weights_grow_by_the_gradient_of_the_whole_batch(found):
    for rank in found["regrown_by_hand"]:
        assert "error" not in rank, rank.get("trace")
        assert all(share > 0.999 for share in rank["result"].values()), rank  # equal up to ties within roundings


@pytest.mark.slow
def test_gradients_of_shards_are_masked_as_they_arrive(found):
    assert [rank.get("result", rank.get("trace")) for rank in found["masked"]] == [True, True]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("work", "told"),
    [
        ("fails", ["RuntimeError: importance: failed in another process: rank 1: OSError: disk gone", "OSError: disk"]),
        ("inputs", ["RuntimeError: example_inputs: the recorded forward pass: expected the same in all processes"] * 2),
        ("weights", ["RuntimeError: masks: expected the same in all processes, but rank 1 has others"] * 2),
        (
            "regrow_forgets",
            [
                "RuntimeError: Regrow: failed in another process: rank 1: ValueError: Regrow: ",
                "ValueError: Regrow: '1.",
            ],
        ),
        ("regrow_seeds", ["RuntimeError: masks: expected the same in all processes, but rank 1 has others"] * 2),
        ("wanda_on_shards", ["ValueError: importance 'wanda' runs the network, whose weights are sharded"] * 2),
    ],
)
def test_an_error_of_one_is_an_error_of_all(found, work, told):
    for rank, expected in zip(found[work], told, strict=True):
        assert str(rank.get("error", rank)).startswith(expected)
