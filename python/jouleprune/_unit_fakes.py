"""Fakes of the ops on units of weights, which ``_fakes.py`` registers with the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ._fake_checks import check_alike, check_block_size, check_dtype

__all__ = ["UNIT_FAKES"]


def _check_scores(op: str, name: str, scores: Tensor) -> None:
    torch._check_type(not scores.is_complex(), lambda: f"{op}: {name}: expected real numbers, got {scores.dtype}")


def _check_left(op: str, name: str, left: Tensor, scores: Tensor) -> None:
    check_dtype(op, name, left, torch.bool)
    got, expected = list(left.shape), list(scores.shape)
    torch._check_value(
        got == expected, lambda: f"{op}: {name}: expected the shape of the scores, {expected}, got {got}"
    )
    check_alike(op, name, left, scores, "the scores")


def _units(op: str, size: Sequence[int], block_size: Sequence[int]) -> tuple[int, int]:
    """(down, across) of a weight [rows, ...]."""
    torch._check_value(len(size) >= 2, lambda: f"{op}: expected [rows, cols] or more dimensions, got {list(size)}")
    check_block_size(op, block_size)
    cols = 1
    for each in size[1:]:
        cols *= each
    return -(-size[0] // block_size[0]), -(-cols // block_size[1])


def mask_smallest(scores: list[Tensor], left: list[Tensor], amount: int) -> list[Tensor]:
    op = "mask_smallest"
    torch._check_value(
        len(left) in (0, len(scores)),
        lambda: f"{op}: left: expected none or {len(scores)} tensors as scores, got {len(left)}",
    )
    torch._check_value(amount >= 0, lambda: f"{op}: amount: expected at least 0, got {amount}")
    for place, each in enumerate(scores):
        _check_scores(op, f"scores[{place}]", each)
        if left:
            _check_left(op, f"left[{place}]", left[place], each)
    return [each.new_empty(each.shape, dtype=torch.bool) for each in scores]


def mask_n_of_m(scores: Tensor, left: Tensor | None, n: int, m: int, dim: int) -> Tensor:
    op = "mask_n_of_m"
    _check_scores(op, "scores", scores)
    if left is not None:
        _check_left(op, "left", left, scores)
    torch._check_index(
        -scores.dim() <= dim < scores.dim(),
        lambda: f"{op}: dim: expected a dimension in [{-scores.dim()}, {scores.dim() - 1}], got {dim}",
    )
    torch._check_value(
        m >= 1 and 0 <= n <= m, lambda: f"{op}: n, m: expected 0 <= n <= m and m of at least 1, got {n}:{m}"
    )
    return scores.new_empty(scores.shape, dtype=torch.bool)


def unit_norms(scores: Tensor, left: Tensor | None, block_size: list[int], norm: float) -> tuple[Tensor, Tensor]:
    op = "unit_norms"
    _check_scores(op, "scores", scores)
    if left is not None:
        _check_left(op, "left", left, scores)
    units = _units(op, scores.shape, block_size)
    torch._check_value(norm > 0, lambda: f"{op}: norm: expected a number above 0, got {norm}")
    return scores.new_empty(units, dtype=torch.float64), scores.new_empty(units, dtype=torch.bool)


def spread_units(units: Tensor, left: Tensor | None, size: list[int], block_size: list[int]) -> Tensor:
    op = "spread_units"
    expected = list(_units(op, size, block_size))
    check_dtype(op, "units", units, torch.bool)
    torch._check_value(
        list(units.shape) == expected,
        lambda: f"{op}: units: expected {expected} for a weight of size {list(size)}, got {list(units.shape)}",
    )
    if left is not None:
        check_dtype(op, "left", left, torch.bool)
        got = list(left.shape)
        torch._check_value(got == list(size), lambda: f"{op}: left: expected size {list(size)}, got {got}")
        check_alike(op, "left", left, units, "units")
    return units.new_empty(size, dtype=torch.bool)


UNIT_FAKES: dict[str, Callable[..., Any]] = {
    fake.__name__: fake for fake in (mask_smallest, mask_n_of_m, unit_norms, spread_units)
}
