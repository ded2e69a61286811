"""Fakes of the ops (shapes, dtypes and errors without data), and the rules by which ``torch.vmap`` maps them.

A fake refuses what the op refuses, with the same kind of error, as far as that can be told without data.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ._criteria_fakes import CRITERIA_FAKES
from ._fake_checks import (
    check_alike,
    check_bits,
    check_block_size,
    check_bsr_weight,
    check_conv_input,
    check_dtype,
    check_extras,
    check_grad_output,
    check_int8_weight,
    check_last,
    check_packable,
    check_residual,
    check_weight,
    conv_output_size,
)
from ._fakes_conv_bsr import conv2d_bsr, conv2d_bsr_backward_input, conv2d_bsr_backward_values
from ._fakes_int8 import (
    conv2d_bsr_int8,
    conv2d_bsr_int8_to_bytes,
    linear_bsr_int8,
    linear_bsr_int8_to_bytes,
    quantize_bytes,
)
from ._fakes_nm import linear_nm, linear_nm_backward_input, linear_nm_backward_values, pack_nm, unpack_nm
from ._unit_fakes import UNIT_FAKES

__all__ = ["FAKES", "VMAPS"]

_CRITERIA = ("magnitude", "gradient", "taylor", "lamp")


def pack_csr(weight: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    check_packable("pack_csr", weight, mask)
    nnz = torch.library.get_ctx().new_dynamic_size(min=0)
    return (
        weight.new_empty(nnz),
        weight.new_empty(nnz, dtype=torch.int32),
        weight.new_empty(weight.shape[0] + 1, dtype=torch.int32),
        weight.new_empty(2, dtype=torch.int64),
    )


def unpack_csr(values: Tensor, col_indices: Tensor, row_offsets: Tensor, cols: int) -> Tensor:
    check_weight("unpack_csr", values, col_indices, row_offsets, None, values, "values")
    torch._check_value(cols >= 0, lambda: f"unpack_csr: cols: expected at least 0, got {cols}")
    return values.new_empty(row_offsets.shape[0] - 1, cols)


def prepack_csr(values: Tensor, col_indices: Tensor, row_offsets: Tensor, cols: int) -> Tensor:
    check_weight("prepack_csr", values, col_indices, row_offsets, None, values, "values")
    torch._check_value(cols >= 0, lambda: f"prepack_csr: cols: expected at least 0, got {cols}")
    return col_indices.new_empty(0)


def linear_csr(
    input: Tensor,
    values: Tensor,
    col_indices: Tensor,
    row_offsets: Tensor,
    key: Tensor,
    prepacked: Tensor | None,
    bias: Tensor | None,
    in_features: int,
    activation: str,
    residual: Tensor | None = None,
) -> Tensor:
    check_last("linear_csr", "input", input, in_features)
    check_weight("linear_csr", values, col_indices, row_offsets, key, input, "input")
    rows = row_offsets.shape[0] - 1
    check_extras("linear_csr", input, rows, prepacked, bias, activation)
    check_residual("linear_csr", residual, [*input.shape[:-1], rows], input)
    return input.new_empty(*input.shape[:-1], rows)


def linear_csr_backward_input(
    grad_output: Tensor, values: Tensor, col_indices: Tensor, row_offsets: Tensor, key: Tensor, in_features: int
) -> Tensor:
    op = "linear_csr_backward_input"
    check_weight(op, values, col_indices, row_offsets, key, grad_output, "grad_output")
    check_last(op, "grad_output", grad_output, row_offsets.shape[0] - 1)
    return grad_output.new_empty(*grad_output.shape[:-1], in_features)


def linear_csr_backward_values(
    grad_output: Tensor, input: Tensor, col_indices: Tensor, row_offsets: Tensor, key: Tensor, in_features: int
) -> Tensor:
    op = "linear_csr_backward_values"
    check_weight(op, None, col_indices, row_offsets, key, grad_output, "grad_output")
    check_last(op, "grad_output", grad_output, row_offsets.shape[0] - 1)
    check_last(op, "input", input, in_features)
    check_alike(op, "input", input, grad_output, "grad_output", same_dtype=True)
    return grad_output.new_empty(col_indices.shape[0])


def conv2d_csr(
    input: Tensor,
    values: Tensor,
    col_indices: Tensor,
    row_offsets: Tensor,
    key: Tensor,
    prepacked: Tensor | None,
    bias: Tensor | None,
    in_channels: int,
    kernel_size: list[int],
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
    activation: str,
    residual: Tensor | None = None,
) -> Tensor:
    op, shape = "conv2d_csr", list(input.shape)
    check_conv_input(op, input, in_channels)
    check_weight(op, values, col_indices, row_offsets, key, input, "input")
    rows = row_offsets.shape[0] - 1
    size = conv_output_size(op, shape, rows, kernel_size, stride, padding, dilation, groups)
    check_extras(op, input, rows, prepacked, bias, activation)
    check_residual(op, residual, size, input)
    memory_format = torch._prims_common.suggest_memory_format(input)
    return torch.empty(size, dtype=input.dtype, device=input.device, memory_format=memory_format)


def conv2d_csr_backward_input(
    grad_output: Tensor,
    values: Tensor,
    col_indices: Tensor,
    row_offsets: Tensor,
    key: Tensor,
    input_size: list[int],
    kernel_size: list[int],
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
) -> Tensor:
    op = "conv2d_csr_backward_input"
    check_weight(op, values, col_indices, row_offsets, key, grad_output, "grad_output")
    torch._check_value(
        len(input_size) == 4, lambda: f"{op}: input: expected [n, in_channels, h, w], got {list(input_size)}"
    )
    rows = row_offsets.shape[0] - 1
    size = conv_output_size(op, input_size, rows, kernel_size, stride, padding, dilation, groups)
    check_grad_output(op, grad_output, size)
    return grad_output.new_empty(input_size)


def conv2d_csr_backward_values(
    grad_output: Tensor,
    input: Tensor,
    col_indices: Tensor,
    row_offsets: Tensor,
    key: Tensor,
    kernel_size: list[int],
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
) -> Tensor:
    op = "conv2d_csr_backward_values"
    check_weight(op, None, col_indices, row_offsets, key, grad_output, "grad_output")
    check_alike(op, "input", input, grad_output, "grad_output", same_dtype=True)
    torch._check_value(
        input.dim() == 4, lambda: f"{op}: input: expected [n, in_channels, h, w], got {list(input.shape)}"
    )
    rows = row_offsets.shape[0] - 1
    size = conv_output_size(op, input.shape, rows, kernel_size, stride, padding, dilation, groups)
    check_grad_output(op, grad_output, size)
    return grad_output.new_empty(col_indices.shape[0])


def pack_bsr_int8(weight: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    check_packable("pack_bsr_int8", weight, mask)
    blocks = torch.library.get_ctx().new_dynamic_size(min=0)
    return (
        weight.new_empty((blocks, 1, 4), dtype=torch.int8),
        weight.new_empty(blocks, dtype=torch.int32),
        weight.new_empty(weight.shape[0] + 1, dtype=torch.int32),
        weight.new_empty(2, dtype=torch.int64),
        weight.new_empty(weight.shape[0], dtype=torch.float32),
    )


def unpack_bsr_int8(
    blocks: Tensor, block_columns: Tensor, block_row_offsets: Tensor, scales: Tensor, cols: int
) -> Tensor:
    op = "unpack_bsr_int8"
    check_int8_weight(op, blocks, block_columns, block_row_offsets, None, scales, blocks, "blocks")
    torch._check_value(cols >= 0, lambda: f"{op}: columns of the weight: expected at least 0, got {cols}")
    return scales.new_empty(scales.shape[0], cols)


def pack_bsr(weight: Tensor, mask: Tensor | None, block_size: list[int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    check_block_size("pack_bsr", block_size)
    check_packable("pack_bsr", weight, mask)
    blocks = torch.library.get_ctx().new_dynamic_size(min=0)
    return (
        weight.new_empty(blocks, *block_size),
        weight.new_empty(blocks, dtype=torch.int32),
        weight.new_empty((weight.shape[0] + block_size[0] - 1) // block_size[0] + 1, dtype=torch.int32),
        weight.new_empty(2, dtype=torch.int64),
    )


def unpack_bsr(blocks: Tensor, block_columns: Tensor, block_row_offsets: Tensor, rows: int, cols: int) -> Tensor:
    check_bsr_weight("unpack_bsr", blocks, None, block_columns, block_row_offsets, None, rows, cols, blocks, "blocks")
    return blocks.new_empty(rows, cols)


def prepack_bsr(blocks: Tensor, block_columns: Tensor, block_row_offsets: Tensor, rows: int, cols: int) -> Tensor:
    check_bsr_weight("prepack_bsr", blocks, None, block_columns, block_row_offsets, None, rows, cols, blocks, "blocks")
    return block_columns.new_empty(0)


def linear_bsr(
    input: Tensor,
    blocks: Tensor,
    block_columns: Tensor,
    block_row_offsets: Tensor,
    key: Tensor,
    prepacked: Tensor | None,
    bias: Tensor | None,
    out_features: int,
    in_features: int,
    activation: str,
) -> Tensor:
    op = "linear_bsr"
    check_last(op, "input", input, in_features)
    check_bsr_weight(op, blocks, None, block_columns, block_row_offsets, key, out_features, in_features, input, "input")
    check_extras(op, input, out_features, prepacked, bias, activation)
    return input.new_empty(*input.shape[:-1], out_features)


def linear_bsr_backward_input(
    grad_output: Tensor,
    blocks: Tensor,
    block_columns: Tensor,
    block_row_offsets: Tensor,
    key: Tensor,
    out_features: int,
    in_features: int,
) -> Tensor:
    op = "linear_bsr_backward_input"
    check_bsr_weight(
        op, blocks, None, block_columns, block_row_offsets, key, out_features, in_features, grad_output, "grad_output"
    )
    check_last(op, "grad_output", grad_output, out_features)
    return grad_output.new_empty(*grad_output.shape[:-1], in_features)


def linear_bsr_backward_values(
    grad_output: Tensor,
    input: Tensor,
    block_columns: Tensor,
    block_row_offsets: Tensor,
    key: Tensor,
    block_size: list[int],
    out_features: int,
    in_features: int,
) -> Tensor:
    op = "linear_bsr_backward_values"
    check_bsr_weight(
        op, None, block_size, block_columns, block_row_offsets, key, out_features, in_features, grad_output,
        "grad_output",
    )  # fmt: skip
    check_last(op, "grad_output", grad_output, out_features)
    check_last(op, "input", input, in_features)
    check_alike(op, "input", input, grad_output, "grad_output", same_dtype=True)
    return grad_output.new_empty(block_columns.shape[0], *block_size)


def pack_mask(mask: Tensor) -> Tensor:
    check_dtype("pack_mask", "mask", mask, torch.bool)
    return mask.new_empty((mask.numel() + 7) // 8, dtype=torch.uint8)


def unpack_mask(bits: Tensor, size: list[int]) -> Tensor:
    for n in size:
        torch._check_value(n >= 0, lambda: f"unpack_mask: size: expected sizes of at least 0, got {list(size)}")
    check_bits("unpack_mask", bits, math.prod(size))
    return bits.new_empty(size, dtype=torch.bool)


def apply_mask_(self: Tensor, bits: Tensor) -> None:
    check_bits("apply_mask_", bits, self.numel())
    check_alike("apply_mask_", "bits", bits, self, "self")


def importance(weight: Tensor, grad: Tensor | None, criterion: str) -> Tensor:
    op = "importance"
    torch._check_value(
        criterion in _CRITERIA, lambda: f"{op}: criterion: expected one of {', '.join(_CRITERIA)}, got {criterion!r}"
    )
    torch._check_type(
        weight.is_floating_point(), lambda: f"{op}: weight: expected a floating-point dtype, got {weight.dtype}"
    )
    if criterion in ("gradient", "taylor"):
        torch._check_value(
            grad is not None, lambda: f"{op}: grad: criterion {criterion!r} needs the gradient of the weight, got none"
        )
        assert grad is not None
        shape = list(grad.shape)
        torch._check_value(
            shape == list(weight.shape),
            lambda: f"{op}: grad: expected the shape of weight, {list(weight.shape)}, got {shape}",
        )
        check_alike(op, "grad", grad, weight, "weight")
    return weight.new_empty(weight.shape, dtype=torch.float32)


def _map_the_input(name: str) -> Callable[..., tuple[Tensor, int]]:
    """The vmap rule of an op whose first argument alone may be mapped."""
    op = getattr(torch.ops.jouleprune, name)

    def mapped(info: Any, in_dims: tuple[int | None, ...], input: Tensor, *rest: Any) -> tuple[Tensor, int]:
        if in_dims[0] is None or any(isinstance(dim, int) for dim in in_dims[1:]):
            raise NotImplementedError(
                f"{name}: torch.vmap maps the input alone, not the weight, its structure or the bias: call the op once "
                "per weight"
            )
        batched = input.movedim(in_dims[0], 0)
        if name.startswith("linear"):  # takes any leading dimensions
            return op(batched, *rest), 0
        return op(batched.flatten(0, 1), *rest).unflatten(0, batched.shape[:2]), 0

    return mapped


#: Registered by ops.py, the module that the library names as the home of its fakes.
FAKES: dict[str, Callable[..., Any]] = (
    {
        fake.__name__: fake
        for fake in (
            pack_csr,
            unpack_csr,
            prepack_csr,
            linear_csr,
            linear_csr_backward_input,
            linear_csr_backward_values,
            conv2d_csr,
            conv2d_csr_backward_input,
            conv2d_csr_backward_values,
            pack_bsr,
            unpack_bsr,
            prepack_bsr,
            linear_bsr,
            linear_bsr_backward_input,
            linear_bsr_backward_values,
            conv2d_bsr,
            conv2d_bsr_backward_input,
            conv2d_bsr_backward_values,
            pack_bsr_int8,
            unpack_bsr_int8,
            quantize_bytes,
            linear_bsr_int8,
            linear_bsr_int8_to_bytes,
            conv2d_bsr_int8,
            conv2d_bsr_int8_to_bytes,
            pack_nm,
            unpack_nm,
            linear_nm,
            linear_nm_backward_input,
            linear_nm_backward_values,
            pack_mask,
            unpack_mask,
            apply_mask_,
            importance,
        )
    }
    | UNIT_FAKES
    | CRITERIA_FAKES
)
VMAPS: dict[str, Callable[..., Any]] = {
    name: _map_the_input(name)
    for name in (
        "linear_csr",
        "conv2d_csr",
        "linear_bsr",
        "conv2d_bsr",
        "linear_bsr_int8",
        "conv2d_bsr_int8",
        "linear_nm",
    )
}
