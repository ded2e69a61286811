"""Shapes, dtypes and checks of the ops of layout nm, without data."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ._fake_checks import check_alike, check_dtype, check_element_type, check_extras, check_last, check_packable

__all__ = ["linear_nm", "linear_nm_backward_input", "linear_nm_backward_values", "pack_nm", "unpack_nm"]

_MOST_OF_M = 32


def pack_nm(weight: Tensor, mask: Tensor | None, n: int, m: int) -> tuple[Tensor, Tensor, Tensor]:
    check_packable("pack_nm", weight, mask)
    _check_pattern("pack_nm", n, m)
    kept = _kept(math.prod(weight.shape[1:]), n, m)
    return (
        weight.new_empty(weight.shape[0], kept),
        weight.new_empty(weight.shape[0], kept, dtype=torch.uint8),
        weight.new_empty(2, dtype=torch.int64),
    )


def unpack_nm(values: Tensor, indices: Tensor, cols: int, n: int, m: int) -> Tensor:
    torch._check_value(values.dim() == 2, lambda: f"unpack_nm: values: expected [rows, kept], got {list(values.shape)}")
    _check_weight("unpack_nm", values, indices, None, cols, n, m, values, "values")
    return values.new_empty(values.shape[0], cols)


def linear_nm(
    input: Tensor,
    values: Tensor,
    indices: Tensor,
    key: Tensor,
    prepacked: Tensor | None,
    bias: Tensor | None,
    in_features: int,
    n: int,
    m: int,
    activation: str,
) -> Tensor:
    op = "linear_nm"
    check_last(op, "input", input, in_features)
    _check_weight(op, values, indices, key, in_features, n, m, input, "input")
    torch._check_value(prepacked is None, lambda: f"{op}: prepacked: expected None, for layout nm has no other order")
    check_extras(op, input, indices.shape[0], None, bias, activation)
    return input.new_empty(*input.shape[:-1], indices.shape[0])


def linear_nm_backward_input(
    grad_output: Tensor, values: Tensor, indices: Tensor, key: Tensor, in_features: int, n: int, m: int
) -> Tensor:
    op = "linear_nm_backward_input"
    _check_weight(op, values, indices, key, in_features, n, m, grad_output, "grad_output")
    check_last(op, "grad_output", grad_output, indices.shape[0])
    return grad_output.new_empty(*grad_output.shape[:-1], in_features)


def linear_nm_backward_values(
    grad_output: Tensor, input: Tensor, indices: Tensor, key: Tensor, in_features: int, n: int, m: int
) -> Tensor:
    op = "linear_nm_backward_values"
    _check_weight(op, None, indices, key, in_features, n, m, grad_output, "grad_output")
    check_last(op, "grad_output", grad_output, indices.shape[0])
    check_last(op, "input", input, in_features)
    check_alike(op, "input", input, grad_output, "grad_output", same_dtype=True)
    return grad_output.new_empty(indices.shape)


def _kept(cols: int, n: int, m: int) -> int:
    """Entries of a row."""
    last: int = torch.sym_min(n, cols % m)
    return cols // m * n + last


def _check_pattern(op: str, n: int, m: int) -> None:
    torch._check_value(1 <= n < m <= _MOST_OF_M, lambda: f"{op}: n, m: expected 1 <= n < m <= 32, got {n}:{m}")


def _check_weight(
    op: str,
    values: Tensor | None,
    indices: Tensor,
    key: Tensor | None,
    cols: int,
    n: int,
    m: int,
    like: Tensor,
    like_name: str,
) -> None:
    _check_pattern(op, n, m)
    check_dtype(op, "indices", indices, torch.uint8)
    kept = _kept(cols, n, m)
    for name, tensor in (("indices", indices), ("values", values)):
        if tensor is not None:
            shape = list(tensor.shape)
            torch._check_value(
                tensor.dim() == 2 and tensor.shape[1] == kept and tensor.shape[0] == indices.shape[0],
                lambda name=name, shape=shape: (
                    f"{op}: {name}: expected [rows, {kept}] for {n}:{m} of {cols} inputs, got {shape}"
                ),
            )
            check_alike(op, name, tensor, like, like_name, same_dtype=name == "values")
    if values is not None:
        check_element_type(op, "values", values)
    if key is not None:
        check_dtype(op, "key", key, torch.int64)
        torch._check_value(
            key.dim() == 1 and key.shape[0] == 2, lambda: f"{op}: key: expected [2], got {list(key.shape)}"
        )
