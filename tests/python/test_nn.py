"""Sparse modules behave as modules: state, copies, casts, and the way back to dense."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch
from tolerance import assert_as_good
from torch import nn

import jouleprune as jp


def pruned(layer: nn.Module, density: float = 0.3) -> nn.Module:
    with torch.no_grad():
        layer.weight.mul_(torch.rand_like(layer.weight) < density)
    return layer


def pairs():
    torch.manual_seed(0)
    linear, conv = pruned(nn.Linear(11, 6)), pruned(nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2))
    return [
        (linear, jp.nn.SparseLinear.from_dense(linear), torch.randn(3, 11)),
        (conv, jp.nn.SparseConv2d.from_dense(conv), torch.randn(2, 4, 7, 9)),
    ]


def assert_equal_outputs(sparse: nn.Module, dense: nn.Module, x: torch.Tensor) -> None:
    with torch.no_grad():
        assert_as_good(sparse(x), copy.deepcopy(dense).double()(x.double()), dense(x))


def test_from_dense_and_back():
    for dense, sparse, x in pairs():
        kind = jp.nn.SparseLinear if isinstance(dense, nn.Linear) else jp.nn.SparseConv2d
        assert isinstance(sparse, kind) and type(sparse) in (jp.nn.SparseLinearCSR, jp.nn.SparseConv2dCSR)
        assert_equal_outputs(sparse, dense, x)
        back = sparse.to_dense()
        assert type(back) is type(dense) and torch.equal(back.weight, dense.weight)
        assert torch.equal(back.bias, dense.bias)
        assert back.bias is not sparse.bias and back.extra_repr() == dense.extra_repr()
        kept = int(dense.weight.count_nonzero())
        assert sparse.nnz == kept and sparse.density == pytest.approx(kept / dense.weight.numel())
        assert f"nnz={kept}, density={sparse.density:.4f}" in repr(sparse)


def test_state_dict_is_the_contract():
    for _, sparse, _ in pairs():
        state = sparse.state_dict()
        assert set(state) == {"values", "col_indices", "row_offsets", "key", "bias"}
        assert state["col_indices"].dtype == state["row_offsets"].dtype == torch.int32
        assert state["key"].dtype == torch.int64 and state["key"].shape == (2,)
        assert {name for name, _ in sparse.named_parameters()} == {"values", "bias"}
    bare = jp.nn.SparseLinear.from_dense(nn.Linear(3, 2, bias=False))
    assert set(bare.state_dict()) == {"values", "col_indices", "row_offsets", "key"} and bare.bias is None


def test_loading_another_number_of_kept_weights():
    for dense, sparse, x in pairs():
        source = type(sparse)(pruned(copy.deepcopy(dense), 0.5))
        assert source.nnz < sparse.nnz
        sparse(x).sum().backward()
        parameter = sparse.values
        sparse.load_state_dict(source.state_dict())
        assert sparse.values is parameter and sparse.values.requires_grad  # optimizers keep their parameter
        assert sparse.values.grad is None and sparse.nnz == source.nnz  # the gradient was of other weights
        assert torch.equal(sparse(x), source(x))
        sparse(x).sum().backward()
        assert sparse.values.grad.shape == sparse.values.shape
        assert torch.equal(sparse.to_dense().weight, source.to_dense().weight)


def test_loading_keeps_frozen_values_frozen():
    for dense, sparse, _ in pairs():
        source = type(sparse)(pruned(copy.deepcopy(dense), 0.5))
        sparse.requires_grad_(False).load_state_dict(source.state_dict())
        assert not sparse.values.requires_grad and not sparse.bias.requires_grad


def test_a_file_of_the_state_needs_no_pickle():
    for dense, sparse, x in pairs():
        file = io.BytesIO()
        torch.save(sparse.state_dict(), file)
        file.seek(0)
        fresh = type(sparse)(pruned(copy.deepcopy(dense), 0.1))
        fresh.load_state_dict(torch.load(file, weights_only=True))
        assert torch.equal(fresh(x), sparse(x))


def test_loading_into_a_module_without_memory():
    for _, sparse, x in pairs():
        for fresh, assign in [
            (copy.deepcopy(sparse).to("meta"), True),
            (copy.deepcopy(sparse).to("meta").to_empty(device="cpu"), False),
        ]:
            fresh.load_state_dict(sparse.state_dict(), assign=assign)
            assert torch.equal(fresh(x), sparse(x))


def changing(name, change):
    return lambda state: state.update({name: change(state[name])})


#: What is wrong with a state, and a fragment of the error.
STATES = {
    "key": (changing("key", lambda k: k + 1), "key"),
    "column": (changing("col_indices", lambda c: c + 1000), "col_indices"),
    "offsets": (changing("row_offsets", lambda r: r + 1), "row_offsets"),
    "rows": (changing("row_offsets", lambda r: r[:-1]), r"row_offsets: expected \[7\]"),
    "truncated": (changing("values", lambda v: v[:-1]), "values: expected .nnz"),
    "dtype": (changing("values", lambda v: v.double()), "values: expected torch.float32, got torch.float64"),
    "not a tensor": (changing("values", lambda v: v.tolist()), "values: expected a tensor, got list"),
    "bias": (changing("bias", lambda b: b[:-1]), r"bias: expected \[6\], got \[5\]"),
    "no key": (lambda state: state.pop("key"), "together, found no key"),
    "no bias": (lambda state: state.pop("bias"), "together, found no bias"),
    "of a dense layer": (
        lambda state: [state.pop(name) for name in list(state) if name != "bias"],
        "together, found no values, col_indices, row_offsets, key",
    ),
}


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("case", STATES)
def test_a_refused_state_changes_nothing(case, strict):
    change, fragment = STATES[case]
    for dense, sparse, x in pairs():
        before, output = {name: value.clone() for name, value in sparse.state_dict().items()}, sparse(x)
        state = type(sparse)(pruned(copy.deepcopy(dense), 0.5)).state_dict()
        state["bias"] = state["bias"] * 2
        change(state)
        with pytest.raises(RuntimeError, match=f"(?s){type(sparse).__name__}.*{fragment}"):
            sparse.load_state_dict(state, strict=strict)
        assert all(torch.equal(before[name], value) for name, value in sparse.state_dict().items())
        assert torch.equal(sparse(x), output)


def test_a_tolerant_load_tells_what_it_did_not_find():
    for dense, sparse, x in pairs():
        output = sparse(x)
        assert set(sparse.load_state_dict({}, strict=False).missing_keys) == set(sparse.state_dict())
        assert torch.equal(sparse(x), output)
        source = type(sparse)(pruned(copy.deepcopy(dense), 0.5))
        assert sparse.load_state_dict({**source.state_dict(), "more": x}, strict=False).unexpected_keys == ["more"]
        assert torch.equal(sparse(x), source(x))
        with pytest.raises(RuntimeError, match=r'(?s)Missing.*"0.values".*"0.key"'):
            nn.Sequential(sparse).load_state_dict({})


def test_a_mask_keeps_zeros_that_are_kept():
    dense = nn.Linear(4, 3)
    mask = torch.tensor([[1, 0, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1]], dtype=torch.bool)
    with torch.no_grad():
        dense.weight[2, 1] = 0.0
    sparse = jp.nn.SparseLinear.from_dense(dense, mask=mask)
    assert sparse.nnz == 6
    assert torch.equal(sparse.to_dense().weight, dense.weight * mask)


def test_copies_and_casts():
    for dense, sparse, x in pairs():
        for twin in (copy.deepcopy(sparse), pickle.loads(pickle.dumps(sparse))):
            assert torch.equal(twin(x), sparse(x)) and twin.values is not sparse.values
            with torch.no_grad():
                twin.values.zero_()
            assert sparse.values.any()
        for dtype in (torch.float64, torch.bfloat16, torch.float16):
            cast = copy.deepcopy(sparse).to(dtype)
            assert cast.key.dtype == torch.int64 and cast.col_indices.dtype == torch.int32
            assert_equal_outputs(cast, copy.deepcopy(dense).to(dtype), x.to(dtype))
        assert copy.deepcopy(sparse).half().values.dtype == torch.float16
        assert copy.deepcopy(sparse).to("meta")(x.to("meta")).shape == dense(x).shape
        sparse.share_memory()
        assert all(value.is_shared() for value in sparse.state_dict().values())
        assert not sparse.eval().training and sparse.train().training


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_flags_are_kept(dtype):
    dense = nn.Linear(4, 3, dtype=dtype).eval()
    dense.weight.requires_grad_(False)
    sparse = jp.nn.SparseLinear.from_dense(dense)
    assert not sparse.training and not sparse.values.requires_grad and sparse.bias.requires_grad
    assert sparse.values.dtype == sparse.bias.dtype == dtype
    back = sparse.to_dense()
    assert not back.training and not back.weight.requires_grad and back.bias.requires_grad
    assert back.weight.dtype == dtype


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_padding_in_words(padding):
    dense = pruned(nn.Conv2d(2, 3, (3, 5), padding=padding, dilation=(2, 1)))
    assert_equal_outputs(jp.nn.SparseConv2d.from_dense(dense), dense, torch.randn(1, 2, 9, 9))


def test_one_image_without_a_batch():
    dense = pruned(nn.Conv2d(2, 3, 3))
    sparse, image = jp.nn.SparseConv2d.from_dense(dense), torch.randn(2, 9, 9)
    assert_equal_outputs(sparse, dense, image)
    assert torch.equal(torch.jit.script(sparse)(image), sparse(image))
    sparse(image).sum().backward()
    assert sparse.values.grad.any()


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (1, 1)])
def test_layers_of_size_zero_and_one(shape):
    with torch.no_grad():
        weight, bias = torch.randn(shape[1], shape[0]), torch.randn(shape[1])
    dense = nn.Linear(1, 1)
    dense.in_features, dense.out_features = shape
    dense.weight, dense.bias = nn.Parameter(weight), nn.Parameter(bias)
    sparse, x = jp.nn.SparseLinear.from_dense(dense), torch.randn(2, shape[0])
    assert_equal_outputs(sparse, dense, x)
    assert 0 <= sparse.density <= 1
