"""``SparseConv2d``: a 2-d convolution with a pruned weight."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..errors import PatternError
from ._checks import check_dense, check_padding_mode, numeric_padding
from ._csr_weight import CsrWeight
from .int8_conv2d import SparseConv2dInt8

__all__ = ["SparseConv2d", "SparseConv2dCSR"]


class SparseConv2d(CsrWeight):
    """A 2-d convolution with a pruned weight: [n, in_channels, h, w] -> [n, out_channels, out_h, out_w], or the same
    without n. Zero padding; any stride, padding, dilation and groups."""

    if TYPE_CHECKING:  # TorchScript would read these strings as types at run time
        in_channels: int
        out_channels: int
        kernel_size: tuple[int, int]
        stride: tuple[int, int]
        padding: tuple[int, int]
        dilation: tuple[int, int]
        groups: int

    @staticmethod
    def from_dense(
        module: nn.Conv2d, layout: str | None = None, *, mask: Tensor | None = None, dtype: str | None = None
    ) -> SparseConv2d | SparseConv2dInt8:
        """The sparse twin of ``module``, which is not changed.

        Args:
            module: only :class:`torch.nn.Conv2d`; its zeros are the mask; dtype, device, mode and ``requires_grad`` are
                kept. ``padding="same"`` and ``"valid"`` become numbers.
            layout: "csr", which is also what None stands for. With ``dtype="int8"``: "bsr" or None.
            mask: bool [out_channels, in_channels / groups, kh, kw], True = kept, instead of the zeros.
            dtype: None keeps that of the weight. "int8" quantises it in blocks of four neighbouring input channels,
                one scale per output channel, and gives a :class:`SparseConv2dInt8`, which is for inference.
        Raises:
            PatternError: also another ``padding_mode`` than "zeros", or "same" where that pads one side more.
            ValueError, TypeError: as :meth:`SparseLinear.from_dense`.
        """
        if dtype not in (None, "int8"):
            raise PatternError(f"dtype: expected None or 'int8', got {dtype!r}")
        layouts = ("csr",) if dtype is None else ("bsr",)
        check_dense("SparseConv2d", module, nn.Conv2d, layouts[0] if layout is None else layout, layouts)
        check_padding_mode("SparseConv2d", module)
        return SparseConv2dCSR(module, mask) if dtype is None else SparseConv2dInt8(module, mask)

    def to_dense(self) -> nn.Conv2d:
        """A torch.nn.Conv2d with equal outputs; what was pruned is zero in its ``weight``. Nothing is shared."""
        dense = nn.Conv2d(
            self.in_channels,
            self.out_channels,
            self.kernel_size,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
            bias=self.bias is not None,
            device=self.values.device,
            dtype=self.values.dtype,
        )
        self._fill_dense(dense)
        return dense

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding}, dilation={self.dilation}, groups={self.groups}, bias={self.bias is not None}, "
            f"{self._kept_repr()}"
        )


class SparseConv2dCSR(SparseConv2d):
    """SparseConv2d in layout csr; made by :meth:`SparseConv2d.from_dense`."""

    def __init__(self, dense: nn.Conv2d, mask: Tensor | None = None) -> None:
        super().__init__()
        self.in_channels, self.out_channels, self.groups = dense.in_channels, dense.out_channels, dense.groups
        self.kernel_size = (dense.kernel_size[0], dense.kernel_size[1])
        self.stride = (dense.stride[0], dense.stride[1])
        self.dilation = (dense.dilation[0], dense.dilation[1])
        padding = numeric_padding("SparseConv2d", dense)
        self.padding = (padding[0], padding[1])
        self._pack(dense, mask)

    def forward(self, input: Tensor, residual: Tensor | None = None, activation: str | None = None) -> Tensor:
        """``residual``: sizes of the output, added before the activation; ``activation``: instead of the layer's."""
        batched = input.unsqueeze(0) if input.dim() == 3 else input
        added = residual.unsqueeze(0) if residual is not None and input.dim() == 3 else residual
        out: Tensor = torch.ops.jouleprune.conv2d_csr(
            batched, self.values, self.col_indices, self.row_offsets, self.key, self.prepacked, self.bias,
            self.in_channels, self.kernel_size, self.stride, self.padding, self.dilation, self.groups,
            self.activation if activation is None else activation,
            added,
        )  # fmt: skip
        return out.squeeze(0) if input.dim() == 3 else out
