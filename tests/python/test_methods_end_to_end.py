"""Each row of docs/methods.md on named networks, from the call to a network that runs and costs what was said."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from named_networks import NAMED, named
from test_methods import IDS, rows
from torch import nn

import jouleprune as jp

EYERISS, CPU = "eyeriss-65nm", "generic-cpu"
Net = tuple[nn.Module, torch.Tensor]


def batches(model: nn.Module, x: torch.Tensor, count: int = 3) -> list[tuple[torch.Tensor, torch.Tensor]]:
    torch.manual_seed(8)
    with torch.no_grad():
        return [(each, model(each).detach().roll(1, 0)) for each in (torch.randn_like(x) for _ in range(count))]


def runs(model: nn.Module, x: torch.Tensor, plan: jp.Plan) -> nn.Module:
    """What is deployed is within the budget, computes what the pruned network does, and costs what the plan says."""
    assert plan.energy_j <= plan.budget_j and (plan.energy_j > 0.99 * plan.budget_j or plan.maximal)
    deployed = jp.convert(model, x, plan=plan)
    joules = jp.estimate(deployed, x, profile=plan.profile).energy_j
    assert joules <= plan.energy_j  # less where kept weights happen to be zero
    with torch.no_grad():
        torch.testing.assert_close(deployed(x), model(x), rtol=1e-3, atol=1e-4)
    return deployed


def smaller(result: jp.Shrunk, x: torch.Tensor) -> None:
    plan = result.plan
    assert jp.estimate(result.model, x, profile=plan.profile).energy_j == result.energy_j <= plan.budget_j
    assert plan.energy_j > 0.99 * plan.budget_j or plan.maximal
    with torch.no_grad():
        assert torch.isfinite(result.model(x)).all()


def others(model: nn.Module) -> list[str]:
    """Layers that are no Linear layer and no convolution that reads windows."""
    kinds = (nn.LSTM, nn.GRU, nn.MultiheadAttention, nn.ConvTranspose2d)
    return [name for name, m in model.named_modules() if isinstance(m, kinds)]


def selecting(*importances: str, pattern: str = "unstructured", plain: bool = False) -> Callable[..., None]:
    """Each criterion under the budget, with data and a loss at hand; ``plain``: for Linear layers and convolutions."""

    def run(model: nn.Module, x: torch.Tensor) -> None:
        data, ignored = batches(model, x), others(model) if plain else []
        for importance in importances:
            net = copy.deepcopy(model)
            pruner = jp.Pruner(
                net, x, energy="97%" if ignored else "75%", profile=EYERISS, importance=importance, data=data,
                loss=F.mse_loss, pattern=pattern, ignored_layers=ignored,
            )  # fmt: skip
            runs(net, x, pruner.prune_now())

    return run


def e1(model, x):
    report = jp.estimate(model, x, profile="horowitz-45nm")
    assert report.energy_j == pytest.approx(sum(layer.energy_j for layer in report.layers)) and report.energy_j > 0


def e2(model, x):
    report = jp.estimate(model, x, profile=EYERISS)
    assert sum(layer.share for layer in report.layers) == pytest.approx(1)
    parts = [p.compute_j + p.memory_j + p.metadata_j + p.static_j for p in (layer.parts for layer in report.layers)]
    assert parts == pytest.approx([layer.energy_j for layer in report.layers])


def e4(model, x):
    report = jp.estimate(model, x, profile=EYERISS)
    whole, halved = jp.energy.macs(report), jp.energy.macs(report, form="halved")
    assert sum(whole.values()) == 2 * sum(halved.values()) > 0


def e5(model, x):
    table = jp.compare(model, x, profiles=[EYERISS, CPU, "generic-gpu-hbm", "fpga-like"], batches=[1])
    assert len(table.rows) == 4 and all(row.energy_j > 0 for row in table.rows)


def p5(model, x):
    wanted, optimizer = model(x).detach(), torch.optim.SGD(model.parameters(), lr=0.05)
    proximal = jp.Proximal(model, x, profile=EYERISS, strength=0.05)
    admm = jp.Admm(model, x, energy="75%", profile=EYERISS, rho=1.0, frequency=3)
    for _ in range(6):
        optimizer.zero_grad()
        (F.mse_loss(model(x), wanted) + admm.penalty()).backward()
        optimizer.step()
        proximal.step(0.05)
        admm.step()
    runs(model, x, admm.finish().plan)


def p7(model, x):
    pattern = ("channel", "head") if any(isinstance(m, nn.MultiheadAttention) for m in model.modules()) else "channel"
    smaller(jp.shrink(model, x, energy="80%", profile=EYERISS, pattern=pattern), x)
    pruner = jp.ChannelPruner(model, x, energy="80%", profile=EYERISS, pattern=pattern)
    pruner.prune_now()
    with torch.no_grad():
        torch.testing.assert_close(pruner.shrink().model(x), model(x), rtol=1e-4, atol=1e-5)


def p9(model, x):
    selecting("fisher", "movement")(model, x)
    if not others(model):
        plan = jp.plan(model, x, energy="75%", profile=EYERISS)
        found = jp.reconstruct(model, [each for each, _ in batches(model, x)], plan=plan, method="refit")
        assert found and all(each.error <= each.masked for each in found)
        runs(model, x, plan)


def p11(model, x):
    pytest.importorskip("pymoo")
    result = jp.evolve(model, x, profile=EYERISS, population=4, generations=1)
    one = result.front[0]
    pruner = jp.Pruner(model, x, plan=one.plan)
    assert pruner.prune_now().energy_j == one.energy_j


def p12(model, x):
    pytest.importorskip("tensorly")
    share = "97%" if others(model) else "85%"  # recurrent layers have no low rank
    smaller(jp.shrink(model, x, energy=share, profile=EYERISS, pattern="rank"), x)


def p13(model, x):
    result = jp.cascade(
        model, x, energy="60%", profile=EYERISS, structure="channel", pattern="unstructured", splits=(0.5,)
    )  # fmt: skip
    assert result.structure.energy_j < result.structure.dense_j
    runs(result.model, x, result.plan)


def p14(model, x):
    data = batches(model, x)
    losses = [F.mse_loss, F.l1_loss]
    pruner = jp.Pruner(model, x, energy="75%", profile=EYERISS, importance="multi_task", data=data, loss=losses)
    runs(model, x, pruner.prune_now())


def p15(model, x):
    dense = copy.deepcopy(model)
    runs(dense, x, jp.Pruner(dense, x, energy="75%", profile=EYERISS).prune_now())
    ignored = others(model)
    data = [each for each, _ in batches(model, x)]
    result = jp.eap(model, x, data, energy="97%" if ignored else "75%", profile=EYERISS, ignored_layers=ignored)
    runs(model, x, result.plan)


def t1(model, x):
    for schedule in (
        jp.OneShot(), jp.PolynomialDecay(end_step=2), jp.LinearDecay(end_step=2), jp.CosineDecay(end_step=2),
        jp.ExponentialDecay(end_step=2), jp.MultiStep(milestones=[0, 2]),
    ):  # fmt: skip
        net = copy.deepcopy(model)
        pruner = jp.Pruner(net, x, energy="75%", profile=EYERISS, schedule=schedule)
        for _ in range(3):
            pruner.step()
        assert pruner.done
        runs(net, x, pruner.plan)


def t2(model, x):
    for options in ({"rounds": 2}, {"order": "energy"}):
        net = copy.deepcopy(model)
        pruner, done = jp.iterative(net, x, energy="75%", profile=EYERISS, train=lambda *_: None, **options)
        assert done[-1].share == 1
        runs(net, x, pruner.plan)


def t3(model, x):
    wanted = model(x).detach()
    drop = 0.3 * float(wanted.square().mean())
    result = jp.prune_to_floor(
        model, x, profile=EYERISS, evaluate=lambda m: -float(F.mse_loss(m(x), wanted).detach()), max_drop=drop,
        tolerance=0.1,
    )  # fmt: skip
    assert result.metric >= result.dense_metric - drop and result.plan is not None
    assert result.energy_j == result.plan.energy_j < result.dense_j


def t4(model, x):
    losses = itertools.cycle([1.0, 2.0])
    schedule = jp.AdaptiveSchedule(lambda: next(losses), end_step=3, stride=0.4)
    pruner = jp.Pruner(model, x, energy="75%", profile=EYERISS, schedule=schedule)
    for _ in range(4):
        pruner.step()
    regrow = jp.Regrow(pruner, end_step=4, frequency=1, grow="random")
    before = dict(pruner.plan.masks)
    regrow.step(), regrow.step()
    assert any(not torch.equal(before[name], bits) for name, bits in pruner.plan.masks.items())
    runs(model, x, pruner.plan)


def t5(model, x):
    early = jp.Rewind(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01)
    pruner = jp.Pruner(model, x, energy="75%", profile=EYERISS)
    pruner.prune_now()
    early.rewind(pruner)
    runs(model, x, pruner.plan)


def t6(model, x):
    teacher = model(x).detach().flatten(1)
    if any(isinstance(m, nn.Linear) and m.in_features >= 64 for m in model.modules()):
        plan = jp.plan(model, x, energy="100%", profile=CPU, pattern="1x4", dtype="int8")
        assert plan.energy_j <= plan.budget_j
    pruner = jp.Pruner(model, x, energy="75%", profile=EYERISS)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    pruner.prune_now()
    for _ in range(2):
        optimizer.zero_grad()
        jp.distillation_loss(model(x).flatten(1), teacher).backward()
        optimizer.step()
        pruner.step()
    runs(model, x, pruner.plan)


def r1(model, x):
    pruner = jp.Pruner(model, x, energy="40%" if isinstance(model, nn.Sequential) else "75%", profile=EYERISS)
    pruner.prune_now()
    with torch.no_grad():
        wanted = model(x)
        torch.testing.assert_close(jp.remove_dead_units(model, x).model(x), wanted, rtol=1e-4, atol=1e-5)


def r2(model, x):
    result = jp.shrink(model, x, energy="80%", profile=EYERISS, pattern="channel", round_to=2)
    smaller(result, x)
    assert all(choice.kept % 2 == 0 for choice in result.plan.choices if choice.kept < choice.units)


def r3(model, x):
    with torch.no_grad():
        wanted = model(x)
        found = jp.reorder(model, x, pattern="16x4", trials=5).model
        torch.testing.assert_close(found(x), wanted, rtol=1e-4, atol=1e-5)


def r4(model, x):
    found = jp.metrics(model, x, profile=EYERISS, seconds=0)
    assert found.energy_j > 0 and found.macs_issued > 0 and found.size.parameters > 0
    points = jp.sweep(model, x, profile=EYERISS, budgets=["80%", "90%"])
    assert len(list(points)) >= 2


def r5(model, x):
    plan = jp.Pruner(model, x, energy="75%", profile=EYERISS).prune_now()
    assert all(layer.reason for layer in plan.layers) and plan.next_unit is not None
    assert str(jp.explain(jp.convert(model, x, plan=plan)))
    assert "layers" in jp.report(model, x, profiles=EYERISS, plans=[plan]).to_json()


def r6(model, x, tmp_path):
    pruner = jp.Pruner(model, x, energy="75%", profile=EYERISS)
    deployed = jp.convert(model, x, plan=pruner.prune_now(), force=True)
    jp.save(deployed, tmp_path / "m.safetensors")
    loaded = jp.load(copy.deepcopy(model), tmp_path / "m.safetensors")
    exported = torch.export.export(deployed, (x,)).module()
    with torch.no_grad():
        assert torch.equal(loaded(x), deployed(x))
        torch.testing.assert_close(exported(x), deployed(x))
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    path = str(jp.export_onnx(deployed, x, tmp_path / "m.onnx").path)
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (given,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    torch.testing.assert_close(torch.from_numpy(given), deployed(x).detach(), rtol=1e-3, atol=1e-4)


ROWS: dict[str, Callable[..., None]] = {
    "E1": e1, "E2": e2, "E3": selecting("connection_low", "connection_high", plain=True), "E4": e4, "E5": e5,
    "P1": selecting("magnitude"), "P2": selecting("gradient/sum", "taylor"), "P3": selecting("random/sum"),
    "P4": selecting("l1/sum", "l2/sum", "linf/sum", pattern="4x1"), "P5": p5,
    "P6": selecting("wanda", "apoz", "mean_activation", plain=True), "P7": p7,
    "P8": selecting("t_test/sum", "f_test/sum"),
    "P9": p9, "P10": selecting("lamp", "fpgm/sum"), "P11": p11, "P12": p12, "P13": p13, "P14": p14, "P15": p15,
    "T1": t1, "T2": t2, "T3": t3, "T4": t4, "T5": t5, "T6": t6,
    "R1": r1, "R2": r2, "R3": r3, "R4": r4, "R5": r5, "R6": r6,
}  # fmt: skip


#: Each row on every network; a third of them in the quick tier, so that each network and each row is there.
CASES = [
    pytest.param(network, row, marks=[] if (i + j) % 3 == 0 else [pytest.mark.slow], id=f"{row}, {network}")
    for i, network in enumerate(NAMED)
    for j, row in enumerate(ROWS)
]


@pytest.mark.parametrize(("network", "row"), CASES)
def test_a_row_on_a_named_network(network, row, tmp_path):
    pytest.importorskip("torch_pruning")
    model, x = named(network)
    ROWS[row](model, x, *([tmp_path] if row == "R6" else []))


def test_every_row_is_run():
    assert set(ROWS) == set(IDS) == set(rows())
