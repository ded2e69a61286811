"""What the fakes check without data: dtypes, shapes, devices, names. The sentences are those of the C++ ops.

Conditions on sizes go through ``torch._check_value``, which turns them into guards where sizes are symbolic.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = [
    "check_alike",
    "check_bits",
    "check_block_size",
    "check_bsr_weight",
    "check_byte_output",
    "check_conv_input",
    "check_dtype",
    "check_element_type",
    "check_extras",
    "check_grad_output",
    "check_input_scale",
    "check_int8_extras",
    "check_int8_input",
    "check_int8_weight",
    "check_last",
    "check_packable",
    "check_pair",
    "check_structure",
    "check_values",
    "check_weight",
    "conv_output_size",
]

_ELEMENTS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
_ACTIVATIONS = ("none", "relu", "gelu", "silu")


def check_element_type(op: str, name: str, tensor: Tensor) -> None:
    torch._check_type(
        tensor.dtype in _ELEMENTS,
        lambda: f"{op}: {name}: expected float32, float64, bfloat16 or float16, got {tensor.dtype}",
    )


def check_dtype(op: str, name: str, tensor: Tensor, dtype: torch.dtype) -> None:
    torch._check_type(tensor.dtype == dtype, lambda: f"{op}: {name}: expected {dtype}, got {tensor.dtype}")


def check_alike(op: str, name: str, tensor: Tensor, like: Tensor, like_name: str, same_dtype: bool = False) -> None:
    torch._check_value(
        tensor.device == like.device,
        lambda: f"{op}: {name}: expected the device of {like_name}, {like.device}, got {tensor.device}",
    )
    torch._check_type(
        not same_dtype or tensor.dtype == like.dtype,
        lambda: f"{op}: {name}: expected the dtype of {like_name}, {like.dtype}, got {tensor.dtype}",
    )


def check_structure(op: str, col_indices: Tensor, row_offsets: Tensor) -> None:
    check_dtype(op, "col_indices", col_indices, torch.int32)
    check_dtype(op, "row_offsets", row_offsets, torch.int32)
    torch._check_value(
        col_indices.dim() == 1, lambda: f"{op}: col_indices: expected [nnz], got {list(col_indices.shape)}"
    )
    torch._check_value(
        row_offsets.dim() == 1, lambda: f"{op}: row_offsets: expected [rows + 1], got {list(row_offsets.shape)}"
    )
    torch._check_value(
        row_offsets.shape[0] >= 1, lambda: f"{op}: row_offsets: expected [rows + 1], got {list(row_offsets.shape)}"
    )


def check_values(op: str, values: Tensor, col_indices: Tensor) -> None:
    check_element_type(op, "values", values)
    torch._check_value(values.dim() == 1, lambda: f"{op}: values: expected [nnz], got {list(values.shape)}")
    torch._check_value(
        values.shape[0] == col_indices.shape[0],
        lambda: f"{op}: values: expected [nnz = {col_indices.shape[0]}] as col_indices, got {list(values.shape)}",
    )


def check_weight(
    op: str,
    values: Tensor | None,
    col_indices: Tensor,
    row_offsets: Tensor,
    key: Tensor | None,
    like: Tensor,
    like_name: str,
) -> None:
    """The tensors of a weight, as far as their data do not matter."""
    check_structure(op, col_indices, row_offsets)
    if values is not None:
        check_values(op, values, col_indices)
        check_alike(op, "values", values, like, like_name, same_dtype=True)
    check_alike(op, "col_indices", col_indices, like, like_name)
    check_alike(op, "row_offsets", row_offsets, like, like_name)
    if key is not None:
        check_dtype(op, "key", key, torch.int64)
        torch._check_value(
            key.dim() == 1 and key.shape[0] == 2, lambda: f"{op}: key: expected [2], got {list(key.shape)}"
        )


def check_packable(op: str, weight: Tensor, mask: Tensor | None) -> None:
    """A dense weight, and what is to be kept of it."""
    check_element_type(op, "weight", weight)
    torch._check_value(
        weight.dim() >= 2,
        lambda: f"{op}: weight: expected [rows, cols] or more dimensions, got {list(weight.shape)}",
    )
    if mask is not None:
        shape = list(mask.shape)
        check_dtype(op, "mask", mask, torch.bool)
        torch._check_value(
            shape == list(weight.shape),
            lambda: f"{op}: mask: expected the shape of weight, {list(weight.shape)}, got {shape}",
        )
        check_alike(op, "mask", mask, weight, "weight")


def check_int8_weight(
    op: str,
    blocks: Tensor,
    block_columns: Tensor,
    block_row_offsets: Tensor,
    key: Tensor | None,
    scales: Tensor,
    like: Tensor,
    like_name: str,
) -> None:
    """The tensors of an int8 weight, as far as their data do not matter."""
    for name, tensor, dtype in (
        ("blocks", blocks, torch.int8),
        ("block_columns", block_columns, torch.int32),
        ("block_row_offsets", block_row_offsets, torch.int32),
        ("scales", scales, torch.float32),
    ):
        check_dtype(op, name, tensor, dtype)
        check_alike(op, name, tensor, like, like_name)
    torch._check_value(
        block_columns.dim() == 1, lambda: f"{op}: block_columns: expected [blocks], got {list(block_columns.shape)}"
    )
    torch._check_value(
        blocks.dim() == 3 and list(blocks.shape[1:]) == [1, 4],
        lambda: f"{op}: blocks: expected [blocks, 1, 4], got {list(blocks.shape)}",
    )
    torch._check_value(
        blocks.shape[0] == block_columns.shape[0],
        lambda: f"{op}: blocks: expected [{block_columns.shape[0]}, 1, 4] as block_columns, got {list(blocks.shape)}",
    )
    torch._check_value(
        block_row_offsets.dim() == 1 and scales.dim() == 1 and block_row_offsets.shape[0] == scales.shape[0] + 1,
        lambda: (
            f"{op}: block_row_offsets, scales: expected [rows + 1] and [rows], got {list(block_row_offsets.shape)} "
            f"and {list(scales.shape)}"
        ),
    )
    if key is not None:
        check_dtype(op, "key", key, torch.int64)
        torch._check_value(
            key.dim() == 1 and key.shape[0] == 2, lambda: f"{op}: key: expected [2], got {list(key.shape)}"
        )


def check_extras(
    op: str, input: Tensor, rows: int, prepacked: Tensor | None, bias: Tensor | None, activation: str
) -> None:
    torch._check_value(
        activation in _ACTIVATIONS,
        lambda: f"{op}: activation: expected one of {', '.join(_ACTIVATIONS)}, got {activation!r}",
    )
    if prepacked is not None:
        check_dtype(op, "prepacked", prepacked, torch.int32)
    if bias is not None:
        shape = list(bias.shape)
        torch._check_value(bias.dim() == 1, lambda: f"{op}: bias: expected [rows], got {shape}")
        torch._check_value(shape[0] == rows, lambda: f"{op}: bias: expected [rows = {rows}], got {shape}")
        check_alike(op, "bias", bias, input, "input", same_dtype=True)


def check_residual(op: str, residual: Tensor | None, size: Sequence[int], input: Tensor) -> None:
    if residual is None:
        return
    shape, expected = list(residual.shape), list(size)
    torch._check_value(
        len(shape) == len(expected) and all(mine == other for mine, other in zip(shape, expected, strict=True)),
        lambda: f"{op}: residual: expected the sizes of the output, {expected}, got {shape}",
    )
    check_alike(op, "residual", residual, input, "input", same_dtype=True)


def check_int8_extras(
    op: str,
    input: Tensor,
    rows: int,
    input_scale: Tensor | None,
    prepacked: Tensor | None,
    bias: Tensor | None,
    activation: str,
    shared: int = 1,
) -> None:
    """What the int8 ops take besides the weight: a bias may be float32 whatever the input is. ``shared``: the last
    dimensions of the input that share a scale."""
    check_input_scale(op, input_scale, input, shared)
    float_bias = bias is not None and bias.dtype == torch.float32
    check_extras(op, input.float() if float_bias else input, rows, prepacked, bias, activation)


def check_int8_input(op: str, input: Tensor) -> Tensor:
    """Floats but no float64, or bytes. Returns a tensor of the same sizes in a dtype of the float ops."""
    torch._check_type(
        input.dtype in (torch.float32, torch.bfloat16, torch.float16, torch.uint8),
        lambda: f"{op}: input: expected float32, bfloat16 or float16, or uint8 with its scales, got {input.dtype}",
    )
    return input.float() if input.dtype == torch.uint8 else input


def check_input_scale(op: str, input_scale: Tensor | None, input: Tensor, shared: int) -> None:
    """Of floats none or one; of bytes one for each that shares it."""
    if input.dtype == torch.uint8:
        torch._check_value(
            input_scale is not None, lambda: f"{op}: input_scale: expected the scales of the bytes in input, got none"
        )
    if input_scale is None:
        return
    check_dtype(op, "input_scale", input_scale, torch.float32)
    if input.dtype == torch.uint8:
        rows = math.prod(input.shape[: input.dim() - shared])
        torch._check_value(
            input_scale.numel() == rows,
            lambda: (
                f"{op}: input_scale: expected a scale for each of {rows} rows (or images) of bytes, got "
                f"{list(input_scale.shape)}"
            ),
        )
        return
    torch._check_value(
        input_scale.numel() == 1, lambda: f"{op}: input_scale: expected one number, got {list(input_scale.shape)}"
    )


def check_byte_output(op: str, activation: str, output_scale: Tensor) -> None:
    torch._check_value(
        activation in ("none", "relu"), lambda: f"{op}: activation: expected one of none, relu, got {activation!r}"
    )
    check_dtype(op, "output_scale", output_scale, torch.float32)
    torch._check_value(
        output_scale.numel() == 1, lambda: f"{op}: output_scale: expected one number, got {list(output_scale.shape)}"
    )


def check_conv_input(op: str, input: Tensor, in_channels: int) -> None:
    """[n, in_channels, h, w]."""
    shape = list(input.shape)
    check_element_type(op, "input", input)
    torch._check_value(
        input.dim() == 4, lambda: f"{op}: input: expected [n, in_channels = {in_channels}, h, w], got {shape}"
    )
    torch._check_value(
        shape[1] == in_channels, lambda: f"{op}: input: expected [n, in_channels = {in_channels}, h, w], got {shape}"
    )


def check_last(op: str, name: str, tensor: Tensor, size: int) -> None:
    """A dense argument [..., size]."""
    check_element_type(op, name, tensor)
    shape = list(tensor.shape)
    torch._check_value(tensor.dim() >= 1, lambda: f"{op}: {name}: expected [..., {size}], got {shape}")
    torch._check_value(shape[-1] == size, lambda: f"{op}: {name}: expected [..., {size}], got {shape}")


def check_pair(op: str, name: str, pair: Sequence[int], least: int) -> None:
    torch._check_value(
        len(pair) == 2 and pair[0] >= least and pair[1] >= least,
        lambda: f"{op}: {name}: expected two numbers of at least {least}, got {list(pair)}",
    )


def conv_output_size(
    op: str,
    size: Sequence[int],
    rows: int,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> list[int]:
    """Checks the numbers of a convolution of an input of shape ``size``; returns the shape of its output."""
    size = list(size)
    for name, pair, least in (
        ("kernel_size", kernel_size, 1), ("stride", stride, 1), ("padding", padding, 0), ("dilation", dilation, 1),
    ):  # fmt: skip
        check_pair(op, name, pair, least)
    torch._check_value(groups >= 1, lambda: f"{op}: groups: expected at least 1, got {groups}")
    torch._check_value(
        size[1] % groups == 0, lambda: f"{op}: groups: expected a divisor of in_channels = {size[1]}, got {groups}"
    )
    torch._check_value(
        rows % groups == 0, lambda: f"{op}: groups: expected a divisor of out_channels = {rows}, got {groups}"
    )
    out = [size[0], rows]
    for axis in (0, 1):
        free = size[2 + axis] + 2 * padding[axis] - dilation[axis] * (kernel_size[axis] - 1) - 1
        torch._check_value(
            free >= 0,
            lambda: (
                f"{op}: input: expected at least the size of the kernel, got {size} with kernel_size "
                f"{list(kernel_size)}, padding {list(padding)}, dilation {list(dilation)}"
            ),
        )
        out.append(free // stride[axis] + 1)
    return out


def check_grad_output(op: str, grad_output: Tensor, size: list[int]) -> None:
    torch._check_value(
        list(grad_output.shape) == size, lambda: f"{op}: grad_output: expected {size}, got {list(grad_output.shape)}"
    )


def check_bits(op: str, bits: Tensor, count: int) -> None:
    check_dtype(op, "bits", bits, torch.uint8)
    shape = list(bits.shape)
    torch._check_value(bits.dim() == 1, lambda: f"{op}: bits: expected [ceil(numel / 8)], got {shape}")
    torch._check_value(
        shape[0] == (count + 7) // 8,
        lambda: f"{op}: bits: expected [ceil(numel / 8) = {(count + 7) // 8}] for {count} elements, got {shape}",
    )


def check_block_size(op: str, block_size: Sequence[int]) -> None:
    torch._check_value(
        len(block_size) == 2 and block_size[0] >= 1 and block_size[1] >= 1,
        lambda: f"{op}: block_size: expected two numbers of at least 1, got {list(block_size)}",
    )


def _check_list(op: str, name: str, tensor: Tensor) -> None:
    torch._check_value(tensor.dim() == 1, lambda: f"{op}: {name}: expected 1 dimension, got {list(tensor.shape)}")


def _check_size(op: str, name: str, size: int) -> None:
    torch._check_value(size >= 0, lambda: f"{op}: {name}: expected at least 0, got {size}")


def check_bsr_weight(
    op: str,
    blocks: Tensor | None,
    block_size: Sequence[int] | None,
    block_columns: Tensor,
    block_row_offsets: Tensor,
    key: Tensor | None,
    rows: int,
    cols: int,
    like: Tensor,
    like_name: str,
) -> None:
    """The tensors of a weight in blocks, as far as data do not matter; ``block_size`` where there are no blocks."""
    for name, listed in (("block_columns", block_columns), ("block_row_offsets", block_row_offsets)):
        check_dtype(op, name, listed, torch.int32)
        _check_list(op, name, listed)
        check_alike(op, name, listed, like, like_name)
    for name, size in (("out_features", rows), ("in_features", cols)):
        _check_size(op, name, size)
    if blocks is not None:
        check_element_type(op, "blocks", blocks)
        torch._check_value(
            blocks.dim() == 3 and blocks.shape[0] == block_columns.shape[0],
            lambda: (
                f"{op}: blocks: expected [{block_columns.shape[0]}, r, c] as block_columns, got {list(blocks.shape)}"
            ),
        )
        check_alike(op, "blocks", blocks, like, like_name, same_dtype=True)
        block_size = blocks.shape[1:]
    assert block_size is not None
    check_block_size(op, block_size)
    offsets = (rows + block_size[0] - 1) // block_size[0] + 1
    torch._check_value(
        block_row_offsets.shape[0] == offsets,
        lambda: (
            f"{op}: block_row_offsets: expected [ceil({rows} / {block_size[0]}) + 1 = {offsets}], got "
            f"{list(block_row_offsets.shape)}"
        ),
    )
    if key is not None:
        check_dtype(op, "key", key, torch.int64)
        torch._check_value(
            key.dim() == 1 and key.shape[0] == 2, lambda: f"{op}: key: expected [2], got {list(key.shape)}"
        )
