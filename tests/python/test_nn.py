"""Sparse modules behave as modules: state, copies, casts, and the way back to dense."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
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


def test_from_dense_and_back():
    for dense, sparse, x in pairs():
        assert isinstance(sparse, (jp.nn.SparseLinear, jp.nn.SparseConv2d))
        torch.testing.assert_close(sparse(x), dense(x), rtol=1e-5, atol=1e-5)
        back = sparse.to_dense()
        assert type(back) is type(dense) and torch.equal(back.weight, dense.weight)
        assert torch.equal(back.bias, dense.bias)
        assert sparse.density == pytest.approx(float((dense.weight != 0).float().mean()))
        assert str(sparse.nnz) in repr(sparse)


def test_state_dict_is_the_contract():
    for _, sparse, _ in pairs():
        assert list(sparse.state_dict()) == ["values", "bias", "col_indices", "row_offsets", "key"]
        state = sparse.state_dict()
        assert state["col_indices"].dtype == state["row_offsets"].dtype == torch.int32
        assert state["key"].dtype == torch.int64 and state["key"].shape == (2,)


def test_loading_another_number_of_kept_weights():
    for dense, sparse, x in pairs():
        fewer = copy.deepcopy(dense)
        pruned(fewer, 0.5)
        source = type(sparse)(fewer)
        parameter = sparse.values
        sparse.load_state_dict(source.state_dict())
        assert sparse.values is parameter and sparse.values.requires_grad  # optimizers keep their parameter
        assert torch.equal(sparse(x), source(x))
        sparse(x).sum().backward()
        assert sparse.values.grad.shape == sparse.values.shape


def test_a_mask_keeps_zeros_that_are_kept():
    dense = nn.Linear(4, 3)
    mask = torch.tensor([[1, 0, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1]], dtype=torch.bool)
    with torch.no_grad():
        dense.weight[2, 1] = 0.0
    sparse = jp.nn.SparseLinear.from_dense(dense, mask=mask)
    assert sparse.nnz == 6
    assert torch.equal(sparse.to_dense().weight, dense.weight * mask)


def test_copies_and_casts():
    for _, sparse, x in pairs():
        for twin in (copy.deepcopy(sparse), pickle.loads(pickle.dumps(sparse))):
            assert torch.equal(twin(x), sparse(x)) and twin.values is not sparse.values
        double = copy.deepcopy(sparse).double()
        assert double.key.dtype == torch.int64 and double.col_indices.dtype == torch.int32
        torch.testing.assert_close(double(x.double()).float(), sparse(x))
        half = copy.deepcopy(sparse).bfloat16()
        assert half(x.bfloat16()).dtype == torch.bfloat16
        sparse.share_memory()
        assert not sparse.eval().training


def test_flags_are_kept():
    dense = nn.Linear(4, 3).eval()
    dense.weight.requires_grad_(False)
    sparse = jp.nn.SparseLinear.from_dense(dense)
    assert not sparse.training and not sparse.values.requires_grad and sparse.bias.requires_grad
    assert not sparse.to_dense().weight.requires_grad


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_padding_in_words(padding):
    dense = pruned(nn.Conv2d(2, 3, (3, 5), padding=padding, dilation=(2, 1)))
    x = torch.randn(1, 2, 9, 9)
    torch.testing.assert_close(jp.nn.SparseConv2d.from_dense(dense)(x), dense(x), rtol=1e-5, atol=1e-5)
