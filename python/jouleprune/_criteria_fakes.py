"""Fakes of the ops on criteria, significance and reconstruction, which ``_fakes.py`` registers with the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ._fake_checks import check_block_size, check_dtype

__all__ = ["CRITERIA_FAKES"]


def _check_rows(op: str, weight: Tensor) -> None:
    torch._check_type(
        weight.is_floating_point(), lambda: f"{op}: weight: expected a floating-point dtype, got {weight.dtype}"
    )
    torch._check_value(
        weight.dim() >= 2,
        lambda: f"{op}: weight: expected [rows, cols] or more dimensions, got {list(weight.shape)}",
    )


def _scores(weight: Tensor) -> Tensor:
    return weight.new_empty(weight.shape, dtype=torch.float32)


def norm_importance(weight: Tensor, block_size: list[int], norm: float) -> Tensor:
    _check_rows("norm_importance", weight)
    check_block_size("norm_importance", block_size)
    return _scores(weight)


def random_importance(weight: Tensor, block_size: list[int], seed: int, stream: int) -> Tensor:
    _check_rows("random_importance", weight)
    check_block_size("random_importance", block_size)
    return _scores(weight)


def fpgm_importance(weight: Tensor) -> Tensor:
    _check_rows("fpgm_importance", weight)
    return _scores(weight)


def input_importance(weight: Tensor, inputs: Tensor, scale: float) -> Tensor:
    op = "input_importance"
    _check_rows(op, weight)
    torch._check_value(
        inputs.dim() == 2 and inputs.shape[1] == weight.shape[1] and weight.shape[0] % max(inputs.shape[0], 1) == 0,
        lambda: f"{op}: inputs: expected [groups, {weight.shape[1]}], got {list(inputs.shape)}",
    )
    return _scores(weight)


def mask_threshold(values: Tensor, amount: float, rule: str) -> tuple[Tensor, Tensor]:
    return values.new_empty(values.shape, dtype=torch.bool), values.new_empty((), dtype=torch.float64)


def _test(op: str, sums: Tensor, square_sums: Tensor, n: int) -> None:
    check_dtype(op, "sums", sums, torch.float64)
    check_dtype(op, "square_sums", square_sums, torch.float64)
    torch._check_value(n >= 2, lambda: f"{op}: n: expected at least 2 measurements, got {n}")


def t_test(sums: Tensor, square_sums: Tensor, n: int) -> tuple[Tensor, Tensor]:
    _test("t_test", sums, square_sums, n)
    return sums.new_empty(sums.shape), sums.new_empty(sums.shape)


def f_test(sums: Tensor, square_sums: Tensor, n: int) -> tuple[Tensor, Tensor]:
    _test("f_test", sums, square_sums, n)
    return sums.new_empty(()), sums.new_empty(())


def benjamini_hochberg(p: Tensor, alpha: float) -> Tensor:
    check_dtype("benjamini_hochberg", "p", p, torch.float64)
    return p.new_empty(p.shape, dtype=torch.bool)


def shrink_units_(self: Tensor, amounts: Tensor, block_size: list[int]) -> None:
    _check_rows("shrink_units_", self)
    check_block_size("shrink_units_", block_size)


def add_hessian_(self: Tensor, inputs: Tensor) -> None:
    check_dtype("add_hessian_", "self", self, torch.float64)


def _check_layer(op: str, weight: Tensor, hessian: Tensor) -> None:
    _check_rows(op, weight)
    check_dtype(op, "hessian", hessian, torch.float64)


def refit(weight: Tensor, hessian: Tensor, mask: Tensor, damp: float) -> Tensor:
    _check_layer("refit", weight, hessian)
    check_dtype("refit", "mask", mask, torch.bool)
    return weight.new_empty(weight.shape)


def sparsegpt(
    weight: Tensor,
    hessian: Tensor,
    mask: Tensor | None,
    sparsity: float,
    block_size: Sequence[int],
    n_of_m: Sequence[int],
    damp: float,
) -> tuple[Tensor, Tensor]:
    _check_layer("sparsegpt", weight, hessian)
    return weight.new_empty(weight.shape), weight.new_empty(weight.shape, dtype=torch.bool)


def alps(
    weight: Tensor,
    hessian: Tensor,
    sparsity: float,
    block_size: Sequence[int],
    n_of_m: Sequence[int],
    damp: float,
    iterations: int,
) -> tuple[Tensor, Tensor]:
    _check_layer("alps", weight, hessian)
    return weight.new_empty(weight.shape), weight.new_empty(weight.shape, dtype=torch.bool)


CRITERIA_FAKES: dict[str, Callable[..., Any]] = {
    fake.__name__: fake
    for fake in (
        norm_importance,
        random_importance,
        fpgm_importance,
        input_importance,
        mask_threshold,
        t_test,
        f_test,
        benjamini_hochberg,
        shrink_units_,
        add_hessian_,
        refit,
        sparsegpt,
        alps,
    )
}
