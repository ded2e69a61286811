"""``SparseConv1d``: a 1-d convolution with a pruned weight."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ._checks import check_dense, check_padding_mode, numeric_padding
from ._csr_weight import CsrWeight

__all__ = ["SparseConv1d", "SparseConv1dCSR"]


class SparseConv1d(CsrWeight):
    """A 1-d convolution with a pruned weight: [n, in_channels, w] -> [n, out_channels, out_w], or the same without n.
    Zero padding; any stride, padding, dilation and groups."""

    if TYPE_CHECKING:  # TorchScript would read these strings as types at run time
        in_channels: int
        out_channels: int
        kernel_size: tuple[int]
        stride: tuple[int]
        padding: tuple[int]
        dilation: tuple[int]
        groups: int

    @staticmethod
    def from_dense(module: nn.Conv1d, layout: str = "csr", *, mask: Tensor | None = None) -> SparseConv1d:
        """The sparse twin of ``module``, which is not changed.

        Args:
            module: only :class:`torch.nn.Conv1d`; its zeros are the mask; dtype, device, mode and ``requires_grad`` are
                kept. ``padding="same"`` and ``"valid"`` become numbers.
            layout: "csr".
            mask: bool [out_channels, in_channels / groups, k], True = kept, instead of the zeros.
        Raises:
            PatternError: also another ``padding_mode`` than "zeros", or "same" where that pads one side more.
            ValueError, TypeError: as :meth:`SparseLinear.from_dense`.
        """
        check_dense("SparseConv1d", module, nn.Conv1d, layout)
        check_padding_mode("SparseConv1d", module)
        return SparseConv1dCSR(module, mask)

    def to_dense(self) -> nn.Conv1d:
        """A torch.nn.Conv1d with equal outputs; what was pruned is zero in its ``weight``. Nothing is shared."""
        dense = nn.Conv1d(
            self.in_channels,
            self.out_channels,
            self.kernel_size[0],
            stride=self.stride[0],
            padding=self.padding[0],
            dilation=self.dilation[0],
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


class SparseConv1dCSR(SparseConv1d):
    """SparseConv1d in layout csr, as a convolution of height 1; made by :meth:`SparseConv1d.from_dense`."""

    def __init__(self, dense: nn.Conv1d, mask: Tensor | None = None) -> None:
        super().__init__()
        self.in_channels, self.out_channels, self.groups = dense.in_channels, dense.out_channels, dense.groups
        self.kernel_size = (dense.kernel_size[0],)
        self.stride = (dense.stride[0],)
        self.dilation = (dense.dilation[0],)
        self.padding = (numeric_padding("SparseConv1d", dense)[0],)
        self._pack(dense, mask)

    def forward(self, input: Tensor, residual: Tensor | None = None, activation: str | None = None) -> Tensor:
        """``residual``: sizes of the output, added before the activation; ``activation``: instead of the layer's."""
        if input.dim() != 2 and input.dim() != 3:
            raise ValueError(f"SparseConv1d: input: expected [n, channels, w] or [channels, w], got {input.dim()}-d")
        rows = input.unsqueeze(-2) if input.dim() == 3 else input.unsqueeze(-2).unsqueeze(0)
        added = residual
        if residual is not None:
            added = residual.unsqueeze(-2) if input.dim() == 3 else residual.unsqueeze(-2).unsqueeze(0)
        out: Tensor = torch.ops.jouleprune.conv2d_csr(
            rows, self.values, self.col_indices, self.row_offsets, self.key, self.prepacked, self.bias,
            self.in_channels, (1, self.kernel_size[0]), (1, self.stride[0]), (0, self.padding[0]),
            (1, self.dilation[0]), self.groups,
            self.activation if activation is None else activation, added,
        )  # fmt: skip
        return out.squeeze(-2) if input.dim() == 3 else out.squeeze(-2).squeeze(0)
