"""``SparseLinearNM``: y = x W^T + b with a weight of which n of each m neighbouring inputs are kept, layout "nm"."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..errors import PatternError
from ..ops import pack_nm, unpack_nm
from ._checks import check_mask_type, unsupported_input
from ._packed_state import PackedState

__all__ = ["SparseLinearNM"]

_linear_nm = torch.ops.jouleprune.linear_nm.default
_STRUCTURE = ("values", "indices", "key")
#: What is meant where nobody says: the pattern that GPUs know.
_DEFAULT = "2:4"


class SparseLinearNM(PackedState):
    """A linear layer with an n:m weight: ``y = x W^T + b``, [..., in_features] -> [..., out_features].

    Made by ``SparseLinear.from_dense(linear, layout="nm", pattern="2:4")``. Trainable at the kept entries, n of each
    group of m inputs. The state is ``values`` and ``indices`` [out_features, kept], ``key``, ``pattern`` (int64: n, m)
    and ``bias``. Packed on the CPU.
    """

    __jit_unused_properties__ = ("nnz", "density")

    if TYPE_CHECKING:  # TorchScript would read these strings as types at run time
        values: nn.Parameter
        indices: Tensor
        key: Tensor
        pattern: Tensor
        bias: nn.Parameter | None

    def __init__(self, dense: nn.Linear, n: int, m: int, mask: Tensor | None = None) -> None:
        super().__init__()
        weight = dense.weight.detach()
        self.in_features, self.out_features, self.n, self.m = dense.in_features, dense.out_features, n, m
        values, indices, key = pack_nm(weight, mask, n=n, m=m)
        self.values = nn.Parameter(values, requires_grad=dense.weight.requires_grad)
        self.register_buffer("indices", indices)
        self.register_buffer("key", key)
        self.register_buffer("pattern", torch.tensor([n, m], device=weight.device))
        self._take_bias(dense.bias)
        self.train(dense.training)

    def forward(self, input: Tensor) -> Tensor:
        if torch.jit.is_scripting() or torch.compiler.is_compiling():  # type: ignore[attr-defined]
            out: Tensor = torch.ops.jouleprune.linear_nm(
                input, self.values, self.indices, self.key, None, self.bias, self.in_features, self.n, self.m, "none"
            )
        else:
            out = self._eager(input)
        return out

    @torch.jit.unused
    def _eager(self, input: Tensor) -> Tensor:
        """The same by direct look-ups, as in SparseLinearCSR."""
        own, kept = self._parameters, self._buffers
        if "values" not in own or "bias" not in own:  # parametrized: a property makes them
            own = {"values": self.values, "bias": self.bias}
        try:
            out: Tensor = _linear_nm(
                input, own["values"], kept["indices"], kept["key"], None, own["bias"], self.in_features, self.n, self.m,
                "none",
            )  # fmt: skip
        except NotImplementedError as error:  # a sparse or nested tensor
            raise unsupported_input("SparseLinearNM", input, error) from None
        return out

    @property
    def nnz(self) -> int:
        """Kept entries, zeros among them included."""
        return self.values.numel()

    @property
    def density(self) -> float:
        """Share of kept weights, 0 to 1."""
        return self.nnz / max(1, self.out_features * self.in_features)

    def to_dense(self) -> nn.Linear:
        """A torch.nn.Linear with equal outputs; what was pruned is zero in its ``weight``. Nothing is shared."""
        dense = nn.Linear(
            self.in_features, self.out_features, bias=self.bias is not None, device=self.values.device,
            dtype=self.values.dtype,
        )  # fmt: skip
        weight = unpack_nm(self.values.detach(), self.indices, self.in_features, n=self.n, m=self.m)
        self._fill(dense, weight, self.values.requires_grad)
        return dense

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}, "
            f"pattern={self.n}:{self.m}, nnz={self.nnz}, density={self.density:.4f}"
        )

    def _state_names(self) -> tuple[str, ...]:
        return (*_STRUCTURE, "pattern", *(["bias"] if self.bias is not None else []))

    def _counted_names(self) -> tuple[str, ...]:
        return ()

    def _probe(self, state: Mapping[str, Tensor]) -> None:
        pattern = [int(number) for number in state["pattern"]]
        if pattern != [self.n, self.m]:
            raise ValueError(f"pattern: expected {self.n}:{self.m}, got {pattern[0]}:{pattern[1]}")
        torch.ops.jouleprune.linear_nm(
            state["values"].new_empty(0, self.in_features), *(state[name] for name in _STRUCTURE), None, None,
            self.in_features, self.n, self.m, "none",
        )  # fmt: skip


def sparse_linear_nm(module: nn.Linear, pattern: str | None, mask: Tensor | None) -> SparseLinearNM:
    """``SparseLinear.from_dense`` for layout "nm"."""
    check_mask_type(mask)
    chosen = _DEFAULT if pattern is None else pattern
    found = re.fullmatch(r"(\d+):(\d+)", chosen) if isinstance(chosen, str) else None
    if found is None:
        raise PatternError(f"pattern: expected 'n:m', such as '2:4', got {pattern!r}")
    n, m = int(found[1]), int(found[2])
    if not 1 <= n < m <= 32:
        raise PatternError(f"pattern: expected 1 <= n < m <= 32, got {pattern!r}")
    return SparseLinearNM(module, n, m, mask)
