"""Shapes, dtypes and checks of conv2d_bsr and its backward ops, without data."""

from __future__ import annotations

import torch
from torch import Tensor

from ._fake_checks import (
    check_alike,
    check_block_size,
    check_bsr_weight,
    check_conv_input,
    check_extras,
    check_grad_output,
    check_residual,
    conv_output_size,
)

__all__ = ["conv2d_bsr", "conv2d_bsr_backward_input", "conv2d_bsr_backward_values"]


def conv2d_bsr(
    input: Tensor,
    blocks: Tensor,
    block_columns: Tensor,
    block_row_offsets: Tensor,
    key: Tensor,
    prepacked: Tensor | None,
    bias: Tensor | None,
    out_channels: int,
    in_channels: int,
    kernel_size: list[int],
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
    activation: str,
    residual: Tensor | None = None,
) -> Tensor:
    op, shape = "conv2d_bsr", list(input.shape)
    check_conv_input(op, input, in_channels)
    size = conv_output_size(op, shape, out_channels, kernel_size, stride, padding, dilation, groups)
    cols = _columns(blocks.shape[2] if blocks.dim() == 3 else 1, in_channels, kernel_size, groups)
    check_bsr_weight(op, blocks, None, block_columns, block_row_offsets, key, out_channels, cols, input, "input")
    check_extras(op, input, out_channels, prepacked, bias, activation)
    check_residual(op, residual, size, input)
    return input.new_empty(size)


def conv2d_bsr_backward_input(
    grad_output: Tensor,
    blocks: Tensor,
    block_columns: Tensor,
    block_row_offsets: Tensor,
    key: Tensor,
    input_size: list[int],
    kernel_size: list[int],
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
) -> Tensor:
    op = "conv2d_bsr_backward_input"
    _check_weight(
        op, grad_output, blocks, None, block_columns, block_row_offsets, key, input_size, kernel_size, stride, padding,
        dilation, groups,
    )  # fmt: skip
    return grad_output.new_empty(input_size)


def conv2d_bsr_backward_values(
    grad_output: Tensor,
    input: Tensor,
    block_columns: Tensor,
    block_row_offsets: Tensor,
    key: Tensor,
    block_size: list[int],
    kernel_size: list[int],
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
) -> Tensor:
    op = "conv2d_bsr_backward_values"
    check_alike(op, "input", input, grad_output, "grad_output", same_dtype=True)
    check_block_size(op, block_size)
    _check_weight(
        op, grad_output, None, block_size, block_columns, block_row_offsets, key, list(input.shape), kernel_size,
        stride, padding, dilation, groups,
    )  # fmt: skip
    return grad_output.new_empty(block_columns.shape[0], *block_size)


def _columns(c: int, in_channels: int, kernel_size: list[int], groups: int) -> int:
    """Columns of the weight as a matrix."""
    return kernel_size[0] * kernel_size[1] * ((in_channels // groups + c - 1) // c) * c


def _check_weight(
    op: str,
    grad_output: Tensor,
    blocks: Tensor | None,
    block_size: list[int] | None,
    block_columns: Tensor,
    block_row_offsets: Tensor,
    key: Tensor,
    input_size: list[int],
    kernel_size: list[int],
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
) -> None:
    torch._check_value(
        len(input_size) == 4, lambda: f"{op}: input: expected [n, in_channels, h, w], got {list(input_size)}"
    )
    torch._check_value(
        grad_output.dim() == 4,
        lambda: f"{op}: grad_output: expected [n, out_channels, h, w], got {list(grad_output.shape)}",
    )
    rows = grad_output.shape[1]
    size = conv_output_size(op, input_size, rows, kernel_size, stride, padding, dilation, groups)
    c = block_size[1] if block_size is not None else blocks.shape[2] if blocks is not None and blocks.dim() == 3 else 1
    cols = _columns(c, input_size[1], kernel_size, groups)
    check_bsr_weight(
        op, blocks, block_size, block_columns, block_row_offsets, key, rows, cols, grad_output, "grad_output"
    )
    check_grad_output(op, grad_output, size)
