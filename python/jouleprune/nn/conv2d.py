"""``SparseConv2d``: a 2-d convolution with a pruned weight."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..errors import PatternError
from ._checks import check_dense
from ._csr_weight import CsrWeight

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
    def from_dense(module: nn.Conv2d, layout: str = "csr", *, mask: Tensor | None = None) -> SparseConv2d:
        """The sparse twin of ``module``, which is not changed.

        Args:
            module: only :class:`torch.nn.Conv2d`; its zeros are the mask; dtype, device, mode and ``requires_grad`` are
                kept. ``padding="same"`` and ``"valid"`` become numbers.
            layout: "csr".
            mask: bool [out_channels, in_channels / groups, kh, kw], True = kept, instead of the zeros.
        Raises:
            PatternError: also another ``padding_mode`` than "zeros", or "same" where that pads one side more.
            ValueError, TypeError: as :meth:`SparseLinear.from_dense`.
        """
        check_dense("SparseConv2d", module, nn.Conv2d, layout)
        if module.padding_mode != "zeros":
            raise PatternError(f"SparseConv2d: padding_mode: expected 'zeros', got {module.padding_mode!r}")
        return SparseConv2dCSR(module, mask)

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
            f"nnz={self.nnz}, density={self.density:.4f}"
        )


class SparseConv2dCSR(SparseConv2d):
    """SparseConv2d in layout csr; made by :meth:`SparseConv2d.from_dense`."""

    def __init__(self, dense: nn.Conv2d, mask: Tensor | None = None) -> None:
        super().__init__()
        self.in_channels, self.out_channels, self.groups = dense.in_channels, dense.out_channels, dense.groups
        self.kernel_size = (dense.kernel_size[0], dense.kernel_size[1])
        self.stride = (dense.stride[0], dense.stride[1])
        self.dilation = (dense.dilation[0], dense.dilation[1])
        self.padding = _numeric_padding(dense)
        self._pack(dense, mask)

    def forward(self, input: Tensor) -> Tensor:
        batched = input.unsqueeze(0) if input.dim() == 3 else input
        out: Tensor = torch.ops.jouleprune.conv2d_csr(
            batched, self.values, self.col_indices, self.row_offsets, self.key, self.prepacked, self.bias,
            self.in_channels, self.kernel_size, self.stride, self.padding, self.dilation, self.groups, "none",
        )  # fmt: skip
        return out.squeeze(0) if input.dim() == 3 else out


def _numeric_padding(dense: nn.Conv2d) -> tuple[int, int]:
    """The numbers behind "same" and "valid"; "same" with an even reach pads one side more, which no symmetric padding
    can."""
    if not isinstance(dense.padding, str):
        return (dense.padding[0], dense.padding[1])
    if dense.padding == "valid":
        return (0, 0)
    reach = [dilation * (size - 1) for dilation, size in zip(dense.dilation, dense.kernel_size, strict=True)]
    if any(total % 2 for total in reach):
        raise PatternError(
            f"SparseConv2d: padding='same' with kernel_size {dense.kernel_size} and dilation {dense.dilation} is "
            "asymmetric: pad the input yourself and use padding=0"
        )
    return (reach[0] // 2, reach[1] // 2)
