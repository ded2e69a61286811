"""Ways of training that people combine with pruning: mixed precision, gradients that accumulate, tied and frozen
weights, compiled networks, copies made halfway. Masks hold, the optimizer keeps its state, the budget holds."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import jouleprune as jp

EYERISS = "eyeriss-65nm"


class Tied(nn.Module):
    """Two layers of one weight, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.head = nn.Linear(24, 24), nn.Linear(24, 24), nn.Linear(24, 10)
        self.two.weight = self.one.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.two(torch.relu(self.one(x)))))


def plain() -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(24, 32), nn.ReLU(), nn.Linear(32, 10)), torch.randn(4, 24)


def tied() -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(4)
    return Tied(), torch.randn(4, 24)


def frozen() -> tuple[nn.Module, torch.Tensor]:
    model, x = plain()
    model[0].requires_grad_(False)
    return model, x


NETWORKS = {"plain": plain, "tied": tied, "frozen": frozen}


class Loop:
    """A pruner, what moves its masks, an optimizer with momentum and decay, and a proximal step, in one loop."""

    def __init__(self, make, *, regrow: bool = False, **options) -> None:
        self.model, x = make()
        self.example, self.network, self.scaler = x, self.model, torch.amp.GradScaler("cpu", enabled=False)
        self.dtype, self.accumulate = None, 1
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.SGD(trained, lr=0.05, momentum=0.9, weight_decay=0.01)
        self.step()  # momentum from before there were masks
        self.pruner = jp.Pruner(self.model, x, energy="40%", profile=EYERISS, **options)
        self.proximal = jp.Proximal(self.model, x, profile=EYERISS, strength=1e-4)
        self.regrow = None
        if regrow:
            self.pruner.prune_now()
            self.regrow = jp.Regrow(self.pruner, end_step=20, frequency=2)

    def step(self, overflow: bool = False) -> None:
        for _ in range(self.accumulate):
            inputs, target = torch.randn(8, *self.example.shape[1:]), torch.randint(10, (8,))
            with torch.autocast("cpu", dtype=self.dtype or torch.bfloat16, enabled=self.dtype is not None):
                loss = F.cross_entropy(self.network(inputs), target)
            self.scaler.scale(loss * (float("inf") if overflow else 1.0)).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if hasattr(self, "pruner"):
            (self.regrow or self.pruner).step()
            self.proximal.step(0.05)
        self.optimizer.zero_grad()

    def masks(self) -> dict[str, torch.Tensor]:
        return {
            name: jp.ops.unpack_mask(bits, self.pruner.parameter(name).shape)
            for name, bits in self.pruner.plan.masks.items()
        }

    def check(self) -> None:
        """Zeros where the plan says so, joules as planned, and momentum in its place."""
        masks = self.masks()
        assert any(not mask.all() for mask in masks.values())
        for name, mask in masks.items():
            assert not self.pruner.parameter(name).detach()[~mask].any(), name
        for parameter in self.optimizer.param_groups[0]["params"]:
            momentum = self.optimizer.state[parameter]["momentum_buffer"]
            assert momentum.shape == parameter.shape and bool(momentum.isfinite().all())
        if self.pruner.done:
            assert self.pruner.energy_j <= self.pruner.budget_j
            assert jp.estimate(self.model, self.example, profile=EYERISS).energy_j <= self.pruner.energy_j


def fp16_and_bf16(loop: Loop, dtype: torch.dtype) -> Loop:
    loop.dtype, loop.scaler = dtype, torch.amp.GradScaler("cpu", init_scale=2.0**8)
    return loop


@pytest.mark.parametrize("regrow", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_mixed_precision_with_a_scaler(dtype, regrow):
    loop = fp16_and_bf16(Loop(plain, regrow=regrow), dtype)
    joules = loop.pruner.energy_j
    for step in range(6):
        before = {name: parameter.detach().clone() for name, parameter in loop.model.named_parameters()}
        masks = loop.masks() if regrow else {}
        loop.step(overflow=step in (2, 4))  # the scaler leaves steps 2 and 4 out
        loop.check()
        if regrow and step in (2, 4):  # when masks would move: infinite gradients say nothing
            assert all(torch.equal(masks[name], mask) for name, mask in loop.masks().items())
        changed = any(not torch.equal(before[name], p) for name, p in loop.model.named_parameters())
        assert changed  # by the proximal step where nothing else moves
    assert loop.scaler.get_scale() == 2.0**6
    assert loop.pruner.energy_j == joules or not regrow


@pytest.mark.parametrize("regrow", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_accumulate_over_several_backward_passes(name, regrow):
    torch.manual_seed(0)
    loop = Loop(NETWORKS[name], regrow=regrow)
    loop.accumulate = 3
    for _ in range(5):
        loop.step()
        loop.check()


def test_a_mask_that_comes_between_two_backward_passes_masks_both():
    loop = Loop(plain)
    x, target = torch.randn(8, 24), torch.randint(10, (8,))
    F.cross_entropy(loop.model(x), target).backward()  # dense
    loop.pruner.prune_now()
    F.cross_entropy(loop.model(x), target).backward()
    for name, mask in loop.masks().items():
        grad = loop.pruner.parameter(name).grad
        assert not grad[~mask].any() and grad[mask].any()


@pytest.mark.parametrize("regrow", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_compiled_networks_train_as_others(name, regrow):
    compiled, plain = (Loop(NETWORKS[name], regrow=regrow) for _ in range(2))
    compiled.network = torch.compile(compiled.model, backend="eager")
    for loop in (compiled, plain):
        torch.manual_seed(1)
        for _ in range(5):
            loop.step()
            loop.check()
    for left, right in zip(compiled.model.parameters(), plain.model.parameters(), strict=True):
        assert torch.equal(left, right)


@pytest.mark.slow
def test_networks_compiled_with_their_backward_pass_train_as_others():
    compiled, plain = (Loop(tied, regrow=True) for _ in range(2))
    compiled.network = torch.compile(compiled.model, backend="aot_eager")
    for loop in (compiled, plain):
        torch.manual_seed(1)
        for _ in range(5):
            loop.step()
            loop.check()
    for left, right in zip(compiled.model.parameters(), plain.model.parameters(), strict=True):
        torch.testing.assert_close(left, right)


@pytest.mark.parametrize("regrow", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_copy_made_halfway_goes_the_same_way(name, regrow):
    schedule = {} if regrow else {"schedule": jp.PolynomialDecay(begin_step=0, end_step=5, frequency=1)}
    loop = Loop(NETWORKS[name], regrow=regrow, **schedule)
    for _ in range(3):
        loop.step()
    twin = copy.deepcopy(loop)
    twin.network = twin.model
    before = {name: mask.clone() for name, mask in loop.masks().items()}
    ends = []
    for each in (twin, loop):
        torch.manual_seed(7)
        for _ in range(4):
            each.step()
            each.check()
        ends.append((each.masks(), list(each.model.parameters())))
        if each is twin:
            assert all(torch.equal(before[name], mask) for name, mask in loop.masks().items())
            loop.check()
    for name, mask in ends[0][0].items():
        assert torch.equal(mask, ends[1][0][name])
    assert any(not torch.equal(before[name], mask) for name, mask in ends[0][0].items())
    for left, right in zip(ends[0][1], ends[1][1], strict=True):
        assert left is not right and torch.equal(left, right)


def test_tied_weights_stay_one_parameter_and_are_paid_for_twice():
    loop = Loop(tied)
    for _ in range(3):
        loop.step()
    loop.check()
    assert loop.model.two.weight is loop.model.one.weight
    assert "one.weight" in loop.pruner.plan.masks and "two.weight" not in loop.pruner.plan.masks
    dense_j = {layer.weight: layer.dense_j for layer in loop.pruner.plan.layers}
    assert dense_j.keys() == {"one.weight", "head.weight"}
    assert dense_j["one.weight"] > 4 * dense_j["head.weight"]  # 2 x 24 x 24 weights read against 24 x 10
    converted = jp.convert(loop.model, loop.example, plan=loop.pruner.plan)
    assert jp.estimate(converted, loop.example, profile=EYERISS).energy_j == loop.pruner.energy_j


def test_frozen_weights_are_pruned_once_and_never_move():
    loop = Loop(frozen, regrow=True)
    first, masks = loop.model[0].weight.detach().clone(), loop.masks()
    assert "0.weight" in masks
    for _ in range(5):
        loop.step()
    assert torch.equal(loop.model[0].weight, first) and loop.model[0].weight.grad is None
    assert torch.equal(loop.masks()["0.weight"], masks["0.weight"])
    loop.model[0].requires_grad_(True)  # thawed: trained and regrown from the next step on
    loop.optimizer.add_param_group({"params": list(loop.model[0].parameters()), "lr": 0.05})
    for _ in range(4):
        loop.step()
        loop.check()
    assert not torch.equal(loop.masks()["0.weight"], masks["0.weight"])


def test_weights_frozen_later_keep_their_masks():
    loop = Loop(plain, regrow=True)
    loop.step()
    loop.model[0].requires_grad_(False)
    loop.optimizer.param_groups[0]["params"] = list(loop.model[2].parameters())
    masks = loop.masks()
    for _ in range(5):
        loop.step()
        loop.check()
    assert torch.equal(loop.masks()["0.weight"], masks["0.weight"])


def test_proximal_steps_leave_frozen_weights_alone():
    model, x = frozen()
    proximal = jp.Proximal(model, x, profile=EYERISS, strength=0.1)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    proximal.step(0.1)
    assert torch.equal(model[0].weight, before["0.weight"])
    assert not torch.equal(model[2].weight, before["2.weight"])


def test_a_copied_proximal_shrinks_the_copy():
    model, x = plain()
    proximal = jp.Proximal(model, x, profile=EYERISS, strength=0.1)
    before = model[0].weight.detach().clone()
    twin, again = copy.deepcopy((model, proximal))
    again.step(0.1)
    assert torch.equal(model[0].weight, before) and not torch.equal(twin[0].weight, before)


@pytest.mark.parametrize("importance", ["taylor", "gradient/sum", jp.criteria.PerLayer("taylor", "lamp")])
def test_masks_are_chosen_a_step_later_when_gradients_overflow(importance):
    schedule = jp.PolynomialDecay(begin_step=0, end_step=4, frequency=2)
    loop = fp16_and_bf16(Loop(plain, importance=importance, schedule=schedule), torch.float16)
    plans, resumed = [], None
    for step in range(6):
        loop.step(overflow=step in (0, 2, 4))
        plans.append(loop.pruner._plan)
        if step == 2:
            fresh, x = plain()
            fresh.load_state_dict(loop.model.state_dict())
            resumed = jp.Pruner(fresh, x, energy="40%", profile=EYERISS, importance=importance, schedule=schedule)
            resumed.load_state_dict(loop.pruner.state_dict())
        if step == 3:  # a restart in between owes the update too
            for parameter in resumed._model.parameters():
                parameter.grad = torch.ones_like(parameter)
            resumed.step()
            assert resumed.plan.energy_j < plans[2].energy_j
    assert plans[0] is None and plans[1] is not None  # due at 0
    assert plans[2] is plans[1] and plans[3] is not plans[1]  # due at 2
    assert plans[4] is plans[3] and plans[5].energy_j <= loop.pruner.budget_j and loop.pruner.done  # the last, due at 4
    loop.check()


def test_overflow_that_nobody_looks_at_changes_nothing():
    loop = Loop(plain)
    for parameter in loop.model.parameters():
        parameter.grad = torch.full_like(parameter, float("inf"))
    loop.pruner.step()
    assert loop.pruner.done
    loop.check()


def test_movement_passes_over_backward_passes_that_overflow():
    model, x = plain()
    movement = jp.criteria.Movement(model)
    for scale in (1.0, float("inf"), 1.0):
        (F.cross_entropy(model(x), torch.arange(4)) * scale).backward()
    movement.remove()
    plan = jp.plan(model, x, energy="40%", profile=EYERISS, importance=movement)
    assert plan.energy_j <= plan.budget_j
    model.zero_grad()
    F.cross_entropy(model(x), torch.arange(4)).backward()
    torch.testing.assert_close(
        movement._sums["0.weight"], -2 * (model[0].weight.double() * model[0].weight.grad.double()).detach()
    )
