"""``SparseLinear``: y = x W^T + b with a pruned weight."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..errors import PatternError
from ._checks import check_dense, unsupported_input
from ._csr_weight import CsrWeight
from .bsr import SparseLinearBSR, sparse_linear_bsr
from .int8 import SparseLinearInt8
from .nm import SparseLinearNM, sparse_linear_nm

__all__ = ["SparseLinear", "SparseLinearCSR"]

_linear_csr = torch.ops.jouleprune.linear_csr.default


class SparseLinear(CsrWeight):
    """A linear layer with a pruned weight: ``y = x W^T + b``, [..., in_features] -> [..., out_features]."""

    if TYPE_CHECKING:  # TorchScript would read these strings as types at run time
        in_features: int
        out_features: int

    @staticmethod
    def from_dense(
        module: nn.Linear,
        layout: str | None = None,
        *,
        mask: Tensor | None = None,
        block_size: tuple[int, int] | None = None,
        dtype: str | None = None,
        pattern: str | None = None,
    ) -> SparseLinear | SparseLinearBSR | SparseLinearInt8 | SparseLinearNM:
        """The sparse twin of ``module``, which is not changed.

        Args:
            module: its zeros are the mask; dtype, device, mode and ``requires_grad`` are kept.
            layout: "csr", which is also what None stands for; "bsr" and "vector" keep whole blocks and give a
                :class:`SparseLinearBSR`, "nm" keeps n of each m inputs and gives a :class:`SparseLinearNM`. With
                ``dtype="int8"``: "bsr" or None.
            mask: bool [out_features, in_features], True = kept, instead of the zeros (kept entries may then be zero).
            block_size: (r, c) of layout "bsr": a block is kept when any of its entries is. None looks for the largest
                block size that stores no pruned entry. Of layout "vector": (r, 1), by default (16, 1).
            dtype: None keeps that of the weight. "int8" quantises it in blocks of 1 x 4, one scale per output, and
                gives a :class:`SparseLinearInt8`, which is for inference.
            pattern: "n:m" of layout "nm", 1 <= n < m <= 32; by default "2:4".
        Raises:
            PatternError: another kind of module, one that has no weight yet, an unknown layout or dtype, a block size
                that does not belong to it, or zeros that no known block size covers.
            ValueError: a mask of another shape or dtype, a weight on the meta device, or one that does not obey n:m.
            TypeError: a weight that is not float32, float64, bfloat16 or float16.
        """
        if dtype not in (None, "int8"):
            raise PatternError(f"dtype: expected None or 'int8', got {dtype!r}")
        layouts = ("csr", "bsr", "vector", "nm") if dtype is None else ("bsr",)
        chosen = layouts[0] if layout is None else layout
        check_dense("SparseLinear", module, nn.Linear, chosen, layouts)
        if pattern is not None and chosen != "nm":
            raise PatternError(f"pattern: layout {chosen!r} has none, got {pattern!r}")
        if dtype == "int8":
            if block_size not in (None, (1, 4)):
                raise PatternError(f"block_size: int8 has blocks of (1, 4), got {block_size}")
            return SparseLinearInt8(module, mask)
        if block_size is not None and chosen == "nm":
            raise PatternError(f"block_size: layout 'nm' has a pattern, got {block_size}")
        if chosen == "nm":
            return sparse_linear_nm(module, pattern, mask)
        if chosen != "csr":
            return sparse_linear_bsr(module, chosen, block_size, mask)
        if block_size is not None:
            raise PatternError(f"block_size: layout 'csr' has none, got {block_size}")
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

    def forward(self, input: Tensor, residual: Tensor | None = None, activation: str | None = None) -> Tensor:
        """``residual``: [..., out_features], added before the activation; ``activation``: instead of the layer's."""
        after = self.activation if activation is None else activation
        if torch.jit.is_scripting() or torch.compiler.is_compiling():  # type: ignore[attr-defined]
            out: Tensor = torch.ops.jouleprune.linear_csr(
                input, self.values, self.col_indices, self.row_offsets, self.key, self.prepacked, self.bias,
                self.in_features, after, residual,
            )  # fmt: skip
        else:
            out = self._eager(input, residual, after)
        return out

    @torch.jit.unused
    def _eager(self, input: Tensor, residual: Tensor | None, activation: str) -> Tensor:
        """The same by direct look-ups: nn.Module's own, six times, cost more than a small product."""
        own, kept = self._parameters, self._buffers
        if "values" not in own or "bias" not in own:  # parametrized: a property makes them
            own = {"values": self.values, "bias": self.bias}
        try:
            out: Tensor = _linear_csr(
                input, own["values"], kept["col_indices"], kept["row_offsets"], kept["key"], None, own["bias"],
                self.in_features, activation, residual,
            )  # fmt: skip
        except NotImplementedError as error:  # a sparse or nested tensor
            raise unsupported_input("SparseLinear", input, error) from None
        return out

    def _matrix(self) -> list[Tensor]:
        """The tensors by which ops of several weights take this one."""
        bias = self.bias
        weight = [self.values, self.col_indices, self.row_offsets, self.key]
        return weight if bias is None else weight + [bias]  # noqa: RUF005 (TorchScript)
