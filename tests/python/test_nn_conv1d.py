"""SparseConv1d: torch's Conv1d in every option that pads with zeros, and clear errors for the others."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from tolerance import assert_as_good
from torch import nn

import jouleprune as jp


def pruned(layer: nn.Module, density: float = 0.4) -> nn.Module:
    torch.manual_seed(0)
    with torch.no_grad():
        layer.weight.mul_(torch.rand_like(layer.weight) < density)
        layer.weight[0] = 0  # an empty row
    return layer


OPTIONS = [
    {},
    {"bias": False},
    {"stride": 2, "padding": 1},
    {"padding": 3, "dilation": 2},
    {"groups": 2, "padding": "same"},
    {"padding": "valid", "dilation": 3},
]


def make(options, kernel: int = 3) -> nn.Conv1d:
    return pruned(nn.Conv1d(4, 6, kernel, **options))


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_equal_outputs(options, dtype):
    for kernel, shape in itertools.product((1, 3), [(3, 4, 13), (4, 13), (1, 4, 9), (0, 4, 9)]):
        dense = make(options, kernel).to(dtype)
        sparse, x = jp.nn.SparseConv1d.from_dense(dense), torch.randn(shape).to(dtype)
        assert type(sparse) is jp.nn.SparseConv1dCSR
        with torch.no_grad():
            assert_as_good(sparse(x), copy.deepcopy(dense).double()(x.double()), dense(x))
            assert torch.equal(torch.jit.script(sparse)(x), sparse(x))


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_gradients_are_the_dense_ones_at_kept_entries(options):
    dense, x = make(options).double(), torch.randn(2, 4, 11, dtype=torch.float64, requires_grad=True)
    sparse, y = jp.nn.SparseConv1d.from_dense(dense), x.detach().clone().requires_grad_()
    dense(x).square().sum().backward()
    sparse(y).square().sum().backward()
    torch.testing.assert_close(y.grad, x.grad)
    torch.testing.assert_close(sparse.values.grad, dense.weight.grad[dense.weight != 0])
    if dense.bias is not None:
        torch.testing.assert_close(sparse.bias.grad, dense.bias.grad)


def test_there_and_back():
    dense = make({"stride": 2, "padding": 1, "groups": 2})
    sparse = jp.nn.SparseConv1d.from_dense(dense)
    back = sparse.to_dense()
    assert back.extra_repr() == dense.extra_repr() and torch.equal(back.weight, dense.weight)
    assert set(sparse.state_dict()) == {"values", "col_indices", "row_offsets", "key", "bias"}
    assert "kernel_size=(3,)" in repr(sparse) and f"nnz={sparse.nnz}" in repr(sparse)
    other = jp.nn.SparseConv1d.from_dense(pruned(copy.deepcopy(dense), 0.9))
    x = torch.randn(2, 4, 9)
    other.load_state_dict(sparse.state_dict())
    assert torch.equal(other(x), sparse(x))


def test_front_ends(tmp_path):
    sparse, x = jp.nn.SparseConv1d.from_dense(make({"padding": 1})).eval(), torch.randn(2, 4, 9)
    torch.jit.script(sparse).save(str(tmp_path / "m.pt"))
    with torch.no_grad():
        assert torch.equal(torch.jit.load(str(tmp_path / "m.pt"))(x), sparse(x))
        assert torch.equal(torch.compile(sparse, backend="aot_eager", fullgraph=True)(x), sparse(x))
        program = torch.export.export(sparse, (x,), dynamic_shapes=({0: torch.export.Dim("n", min=1, max=9)},))
        assert torch.equal(program.module()(x[:1]), sparse(x[:1]))


@pytest.mark.parametrize(
    "layer, fragment",
    [
        (
            lambda: nn.Conv1d(2, 2, 3, padding=1, padding_mode="reflect"),
            "padding_mode: expected 'zeros', got 'reflect'",
        ),
        (lambda: nn.Conv1d(2, 2, 2, padding="same"), "asymmetric"),
        (lambda: nn.Conv2d(2, 2, 3), "expected torch.nn.Conv1d, got Conv2d"),
        (lambda: nn.LazyConv1d(2, 3), "run it once first"),
    ],
)
def test_named_errors(layer, fragment):
    with pytest.raises(jp.PatternError, match=fragment):
        jp.nn.SparseConv1d.from_dense(layer())


def test_inputs_of_other_shapes_are_refused():
    sparse = jp.nn.SparseConv1d.from_dense(make({}))
    for shape in [(4,), (1, 2, 4, 9)]:
        with pytest.raises(ValueError, match="SparseConv1d: input: expected"):
            sparse(torch.randn(shape))
    with pytest.raises(ValueError, match="in_channels = 4"):
        sparse(torch.randn(2, 5, 9))
