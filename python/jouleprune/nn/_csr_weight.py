"""A weight in layout csr as parameter and buffers of a module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..ops import pack_csr, prepack_csr, unpack_csr
from ._checks import check_mask_type
from ._packed_state import PackedState

__all__ = ["CsrWeight"]

_STRUCTURE = ("values", "col_indices", "row_offsets", "key")


class CsrWeight(PackedState):
    """What all sparse modules share: the packed weight as parameter and buffers."""

    __jit_unused_properties__ = ("nnz", "density")

    if TYPE_CHECKING:  # TorchScript would read these strings as types at run time
        rows: int
        cols: int
        values: nn.Parameter
        col_indices: Tensor
        row_offsets: Tensor
        key: Tensor
        prepacked: Tensor
        bias: nn.Parameter | None
        activation: str

    def _pack(self, dense: nn.Linear | nn.Conv1d | nn.Conv2d, mask: Tensor | None) -> None:
        weight = dense.weight.detach()
        check_mask_type(mask)
        if mask is not None and (mask.dtype != torch.bool or mask.shape != weight.shape):
            raise ValueError(
                f"mask: expected bool {list(weight.shape)} like the weight, got {mask.dtype} {list(mask.shape)}"
            )
        values, col_indices, row_offsets, key = pack_csr(weight, mask)
        self.rows, self.cols = weight.shape[0], weight[0].numel() if weight.shape[0] else weight.numel()
        self.values = nn.Parameter(values, requires_grad=dense.weight.requires_grad)
        self.register_buffer("col_indices", col_indices)
        self.register_buffer("row_offsets", row_offsets)
        self.register_buffer("key", key)
        self.register_buffer("prepacked", prepack_csr(values, col_indices, row_offsets, self.cols), persistent=False)
        self._take_bias(dense.bias)
        self.activation = "none"  # what the op applies to its result: set by convert(fuse=True), gone in to_dense()
        self.train(dense.training)

    @property
    def nnz(self) -> int:
        """Kept weights."""
        return self.values.numel()

    @property
    def density(self) -> float:
        """Share of kept weights, 0 to 1."""
        return self.nnz / max(1, self.rows * self.cols)

    def _kept_repr(self) -> str:
        fused = "" if self.activation == "none" else f", activation={self.activation}"
        return f"nnz={self.nnz}, density={self.density:.4f}{fused}"

    def _state_names(self) -> tuple[str, ...]:
        return _STRUCTURE if self.bias is None else (*_STRUCTURE, "bias")

    def _counted_names(self) -> tuple[str, ...]:
        return ("values", "col_indices")

    def _probe(self, state: Mapping[str, Tensor]) -> None:
        torch.ops.jouleprune.linear_csr(
            state["values"].new_empty(0, self.cols), state["values"], state["col_indices"], state["row_offsets"],
            state["key"], None, None, self.cols, "none",
        )  # fmt: skip

    def _loaded(self) -> None:
        self.prepacked = prepack_csr(self.values.detach(), self.col_indices, self.row_offsets, self.cols)

    def _dense_weight(self) -> Tensor:
        return unpack_csr(self.values.detach(), self.col_indices, self.row_offsets, self.cols)

    def _fill_dense(self, dense: nn.Linear | nn.Conv1d | nn.Conv2d) -> None:
        self._fill(dense, self._dense_weight().view_as(dense.weight), self.values.requires_grad)
