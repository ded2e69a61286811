"""Convolutions in layout bsr."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["conv2d_bsr"]


def conv2d_bsr(
    input: Tensor,
    blocks: Tensor,
    block_columns: Tensor,
    block_row_offsets: Tensor,
    key: Tensor,
    bias: Tensor | None = None,
    *,
    out_channels: int,
    in_channels: int,
    kernel_size: Sequence[int],
    stride: Sequence[int] = (1, 1),
    padding: Sequence[int] = (0, 0),
    dilation: Sequence[int] = (1, 1),
    groups: int = 1,
    prepacked: Tensor | None = None,
    activation: str = "none",
    residual: Tensor | None = None,
) -> Tensor:
    """``activation(conv2d(input, W) + bias + residual)``, zero-padded, for a pruned W in layout bsr.

    Args:
        input: [n, in_channels, h, w], contiguous, channels_last or any other strides.
        blocks, block_columns, block_row_offsets, key: of the matrix [out_channels, kh * kw * channels], tap by tap,
            ``channels`` being ``in_channels / groups`` rounded up to a multiple of the blocks' columns c: a block lies
            at one tap. ``pack_bsr(pad(weight.permute(0, 2, 3, 1), (0, -weight.shape[1] % c)).flatten(1), block_size=(r,
            c))``. Channels beyond the last are padding.
        bias: [out_channels].
        prepacked, activation: as of :func:`linear_csr`.
        in_channels, kernel_size, stride, padding, dilation, groups, residual: as of :func:`conv2d_csr`.
    Returns:
        [n, out_channels, out_h, out_w] as of :func:`conv2d_csr`, contiguous.
    Raises:
        TypeError, ValueError: as :func:`conv2d_csr` and :func:`linear_bsr`.
    Differentiable as :func:`linear_bsr`. On the CPU it is :func:`linear_bsr` of the input's patches, or with several
    groups torch's convolution of the unpacked weight; on CUDA see docs/kernels_cuda.md.
    """
    out: Tensor = torch.ops.jouleprune.conv2d_bsr(
        input, blocks, block_columns, block_row_offsets, key, prepacked, bias, out_channels, in_channels,
        list(kernel_size), list(stride), list(padding), list(dilation), groups, activation, residual,
    )  # fmt: skip
    return out
