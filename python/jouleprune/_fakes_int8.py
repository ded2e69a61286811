"""Fakes of the int8 products, and of what makes and takes activations as bytes."""

from __future__ import annotations

import torch
from torch import Tensor

from ._fake_checks import (
    check_byte_output,
    check_conv_input,
    check_input_scale,
    check_int8_extras,
    check_int8_input,
    check_int8_weight,
    check_last,
    conv_output_size,
)

__all__ = [
    "conv2d_bsr_int8",
    "conv2d_bsr_int8_to_bytes",
    "linear_bsr_int8",
    "linear_bsr_int8_to_bytes",
    "quantize_bytes",
]


def quantize_bytes(input: Tensor, input_scale: Tensor | None, shared_dims: int) -> tuple[Tensor, Tensor]:
    op = "quantize_bytes"
    torch._check_type(
        input.dtype in (torch.float32, torch.bfloat16, torch.float16),
        lambda: f"{op}: input: expected float32, bfloat16 or float16, got {input.dtype}",
    )
    torch._check_value(
        1 <= shared_dims <= input.dim(),
        lambda: f"{op}: shared_dims: expected 1 to the dimensions of input, {list(input.shape)}, got {shared_dims}",
    )
    check_input_scale(op, input_scale, input, shared_dims)
    images = input.dim() == 4 and shared_dims == 3
    memory_format = torch._prims_common.suggest_memory_format(input) if images else torch.contiguous_format
    bytes_ = torch.empty(input.shape, dtype=torch.uint8, device=input.device, memory_format=memory_format)
    return bytes_, input.new_empty(input.shape[: input.dim() - shared_dims], dtype=torch.float32)


def linear_bsr_int8(
    input: Tensor,
    blocks: Tensor,
    block_columns: Tensor,
    block_row_offsets: Tensor,
    key: Tensor,
    scales: Tensor,
    input_scale: Tensor | None,
    prepacked: Tensor | None,
    bias: Tensor | None,
    in_features: int,
    activation: str,
) -> Tensor:
    size = _linear(
        "linear_bsr_int8", input, blocks, block_columns, block_row_offsets, key, scales, input_scale, prepacked, bias,
        in_features, activation,
    )  # fmt: skip
    return input.new_empty(size, dtype=_of_floats(input))


def linear_bsr_int8_to_bytes(
    input: Tensor,
    blocks: Tensor,
    block_columns: Tensor,
    block_row_offsets: Tensor,
    key: Tensor,
    scales: Tensor,
    input_scale: Tensor | None,
    prepacked: Tensor | None,
    bias: Tensor | None,
    in_features: int,
    activation: str,
    output_scale: Tensor,
) -> tuple[Tensor, Tensor]:
    op = "linear_bsr_int8_to_bytes"
    check_byte_output(op, activation, output_scale)
    size = _linear(
        op, input, blocks, block_columns, block_row_offsets, key, scales, input_scale, prepacked, bias, in_features,
        activation,
    )  # fmt: skip
    return input.new_empty(size, dtype=torch.uint8), input.new_empty(size[:-1], dtype=torch.float32)


def conv2d_bsr_int8(
    input: Tensor,
    blocks: Tensor,
    block_columns: Tensor,
    block_row_offsets: Tensor,
    key: Tensor,
    scales: Tensor,
    input_scale: Tensor | None,
    prepacked: Tensor | None,
    bias: Tensor | None,
    in_channels: int,
    kernel_size: list[int],
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
    activation: str,
) -> Tensor:
    size, memory_format = _conv2d(
        "conv2d_bsr_int8", input, blocks, block_columns, block_row_offsets, key, scales, input_scale, prepacked, bias,
        in_channels, kernel_size, stride, padding, dilation, groups, activation,
    )  # fmt: skip
    return torch.empty(size, dtype=_of_floats(input), device=input.device, memory_format=memory_format)


def conv2d_bsr_int8_to_bytes(
    input: Tensor,
    blocks: Tensor,
    block_columns: Tensor,
    block_row_offsets: Tensor,
    key: Tensor,
    scales: Tensor,
    input_scale: Tensor | None,
    prepacked: Tensor | None,
    bias: Tensor | None,
    in_channels: int,
    kernel_size: list[int],
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
    activation: str,
    output_scale: Tensor,
) -> tuple[Tensor, Tensor]:
    op = "conv2d_bsr_int8_to_bytes"
    check_byte_output(op, activation, output_scale)
    size, memory_format = _conv2d(
        op, input, blocks, block_columns, block_row_offsets, key, scales, input_scale, prepacked, bias, in_channels,
        kernel_size, stride, padding, dilation, groups, activation,
    )  # fmt: skip
    return (
        torch.empty(size, dtype=torch.uint8, device=input.device, memory_format=memory_format),
        input.new_empty(size[0], dtype=torch.float32),
    )


def _of_floats(input: Tensor) -> torch.dtype:
    return torch.float32 if input.dtype == torch.uint8 else input.dtype


def _linear(
    op: str,
    input: Tensor,
    blocks: Tensor,
    block_columns: Tensor,
    block_row_offsets: Tensor,
    key: Tensor,
    scales: Tensor,
    input_scale: Tensor | None,
    prepacked: Tensor | None,
    bias: Tensor | None,
    in_features: int,
    activation: str,
) -> list[int]:
    """Checks; returns the sizes of the output."""
    check_last(op, "input", check_int8_input(op, input), in_features)
    check_int8_weight(op, blocks, block_columns, block_row_offsets, key, scales, input, "input")
    check_int8_extras(op, input, scales.shape[0], input_scale, prepacked, bias, activation)
    return [*input.shape[:-1], scales.shape[0]]


def _conv2d(
    op: str,
    input: Tensor,
    blocks: Tensor,
    block_columns: Tensor,
    block_row_offsets: Tensor,
    key: Tensor,
    scales: Tensor,
    input_scale: Tensor | None,
    prepacked: Tensor | None,
    bias: Tensor | None,
    in_channels: int,
    kernel_size: list[int],
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
    activation: str,
) -> tuple[list[int], torch.memory_format]:
    """Checks; returns the sizes and the format of the output."""
    check_conv_input(op, check_int8_input(op, input), in_channels)
    check_int8_weight(op, blocks, block_columns, block_row_offsets, key, scales, input, "input")
    size = conv_output_size(op, list(input.shape), scales.shape[0], kernel_size, stride, padding, dilation, groups)
    check_int8_extras(op, input, scales.shape[0], input_scale, prepacked, bias, activation, shared=3)
    return size, torch._prims_common.suggest_memory_format(input)
