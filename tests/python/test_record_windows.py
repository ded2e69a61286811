"""Entries of convolutions tell what a loop nest must know: image, stride and dilation."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from jouleprune import nn as sparse
from jouleprune.record import record


def windows(module: torch.nn.Module, *size: int) -> tuple[Any, Any, Any]:
    entry = json.loads(record(module.eval(), torch.randn(size)))["entries"][0]
    return entry.get("image"), entry.get("stride"), entry.get("dilation")


def test_convolutions_tell_their_windows() -> None:
    assert windows(torch.nn.Conv2d(4, 6, 3, padding=1), 1, 4, 12, 10) == ([12, 10], [1, 1], [1, 1])
    strided = torch.nn.Conv2d(4, 6, 3, stride=(2, 1), dilation=(1, 2))
    assert windows(strided, 2, 4, 15, 11) == ([7, 7], [2, 1], [1, 2])
    assert windows(torch.nn.Conv1d(4, 6, 5, stride=3), 1, 4, 41) == ([13], [3], [1])
    assert windows(torch.nn.Conv3d(2, 3, 3), 1, 2, 6, 7, 8) == ([4, 5, 6], [1, 1, 1], [1, 1, 1])
    assert windows(torch.nn.Conv2d(4, 6, 3, padding="same"), 1, 4, 8, 8) == ([8, 8], [1, 1], [1, 1])


@pytest.mark.parametrize("module", [torch.nn.ConvTranspose2d(4, 6, 3), torch.nn.Conv2d(4, 6, 3).double()])
def test_others_are_recorded_as_before(module: torch.nn.Module) -> None:
    dtype = next(module.parameters()).dtype
    entry = json.loads(record(module.eval(), torch.randn(1, 4, 8, 8, dtype=dtype)))["entries"][0]
    assert ("image" in entry) == isinstance(module, torch.nn.Conv2d)


def test_sparse_convolutions_tell_the_same() -> None:
    dense = torch.nn.Conv2d(4, 6, 3, stride=2, padding=1)
    converted = sparse.SparseConv2d.from_dense(dense)
    assert windows(converted, 1, 4, 9, 9) == windows(dense, 1, 4, 9, 9) == ([5, 5], [2, 2], [1, 1])
