"""``SparseConv2dInt8``: a 2-d convolution with a pruned weight in int8. For inference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..ops import unpack_bsr_int8
from ._checks import check_mask_type, numeric_padding, unsupported_input
from ._int8_weight import STRUCTURE, Int8Weight

__all__ = ["SparseConv2dInt8"]

_conv2d_bsr_int8 = torch.ops.jouleprune.conv2d_bsr_int8.default
_conv2d_bsr_int8_to_bytes = torch.ops.jouleprune.conv2d_bsr_int8_to_bytes.default


class SparseConv2dInt8(Int8Weight):
    """A 2-d convolution with a pruned int8 weight: [n, in_channels, h, w] -> [n, out_channels, out_h, out_w], or the
    same without n.

    Inputs and outputs are float32, bfloat16 or float16, contiguous or channels_last (the output as the input). Made by
    ``SparseConv2d.from_dense(conv, dtype="int8")``. A block is four neighbouring input channels at one tap of a filter.
    All tensors are buffers (``docs/formats.md``): there is nothing to train, and a backward pass through the layer is
    refused. ``input_scale`` 0 (as made) gives each image its own scale; :meth:`fix_input_scale` sets one for
    all, as calibration does. Scales and bias stay float32 when the module is cast.
    """

    if TYPE_CHECKING:  # TorchScript would read these strings as types at run time
        in_channels: int
        out_channels: int
        kernel_size: tuple[int, int]
        stride: tuple[int, int]
        padding: tuple[int, int]
        dilation: tuple[int, int]
        groups: int

    def __init__(self, dense: nn.Conv2d, mask: Tensor | None = None) -> None:
        super().__init__()
        self.in_channels, self.out_channels, self.groups = dense.in_channels, dense.out_channels, dense.groups
        self.kernel_size = (dense.kernel_size[0], dense.kernel_size[1])
        self.stride = (dense.stride[0], dense.stride[1])
        self.dilation = (dense.dilation[0], dense.dilation[1])
        padding = numeric_padding("SparseConv2d", dense)
        self.padding = (padding[0], padding[1])
        check_mask_type(mask)
        weight = dense.weight.detach()
        if mask is not None and (mask.dtype != torch.bool or mask.shape != weight.shape):
            raise ValueError(
                f"mask: expected bool {list(weight.shape)} like the weight, got {mask.dtype} {list(mask.shape)}"
            )
        self._pack(_taps_first(weight), None if mask is None else _taps_first(mask), dense.bias)
        self.train(dense.training)

    def forward(self, input: Tensor) -> Tensor:
        batched = input.unsqueeze(0) if input.dim() == 3 else input
        if torch.jit.is_scripting() or torch.compiler.is_compiling():  # type: ignore[attr-defined]
            out: Tensor = torch.ops.jouleprune.conv2d_bsr_int8(
                batched, self.blocks, self.block_columns, self.block_row_offsets, self.key, self.scales,
                self.input_scale, None, self.bias, self.in_channels, self.kernel_size, self.stride, self.padding,
                self.dilation, self.groups, self.activation,
            )  # fmt: skip
        else:
            out = self._eager(batched, self._buffers["input_scale"])
        return out.squeeze(0) if input.dim() == 3 else out

    @torch.jit.unused
    def _eager(self, input: Tensor, steps: Tensor | None) -> Tensor:
        """The same by direct look-ups, as in SparseLinearCSR: 7 us less. ``steps``: the input scale."""
        own = self._buffers
        try:
            out: Tensor = _conv2d_bsr_int8(
                input, own["blocks"], own["block_columns"], own["block_row_offsets"], own["key"], own["scales"],
                steps, None, own["bias"], self.in_channels, self.kernel_size, self.stride, self.padding,
                self.dilation, self.groups, self.activation,
            )  # fmt: skip
        except NotImplementedError as error:  # a sparse or nested tensor
            raise unsupported_input("SparseConv2dInt8", input, error) from None
        return out

    @torch.jit.export
    def from_bytes(self, input: Tensor, scales: Tensor, dtype: torch.dtype) -> Tensor:
        """The layer on images that :func:`jouleprune.ops.quantize_bytes` or another layer's :meth:`to_bytes` has
        rounded; ``scales`` are those of the bytes."""
        batched = input.unsqueeze(0) if input.dim() == 3 else input
        if torch.jit.is_scripting() or torch.compiler.is_compiling():  # type: ignore[attr-defined]
            out: Tensor = torch.ops.jouleprune.conv2d_bsr_int8(
                batched, self.blocks, self.block_columns, self.block_row_offsets, self.key, self.scales, scales, None,
                self.bias, self.in_channels, self.kernel_size, self.stride, self.padding, self.dilation, self.groups,
                self.activation,
            )  # fmt: skip
        else:
            out = self._eager(batched, scales)
        return (out.squeeze(0) if input.dim() == 3 else out).to(dtype)

    @torch.jit.export
    def to_bytes(
        self, input: Tensor, scales: Tensor | None, output_scale: Tensor, activation: str
    ) -> tuple[Tensor, Tensor]:
        """The layer's outputs as bytes in steps of ``output_scale``, and their scales.

        Args:
            input: as of the layer; or bytes, with their ``scales``.
            output_scale: [1], the fixed ``input_scale`` of the layer that reads them.
            activation: "none" or "relu", instead of the layer's own.
        """
        batched = input.unsqueeze(0) if input.dim() == 3 else input
        steps = self.input_scale if scales is None else scales
        if torch.jit.is_scripting() or torch.compiler.is_compiling():  # type: ignore[attr-defined]
            out, image_scales = torch.ops.jouleprune.conv2d_bsr_int8_to_bytes(
                batched, self.blocks, self.block_columns, self.block_row_offsets, self.key, self.scales, steps, None,
                self.bias, self.in_channels, self.kernel_size, self.stride, self.padding, self.dilation, self.groups,
                activation, output_scale,
            )  # fmt: skip
        else:
            out, image_scales = self._eager_to_bytes(batched, steps, output_scale, activation)
        return out.squeeze(0) if input.dim() == 3 else out, image_scales

    @torch.jit.unused
    def _eager_to_bytes(
        self, input: Tensor, steps: Tensor, output_scale: Tensor, activation: str
    ) -> tuple[Tensor, Tensor]:
        own = self._buffers
        out: tuple[Tensor, Tensor] = _conv2d_bsr_int8_to_bytes(
            input, own["blocks"], own["block_columns"], own["block_row_offsets"], own["key"], own["scales"], steps,
            None, own["bias"], self.in_channels, self.kernel_size, self.stride, self.padding, self.dilation,
            self.groups, activation, output_scale,
        )  # fmt: skip
        return out

    def to_dense(self) -> nn.Conv2d:
        """A torch.nn.Conv2d with the weight that int8 holds, float32. Nothing is shared."""
        dense = nn.Conv2d(
            self.in_channels,
            self.out_channels,
            self.kernel_size,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
            bias=self.bias is not None,
            device=self.scales.device,
        )
        channels, (high, wide) = self.in_channels // self.groups, self.kernel_size
        cols = high * wide * _in_quads(channels)
        weight = unpack_bsr_int8(self.blocks, self.block_columns, self.block_row_offsets, self.scales, cols)
        taps = weight.view(self.out_channels, high, wide, _in_quads(channels))[..., :channels]
        with torch.no_grad():
            dense.weight.copy_(taps.permute(0, 3, 1, 2))
            if self.bias is not None and dense.bias is not None:
                dense.bias.copy_(self.bias)
        return dense.train(self.training).requires_grad_(False)

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding}, dilation={self.dilation}, groups={self.groups}, {self._kept_repr('image')}"
        )

    def _weights(self) -> int:
        return self.out_channels * (self.in_channels // self.groups) * self.kernel_size[0] * self.kernel_size[1]

    def _probe(self, state: Mapping[str, Tensor]) -> None:
        scale = state["input_scale"]
        size = [step * (taps - 1) + 1 for step, taps in zip(self.dilation, self.kernel_size, strict=True)]
        torch.ops.jouleprune.conv2d_bsr_int8(
            scale.new_empty(0, self.in_channels, *size), *(state[name] for name in STRUCTURE), scale, None, None,
            self.in_channels, self.kernel_size, self.stride, self.padding, self.dilation, self.groups, "none",
        )  # fmt: skip


def _in_quads(channels: int) -> int:
    """Channels rounded up to whole blocks."""
    return -(-channels // 4) * 4


def _taps_first(weight: Tensor) -> Tensor:
    """[out_channels, channels, kh, kw] -> [out_channels, kh, kw, channels], channels filled up with zeros to a multiple
    of four: blocks of 1 x 4 are then neighbouring channels of one tap."""
    channels = weight.shape[1]
    return F.pad(weight.permute(0, 2, 3, 1), (0, _in_quads(channels) - channels))
