"""Layout bsr against dense: products, gradients, packing, and the module ``SparseLinearBSR``."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from test_ops import bsr_arguments, unpack_bsr_arguments
from tolerance import assert_as_good
from torch import nn

import jouleprune as jp

ops = torch.ops.jouleprune
BLOCKS = [(16, 1), (32, 1), (16, 16), (32, 32), (32, 2), (4, 4), (8, 8), (1, 4), (4, 1), (3, 5)]


def block_mask(rows: int, cols: int, block_size: tuple[int, int], density: float = 0.4) -> torch.Tensor:
    r, c = block_size
    blocks = torch.rand(-(-rows // r), -(-cols // c)) < density
    return blocks.repeat_interleave(r, 0).repeat_interleave(c, 1)[:rows, :cols]


def pruned(rows: int, cols: int, block_size: tuple[int, int], density: float = 0.4) -> nn.Linear:
    linear = nn.Linear(cols, rows)
    with torch.no_grad():
        linear.weight.mul_(block_mask(rows, cols, block_size, density))
    return linear


@pytest.mark.parametrize("block_size", BLOCKS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("n", [0, 1, 3, 30])
def test_products_and_gradients_equal_dense(block_size, dtype, n):
    torch.manual_seed(n)
    rows, cols = 50, 45
    weight = (torch.randn(rows, cols) * block_mask(rows, cols, block_size)).to(dtype)
    packed = jp.ops.pack_bsr(weight, block_size=block_size)
    blocks = packed[0].requires_grad_()
    x, b = torch.randn(n, cols, dtype=dtype, requires_grad=True), torch.randn(rows, dtype=dtype, requires_grad=True)
    results = {}
    for kind in (torch.float64, dtype):
        dense, dense_x, dense_b = (t.detach().to(kind).requires_grad_() for t in (weight, x, b))
        y = F.linear(dense_x, dense, dense_b)
        y.backward(torch.ones_like(y))
        gradient = jp.ops.pack_bsr(dense.grad, block_mask_of(packed, rows, cols), block_size=block_size)[0]
        results[kind] = (y.detach(), dense_x.grad, gradient, dense_b.grad)
    y = jp.ops.linear_bsr(x, *packed, b, out_features=rows, in_features=cols)
    y.backward(torch.ones_like(y))
    for ours, exact, reordered in zip((y.detach(), x.grad, blocks.grad, b.grad), *results.values(), strict=True):
        assert_as_good(ours, exact, reordered)


def block_mask_of(packed, rows: int, cols: int) -> torch.Tensor:
    blocks, columns, offsets, _ = packed
    return jp.ops.unpack_bsr(torch.ones_like(blocks), columns, offsets, rows, cols) != 0


@pytest.mark.parametrize("activation", ["none", "relu", "gelu", "silu"])
def test_gradcheck(activation):
    torch.manual_seed(1)
    x, blocks, *rest = bsr_arguments(activation=activation, dtype=torch.float64, rows=8, cols=6)
    b = rest[4]

    def call(x, blocks, b):
        return ops.linear_bsr(x, blocks, *rest[:4], b, *rest[5:])

    assert torch.autograd.gradcheck(call, (x, blocks, b))


def test_unpack_is_differentiable_in_blocks():
    blocks, *rest = unpack_bsr_arguments(rows=8, cols=6, grad=True, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda v: ops.unpack_bsr(v, *rest), (blocks,))


def test_packing():
    weight = torch.tensor([[0.0, -0.0, 1.0], [0.0, 0.0, 0.0], [float("nan"), 0.0, 0.0]])
    blocks, columns, offsets, key = jp.ops.pack_bsr(weight, block_size=(2, 2))
    assert columns.tolist() == [1, 0] and offsets.tolist() == [0, 1, 2]
    assert blocks[0].tolist() == [[1.0, 0.0], [0.0, 0.0]] and blocks[1, 0, 0].isnan()
    mask = torch.zeros(3, 3, dtype=torch.bool)
    mask[0, 0] = True  # a kept zero; the 1 beside it is not kept
    blocks, columns, offsets, other = jp.ops.pack_bsr(torch.ones(3, 3), mask, block_size=(2, 2))
    assert columns.tolist() == [0] and blocks.tolist() == [[[1.0, 0.0], [0.0, 0.0]]]
    assert not torch.equal(key, other)
    csr_key = jp.ops.pack_csr(torch.ones(3, 3), mask)[3]
    assert not torch.equal(jp.ops.pack_bsr(torch.ones(3, 3), mask, block_size=(1, 1))[3], csr_key)


def test_equal_memory_in_other_blocks_is_another_weight():
    """Tensors may share storage; what is kept beside them must not be mistaken."""
    blocks, columns, offsets, key = jp.ops.pack_bsr(torch.ones(2, 4), block_size=(2, 1))
    x = torch.randn(9, 4)
    torch.testing.assert_close(
        jp.ops.linear_bsr(x, blocks, columns, offsets, key, out_features=2, in_features=4), x @ torch.ones(4, 2)
    )
    wide = blocks.view(4, 1, 2)
    with pytest.raises(ValueError, match="key: expected the key of this structure"):
        jp.ops.linear_bsr(torch.randn(9, 8), wide, columns, offsets, key, out_features=1, in_features=8)
    wide_key = jp.ops.pack_bsr(torch.ones(1, 8), block_size=(1, 2))[3]
    x = torch.randn(9, 8)
    torch.testing.assert_close(
        jp.ops.linear_bsr(x, wide, columns, offsets, wide_key, out_features=1, in_features=8), x.sum(1, keepdim=True)
    )


def test_autocast():
    packed = jp.ops.pack_bsr(torch.randn(6, 10), block_size=(2, 2))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = jp.ops.linear_bsr(torch.randn(4, 10), *packed, torch.randn(6), out_features=6, in_features=10)
    assert out.dtype == torch.bfloat16


def test_names_what_is_wrong():
    blocks, columns, offsets, key = jp.ops.pack_bsr(torch.ones(4, 6), block_size=(2, 2))
    good = dict(input=torch.randn(3, 6), blocks=blocks, block_columns=columns, block_row_offsets=offsets, key=key)
    for changes, error, message in [
        ({"input": torch.randn(3, 5)}, ValueError, r"input: expected \[..., 6\]"),
        ({"blocks": blocks.double()}, TypeError, "blocks: expected the dtype of input"),
        ({"blocks": blocks[:-1]}, ValueError, r"blocks: expected \[6, r, c\]"),
        ({"block_columns": columns.long()}, TypeError, "block_columns: expected int32"),
        ({"block_row_offsets": offsets[:-1]}, ValueError, r"block_row_offsets: expected \[ceil"),
        ({"block_columns": columns + 1}, ValueError, r"unsound structure: block_columns\[2\]"),
        ({"block_row_offsets": offsets + 1}, ValueError, r"unsound structure: block_row_offsets\[0\]"),
        ({"key": key + 1}, ValueError, "key: expected the key of this structure.*pack_bsr makes it"),
        ({"prepacked": torch.zeros(2, dtype=torch.int32)}, ValueError, "from prepack_bsr"),
    ]:
        with pytest.raises(error, match=message):
            jp.ops.linear_bsr(**{**good, **changes}, out_features=4, in_features=6)
    with pytest.raises(ValueError, match="block_size: expected two numbers of at least 1"):
        jp.ops.pack_bsr(torch.ones(4, 6), block_size=(0, 2))


def test_threads_do_not_change_a_bit():
    before = torch.get_num_threads()
    linear = jp.nn.SparseLinear.from_dense(pruned(200, 300, (16, 1)), layout="vector")
    for n in (1, 100):
        x = torch.randn(n, 300)
        outs = []
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            outs.append(linear(x))
        torch.set_num_threads(before)
        assert torch.equal(outs[0], outs[1]) and torch.equal(outs[0], outs[2])


@pytest.mark.parametrize("block_size", BLOCKS)
def test_module_there_and_back(block_size):
    torch.manual_seed(2)
    dense = pruned(50, 70, block_size)
    layout = "vector" if block_size[1] == 1 else "bsr"
    sparse = jp.nn.SparseLinear.from_dense(dense, layout=layout, block_size=block_size)
    x = torch.randn(5, 70)
    assert_as_good(sparse(x).detach(), copy.deepcopy(dense).double()(x.double()).detach(), dense(x).detach())
    assert torch.equal(sparse.to_dense().weight, dense.weight) and torch.equal(sparse.to_dense().bias, dense.bias)
    assert set(sparse.state_dict()) == {"blocks", "block_columns", "block_row_offsets", "key", "bias"}
    assert {name for name, _ in sparse.named_parameters()} == {"blocks", "bias"}
    assert torch.equal(torch.jit.script(sparse)(x), sparse(x))
    assert torch.equal(copy.deepcopy(sparse)(x), sparse(x))
    assert f"block_size={block_size}" in repr(sparse)


def test_training_moves_kept_blocks_alone():
    dense = pruned(48, 40, (16, 1))
    kept = dense.weight != 0
    sparse = jp.nn.SparseLinear.from_dense(dense, layout="vector")
    optimizer = torch.optim.SGD(sparse.parameters(), lr=0.1)
    for _ in range(2):  # the second step sees what the first changed
        for module in (sparse, dense):
            module.zero_grad()
            module(torch.ones(30, 40)).square().sum().backward()
        optimizer.step()
        with torch.no_grad():
            dense.weight -= 0.1 * dense.weight.grad * kept
            dense.bias -= 0.1 * dense.bias.grad
        torch.testing.assert_close(sparse.to_dense().weight, dense.weight, rtol=1e-4, atol=1e-4)


def test_block_sizes_are_detected():
    torch.manual_seed(3)
    for block_size in [(32, 32), (16, 16), (8, 8), (16, 1), (1, 4), (4, 4)]:
        linear = pruned(96, 128, block_size)
        assert jp.nn.SparseLinear.from_dense(linear, layout="bsr").block_size == block_size
    with pytest.raises(jp.PatternError, match=r"block_size: none of 32x32.*covers the zeros.*comes closest"):
        jp.nn.SparseLinear.from_dense(pruned(96, 128, (1, 1)), layout="bsr")


def test_from_dense_refuses():
    linear = pruned(16, 16, (4, 4))
    for options, message in [
        ({"layout": "vector", "block_size": (4, 4)}, r"expected \(r, 1\) for layout 'vector'"),
        ({"layout": "bsr", "block_size": (0, 4)}, "two numbers of at least 1"),
        ({"layout": "csr", "block_size": (4, 4)}, "layout 'csr' has none"),
        ({"layout": "coo"}, "expected one of csr, bsr, vector"),
    ]:
        with pytest.raises(jp.PatternError, match=message):
            jp.nn.SparseLinear.from_dense(linear, **options)


def test_loading_another_number_of_blocks():
    target = jp.nn.SparseLinear.from_dense(pruned(32, 40, (16, 1), 0.2), layout="vector")
    source = jp.nn.SparseLinear.from_dense(pruned(32, 40, (16, 1), 0.7), layout="vector")
    x, parameter = torch.randn(20, 40), target.blocks
    target(x).sum().backward()
    target.load_state_dict(source.state_dict())
    assert target.blocks is parameter and target.blocks.grad is None
    assert torch.equal(target(x), source(x))
    fresh = copy.deepcopy(target).to("meta")
    fresh.load_state_dict(source.state_dict(), assign=True)
    assert torch.equal(fresh(x), source(x))


def test_loading_takes_a_state_as_a_whole_or_not_at_all():
    sparse = jp.nn.SparseLinear.from_dense(pruned(32, 40, (16, 1)), layout="vector")
    before = {name: tensor.clone() for name, tensor in sparse.state_dict().items()}
    for change, message in [
        (lambda s: s.pop("key"), "found no key"),
        (lambda s: s.update(key=s["key"] + 1), "key: expected the key"),
        (lambda s: s.update(blocks=s["blocks"].double()), "blocks: expected torch.float32"),
        (lambda s: s.update(blocks=s["blocks"].view(-1, 8, 2)), r"blocks: expected \[kept, 16, 1\]"),
        (lambda s: s.update(block_columns=s["block_columns"] + 1000), r"block_columns\["),
        (lambda s: s.update(bias=s["bias"][:-1]), "bias: expected"),
        (lambda s: s.update(bias=None), "bias: expected a tensor"),
    ]:
        state = dict(before)
        change(state)
        with pytest.raises(RuntimeError, match=message):
            sparse.load_state_dict(state)
        assert all(torch.equal(tensor, before[name]) for name, tensor in sparse.state_dict().items())


def test_a_checkpoint_and_an_estimate_know_blocks(tmp_path):
    torch.manual_seed(0)
    dense = nn.Sequential(nn.Linear(48, 32), nn.ReLU(), nn.Linear(32, 5))
    with torch.no_grad():
        dense[0].weight.mul_((torch.rand(2, 48) < 0.4).repeat_interleave(16, 0))
    x = torch.randn(3, 48)
    model = nn.Sequential(jp.nn.SparseLinear.from_dense(dense[0], layout="vector"), nn.ReLU(), dense[2])
    report = jp.estimate(model, x, profile="generic-cpu")
    first = report.layers[0]
    assert (first.layout, first.kernel, first.pattern) == ("bsr", "bsr", "16x1") and not report.unknown_ops
    assert first.energy_j < jp.estimate(dense, x, profile="generic-cpu").layers[0].energy_j
    jp.save(model, tmp_path / "m.safetensors")
    fresh = nn.Sequential(nn.Linear(48, 32), nn.ReLU(), nn.Linear(32, 5))
    loaded = jp.load(fresh, tmp_path / "m.safetensors")
    assert type(loaded[0]) is jp.nn.SparseLinearBSR and torch.equal(loaded(x), model(x))
