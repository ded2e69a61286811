"""``SparseLinear``: y = x W^T + b with a pruned weight."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..errors import PatternError
from ._checks import check_dense
from ._csr_weight import CsrWeight
from .int8 import SparseLinearInt8

__all__ = ["SparseLinear", "SparseLinearCSR"]


class SparseLinear(CsrWeight):
    """A linear layer with a pruned weight: ``y = x W^T + b``, [..., in_features] -> [..., out_features]."""

    if TYPE_CHECKING:  # TorchScript would read these strings as types at run time
        in_features: int
        out_features: int

    @staticmethod
    def from_dense(
        module: nn.Linear, layout: str | None = None, *, mask: Tensor | None = None, dtype: str | None = None
    ) -> SparseLinear | SparseLinearInt8:
        """The sparse twin of ``module``, which is not changed.

        Args:
            module: its zeros are the mask; dtype, device, mode and ``requires_grad`` are kept.
            layout: "csr"; with ``dtype="int8"``: "bsr". That is also what None stands for.
            mask: bool [out_features, in_features], True = kept, instead of the zeros (kept entries may then be zero).
            dtype: None keeps that of the weight. "int8" quantises it, one scale per output, and gives a
                :class:`SparseLinearInt8`, which is for inference.
        Raises:
            PatternError: another kind of module, one that has no weight yet, or an unknown layout or dtype.
            ValueError: a mask of another shape or dtype, or a weight on the meta device.
            TypeError: a weight that is not float32, float64, bfloat16 or float16.
        """
        if dtype not in (None, "int8"):
            raise PatternError(f"dtype: expected None or 'int8', got {dtype!r}")
        layouts = ("csr",) if dtype is None else ("bsr",)
        check_dense("SparseLinear", module, nn.Linear, layouts[0] if layout is None else layout, layouts)
        return SparseLinearCSR(module, mask) if dtype is None else SparseLinearInt8(module, mask)

    def to_dense(self) -> nn.Linear:
        """A torch.nn.Linear with equal outputs; what was pruned is zero in its ``weight``. Nothing is shared."""
        dense = nn.Linear(
            self.in_features,
            self.out_features,
            bias=self.bias is not None,
            device=self.values.device,
            dtype=self.values.dtype,
        )
        self._fill_dense(dense)
        return dense

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}, "
            f"{self._kept_repr()}"
        )


class SparseLinearCSR(SparseLinear):
    """SparseLinear in layout csr; made by :meth:`SparseLinear.from_dense`."""

    def __init__(self, dense: nn.Linear, mask: Tensor | None = None) -> None:
        super().__init__()
        self.in_features, self.out_features = dense.in_features, dense.out_features
        self._pack(dense, mask)

    def forward(self, input: Tensor) -> Tensor:
        out: Tensor = torch.ops.jouleprune.linear_csr(
            input, self.values, self.col_indices, self.row_offsets, self.key, self.prepacked, self.bias,
            self.in_features, self.activation,
        )  # fmt: skip
        return out

    def _matrix(self) -> list[Tensor]:
        """The tensors by which ops of several weights take this one."""
        bias = self.bias
        weight = [self.values, self.col_indices, self.row_offsets, self.key]
        return weight if bias is None else weight + [bias]  # noqa: RUF005 (TorchScript)
