"""``SparseGRU``: torch.nn.GRU with pruned weights."""

from collections.abc import Collection
from typing import Any, overload

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from ._checks import check_dense
from ._matrices import Masks
from ._recurrent import Recurrent, reordered

__all__ = ["SparseGRU", "SparseGRUCSR"]


class SparseGRU(Recurrent):
    """torch.nn.GRU with pruned weights: the same inputs, states and options, packed sequences too.

    Weights and time steps as in :class:`SparseLSTM`.
    """

    @staticmethod
    def from_dense(
        module: nn.GRU, layout: str = "csr", *, mask: Masks | None = None, dense: Collection[str] = ()
    ) -> "SparseGRU":
        """The sparse twin of ``module``, which is not changed; as :meth:`SparseLSTM.from_dense`."""
        check_dense("SparseGRU", module, nn.GRU, layout)
        return SparseGRUCSR(module, mask, dense)

    def to_dense(self) -> nn.GRU:
        """A torch.nn.GRU with equal outputs; what was pruned is zero in its weights. Nothing is shared."""
        options: dict[str, Any] = self._factory()
        dense = nn.GRU(
            self.input_size,
            self.hidden_size,
            self.num_layers,
            self.bias,
            self.batch_first,
            0.0,
            self.bidirectional,
            **options,
        )
        dense.dropout = self.dropout  # set later: torch warns when there is nothing between the layers
        self._fill(dense)
        return dense


class SparseGRUCSR(SparseGRU):
    """SparseGRU in layout csr; made by :meth:`SparseGRU.from_dense`."""

    def __init__(self, module: nn.GRU, mask: Masks | None = None, dense: Collection[str] = ()) -> None:
        super().__init__()
        self._take(module, mask, dense)

    @overload
    @torch._jit_internal._overload_method
    def forward(self, input: Tensor, hx: Tensor | None = None) -> tuple[Tensor, Tensor]:
        pass

    @overload
    @torch._jit_internal._overload_method
    def forward(self, input: PackedSequence, hx: Tensor | None = None) -> tuple[PackedSequence, Tensor]:
        pass

    def forward(self, input, hx=None):  # type: ignore[no-untyped-def]
        if isinstance(input, PackedSequence):
            data, batch_sizes, sorted_indices, unsorted_indices = input
            h = self._state(data, int(batch_sizes[0]), self.hidden_size, hx, True)
            data, h = self._run(data, batch_sizes, reordered(h, sorted_indices))
            packed = PackedSequence(data, batch_sizes, sorted_indices, unsorted_indices)
            return packed, reordered(h, unsorted_indices)
        else:
            batched = input.dim() != 2
            steps = self._steps(input)
            output, h = self._run(steps, None, self._state(steps, steps.size(1), self.hidden_size, hx, batched))
            return self._output(output, batched), h if batched else h.squeeze(1)

    def _run(self, data: Tensor, batch_sizes: Tensor | None, h: Tensor) -> tuple[Tensor, Tensor]:
        matrices, counts = self._matrices()
        result: tuple[Tensor, Tensor] = torch.ops.jouleprune.gru_csr(
            data, batch_sizes, h, matrices, counts, self.num_layers, self.bidirectional, self.dropout, self.training
        )
        return result
