"""``SparseLinearInt8``: a pruned weight in int8 blocks of 1 x 4, activations quantised on the way. For inference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..ops import pack_bsr_int8, unpack_bsr_int8
from ._checks import check_mask_type, unsupported_input
from ._packed_state import PackedState

__all__ = ["SparseLinearInt8"]

_linear_bsr_int8 = torch.ops.jouleprune.linear_bsr_int8.default
_STRUCTURE = ("blocks", "block_columns", "block_row_offsets", "key", "scales")
#: The ``input_scale`` that gives every row of the input its own.
_DYNAMIC = 0.0


class SparseLinearInt8(PackedState):
    """A linear layer with a pruned int8 weight: ``y = x W^T + b``, [..., in_features] -> [..., out_features].

    Inputs and outputs are float32, bfloat16 or float16. Made by ``SparseLinear.from_dense(linear, dtype="int8")``. All
    tensors are buffers (``docs/formats.md``): there is nothing to train, and under grad mode an input that requires
    grad is refused. ``input_scale`` 0 (as made) gives each row of the input its own scale; :meth:`fix_input_scale` sets
    one for all, as calibration does. Scales and bias stay float32 when the module is cast.
    """

    __jit_unused_properties__ = ("nnz", "density")

    if TYPE_CHECKING:  # TorchScript would read these strings as types at run time
        blocks: Tensor
        block_columns: Tensor
        block_row_offsets: Tensor
        key: Tensor
        scales: Tensor
        input_scale: Tensor
        bias: Tensor | None

    def __init__(self, dense: nn.Linear, mask: Tensor | None = None) -> None:
        super().__init__()
        self.in_features, self.out_features = dense.in_features, dense.out_features
        weight = dense.weight.detach()
        check_mask_type(mask)
        for name, tensor in zip(_STRUCTURE, pack_bsr_int8(weight, mask), strict=True):
            self.register_buffer(name, tensor)
        self.register_buffer("input_scale", torch.tensor([_DYNAMIC], device=weight.device))
        self.register_buffer("bias", None if dense.bias is None else dense.bias.detach().float().clone())
        self.train(dense.training)

    def forward(self, input: Tensor) -> Tensor:
        if torch.jit.is_scripting() or torch.compiler.is_compiling():  # type: ignore[attr-defined]
            out: Tensor = torch.ops.jouleprune.linear_bsr_int8(
                input, self.blocks, self.block_columns, self.block_row_offsets, self.key, self.scales, self.input_scale,
                None, self.bias, self.in_features, "none",
            )  # fmt: skip
        else:
            out = self._eager(input)
        return out

    @torch.jit.unused
    def _eager(self, input: Tensor) -> Tensor:
        """The same by direct look-ups, as in SparseLinearCSR."""
        own = self._buffers
        try:
            out: Tensor = _linear_bsr_int8(
                input, own["blocks"], own["block_columns"], own["block_row_offsets"], own["key"], own["scales"],
                own["input_scale"], None, own["bias"], self.in_features, "none",
            )  # fmt: skip
        except NotImplementedError as error:  # a sparse or nested tensor
            raise unsupported_input("SparseLinearInt8", input, error) from None
        return out

    def fix_input_scale(self, scale: float | None) -> None:
        """Rounds all inputs to multiples of ``scale``, the largest magnitude expected / 127. None: a scale per row."""
        if scale is not None and not 0 < scale < float("inf"):
            raise ValueError(f"input_scale: expected a positive number or None, got {scale}")
        self.input_scale.fill_(_DYNAMIC if scale is None else scale)

    @property
    def nnz(self) -> int:
        """Weights in kept blocks (those pruned within a block included)."""
        return self.blocks.numel()

    @property
    def density(self) -> float:
        """Share of weights in kept blocks, 0 to 1."""
        return min(1.0, self.nnz / max(1, self.out_features * self.in_features))

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
        scale = f"{self.input_scale.item():.4g}" if self.input_scale.item() != _DYNAMIC else "per row"
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}, "
            f"nnz={self.nnz}, density={self.density:.4f}, input_scale={scale}"
        )

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
        return (*_STRUCTURE, "input_scale", *(["bias"] if self.bias is not None else []))

    def _counted_names(self) -> tuple[str, ...]:
        return ("blocks", "block_columns")

    def _probe(self, state: Mapping[str, Tensor]) -> None:
        scale = state["input_scale"]
        torch.ops.jouleprune.linear_bsr_int8(
            scale.new_empty(0, self.in_features), *(state[name] for name in _STRUCTURE), scale, None, None,
            self.in_features, "none",
        )  # fmt: skip
