"""``SparseLinearInt8``: a pruned weight in int8 blocks of 1 x 4, activations quantised on the way. For inference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..ops import unpack_bsr_int8
from ._checks import check_mask_type, unsupported_input
from ._int8_weight import STRUCTURE, Int8Weight

__all__ = ["SparseLinearInt8"]

_linear_bsr_int8 = torch.ops.jouleprune.linear_bsr_int8.default
_linear_bsr_int8_to_bytes = torch.ops.jouleprune.linear_bsr_int8_to_bytes.default


class SparseLinearInt8(Int8Weight):
    """A linear layer with a pruned int8 weight: ``y = x W^T + b``, [..., in_features] -> [..., out_features].

    Inputs and outputs are float32, bfloat16 or float16. Made by ``SparseLinear.from_dense(linear, dtype="int8")``. All
    tensors are buffers (``docs/formats.md``): there is nothing to train, and a backward pass through the layer is
    refused. ``input_scale`` 0 (as made) gives each row of the input its own scale; :meth:`fix_input_scale` sets
    one for all, as calibration does. Scales and bias stay float32 when the module is cast.
    """

    if TYPE_CHECKING:  # TorchScript would read these strings as types at run time
        in_features: int
        out_features: int

    def __init__(self, dense: nn.Linear, mask: Tensor | None = None) -> None:
        super().__init__()
        self.in_features, self.out_features = dense.in_features, dense.out_features
        check_mask_type(mask)
        self._pack(dense.weight.detach(), mask, dense.bias)
        self.train(dense.training)

    def forward(self, input: Tensor) -> Tensor:
        if torch.jit.is_scripting() or torch.compiler.is_compiling():  # type: ignore[attr-defined]
            out: Tensor = torch.ops.jouleprune.linear_bsr_int8(
                input, self.blocks, self.block_columns, self.block_row_offsets, self.key, self.scales, self.input_scale,
                None, self.bias, self.in_features, self.activation,
            )  # fmt: skip
        else:
            out = self._eager(input, self._buffers["input_scale"])
        return out

    @torch.jit.unused
    def _eager(self, input: Tensor, steps: Tensor | None) -> Tensor:
        """The same by direct look-ups, as in SparseLinearCSR. ``steps``: the input scale."""
        own = self._buffers
        try:
            out: Tensor = _linear_bsr_int8(
                input, own["blocks"], own["block_columns"], own["block_row_offsets"], own["key"], own["scales"],
                steps, None, own["bias"], self.in_features, self.activation,
            )  # fmt: skip
        except NotImplementedError as error:  # a sparse or nested tensor
            raise unsupported_input("SparseLinearInt8", input, error) from None
        return out

    @torch.jit.export
    def from_bytes(self, input: Tensor, scales: Tensor, dtype: torch.dtype) -> Tensor:
        """The layer on an input that :func:`jouleprune.ops.quantize_bytes` or another layer's :meth:`to_bytes` has
        rounded; ``scales`` are those of the bytes."""
        if torch.jit.is_scripting() or torch.compiler.is_compiling():  # type: ignore[attr-defined]
            out: Tensor = torch.ops.jouleprune.linear_bsr_int8(
                input, self.blocks, self.block_columns, self.block_row_offsets, self.key, self.scales, scales, None,
                self.bias, self.in_features, self.activation,
            )  # fmt: skip
        else:
            out = self._eager(input, scales)
        return out.to(dtype)

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
        steps = self.input_scale if scales is None else scales
        if torch.jit.is_scripting() or torch.compiler.is_compiling():  # type: ignore[attr-defined]
            out: tuple[Tensor, Tensor] = torch.ops.jouleprune.linear_bsr_int8_to_bytes(
                input, self.blocks, self.block_columns, self.block_row_offsets, self.key, self.scales, steps, None,
                self.bias, self.in_features, activation, output_scale,
            )  # fmt: skip
        else:
            out = self._eager_to_bytes(input, steps, output_scale, activation)
        return out

    @torch.jit.unused
    def _eager_to_bytes(
        self, input: Tensor, steps: Tensor, output_scale: Tensor, activation: str
    ) -> tuple[Tensor, Tensor]:
        own = self._buffers
        out: tuple[Tensor, Tensor] = _linear_bsr_int8_to_bytes(
            input, own["blocks"], own["block_columns"], own["block_row_offsets"], own["key"], own["scales"], steps,
            None, own["bias"], self.in_features, activation, output_scale,
        )  # fmt: skip
        return out

    def to_dense(self) -> nn.Linear:
        """A torch.nn.Linear with the weight that int8 holds, float32. Nothing is shared."""
        dense = nn.Linear(self.in_features, self.out_features, bias=self.bias is not None, device=self.scales.device)
        weight = unpack_bsr_int8(self.blocks, self.block_columns, self.block_row_offsets, self.scales, self.in_features)
        with torch.no_grad():
            dense.weight.copy_(weight)
            if self.bias is not None:
                dense.bias.copy_(self.bias)
        return dense.train(self.training).requires_grad_(False)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, {self._kept_repr('row')}"

    def _weights(self) -> int:
        return self.out_features * self.in_features

    def _probe(self, state: Mapping[str, Tensor]) -> None:
        scale = state["input_scale"]
        torch.ops.jouleprune.linear_bsr_int8(
            scale.new_empty(0, self.in_features), *(state[name] for name in STRUCTURE), scale, None, None,
            self.in_features, "none",
        )  # fmt: skip
