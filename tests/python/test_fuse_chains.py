"""Linear layers in one call: the op ``linear_csr_chain``, and ``convert(fuse=True)`` that finds where it serves."""

from __future__ import annotations

import copy
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

import jouleprune as jp
from jouleprune import nn as sparse_nn
from jouleprune import ops


def pruned_linear(inside: int, out: int, bias: bool = True) -> nn.Linear:
    layer = nn.Linear(inside, out, bias=bias)
    with torch.no_grad():
        layer.weight.mul_(torch.rand_like(layer.weight) > 0.7)
    return layer


def sparse_layers(*sizes: int, dtype: torch.dtype = torch.float32) -> list[sparse_nn.SparseLinearCSR]:
    torch.manual_seed(4)
    dense = [pruned_linear(a, b, bias=a % 2 == 0).to(dtype) for a, b in pairwise(sizes)]
    return [sparse_nn.SparseLinear.from_dense(layer) for layer in dense]


def one_by_one(layers: list[sparse_nn.SparseLinearCSR], x: Tensor, activations: list[str]) -> Tensor:
    for layer, activation in zip(layers, activations, strict=True):
        x = layer(x, None, activation)
    return x


def chained(layers: list[sparse_nn.SparseLinearCSR], x: Tensor, activations: list[str]) -> Tensor:
    weights = [layer._matrix() for layer in layers]
    return ops.linear_csr_chain(x, weights, activations, in_features=layers[0].in_features)


@pytest.mark.parametrize("size", [(40, 64), (3, 50, 64), (64,), (1, 64), (0, 64), (9, 64)])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_chain_equals_its_layers_to_the_bit(size, threads):
    layers, names = sparse_layers(64, 33, 70, 20), ["gelu", "relu", "silu"]
    x = torch.randn(size)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.no_grad():
            assert torch.equal(chained(layers, x, names), one_by_one(layers, x, names))
            strided = torch.randn(*size, 2)[..., 0]
            assert torch.equal(chained(layers, strided, names), one_by_one(layers, strided, names))
        with torch.inference_mode():
            assert torch.equal(chained(layers, x.clone(), names), one_by_one(layers, x, names))
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_other_types_run_layer_by_layer(dtype):
    layers, names = sparse_layers(16, 12, 8, dtype=dtype), ["relu", "none"]
    x = torch.randn(40, 16, dtype=dtype)
    with torch.no_grad():
        assert torch.equal(chained(layers, x, names), one_by_one(layers, x, names))


def test_gradients_of_a_chain():
    layers, names = sparse_layers(6, 5, 4, dtype=torch.float64), ["silu", "none"]
    x = torch.randn(12, 6, dtype=torch.float64, requires_grad=True)
    values = [layer.values for layer in layers]

    def run(x: Tensor, *values: Tensor) -> Tensor:
        weights = [[value, *layer._matrix()[1:]] for value, layer in zip(values, layers, strict=True)]
        return ops.linear_csr_chain(x, weights, names, in_features=6)

    assert torch.autograd.gradcheck(run, (x, *values))


def test_a_chain_under_autocast_and_new_values():
    layers, names = sparse_layers(32, 16, 8), ["relu", "none"]
    x = torch.randn(20, 32)
    with torch.no_grad():
        with torch.autocast("cpu", dtype=torch.bfloat16):
            low = chained(layers, x, names)
            assert low.dtype == torch.bfloat16 and torch.equal(low, one_by_one(layers, x, names))
        first = chained(layers, x, names)
        layers[0].values.mul_(2)
        assert not torch.equal(first, chained(layers, x, names))
        assert torch.equal(chained(layers, x, names), one_by_one(layers, x, names))


def test_bad_chains_are_refused():
    layers = sparse_layers(8, 6, 4)

    def chain(x: Tensor, weights: list[list[Tensor]], activations: list[str] | None = None) -> Tensor:
        return ops.linear_csr_chain(x, weights, activations, in_features=8)

    x, weights = torch.randn(20, 8), [layer._matrix() for layer in layers]
    with torch.no_grad():
        with pytest.raises(ValueError, match=r"linear_csr_chain: activations: expected one for each of the 2 layers"):
            chain(x, weights, ["relu"])
        with pytest.raises(ValueError, match=r"linear_csr_chain: counts: expected 4 tensors for a layer, or 5"):
            chain(x, [weights[0][:3], weights[1]])
        with pytest.raises(ValueError, match=r"at least one"):
            chain(x, [])
        with pytest.raises(ValueError, match=r"activation"):
            chain(x, weights, ["tanh", "none"])
        with pytest.raises(ValueError, match=r"expected"):
            chain(x, weights[::-1])
        for width in (7, 9):  # too wide an input would leave columns out without a word
            for rows in (20, 1):
                told = rf"linear_csr(_chain)?: input: expected \[\.\.\., 8\], got \[{rows}, {width}\]"
                with pytest.raises(ValueError, match=told):
                    chain(torch.randn(rows, width), weights)
        with pytest.raises(TypeError, match=r"values"):
            chain(x, [[weights[0][0].double(), *weights[0][1:]], weights[1]])


def test_a_chain_is_traced_and_mapped():
    """torch.jit.trace and torch.vmap; as the layers one by one, to the bit where the same kernels run."""
    layers, names = sparse_layers(8, 6, 4), ["relu", "none"]
    x = torch.randn(20, 8)
    model = nn.Sequential(layers[0], nn.ReLU(), layers[1]).eval()
    chain = jp.fuse.fused(model, x)[0]
    assert "linear_csr_chain" in chain.code
    with torch.no_grad():
        traced = torch.jit.trace(chain, x)
        assert "linear_csr_chain" in str(traced.graph)
        assert torch.equal(traced(x), one_by_one(layers, x, names))
        assert torch.equal(traced(x[:3]), one_by_one(layers, x[:3], names))
        mapped = torch.vmap(chain)(x.view(5, 4, 8))
        torch.testing.assert_close(mapped, one_by_one(layers, x.view(5, 4, 8), names))


class Perceptron(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            pruned_linear(48, 64), nn.ReLU(), pruned_linear(64, 56, bias=False), nn.GELU(), nn.Dropout()
        )
        self.norm, self.head = nn.BatchNorm1d(56), pruned_linear(56, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.body(x)))


def perceptron() -> tuple[nn.Module, Tensor]:
    torch.manual_seed(1)
    return Perceptron().eval(), torch.randn(64, 48)


def calls(model: nn.Module) -> list[str]:
    chain = torch.ops.jouleprune.linear_csr_chain
    return [
        str(node.args[4].split(",")) for module in model.modules() if isinstance(module, torch.fx.GraphModule)
        for node in module.graph.nodes if node.target is chain
    ]  # fmt: skip


def test_layers_in_a_row_become_a_chain(tmp_path):
    torch._dynamo.reset()
    model, x = perceptron()
    plain, fused = jp.convert(model, x, force=True), jp.convert(model, x, force=True, fuse=True)
    assert calls(fused) == ["['relu', 'gelu']"]  # the head is read through a module that is not sparse
    assert "in a chain of 2" in str(jp.explain(fused))
    assert list(fused.state_dict()) == list(plain.state_dict())
    for body in (fused.body, copy.deepcopy(fused).body):  # still a sequence to who looks inside
        assert len(body) == 5 and isinstance(body[0], sparse_nn.SparseLinearCSR) and len(list(body[1:3])) == 2
    with torch.no_grad():
        torch.testing.assert_close(fused(x), plain(x))
        assert torch.equal(copy.deepcopy(fused)(x), fused(x))
        torch.jit.script(fused).save(str(tmp_path / "m.pt"))
        assert torch.equal(torch.jit.load(str(tmp_path / "m.pt"))(x), fused(x))
        torch.testing.assert_close(torch.export.export(fused, (x,)).module()(x), fused(x))
        torch.testing.assert_close(torch.compile(fused, backend="aot_eager", fullgraph=True)(x), fused(x))
        jp.save(fused, tmp_path / "m.safetensors")
        torch.testing.assert_close(jp.load(perceptron()[0], tmp_path / "m.safetensors").eval()(x), fused(x))
    layers = [layer.name for layer in jp.estimate(fused, x, profile="generic-cpu").layers if layer.op == "linear"]
    assert layers == ["body.0", "body.2", "head"]


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (pruned_linear(16, 16) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        return self.c(self.b(torch.nn.functional.relu(self.a(x))).relu())


def test_functions_between_layers_are_part_of_the_chain():
    torch.manual_seed(0)
    model, x = Functional().eval(), torch.randn(40, 16)
    fused = jp.convert(model, x, force=True, fuse=True)
    assert calls(fused) == ["['relu', 'relu', 'none']"]
    with torch.no_grad():
        assert torch.equal(fused(x), jp.convert(model, x, force=True)(x))


def test_what_is_read_elsewhere_is_no_chain():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = pruned_linear(16, 16), pruned_linear(16, 16)

        def forward(self, x: Tensor) -> Tensor:
            y = self.a(x)
            return self.b(y) * y

    torch.manual_seed(0)
    x = torch.randn(20, 16)
    assert calls(jp.convert(Twice().eval(), x, force=True, fuse=True)) == []
    heard = nn.Sequential(pruned_linear(16, 16), pruned_linear(16, 16)).eval()
    heard[0].register_forward_hook(lambda module, given, result: None)
    assert calls(jp.convert(heard, x, force=True, fuse=True)) == []
    half = nn.Sequential(pruned_linear(16, 16), pruned_linear(16, 16)).eval().bfloat16()
    assert calls(jp.convert(half, x.bfloat16(), force=True, fuse=True)) == []
