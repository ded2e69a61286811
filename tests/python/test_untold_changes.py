"""Changes that torch does not count: through ``.data``, and of tensors that were created in inference mode."""

from __future__ import annotations

import copy

import pytest
import torch
from tolerance import assert_as_good
from torch import nn

import jouleprune as jp

FAR_AWAY = 10**8


def pruned_linear(rows: int = 96, cols: int = 128, density: float = 0.3) -> nn.Linear:
    layer = nn.Linear(cols, rows)
    with torch.no_grad():
        layer.weight.mul_(torch.rand_like(layer.weight) < density)
    return layer


def assert_equal_outputs(sparse: nn.Module, dense: nn.Module, x: torch.Tensor) -> None:
    with torch.no_grad():
        assert_as_good(sparse(x), copy.deepcopy(dense).double()(x.double()), dense(x))


@pytest.mark.parametrize("layout", ["csr", "bsr"])
@pytest.mark.parametrize("index", [0, 4, 1000])
def test_a_changed_index_is_refused_before_memory_is_touched(layout, index):
    torch.manual_seed(0)
    sparse = jp.nn.SparseLinear.from_dense(
        pruned_linear(), layout=layout, block_size=(1, 1) if layout == "bsr" else None
    )
    indices = sparse.col_indices if layout == "csr" else sparse.block_columns
    x = torch.randn(3, 128, requires_grad=True)
    sparse(x).sum().backward()
    out = sparse(x).sum()
    indices.data[index] = FAR_AWAY
    with pytest.raises(ValueError, match="unsound structure"):
        out.backward()
    with pytest.raises(ValueError, match="unsound structure"):
        sparse(x).sum().backward()


def test_a_changed_index_of_a_convolution_is_refused():
    conv = nn.Conv2d(32, 64, 3)
    sparse = jp.nn.SparseConv2d.from_dense(conv)
    x = torch.randn(2, 32, 6, 6, requires_grad=True)
    out = sparse(x).sum()
    sparse.col_indices.data[4] = FAR_AWAY
    with pytest.raises(ValueError, match="unsound structure"):
        out.backward()


@pytest.mark.parametrize("n", [1, 32])
def test_forward_kernels_read_copies_of_the_indices(n, monkeypatch):
    """Neither loops over int8 quads nor weights with columns beyond 16 bits read the caller's tensors."""
    monkeypatch.setenv("JOULEPRUNE_ISA", "portable")
    torch.manual_seed(0)
    wide = pruned_linear(3, 70_000, 0.05)
    for layer, dtype in ((pruned_linear(density=0.9), "int8"), (wide, None)):
        sparse = jp.nn.SparseLinear.from_dense(layer, dtype=dtype)
        indices = sparse.col_indices if dtype is None else sparse.block_columns
        x = torch.randn(n, layer.in_features)
        with torch.no_grad():
            expected = sparse(x)
            indices.data[4] = FAR_AWAY  # no part of the sample
            assert indices.numel() > 2048 and torch.equal(sparse(x), expected)


@pytest.mark.parametrize("n", [1, 32])
def test_a_layer_made_in_inference_mode_takes_another_state(n):
    torch.manual_seed(0)
    one, other = pruned_linear(), nn.Linear(128, 96)
    with torch.no_grad():
        other.weight.copy_(one.weight.roll(1, 1))  # as many kept entries, other columns
    with torch.inference_mode():
        sparse, state = (jp.nn.SparseLinear.from_dense(layer) for layer in (one, other))
        x = torch.randn(n, 128)
        assert_equal_outputs(sparse, one, x)
        sparse.load_state_dict(state.state_dict())
        assert_equal_outputs(sparse, other, x)


@pytest.mark.parametrize("n", [1, 32])
@pytest.mark.parametrize("dtype", [None, "int8"])
def test_single_values_of_a_layer_made_in_inference_mode(n, dtype):
    torch.manual_seed(0)
    with torch.inference_mode():
        sparse = jp.nn.SparseLinear.from_dense(pruned_linear(), dtype=dtype)
        x = torch.randn(n, 128)
        sparse(x)
        values = (sparse.values if dtype is None else sparse.blocks).view(-1)
        values[5] = 100 if values[5] != 100 else 50
        assert torch.equal(sparse(x), copy.deepcopy(sparse)(x))


def test_ordinary_modules_change_under_inference_mode():
    torch.manual_seed(0)
    one, other = pruned_linear(), nn.Linear(128, 96)
    with torch.no_grad():
        other.weight.copy_(one.weight.roll(1, 1))
    sparse, state = (jp.nn.SparseLinear.from_dense(layer) for layer in (one, other))
    x = torch.randn(4, 128)
    with torch.inference_mode():
        sparse(x)
        sparse.load_state_dict(state.state_dict())
        assert_equal_outputs(sparse, other, x)
        sparse.values[5] += 100
        assert torch.equal(sparse(x), copy.deepcopy(sparse)(x))
