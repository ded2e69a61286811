"""The input projection of self-attention: queries, keys and values from one weight [3 embed_dim, embed_dim]."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..ops import pack_csr, unpack_csr
from .linear import SparseLinearCSR

__all__ = ["DenseInProjection", "SparseInProjectionCSR"]


class DenseInProjection(nn.Linear):
    """The projection dense: beside a pruned output projection."""

    def part(self, input: Tensor, first: int, last: int) -> Tensor:
        """Thirds ``first`` to ``last`` (not included) of the outputs."""
        third = self.out_features // 3
        bias = self.bias
        part = None if bias is None else bias[first * third : last * third]
        return F.linear(input, self.weight[first * third : last * third], part)


class SparseInProjectionCSR(SparseLinearCSR):
    """The projection in layout csr. Of the whole weight when queries, keys and values come from one input; else of
    parts, whose structures are derived from that of the whole and not saved."""

    if TYPE_CHECKING:  # TorchScript would read these strings as types at run time
        ends: list[int]
        third_offsets: Tensor
        third_keys: Tensor
        keys_values_offsets: Tensor
        keys_values_key: Tensor

    def __init__(self, dense: nn.Linear, mask: Tensor | None = None) -> None:
        super().__init__(dense, mask)
        self._derive_parts()

    def part(self, input: Tensor, first: int, last: int) -> Tensor:
        """Thirds ``first`` to ``last`` (not included) of the outputs."""
        third = self.out_features // 3
        start, stop = self.ends[first], self.ends[last]
        if last - first == 1:
            row_offsets, key = self.third_offsets[first], self.third_keys[first]
        else:
            row_offsets, key = self.keys_values_offsets, self.keys_values_key
        bias = self.bias
        out: Tensor = torch.ops.jouleprune.linear_csr(
            input, self.values[start:stop], self.col_indices[start:stop], row_offsets, key, None,
            None if bias is None else bias[first * third : last * third], self.in_features, self.activation,
        )  # fmt: skip
        return out

    def _derive_parts(self) -> None:
        if self.values.is_meta:
            raise ValueError("SparseMultiheadAttention: expected data, got a meta tensor: its zeros are not known")
        third = self.out_features // 3
        ones = torch.ones_like(self.values.detach())
        kept = unpack_csr(ones, self.col_indices, self.row_offsets, self.in_features) != 0
        parts = [pack_csr(kept[i * third : (i + 1) * third].float())[2:] for i in range(3)]
        keys_values = pack_csr(kept[third:].float())
        #: Where in ``values`` each third begins, and the end of the last.
        self.ends = [int(self.row_offsets[i * third]) for i in range(4)]
        self.register_buffer("third_offsets", torch.stack([offsets for offsets, _ in parts]), persistent=False)
        self.register_buffer("third_keys", torch.stack([key for _, key in parts]), persistent=False)
        self.register_buffer("keys_values_offsets", keys_values[2], persistent=False)
        self.register_buffer("keys_values_key", keys_values[3], persistent=False)

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
        before = len(error_msgs)
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )
        if len(error_msgs) == before and prefix + "values" in state_dict:
            self._derive_parts()
