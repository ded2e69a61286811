"""``SparseLinear``: y = x W^T + b with a pruned weight."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ._checks import check_dense
from ._csr_weight import CsrWeight

__all__ = ["SparseLinear", "SparseLinearCSR"]


class SparseLinear(CsrWeight):
    """A linear layer with a pruned weight: ``y = x W^T + b``, [..., in_features] -> [..., out_features]."""

    if TYPE_CHECKING:  # TorchScript would read these strings as types at run time
        in_features: int
        out_features: int

    @staticmethod
    def from_dense(module: nn.Linear, layout: str = "csr", *, mask: Tensor | None = None) -> SparseLinear:
        """The sparse twin of ``module``, which is not changed.

        Args:
            module: its zeros are the mask; dtype, device, mode and ``requires_grad`` are kept.
            layout: "csr".
            mask: bool [out_features, in_features], True = kept, instead of the zeros (kept entries may then be zero).
        Raises:
            PatternError: another kind of module, one that has no weight yet, or an unknown layout.
            ValueError: a mask of another shape or dtype, or a weight on the meta device.
            TypeError: a weight that is not float32, float64, bfloat16 or float16.
        """
        check_dense("SparseLinear", module, nn.Linear, layout)
        return SparseLinearCSR(module, mask)

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
