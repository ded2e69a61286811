"""Layout nm against dense: products, gradients, packing, and the module ``SparseLinearNM``."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
import torch.nn.functional as F
from test_ops import nm_arguments, obeying, unpack_nm_arguments
from tolerance import assert_as_good
from torch import nn

import jouleprune as jp

ops = torch.ops.jouleprune
PATTERNS = [(2, 4), (1, 2), (1, 4), (4, 8), (3, 5), (1, 32), (31, 32)]


def pruned(rows: int, cols: int, n: int, m: int) -> nn.Linear:
    linear = nn.Linear(cols, rows)
    with torch.no_grad():
        linear.weight.copy_(obeying(rows, cols, n, m))
    return linear


def kept_mask(packed, cols: int, n: int, m: int) -> torch.Tensor:
    values, indices, _ = packed
    return jp.ops.unpack_nm(torch.ones_like(values.detach()), indices, cols, n=n, m=m) != 0


@pytest.mark.parametrize("n,m", PATTERNS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("batch", [0, 1, 3, 30])
def test_products_and_gradients_equal_dense(n, m, dtype, batch):
    torch.manual_seed(batch)
    rows, cols = 50, 45
    weight = obeying(rows, cols, n, m, dtype)
    packed = jp.ops.pack_nm(weight, n=n, m=m)
    values = packed[0].requires_grad_()
    x = torch.randn(batch, cols, dtype=dtype, requires_grad=True)
    b = torch.randn(rows, dtype=dtype, requires_grad=True)
    results = {}
    for kind in (torch.float64, dtype):
        dense, dense_x, dense_b = (t.detach().to(kind).requires_grad_() for t in (weight, x, b))
        y = F.linear(dense_x, dense, dense_b)
        y.backward(torch.ones_like(y))
        gradient = jp.ops.pack_nm(dense.grad, kept_mask(packed, cols, n, m), n=n, m=m)[0]
        results[kind] = (y.detach(), dense_x.grad, gradient, dense_b.grad)
    y = jp.ops.linear_nm(x, *packed, b, in_features=cols, n=n, m=m)
    y.backward(torch.ones_like(y))
    for ours, exact, reordered in zip((y.detach(), x.grad, values.grad, b.grad), *results.values(), strict=True):
        assert_as_good(ours, exact, reordered)


@pytest.mark.parametrize("isa", ["reference", "portable", "avx2", "avx512"])
def test_every_instruction_set(isa, monkeypatch):
    monkeypatch.setenv("JOULEPRUNE_ISA", isa)
    packed = jp.ops.pack_nm(obeying(37, 45, 2, 4), n=2, m=4)
    x = torch.randn(9, 45)
    try:
        y = jp.ops.linear_nm(x, *packed, in_features=45, n=2, m=4)
    except ValueError as error:
        pytest.skip(str(error))  # a processor without it
    dense = jp.ops.unpack_nm(packed[0], packed[1], 45, n=2, m=4)
    assert_as_good(y, x.double() @ dense.double().t(), x @ dense.t())


@pytest.mark.parametrize("activation", ["none", "relu", "gelu", "silu"])
def test_gradcheck(activation):
    torch.manual_seed(1)
    x, values, *rest = nm_arguments(activation=activation, dtype=torch.float64)
    b = rest[3]

    def call(x, values, b):
        return ops.linear_nm(x, values, *rest[:3], b, *rest[4:])

    assert torch.autograd.gradcheck(call, (x, values, b))


def test_unpack_is_differentiable_in_values():
    values, *rest = unpack_nm_arguments(grad=True, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda v: ops.unpack_nm(v, *rest), (values,))


def test_packing():
    nan = float("nan")
    weight = torch.tensor([[0.0, 1.0, -0.0, nan, 5.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0, 7.0]])
    values, indices, key = jp.ops.pack_nm(weight, n=2, m=4)
    assert indices.tolist() == [[1, 3, 0, 1], [0, 1, 0, 1]]  # the last group is two inputs wide
    assert values[0, 0] == 1 and values[0, 1].isnan() and values[0, 2:].tolist() == [5, 0]
    assert values[1].tolist() == [0, 0, 0, 7] and indices.dtype == torch.uint8
    mask = torch.tensor([[False, True, True, False]])
    values, indices, other = jp.ops.pack_nm(torch.tensor([[3.0, 0.0, 2.0, 9.0]]), mask, n=3, m=4)
    assert indices.tolist() == [[0, 1, 2]] and values.tolist() == [
        [0, 0, 2]
    ]  # a free place holds 0, not what was removed
    assert not torch.equal(key, other)
    with pytest.raises(
        ValueError, match=r"at most 2 kept entries in each group of 4 inputs, got more in row 1, inputs from 4"
    ):
        jp.ops.pack_nm(torch.tensor([[1.0] * 2 + [0.0] * 6, [0.0] * 4 + [1.0] * 3 + [0.0]]), n=2, m=4)


def test_indices_that_change_are_checked_again():
    values, indices, key = jp.ops.pack_nm(obeying(8, 16, 2, 4), n=2, m=4)
    x, sizes = torch.randn(3, 16), {"in_features": 16, "n": 2, "m": 4}
    first = jp.ops.linear_nm(x, values, indices, key, **sizes)
    before = indices.clone()
    indices[0, :2] = torch.tensor([3, 1], dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"indices\[0, 1\]: expected ascending"):
        jp.ops.linear_nm(x, values, indices, key, **sizes)
    indices.data[0, :2] = torch.tensor([0, 200], dtype=torch.uint8)  # which torch does not count
    with pytest.raises(ValueError, match=r"indices\[0, 1\]: expected an index in \[0, 4\)"):
        jp.ops.linear_nm(x, values, indices, key, **sizes)
    indices.copy_(before)
    assert torch.equal(jp.ops.linear_nm(x, values, indices, key, **sizes), first)
    with torch.inference_mode():
        own = indices.clone()
        assert torch.equal(jp.ops.linear_nm(x, values, own, key, **sizes), first)
        own[0, :2] = torch.tensor([0, 200], dtype=torch.uint8)
        with pytest.raises(ValueError, match="expected an index"):
            jp.ops.linear_nm(x, values, own, key, **sizes)


def test_values_that_change_are_seen():
    values, indices, key = jp.ops.pack_nm(obeying(64, 64, 2, 4), n=2, m=4)
    x, sizes = torch.randn(1, 64), {"in_features": 64, "n": 2, "m": 4}
    first = jp.ops.linear_nm(x, values, indices, key, **sizes)
    values.mul_(2)
    torch.testing.assert_close(jp.ops.linear_nm(x, values, indices, key, **sizes), 2 * first)


def test_autocast():
    packed = jp.ops.pack_nm(obeying(6, 12, 2, 4), n=2, m=4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert jp.ops.linear_nm(torch.randn(4, 12), *packed, in_features=12, n=2, m=4).dtype == torch.bfloat16


def test_names_what_is_wrong():
    values, indices, key = jp.ops.pack_nm(obeying(4, 8, 2, 4), n=2, m=4)
    good = dict(input=torch.randn(3, 8), values=values, indices=indices, key=key, in_features=8, n=2, m=4)
    for changes, error, message in [
        ({"input": torch.randn(3, 5)}, ValueError, r"input: expected \[..., 8\]"),
        ({"values": values.double()}, TypeError, "values: expected the dtype of input"),
        ({"values": values[:, :-1]}, ValueError, r"values: expected \[4, 4\] for 2:4 of 8 inputs, got \[4, 3\]"),
        ({"indices": indices.int()}, TypeError, "indices: expected uint8"),
        ({"indices": indices[:-1]}, ValueError, r"expected \[3, 4\]"),
        ({"indices": indices + 4}, ValueError, r"unsound structure: indices\[0, 0\]"),
        ({"key": key + 1}, ValueError, "key: expected the key of this structure, as pack_nm makes it"),
        ({"key": key[:1]}, ValueError, r"key: expected \[2\]"),
        ({"bias": torch.randn(5)}, ValueError, "bias: expected"),
        ({"n": 4}, ValueError, "n, m: expected 1 <= n < m <= 32, got 4:4"),
        ({"m": 33}, ValueError, "got 2:33"),
    ]:
        with pytest.raises(error, match=message):
            jp.ops.linear_nm(**{**good, **changes})


def test_threads_do_not_change_a_bit():
    before = torch.get_num_threads()
    linear = jp.nn.SparseLinear.from_dense(pruned(200, 300, 2, 4), layout="nm")
    for batch in (1, 100):
        x = torch.randn(batch, 300)
        outs = []
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            outs.append(linear(x))
        torch.set_num_threads(before)
        assert torch.equal(outs[0], outs[1]) and torch.equal(outs[0], outs[2])


@pytest.mark.parametrize("n,m", PATTERNS)
def test_module_there_and_back(n, m):
    torch.manual_seed(2)
    dense = pruned(50, 70, n, m)
    sparse = jp.nn.SparseLinear.from_dense(dense, layout="nm", pattern=f"{n}:{m}")
    x = torch.randn(5, 70)
    assert_as_good(sparse(x).detach(), copy.deepcopy(dense).double()(x.double()).detach(), dense(x).detach())
    assert torch.equal(sparse.to_dense().weight, dense.weight) and torch.equal(sparse.to_dense().bias, dense.bias)
    assert set(sparse.state_dict()) == {"values", "indices", "key", "pattern", "bias"}
    assert {name for name, _ in sparse.named_parameters()} == {"values", "bias"}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*torch\.jit\..* is (deprecated|not supported)")
        assert torch.equal(torch.jit.script(sparse)(x), sparse(x))
    assert torch.equal(copy.deepcopy(sparse)(x), sparse(x))
    assert f"pattern={n}:{m}" in repr(sparse)


def test_exports_and_compiles():
    sparse = jp.nn.SparseLinear.from_dense(pruned(6, 12, 2, 4), layout="nm").eval()
    x = torch.randn(3, 12)
    exported = torch.export.export(sparse, (x,))
    assert "linear_nm" in str(exported.graph)
    torch.testing.assert_close(exported.module()(x), sparse(x))
    compiled = torch.compile(sparse, fullgraph=True, backend="aot_eager")
    compiled(x).sum().backward()
    assert torch.equal(sparse.bias.grad, torch.full((6,), 3.0))


def test_training_moves_kept_entries_alone():
    dense = pruned(48, 40, 2, 4)
    sparse = jp.nn.SparseLinear.from_dense(dense, layout="nm")
    kept = kept_mask((sparse.values, sparse.indices, None), 40, 2, 4)
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


def test_from_dense_refuses():
    linear = pruned(16, 16, 2, 4)
    for options, error, message in [
        ({"layout": "nm", "pattern": "4:2"}, jp.PatternError, "expected 1 <= n < m <= 32, got '4:2'"),
        ({"layout": "nm", "pattern": "half"}, jp.PatternError, "pattern: expected 'n:m'"),
        ({"layout": "nm", "block_size": (4, 4)}, jp.PatternError, "layout 'nm' has a pattern"),
        ({"layout": "csr", "pattern": "2:4"}, jp.PatternError, "pattern: layout 'csr' has none"),
        ({"layout": "nm", "pattern": "1:16"}, ValueError, "at most 1 kept entries in each group of 16"),
    ]:
        with pytest.raises(error, match=message):
            jp.nn.SparseLinear.from_dense(linear, **options)


def test_loading_takes_a_state_as_a_whole_or_not_at_all():
    sparse = jp.nn.SparseLinear.from_dense(pruned(32, 40, 2, 4), layout="nm")
    other = jp.nn.SparseLinear.from_dense(pruned(32, 40, 2, 4), layout="nm")
    x = torch.randn(3, 40)
    target = copy.deepcopy(sparse)
    target.load_state_dict(other.state_dict())
    assert torch.equal(target(x), other(x))
    before = {name: tensor.clone() for name, tensor in sparse.state_dict().items()}
    for change, message in [
        (lambda s: s.pop("key"), "found no key"),
        (lambda s: s.update(key=s["key"] + 1), "key: expected the key"),
        (lambda s: s.update(values=s["values"].double()), "values: expected torch.float32"),
        (lambda s: s.update(values=s["values"][:, :-1]), r"values: expected \[32, 20\]"),
        (lambda s: s.update(indices=s["indices"] + 4), r"indices\["),
        (lambda s: s.update(pattern=torch.tensor([4, 8])), "pattern: expected 2:4, got 4:8"),
    ]:
        state = dict(before)
        change(state)
        with pytest.raises(RuntimeError, match=message):
            sparse.load_state_dict(state)
        assert all(torch.equal(tensor, before[name]) for name, tensor in sparse.state_dict().items())


def test_a_checkpoint_and_an_estimate_know_nm(tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(
        jp.nn.SparseLinear.from_dense(pruned(32, 48, 1, 8), layout="nm", pattern="1:8"), nn.ReLU(), nn.Linear(32, 5)
    )
    x = torch.randn(3, 48)
    report = jp.estimate(model, x, profile="generic-cpu")
    first = report.layers[0]
    assert (first.name, first.layout, first.kernel, first.pattern) == (
        "0",
        "nm",
        "csr",
        "1:8",
    ) and not report.unknown_ops
    dense = nn.Sequential(model[0].to_dense(), nn.ReLU(), model[2])
    assert first.energy_j < jp.estimate(dense, x, profile="generic-cpu").layers[0].energy_j
    jp.save(model, tmp_path / "m.safetensors")
    loaded = jp.load(nn.Sequential(nn.Linear(48, 32), nn.ReLU(), nn.Linear(32, 5)), tmp_path / "m.safetensors")
    assert type(loaded[0]) is jp.nn.SparseLinearNM and torch.equal(loaded(x), model(x))
