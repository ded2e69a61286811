"""A weight in layout csr as parameter and buffers of a module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..ops import pack_csr, prepack_csr, unpack_csr
from ._checks import check_mask_type

__all__ = ["CsrWeight"]

_STRUCTURE = ("values", "col_indices", "row_offsets", "key")


class CsrWeight(nn.Module):
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
        if dense.bias is None:
            self.register_parameter("bias", None)
        else:
            self.bias = nn.Parameter(dense.bias.detach().clone(), requires_grad=dense.bias.requires_grad)
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

    def _load_from_state_dict(
        self,
        state_dict: Mapping[str, Any],
        prefix: str,
        local_metadata: Any,
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Checks everything first; takes all of it, with another nnz if need be, or nothing.

        A part of a module's state is an error even when ``strict=False``: values without their columns mean nothing.
        """
        names = _STRUCTURE if self.bias is None else (*_STRUCTURE, "bias")
        found = {name: state_dict[prefix + name] for name in names if prefix + name in state_dict}
        if found:
            defect = self._defect(found)
            if defect:
                error_msgs.append(f"{prefix.rstrip('.') or type(self).__name__}: {defect}")
                return
            if self.values.shape != found["values"].shape:
                with torch.no_grad():  # the Parameter stays the same object
                    self.values.data = self.values.data.new_empty(found["values"].shape)
                    self.values.grad = None
                    self.col_indices = self.col_indices.new_empty(found["col_indices"].shape)
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )
        if found:
            self.prepacked = prepack_csr(self.values.detach(), self.col_indices, self.row_offsets, self.cols)

    def _defect(self, found: Mapping[str, Any]) -> str:
        """Empty, or why these tensors cannot be this module's state."""
        names = _STRUCTURE if self.bias is None else (*_STRUCTURE, "bias")
        missing = [name for name in names if name not in found]
        if missing:
            return f"expected {', '.join(names)} together, found no {', '.join(missing)}"
        dtypes = {"col_indices": torch.int32, "row_offsets": torch.int32, "key": torch.int64}
        sizes = {"row_offsets": self.rows + 1, "key": 2, "bias": self.rows}
        for name, value in found.items():
            if not isinstance(value, Tensor):
                return f"{name}: expected a tensor, got {type(value).__name__}"
            dtype = dtypes.get(name, self.values.dtype)
            if value.dtype != dtype:
                return f"{name}: expected {dtype}, got {value.dtype}"
            if name in sizes and value.shape != (sizes[name],):
                return f"{name}: expected [{sizes[name]}], got {list(value.shape)}"
        on_cpu = {name: value.detach().cpu() for name, value in found.items()}
        probe = on_cpu["values"].new_empty(0, self.cols)
        try:  # an empty batch computes nothing, but the op checks the structure and that the key belongs to it
            torch.ops.jouleprune.linear_csr(
                probe, on_cpu["values"], on_cpu["col_indices"], on_cpu["row_offsets"], on_cpu["key"], None, None,
                self.cols, "none",
            )  # fmt: skip
        except (ValueError, TypeError) as error:
            return str(error)
        return ""

    def _dense_weight(self) -> Tensor:
        return unpack_csr(self.values.detach(), self.col_indices, self.row_offsets, self.cols)

    def _fill_dense(self, dense: nn.Linear | nn.Conv1d | nn.Conv2d) -> None:
        with torch.no_grad():
            dense.weight.copy_(self._dense_weight().view_as(dense.weight))
            if self.bias is not None and dense.bias is not None:
                dense.bias.copy_(self.bias).requires_grad_(self.bias.requires_grad)
        dense.weight.requires_grad_(self.values.requires_grad)
        dense.train(self.training)
