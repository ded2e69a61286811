"""An int8 weight in blocks of 1 x 4 as buffers of a module."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..ops import pack_bsr_int8
from ._packed_state import PackedState

__all__ = ["STRUCTURE", "Int8Weight"]

STRUCTURE = ("blocks", "block_columns", "block_row_offsets", "key", "scales")
#: The ``input_scale`` that gives every row (or image) of the input its own.
_DYNAMIC = 0.0


class Int8Weight(PackedState):
    """What the int8 modules share: the packed weight, the scale of the input and the bias as buffers. Scales and bias
    stay float32 when the module is cast."""

    __jit_unused_properties__ = ("nnz", "density", "rows")

    if TYPE_CHECKING:  # TorchScript would read these strings as types at run time
        blocks: Tensor
        block_columns: Tensor
        block_row_offsets: Tensor
        key: Tensor
        scales: Tensor
        input_scale: Tensor
        bias: Tensor | None
        activation: str

    def _pack(self, weight: Tensor, mask: Tensor | None, bias: Tensor | None) -> None:
        """``weight``, ``mask``: as :func:`pack_bsr_int8` takes them."""
        for name, tensor in zip(STRUCTURE, pack_bsr_int8(weight, mask), strict=True):
            self.register_buffer(name, tensor)
        self.register_buffer("input_scale", torch.tensor([_DYNAMIC], device=weight.device))
        self.register_buffer("bias", None if bias is None else bias.detach().float().clone())
        #: Applied by the op: "none", "relu", "gelu" or "silu".
        self.activation = "none"

    def fix_input_scale(self, scale: float | None) -> None:
        """Rounds all inputs to multiples of ``scale``, the largest magnitude expected / 127. None: a scale per row."""
        if scale is not None and not 0 < scale < float("inf"):
            raise ValueError(f"input_scale: expected a positive number or None, got {scale}")
        self.input_scale.fill_(_DYNAMIC if scale is None else scale)

    @property
    def rows(self) -> int:
        """Outputs (of a convolution: output channels)."""
        return self.scales.numel()

    @property
    def nnz(self) -> int:
        """Weights in kept blocks (those pruned within a block included)."""
        return self.blocks.numel()

    @property
    def density(self) -> float:
        """Share of weights in kept blocks, 0 to 1."""
        return min(1.0, self.nnz / max(1, self._weights()))

    def _weights(self) -> int:
        """Weights of the dense layer."""
        raise NotImplementedError

    def _kept_repr(self, scale_of_each: str) -> str:
        scale = f"{self.input_scale.item():.4g}" if self.input_scale.item() != _DYNAMIC else f"per {scale_of_each}"
        activation = "" if self.activation == "none" else f", activation={self.activation}"
        kept = f"bias={self.bias is not None}, nnz={self.nnz}, density={self.density:.4f}"
        return f"{kept}, input_scale={scale}{activation}"

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> nn.Module:
        """Moves as any module does, but what must stay float32 does."""
        exact = {name: buffer for name, buffer in self._buffers.items() if buffer is not None}
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, before in exact.items():
            after = self._buffers[name]
            if after is not None and after.dtype != before.dtype:
                self._buffers[name] = before.to(after.device)
        return self

    def _state_names(self) -> tuple[str, ...]:
        return (*STRUCTURE, "input_scale", *(["bias"] if self.bias is not None else []))

    def _counted_names(self) -> tuple[str, ...]:
        return ("blocks", "block_columns")
