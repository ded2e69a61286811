"""``shrink`` and ``reconstruct`` in the middle of training: optimizers of a part of the network, gradients that
accumulate, mixed precision, tied and frozen weights, compiled networks, networks that a Pruner holds."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import jouleprune as jp

EYERISS = "eyeriss-65nm"


def network() -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(5)
    return nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 6)), torch.ones(
        4, 20
    )


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.head = nn.Linear(12, 12), nn.Linear(12, 12), nn.Linear(12, 5)
        self.two.weight = self.one.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.tanh(self.two(torch.tanh(self.one(x)))))


class SharedBlocks(nn.Module):
    """Two residual blocks of one weight."""

    class Block(nn.Module):
        def __init__(self, weight: nn.Parameter) -> None:
            super().__init__()
            self.layer = nn.Linear(16, 16)
            self.layer.weight = weight

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + torch.relu(self.layer(x))

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(6)
        weight = nn.Parameter(torch.randn(16, 16))
        self.first, self.second, self.head = self.Block(weight), self.Block(weight), nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.second(self.first(x)))


def trained(model: nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor) -> None:
    optimizer.zero_grad()
    F.cross_entropy(model(x), torch.arange(len(x)) % 4).backward()
    optimizer.step()


def momentum(optimizer: torch.optim.Optimizer) -> dict[int, torch.Tensor]:
    return {id(parameter): state["momentum_buffer"] for parameter, state in optimizer.state.items()}


def parameters_of(optimizer: torch.optim.Optimizer) -> set[int]:
    return {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}


def test_an_optimizer_of_the_head_stays_one_of_the_head():
    model, x = network()
    head = torch.optim.SGD(model[4].parameters(), lr=0.1, momentum=0.9)
    body = torch.optim.SGD([*model[0].parameters(), *model[2].parameters()], lr=0.1, momentum=0.9)
    for optimizer in (head, body):
        trained(model, optimizer, x)
    plan = jp.plan_structure(model, x, energy="50%", profile=EYERISS)
    smaller = jp.shrink(model, plan=plan, optimizer=head).model
    assert parameters_of(head) == {id(parameter) for parameter in smaller[4].parameters()}
    assert momentum(head)[id(smaller[4].weight)].shape == smaller[4].weight.shape != model[4].weight.shape
    before = [parameter.detach().clone() for parameter in smaller[0].parameters()]
    trained(smaller, head, x)
    assert all(torch.equal(a, b) for a, b in zip(before, smaller[0].parameters(), strict=True))


def test_two_layers_in_place_of_one_join_its_group():
    pytest.importorskip("tensorly")
    model, x = network()
    optimizer = torch.optim.SGD(
        [{"params": model[4].parameters(), "lr": 0.5}, {"params": model[0].parameters(), "lr": 0.25}], momentum=0.9
    )
    trained(model, optimizer, x)
    smaller = jp.shrink(model, x, energy="60%", profile=EYERISS, pattern="rank", optimizer=optimizer).model
    assert isinstance(smaller[0], nn.Sequential)
    for group, layer in zip(optimizer.param_groups, (smaller[4], smaller[0]), strict=True):
        assert {id(parameter) for parameter in group["params"]} == {id(parameter) for parameter in layer.parameters()}
    assert not parameters_of(optimizer) & {id(parameter) for parameter in smaller[2].parameters()}
    trained(smaller, optimizer, x)


def test_gradients_that_accumulate_go_along():
    model, x = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    F.cross_entropy(model(x), torch.arange(4)).backward()
    result = jp.shrink(model, x, energy="50%", profile=EYERISS, optimizer=optimizer)
    out, into = (dict(side) for side in (result.plan.structure.out, result.plan.structure.into))
    for place in (0, 2, 4):
        rows, cols = out.get(str(place)), into.get(str(place))
        expected = model[place].weight.grad
        expected = expected if rows is None else expected[list(rows)]
        expected = expected if cols is None else expected[:, list(cols)]
        assert torch.equal(result.model[place].weight.grad, expected)
    assert result.model[0].weight.grad.shape != model[0].weight.grad.shape


def test_a_tied_weight_stays_in_its_optimizer_when_its_first_layer_goes():
    model, x = SharedBlocks(), torch.randn(4, 16)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    trained(model, optimizer, x)
    kept = momentum(optimizer)[id(model.first.layer.weight)].clone()
    plan = jp.plan_structure(model, x, energy="99%", profile=EYERISS, pattern="layer")
    for block in ("first", "second"):
        structure = type(plan.structure)(removed=(block,))
        twin, other = copy.deepcopy((model, optimizer))
        one = jp.StructurePlan(**{**vars(plan), "structure": structure})
        smaller = jp.shrink(twin, plan=one, optimizer=other).model
        weight = (smaller.second if block == "first" else smaller.first).layer.weight
        assert parameters_of(other) == {id(parameter) for parameter in smaller.parameters()}
        assert torch.equal(momentum(other)[id(weight)], kept)


def test_frozen_weights_stay_frozen_and_out_of_the_optimizer():
    model, x = network()
    model[0].requires_grad_(False)
    optimizer = torch.optim.Adam([parameter for parameter in model.parameters() if parameter.requires_grad])
    trained(model, optimizer, x)
    smaller = jp.shrink(model, x, energy="50%", profile=EYERISS, optimizer=optimizer).model
    assert [parameter.requires_grad for parameter in smaller.parameters()] == [False, False, True, True, True, True]
    assert parameters_of(optimizer) == {id(p) for p in smaller.parameters() if p.requires_grad}
    for parameter, state in optimizer.state.items():
        assert state["exp_avg"].shape == state["exp_avg_sq"].shape == parameter.shape


def test_shrinking_under_autocast_is_shrinking():
    model, x = network()
    plain = jp.shrink(model, x, energy="50%", profile=EYERISS)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = jp.shrink(model, x, energy="50%", profile=EYERISS)
    assert cast.plan == plain.plan
    for left, right in zip(cast.model.parameters(), plain.model.parameters(), strict=True):
        assert left.dtype == torch.float32 and torch.equal(left, right)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        trained(cast.model, torch.optim.SGD(cast.model.parameters(), lr=0.1), x)


def test_a_compiled_network_that_a_pruner_holds_is_shrunk():
    model, x = network()
    compiled = torch.compile(model, backend="eager")
    pruner = jp.Pruner(compiled, x, energy="60%", profile=EYERISS)
    pruner.prune_now()
    optimizer = torch.optim.SGD(compiled.parameters(), lr=0.1, momentum=0.9)
    trained(compiled, optimizer, x)
    pruner.step()
    result = jp.shrink(compiled, x, energy="40%", profile=EYERISS, optimizer=optimizer)
    assert result.energy_j <= 0.4 * pruner.dense_j  # percentages are of the unmasked network
    assert jp.estimate(result.model, x, profile=EYERISS).energy_j == result.energy_j
    trained(result.model, optimizer, x)  # no mask of the old network is in the way of the new one
    for name, bits in pruner.plan.masks.items():
        mask = jp.ops.unpack_mask(bits, pruner.parameter(name).shape)
        assert not model.get_parameter(name).detach()[~mask].any()


def batches(columns: int, count: int = 3) -> list[torch.Tensor]:
    torch.manual_seed(8)
    return [torch.randn(32, columns) for _ in range(count)]


@pytest.mark.parametrize("method", ["sparsegpt", "alps"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_weights_of_sixteen_bits_are_reconstructed_in_their_type(dtype, method):
    model, _ = network()
    exact, half = copy.deepcopy(model), model.to(dtype)
    wide = jp.reconstruct(exact, batches(20), sparsity=0.5, method=method)
    narrow = jp.reconstruct(half, [batch.to(dtype) for batch in batches(20)], sparsity=0.5, method=method)
    for left, right in zip(wide, narrow, strict=True):
        weight = half.get_parameter(right.weight).detach()
        assert weight.dtype == dtype and not weight[~right.mask].any()
        assert right.error < right.masked and right.error == pytest.approx(left.error, rel=0.1, abs=1e-3)


def test_reconstruction_under_autocast_and_in_a_compiled_network():
    model, x = network()
    compiled = torch.compile(model, backend="eager")
    compiled(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        results = jp.reconstruct(compiled, batches(20), sparsity=0.5)
    assert all(each.error < each.masked for each in results)
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())
    assert torch.equal(compiled(x), model(x))
    for each in results:
        assert not model.get_parameter(each.weight).detach()[~each.mask].any()


def test_reconstruction_leaves_optimizer_gradients_and_flags_alone():
    model, x = network()
    model[2].requires_grad_(False)
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(trainable, lr=0.1, momentum=0.9)
    trained(model, optimizer, x)
    before = {key: value.clone() for key, value in momentum(optimizer).items()}
    gradients = [parameter.grad.clone() for parameter in trainable]
    plan = jp.plan(model, x, energy="50%", profile=EYERISS)
    jp.reconstruct(model, batches(20), plan=plan)
    assert jp.estimate(model, x, profile=EYERISS).energy_j <= plan.budget_j
    assert parameters_of(optimizer) == {id(parameter) for parameter in trainable}
    assert all(torch.equal(momentum(optimizer)[key], value) for key, value in before.items())
    assert all(torch.equal(p.grad, gradient) for p, gradient in zip(trainable, gradients, strict=True))
    assert not model[2].weight.requires_grad and model[2].weight.grad is None
    pruner = jp.Pruner(model, x, plan=plan)  # what is zero already goes again: masks as reconstructed
    pruner.prune_now()
    trained(model, optimizer, x)
    pruner.step()
    assert pruner.energy_j <= plan.budget_j
    assert jp.estimate(model, x, profile=EYERISS).energy_j <= plan.budget_j


@pytest.mark.parametrize("by_plan", [False, True])
def test_a_tied_weight_is_fitted_to_all_its_layers(by_plan):
    torch.manual_seed(9)
    model, data = Tied(), batches(12)
    dense = copy.deepcopy(model)
    options = {"sparsity": 0.5}
    if by_plan:
        options = {"plan": jp.plan(model, data[0], energy="50%", profile=EYERISS), "method": "refit"}
    results = jp.reconstruct(model, data, **options)
    assert [each.weight for each in results] == ["one.weight", "head.weight"]
    assert model.two.weight is model.one.weight
    assert not model.one.weight.detach()[~results[0].mask].any()
    inputs = torch.cat([*data, *(torch.tanh(dense.one(batch)).detach() for batch in data)])
    hessian = (inputs.double().t() @ inputs.double())[None]
    expected = (
        jp.ops.refit(dense.one.weight.detach(), hessian, results[0].mask, damp=0.01)
        if by_plan
        else jp.ops.sparsegpt(dense.one.weight.detach(), hessian, mask=None, sparsity=0.5, damp=0.01)[0]
    )
    torch.testing.assert_close(model.one.weight.detach(), expected, rtol=1e-4, atol=1e-6)


def test_what_shares_a_weight_is_ignored_together_and_of_one_kind():
    model = Tied()
    before = model.one.weight.detach().clone()
    assert [each.weight for each in jp.reconstruct(model, batches(12), sparsity=0.5, ignored_layers=["two"])] == [
        "head.weight"
    ]
    assert torch.equal(model.one.weight, before)
    convolutions = nn.Sequential(nn.Conv2d(4, 4, 1, groups=2), nn.Conv2d(2, 4, 1))
    convolutions[1].weight = convolutions[0].weight
    with pytest.raises(ValueError, match=r"several kinds share '0\.weight'"):
        jp.reconstruct(convolutions, [torch.randn(2, 4, 3, 3)], sparsity=0.5)
