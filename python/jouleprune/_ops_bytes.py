"""Typed wrappers of the ops that make activations of int8 products as bytes; part of ``jouleprune.ops``."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["conv2d_bsr_int8_to_bytes", "linear_bsr_int8_to_bytes", "quantize_bytes"]

_ops = torch.ops.jouleprune


def quantize_bytes(input: Tensor, input_scale: Tensor | None = None, *, shared_dims: int = 1) -> tuple[Tensor, Tensor]:
    """Rounds activations to steps and gives them as bytes, for all int8 layers that read them.

    Args:
        input: float32, bfloat16 or float16; of a linear layer [..., features], of a convolution [n, channels, h, w].
        input_scale: one positive float32, the step; None or 0: each row has its own, its largest magnitude / 127.
        shared_dims: how many of the last dimensions share a scale: 1 for a linear layer, 3 for a convolution.
    Returns:
        (bytes, scales). bytes: uint8 of the input's sizes (and channels_last where a convolution's input is): steps,
        -127 to 127, + 128. scales: float32 [input.shape[:-shared_dims]], NaN where the row held NaN (or, without
        ``input_scale``, infinity). ``linear_bsr_int8(bytes, ..., input_scale=scales)`` and ``conv2d_bsr_int8`` then
        give the bits that they give for ``input``, in float32.
    Raises:
        TypeError: a dtype.
        ValueError: ``shared_dims`` or ``input_scale`` do not fit.
        RuntimeError (in a backward pass through it): it has no derivative.
    CPU only.
    """
    made: tuple[Tensor, Tensor] = _ops.quantize_bytes(input, input_scale, shared_dims)
    return made


def linear_bsr_int8_to_bytes(
    input: Tensor,
    blocks: Tensor,
    block_columns: Tensor,
    block_row_offsets: Tensor,
    key: Tensor,
    scales: Tensor,
    bias: Tensor | None = None,
    *,
    in_features: int,
    output_scale: Tensor,
    input_scale: Tensor | None = None,
    prepacked: Tensor | None = None,
    activation: str = "none",
) -> tuple[Tensor, Tensor]:
    """:func:`linear_bsr_int8`, whose outputs are rounded to bytes as they are stored.

    Args:
        input, ..., prepacked: as of :func:`linear_bsr_int8`.
        output_scale: one positive float32, the step of the outputs: the ``input_scale`` of the layer that reads them.
        activation: "none" or "relu".
    Returns:
        (bytes, scales) as ``quantize_bytes(linear_bsr_int8(...), output_scale)`` of a float32 input gives them, to the
        bit. (Of a 16-bit input the outputs are not rounded to 16 bits before.) The bytes of a row whose scale is NaN
        mean nothing.
    Raises:
        TypeError, ValueError, RuntimeError: as :func:`linear_bsr_int8`.
    CPU only.
    """
    made: tuple[Tensor, Tensor] = _ops.linear_bsr_int8_to_bytes(
        input, blocks, block_columns, block_row_offsets, key, scales, input_scale, prepacked, bias, in_features,
        activation, output_scale,
    )  # fmt: skip
    return made


def conv2d_bsr_int8_to_bytes(
    input: Tensor,
    blocks: Tensor,
    block_columns: Tensor,
    block_row_offsets: Tensor,
    key: Tensor,
    scales: Tensor,
    bias: Tensor | None = None,
    *,
    in_channels: int,
    kernel_size: Sequence[int],
    output_scale: Tensor,
    stride: Sequence[int] = (1, 1),
    padding: Sequence[int] = (0, 0),
    dilation: Sequence[int] = (1, 1),
    groups: int = 1,
    input_scale: Tensor | None = None,
    prepacked: Tensor | None = None,
    activation: str = "none",
) -> tuple[Tensor, Tensor]:
    """:func:`conv2d_bsr_int8`, whose outputs are rounded to bytes as they are stored.

    Args:
        input, ..., prepacked: as of :func:`conv2d_bsr_int8`.
        output_scale, activation: as of :func:`linear_bsr_int8_to_bytes`.
    Returns:
        (bytes [n, out_channels, out_h, out_w], scales [n]), as of :func:`linear_bsr_int8_to_bytes`; ``shared_dims`` is
        3.
    Raises:
        TypeError, ValueError, RuntimeError: as :func:`conv2d_bsr_int8`.
    CPU only.
    """
    made: tuple[Tensor, Tensor] = _ops.conv2d_bsr_int8_to_bytes(
        input, blocks, block_columns, block_row_offsets, key, scales, input_scale, prepacked, bias, in_channels,
        list(kernel_size), list(stride), list(padding), list(dilation), groups, activation, output_scale,
    )  # fmt: skip
    return made
