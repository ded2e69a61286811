"""Bad input to ops and sparse modules: a named error, never a crash, nothing changed. (Surface: test_bad_inputs.py.)"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

import pytest
import torch
from torch import nn

import jouleprune as jp


def linear(**changes):
    """linear_csr of a 3 x 4 weight with one argument changed."""
    values, col_indices, row_offsets, key = jp.ops.pack_csr(torch.tensor([[1.0, 0, 2, 0], [0, 0, 0, 0], [0, 3, 0, 4]]))
    arguments = {
        "input": torch.ones(2, 4), "values": values, "col_indices": col_indices, "row_offsets": row_offsets, "key": key,
        "bias": torch.ones(3), "in_features": 4,
    }  # fmt: skip
    for name, change in changes.items():
        arguments[name] = change(arguments[name]) if callable(change) else change
    return jp.ops.linear_csr(**arguments)


def conv(**changes):
    """conv2d_csr of a 2 x (2 x 3 x 3) weight with one argument changed."""
    values, col_indices, row_offsets, key = jp.ops.pack_csr(torch.ones(2, 18))
    arguments = {
        "input": torch.ones(1, 2, 5, 5), "values": values, "col_indices": col_indices, "row_offsets": row_offsets,
        "key": key, "in_channels": 2, "kernel_size": (3, 3), **changes,
    }  # fmt: skip
    return jp.ops.conv2d_csr(**arguments)


def tensor(*values: int) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int32)


def load(**changes):
    module = jp.nn.SparseLinear.from_dense(nn.Linear(4, 3))
    state = module.state_dict()
    for name, change in changes.items():
        state[name] = change(state[name])
    module.load_state_dict(state)


V, T, R = ValueError, TypeError, RuntimeError
BOOLS = torch.ones(3, dtype=torch.bool)
CASES = {
    "input width": (V, r"input.*4", lambda: linear(input=torch.ones(2, 5))),
    "input scalar": (V, "input", lambda: linear(input=torch.tensor(1.0))),
    "input dtype": (T, "values.*dtype", lambda: linear(input=torch.ones(2, 4).double())),
    "input integer": (T, "input.*int64|Long", lambda: linear(input=torch.ones(2, 4).long())),
    "input complex": (T, "input", lambda: linear(input=torch.ones(2, 4, dtype=torch.complex64))),
    "input sparse": ((V, NotImplementedError), "SparseCPU|strided", lambda: linear(input=torch.ones(2, 4).to_sparse())),
    "values 2-d": (V, "values", lambda: linear(values=lambda v: v.view(1, -1))),
    "values too few": (V, "values.*nnz", lambda: linear(values=lambda v: v[:-1])),
    "col_indices int64": (T, "col_indices.*int32", lambda: linear(col_indices=lambda c: c.long())),
    "col_indices too large": (V, "col", lambda: linear(col_indices=tensor(0, 2, 1, 4))),
    "col_indices negative": (V, "col", lambda: linear(col_indices=tensor(0, 2, -1, 3))),
    "col_indices descending": (V, "ascending|order", lambda: linear(col_indices=tensor(2, 0, 1, 3))),
    "col_indices twice the same": (V, "ascending|order", lambda: linear(col_indices=tensor(0, 2, 3, 3))),
    "row_offsets int64": (T, "row_offsets.*int32", lambda: linear(row_offsets=lambda r: r.long())),
    "row_offsets empty": (V, "row_offsets", lambda: linear(row_offsets=tensor())),
    "row_offsets falling": (V, "row_offsets|offset", lambda: linear(row_offsets=tensor(0, 3, 2, 4))),
    "row_offsets first": (V, "row_offsets|offset", lambda: linear(row_offsets=tensor(1, 2, 2, 4))),
    "row_offsets last": (V, "row_offsets|offset", lambda: linear(row_offsets=tensor(0, 2, 2, 5))),
    "row_offsets huge": (V, "row_offsets|offset", lambda: linear(row_offsets=tensor(0, 2**30, 2**31 - 1, 4))),
    "key of another structure": (V, "key", lambda: linear(key=lambda k: k + 1)),
    "key length": (V, "key", lambda: linear(key=lambda k: k[:1])),
    "key dtype": (T, "key.*int64", lambda: linear(key=lambda k: k.int())),
    "bias length": (V, "bias.*3", lambda: linear(bias=torch.ones(4))),
    "bias dtype": (T, "bias", lambda: linear(bias=torch.ones(3).half())),
    "in_features": (V, "in_features|columns|input", lambda: linear(in_features=-1)),
    "activation": (V, "relu", lambda: linear(activation="swishy")),
    "prepacked dtype": (T, "prepacked", lambda: linear(prepacked=torch.ones(0))),
    "device": (V, "device", lambda: linear(input=torch.ones(2, 4, device="meta"))),
    "conv input 3-d": (V, "input", lambda: conv(input=torch.ones(2, 5, 5))),
    "conv channels": (V, "in_channels|input", lambda: conv(input=torch.ones(1, 3, 5, 5))),
    "conv kernel too large": (V, "kernel|output", lambda: conv(input=torch.ones(1, 2, 2, 2))),
    "conv kernel size": (V, "key", lambda: conv(kernel_size=(5, 5))),
    "conv stride 0": (V, "stride", lambda: conv(stride=(0, 1))),
    "conv padding negative": (V, "padding", lambda: conv(padding=(-1, 0))),
    "conv dilation 0": (V, "dilation", lambda: conv(dilation=(1, 0))),
    "conv groups": (V, "groups", lambda: conv(groups=3)),
    "conv groups 0": (V, "groups", lambda: conv(groups=0)),
    "pack 1-d": (V, "pack_csr.*weight", lambda: jp.ops.pack_csr(torch.ones(3))),
    "pack integer": (T, "weight", lambda: jp.ops.pack_csr(torch.ones(3, 3).long())),
    "pack mask shape": (V, "mask", lambda: jp.ops.pack_csr(torch.ones(3, 3), torch.ones(3, 2, dtype=torch.bool))),
    "pack mask dtype": (T, "mask", lambda: jp.ops.pack_csr(torch.ones(3, 3), torch.ones(3, 3))),
    "unpack unsound": (V, "col", lambda: jp.ops.unpack_csr(torch.ones(1), tensor(9), tensor(0, 1), 4)),
    "mask bits length": (V, "bits", lambda: jp.ops.unpack_mask(torch.zeros(1, dtype=torch.uint8), [9])),
    "mask bits dtype": (T, "bits", lambda: jp.ops.unpack_mask(torch.zeros(2), [9])),
    "apply bits length": (V, "bits", lambda: jp.ops.apply_mask_(torch.ones(9), torch.zeros(1, dtype=torch.uint8))),
    "pack_mask dtype": (T, "mask", lambda: jp.ops.pack_mask(torch.ones(9))),
    "smallest amount": (V, "amount.*3, got 4", lambda: jp.ops.mask_smallest([torch.ones(3)], 4)),
    "smallest amount negative": (V, "amount.*-1", lambda: jp.ops.mask_smallest([torch.ones(3)], -1)),
    "smallest left count": (V, "left.*2.*got 1", lambda: jp.ops.mask_smallest([torch.ones(3)] * 2, 1, left=[BOOLS])),
    "smallest left shape": (V, r"left\[0\]", lambda: jp.ops.mask_smallest([torch.ones(2)], 1, left=[BOOLS])),
    "smallest left dtype": (T, r"left\[0\]", lambda: jp.ops.mask_smallest([torch.ones(3)], 1, left=[torch.ones(3)])),
    "smallest complex": (T, r"scores\[0\]", lambda: jp.ops.mask_smallest([torch.ones(3, dtype=torch.cfloat)], 1)),
    "smallest sparse": (V, r"scores\[0\]", lambda: jp.ops.mask_smallest([torch.eye(3).to_sparse()], 1)),
    "n of m": (V, "n, m.*5:4", lambda: jp.ops.mask_n_of_m(torch.ones(3, 4), 5, 4, dim=1)),
    "n of m dim": (IndexError, "dim.*got 2", lambda: jp.ops.mask_n_of_m(torch.ones(3, 4), 2, 4, dim=2)),
    "n of m left": (V, "left", lambda: jp.ops.mask_n_of_m(torch.ones(3, 4), 2, 4, dim=1, left=BOOLS)),
    "norms 1-d": (V, "unit_norms", lambda: jp.ops.unit_norms(torch.ones(3), block_size=(1, 1))),
    "norms block size": (V, "block_size", lambda: jp.ops.unit_norms(torch.ones(3, 3), block_size=(0, 1))),
    "norms norm": (V, "norm", lambda: jp.ops.unit_norms(torch.ones(3, 3), block_size=(1, 1), norm=0)),
    "units shape": (V, r"units.*\[2, 3\]", lambda: jp.ops.spread_units(BOOLS.view(1, 3), (4, 9), block_size=(2, 4))),
    "units dtype": (T, "units", lambda: jp.ops.spread_units(torch.ones(2, 3), (4, 9), block_size=(2, 4))),
    "units left": (V, "left", lambda: jp.ops.spread_units(torch.rand(2, 3) < 1, (4, 9), block_size=(2, 4), left=BOOLS)),
    "importance nan": (V, "NaN|finite|nan", lambda: jp.ops.importance(torch.tensor([float("nan")]), None, "lamp")),
    "importance name": (V, "lamp", lambda: jp.ops.importance(torch.ones(2), None, "loud")),
    "importance grad shape": (V, "grad", lambda: jp.ops.importance(torch.ones(2), torch.ones(3), "gradient")),
    "layout": (jp.PatternError, "csr", lambda: jp.nn.SparseLinear.from_dense(nn.Linear(2, 2), layout="coo")),
    "from_dense of conv": (jp.PatternError, "Linear", lambda: jp.nn.SparseLinear.from_dense(nn.Conv2d(2, 2, 1))),
    "from_dense of conv1d": (jp.PatternError, "Conv2d", lambda: jp.nn.SparseConv2d.from_dense(nn.Conv1d(2, 2, 1))),
    "padding_mode": (
        jp.PatternError, "padding_mode",
        lambda: jp.nn.SparseConv2d.from_dense(nn.Conv2d(2, 2, 3, padding_mode="reflect")),
    ),
    "padding same, even kernel": (
        jp.PatternError, "same", lambda: jp.nn.SparseConv2d.from_dense(nn.Conv2d(2, 2, 2, padding="same")),
    ),
    "from_dense mask": (
        V, "mask", lambda: jp.nn.SparseLinear.from_dense(nn.Linear(2, 2), mask=torch.ones(2, 3, dtype=torch.bool)),
    ),
    "state: key": (R, "key", lambda: load(key=lambda k: k + 1)),
    "state: index": (R, "col", lambda: load(col_indices=lambda c: c + 1)),
    "state: rows": (R, "row_offsets", lambda: load(row_offsets=lambda r: r[:-1])),
    "state: truncated values": (R, "values", lambda: load(values=lambda v: v[:-1])),
    "state: dtype": (R, "values", lambda: load(values=lambda v: v.double())),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_named_error(case):
    kind, fragment, call = CASES[case]
    with pytest.raises(kind, match=fragment or None) as raised:
        call()
    assert len(str(raised.value)) > 15


def test_there_are_enough_cases():
    assert len(CASES) >= 25


def test_a_refused_state_changes_nothing():
    torch.manual_seed(0)
    module, x = jp.nn.SparseLinear.from_dense(nn.Linear(4, 3)), torch.randn(2, 4)
    before = module(x)
    state = {name: value.clone() for name, value in module.state_dict().items()}
    state["values"] *= 2
    state["key"] += 1
    with pytest.raises(RuntimeError, match="key"):
        module.load_state_dict(state)
    assert torch.equal(module(x), before)


def test_changed_structure_in_the_same_storage_is_seen_again():
    """Indices that are overwritten in place are checked anew, so they cannot reach outside."""
    values, col_indices, row_offsets, key = jp.ops.pack_csr(torch.eye(4))
    x = torch.randn(2, 4)
    jp.ops.linear_csr(x, values, col_indices, row_offsets, key, in_features=4)
    col_indices.fill_(2**30)
    with pytest.raises(ValueError, match="col"):
        jp.ops.linear_csr(x, values, col_indices, row_offsets, key, in_features=4)


@pytest.mark.parametrize(
    "value, good", [("abc", False), ("-1", False), ("1.5", False), ("64", True), ("0", True), ("", True)]
)
def test_a_limit_of_forms_that_is_no_number_is_refused(value, good):
    code = "import torch, jouleprune as jp; jp.nn.SparseLinear.from_dense(torch.nn.Linear(40, 30))(torch.randn(20, 40))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "JOULEPRUNE_FORMS_MB": value},
        capture_output=True,
        text=True,
        cwd=tempfile.gettempdir(),
    )
    assert (done.returncode == 0) == good, done.stderr
    assert (
        good or f"ValueError: JOULEPRUNE_FORMS_MB: expected a whole number of megabytes, got '{value}'" in done.stderr
    )
