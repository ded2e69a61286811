"""Sums computed by the ops of sparse layers: the argument ``residual``, and ``convert(fuse=True)`` that finds them."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.fx.experimental.optimization
import torch.nn.functional as F
from torch import Tensor, fx, nn

import jouleprune as jp
from jouleprune import nn as sparse_nn


def pruned(model: nn.Module, sparsity: float = 0.5) -> nn.Module:
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d):
                module.weight.mul_(torch.rand_like(module.weight) > sparsity)
    return model


LAYERS = {
    "linear": (lambda: nn.Linear(6, 5), (4, 6)),
    "linear, many rows": (lambda: nn.Linear(40, 35), (2, 9, 40)),
    "conv1d": (lambda: nn.Conv1d(3, 4, 3, padding=1), (2, 3, 8)),
    "conv1d, no batch": (lambda: nn.Conv1d(3, 4, 3, padding=1), (3, 8)),
    "conv2d": (lambda: nn.Conv2d(3, 4, 3, stride=2), (2, 3, 9, 7)),
    "conv2d, no batch": (lambda: nn.Conv2d(4, 4, 1, groups=2), (4, 9, 7)),
}
MAKERS = {nn.Linear: sparse_nn.SparseLinear, nn.Conv1d: sparse_nn.SparseConv1d, nn.Conv2d: sparse_nn.SparseConv2d}


def layer_and_input(name: str, dtype: torch.dtype = torch.float32) -> tuple[nn.Module, nn.Module, Tensor, Tensor]:
    torch.manual_seed(3)
    maker, size = LAYERS[name]
    dense = pruned(maker()).to(dtype)
    x = torch.randn(size, dtype=dtype)
    return dense, MAKERS[type(dense)].from_dense(dense), x, torch.randn_like(dense(x)).detach()


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("activation", ["none", "relu", "gelu", "silu"])
def test_a_residual_is_added_before_the_activation(name, activation):
    dense, sparse, x, residual = layer_and_input(name)
    sparse.activation = activation
    apply = {"none": lambda y: y, "relu": F.relu, "gelu": F.gelu, "silu": F.silu}[activation]
    expected = apply(dense(x) + residual)
    torch.testing.assert_close(sparse(x, residual), expected, rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(sparse(x, residual), expected, rtol=1e-5, atol=1e-5)
        scripted = torch.jit.script(sparse)
        assert torch.equal(scripted(x, residual), sparse(x, residual)) and torch.equal(scripted(x), sparse(x))


@pytest.mark.parametrize("name", LAYERS)
def test_gradients_of_a_residual(name):
    _, sparse, x, residual = layer_and_input(name, torch.float64)
    sparse.activation = "silu"
    residual.requires_grad_()
    x.requires_grad_()
    assert torch.autograd.gradcheck(lambda x, residual: sparse(x, residual), (x, residual))
    sparse.requires_grad_(False)  # the residual alone
    assert torch.autograd.gradcheck(lambda residual: sparse(x.detach(), residual), (residual,))


def test_a_strided_and_a_channels_last_residual():
    dense, sparse, x, residual = layer_and_input("conv2d")
    with torch.no_grad():
        for added in (residual.contiguous(memory_format=torch.channels_last), residual.mT.contiguous().mT):
            for given in (x, x.contiguous(memory_format=torch.channels_last)):
                torch.testing.assert_close(sparse(given, added), dense(x) + residual, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("fake", [False, True])
@pytest.mark.parametrize("name", ["linear", "conv2d"])
def test_a_residual_that_does_not_fit_is_refused(name, fake):
    _, sparse, x, residual = layer_and_input(name)
    if fake:
        mode = torch._subclasses.FakeTensorMode(allow_non_fake_inputs=True)
        x, residual = mode.from_tensor(x), mode.from_tensor(residual)
    with pytest.raises(ValueError, match="residual: expected the sizes of the output"):
        sparse(x, residual[:1])
    with pytest.raises(ValueError, match="residual: expected the sizes of the output"):
        sparse(x, residual[..., None])
    with pytest.raises(TypeError, match="residual"):
        sparse(x, residual.double())


@pytest.mark.parametrize("requires_grad", [False, True])
def test_a_residual_under_autocast(requires_grad):
    dense, sparse, x, residual = layer_and_input("linear, many rows")
    sparse.requires_grad_(requires_grad)
    with torch.autocast("cpu", torch.bfloat16):
        out = sparse(x, residual)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), dense(x) + residual, rtol=0.05, atol=0.05)


def test_a_residual_costs_what_it_reads():
    _, sparse, x, residual = layer_and_input("linear")

    class Sum(nn.Module):
        def __init__(self, inside: bool) -> None:
            super().__init__()
            self.layer, self.inside = sparse, inside

        def forward(self, x: Tensor, residual: Tensor) -> Tensor:
            return self.layer(x, residual) if self.inside else self.layer(x) + residual

    profile = "generic-cpu"
    inside, outside = (jp.estimate(Sum(where), (x, residual), profile=profile).energy_j for where in (True, False))
    assert jp.estimate(sparse, x, profile=profile).energy_j < inside < outside


class Basic(nn.Module):
    """A block of a ResNet."""

    def __init__(self, inside: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inside, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out)
        self.conv2, self.bn2 = nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out)
        self.relu = nn.ReLU(inplace=True)
        self.stride = stride
        self.downsample = None
        if stride > 1:
            self.downsample = nn.Sequential(nn.Conv2d(inside, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        identity = x
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.downsample is not None:
            identity = self.downsample(x)
        out += identity
        return self.relu(out)


class ResNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.layers = nn.Sequential(Basic(8, 8, 1), Basic(8, 12, 2))
        self.head = nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(F.relu(self.norm(self.stem(x)))).mean((2, 3)))


def resnet() -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    model = ResNet()
    for _ in range(3):
        model(torch.randn(8, 3, 10, 10))
    for block in model.layers:
        pruned(block)
    return model.eval(), torch.randn(2, 3, 10, 10)


def test_residual_connections_become_part_of_the_convolution():
    model, x = resnet()
    before = copy.deepcopy(model.state_dict())
    fused = jp.convert(model, x, force=True, fuse=True)
    with torch.no_grad():
        torch.testing.assert_close(fused(x), model(x), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(fused(x[:1]), model(x[:1]), rtol=1e-4, atol=1e-5)
    assert [type(block).__name__ for block in fused.layers] == ["Basic", "Basic"]
    assert all(isinstance(block, fx.GraphModule) for block in fused.layers)
    assert [block.stride for block in fused.layers] == [1, 2]
    calls = [node for block in fused.layers for node in block.graph.nodes if len(node.args) == 3]
    assert [(call.target, call.args[2]) for call in calls] == [("conv2", "relu"), ("conv2", "relu")]
    assert not any(node.target in (torch.add, F.relu) for block in fused.layers for node in block.graph.nodes)
    assert jp.explain(fused).count("fused") >= 2 and "a sum and its relu" in jp.explain(fused)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_norms_are_folded_into_dense_layers_too(tmp_path):
    model, x = resnet()
    fused = jp.convert(model, x, force=True, fuse=True)
    assert type(fused.stem) is nn.Conv2d and fused.stem.bias is not None and type(fused.norm) is nn.Identity
    jp.save(fused, tmp_path / "m.safetensors")
    fresh = jp.load(resnet()[0], tmp_path / "m.safetensors")
    with torch.no_grad():  # the sums are the module's own again, in another order of roundings
        torch.testing.assert_close(fresh(x), fused(x), rtol=1e-5, atol=1e-6)
    assert type(fresh.norm) is nn.Identity and type(fresh.layers[0]) is Basic
    jp.save(fresh, tmp_path / "again.safetensors")
    again = jp.load(fresh, tmp_path / "again.safetensors")
    with torch.no_grad():
        assert torch.equal(again(x), fresh(x))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_sums_of_a_network_that_was_rewritten_before():
    model, x = resnet()
    fused = jp.convert(torch.fx.experimental.optimization.fuse(model), x, force=True, fuse=True)
    assert jp.explain(fused).count("a sum and its relu") == 2
    with torch.no_grad():
        torch.testing.assert_close(fused(x), model(x), rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_front_ends_of_fused_sums(tmp_path):
    torch._dynamo.reset()
    model, x = resnet()
    fused = jp.convert(model, x, force=True, fuse=True)
    with torch.no_grad():
        torch.jit.script(fused).save(str(tmp_path / "m.pt"))
        assert torch.equal(torch.jit.load(str(tmp_path / "m.pt"))(x), fused(x))
        torch.testing.assert_close(torch.export.export(fused, (x,)).module()(x), fused(x))
        torch.testing.assert_close(torch.compile(fused, backend="aot_eager", fullgraph=True)(x), fused(x))
        assert torch.equal(copy.deepcopy(fused)(x), fused(x))


class Sums(nn.Module):
    """Sums that a layer must not take: of a parameter, of itself, of what is read twice, with alpha."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.d = (nn.Linear(6, 6) for _ in range(4))
        self.shift = nn.Parameter(torch.randn(1, 6))

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x) + self.shift
        y = self.b(x)
        x = y + y
        z = self.c(x)
        x = z + F.relu(z)
        return torch.add(self.d(x), x, alpha=2)


def test_sums_that_a_layer_cannot_take_stay():
    torch.manual_seed(1)
    model, x = pruned(Sums()).eval(), torch.randn(1, 6)
    fused = jp.convert(model, x, force=True, fuse=True)
    assert type(fused) is Sums and "sum" not in jp.explain(fused)
    with torch.no_grad():
        torch.testing.assert_close(fused(x), model(x), rtol=1e-4, atol=1e-5)


class Broadcast(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x) + x.mean(0, keepdim=True)


def test_a_sum_that_broadcasts_stays():
    torch.manual_seed(1)
    model, x = pruned(Broadcast()).eval(), torch.randn(3, 6)
    fused = jp.convert(model, x, force=True, fuse=True)
    assert type(fused) is Broadcast
    with torch.no_grad():
        torch.testing.assert_close(fused(x), model(x), rtol=1e-4, atol=1e-5)


class Outermost(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(6, 24), nn.Linear(24, 6)
        self.register_buffer("unused", torch.ones(2), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(F.gelu(self.up(x)))


def test_a_sum_in_the_models_own_forward(tmp_path):
    torch.manual_seed(1)
    model, x = pruned(Outermost()).eval(), torch.randn(3, 6)
    fused = jp.convert(model, x, force=True, fuse=True)
    assert isinstance(fused, fx.GraphModule) and type(fused).__name__ == "Outermost" and not fused.training
    assert torch.equal(fused.unused, model.unused) and "unused" not in fused.state_dict()
    with torch.no_grad():
        torch.testing.assert_close(fused(x), model(x), rtol=1e-4, atol=1e-5)
    jp.save(fused, tmp_path / "m.safetensors")
    fresh = jp.load(Outermost().eval(), tmp_path / "m.safetensors")
    with torch.no_grad():
        torch.testing.assert_close(fresh(x), fused(x), rtol=1e-5, atol=1e-6)
