"""``SparseLinearBSR``: y = x W^T + b with a weight pruned in blocks, layouts "bsr" and "vector"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..blocks import kept_blocks
from ..errors import PatternError
from ..ops import pack_bsr, prepack_bsr, unpack_bsr
from ._checks import check_mask_type, unsupported_input
from ._packed_state import PackedState

__all__ = ["SparseLinearBSR"]

_linear_bsr = torch.ops.jouleprune.linear_bsr.default
_STRUCTURE = ("blocks", "block_columns", "block_row_offsets", "key")
#: Block sizes that are looked for, the largest first.
_DETECTED = (
    (32, 32), (16, 16), (32, 2), (8, 8), (32, 1), (16, 1), (4, 4), (1, 16), (8, 1), (1, 8), (4, 1), (1, 4),
)  # fmt: skip


class SparseLinearBSR(PackedState):
    """A linear layer whose weight is pruned in blocks: ``y = x W^T + b``, [..., in_features] -> [..., out_features].

    Made by ``SparseLinear.from_dense(linear, layout="bsr", block_size=(16, 16))`` or ``layout="vector"``. Trainable at
    the kept blocks, all entries of which count as kept. The state is ``blocks`` [blocks, r, c], ``block_columns``,
    ``block_row_offsets``, ``key`` and ``bias``; loading accepts another number of blocks.
    """

    __jit_unused_properties__ = ("nnz", "density")

    if TYPE_CHECKING:  # TorchScript would read these strings as types at run time
        blocks: nn.Parameter
        block_columns: Tensor
        block_row_offsets: Tensor
        key: Tensor
        prepacked: Tensor
        bias: nn.Parameter | None

    def __init__(self, dense: nn.Linear, block_size: tuple[int, int], mask: Tensor | None = None) -> None:
        super().__init__()
        weight = dense.weight.detach()
        self.in_features, self.out_features = dense.in_features, dense.out_features
        blocks, block_columns, block_row_offsets, key = pack_bsr(weight, mask, block_size=block_size)
        self.block_size = (int(block_size[0]), int(block_size[1]))
        self.blocks = nn.Parameter(blocks, requires_grad=dense.weight.requires_grad)
        self.register_buffer("block_columns", block_columns)
        self.register_buffer("block_row_offsets", block_row_offsets)
        self.register_buffer("key", key)
        self.register_buffer("prepacked", self._prepack(), persistent=False)
        self._take_bias(dense.bias)
        self.train(dense.training)

    def forward(self, input: Tensor) -> Tensor:
        if torch.jit.is_scripting() or torch.compiler.is_compiling():  # type: ignore[attr-defined]
            out: Tensor = torch.ops.jouleprune.linear_bsr(
                input, self.blocks, self.block_columns, self.block_row_offsets, self.key, self.prepacked, self.bias,
                self.out_features, self.in_features, "none",
            )  # fmt: skip
        else:
            out = self._eager(input)
        return out

    @torch.jit.unused
    def _eager(self, input: Tensor) -> Tensor:
        """The same by direct look-ups, as in SparseLinearCSR."""
        own, kept = self._parameters, self._buffers
        if "blocks" not in own or "bias" not in own:  # parametrized: a property makes them
            own = {"blocks": self.blocks, "bias": self.bias}
        try:
            out: Tensor = _linear_bsr(
                input, own["blocks"], kept["block_columns"], kept["block_row_offsets"], kept["key"], None, own["bias"],
                self.out_features, self.in_features, "none",
            )  # fmt: skip
        except NotImplementedError as error:  # a sparse or nested tensor
            raise unsupported_input("SparseLinearBSR", input, error) from None
        return out

    @property
    def nnz(self) -> int:
        """Entries of the kept blocks, zeros and padding among them included."""
        return self.blocks.numel()

    @property
    def density(self) -> float:
        """Share of weights in kept blocks, 0 to 1."""
        return min(1.0, self.nnz / max(1, self.out_features * self.in_features))

    def to_dense(self) -> nn.Linear:
        """A torch.nn.Linear with equal outputs; what was pruned is zero in its ``weight``. Nothing is shared."""
        dense = nn.Linear(
            self.in_features,
            self.out_features,
            bias=self.bias is not None,
            device=self.blocks.device,
            dtype=self.blocks.dtype,
        )
        weight = unpack_bsr(
            self.blocks.detach(), self.block_columns, self.block_row_offsets, self.out_features, self.in_features
        )
        self._fill(dense, weight, self.blocks.requires_grad)
        return dense

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}, "
            f"block_size={self.block_size}, nnz={self.nnz}, density={self.density:.4f}"
        )

    def _prepack(self) -> Tensor:
        return prepack_bsr(
            self.blocks.detach(), self.block_columns, self.block_row_offsets, self.out_features, self.in_features
        )

    def _state_names(self) -> tuple[str, ...]:
        return _STRUCTURE if self.bias is None else (*_STRUCTURE, "bias")

    def _counted_names(self) -> tuple[str, ...]:
        return ("blocks", "block_columns")

    def _probe(self, state: Mapping[str, Tensor]) -> None:
        torch.ops.jouleprune.linear_bsr(
            state["blocks"].new_empty(0, self.in_features), *(state[name] for name in _STRUCTURE), None, None,
            self.out_features, self.in_features, "none",
        )  # fmt: skip

    def _loaded(self) -> None:
        self.prepacked = self._prepack()


def sparse_linear_bsr(
    module: nn.Linear, layout: str, block_size: tuple[int, int] | None, mask: Tensor | None
) -> SparseLinearBSR:
    """``SparseLinear.from_dense`` for the layouts "bsr" and "vector"."""
    check_mask_type(mask)
    if block_size is None:
        block_size = (16, 1) if layout == "vector" else _detect_block_size(module.weight.detach(), mask)
    if len(block_size) != 2 or min(block_size) < 1:
        raise PatternError(f"block_size: expected two numbers of at least 1, got {block_size}")
    if layout == "vector" and block_size[1] != 1:
        raise PatternError(f"block_size: expected (r, 1) for layout 'vector', got {block_size}")
    return SparseLinearBSR(module, block_size, mask)


def _detect_block_size(weight: Tensor, mask: Tensor | None) -> tuple[int, int]:
    """The largest of the known block sizes whose kept blocks hold no pruned entry."""
    kept = weight != 0 if mask is None else mask
    wasted = {size: _entries_in_blocks(kept, *size) - int(kept.sum()) for size in _DETECTED}
    for size, zeros in wasted.items():
        if zeros == 0:
            return size
    closest = min(_DETECTED, key=lambda size: wasted[size])
    raise PatternError(
        f"block_size: none of {', '.join(f'{r}x{c}' for r, c in _DETECTED)} covers the zeros of this weight without "
        f"loss ({int(kept.sum())} of {kept.numel()} entries are kept); {closest[0]}x{closest[1]} comes closest, with "
        f"{wasted[closest]} pruned entries in kept blocks. Give block_size to store those as zeros, or use layout 'csr'"
    )


def _entries_in_blocks(kept: Tensor, r: int, c: int) -> int:
    """Entries, padding excluded, of the r x c blocks that hold a kept one."""
    rows, cols = kept.shape
    return int(kept_blocks(kept, r, c).repeat_interleave(r, 0).repeat_interleave(c, 1)[:rows, :cols].sum())
