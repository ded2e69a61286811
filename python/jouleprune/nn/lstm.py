"""``SparseLSTM``: torch.nn.LSTM with pruned weights."""

from collections.abc import Collection
from typing import Any, overload

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from ._checks import check_dense
from ._matrices import Masks
from ._recurrent import Recurrent, reordered

__all__ = ["SparseLSTM", "SparseLSTMCSR"]


class SparseLSTM(Recurrent):
    """torch.nn.LSTM with pruned weights: the same inputs, states and options, projections and packed sequences too.

    The weights are children named as torch's (``weight_ih_l0``, ``weight_hh_l0``, ``weight_ih_l0_reverse``,
    ``weight_hr_l0``, ...), each with its bias: ``weight_ih_l0.values``, ``weight_ih_l0.bias``. Per layer and direction
    the input products of all time steps are one product. Any number of steps, in scripted and traced modules too;
    ``torch.compile`` and ``torch.export`` take that of their example (a compiled module compiles anew for another). As
    torch's, a module is scripted inside another that calls it.
    """

    @staticmethod
    def from_dense(
        module: nn.LSTM, layout: str = "csr", *, mask: Masks | None = None, dense: Collection[str] = ()
    ) -> "SparseLSTM":
        """The sparse twin of ``module``, which is not changed.

        Args:
            module: its zeros are the mask; dtype, device, mode and ``requires_grad`` are kept.
            layout: "csr".
            mask: instead of the zeros: bool tensors by name of the weight, True = kept.
            dense: names of weights that stay dense: those that are not pruned run faster so.
        Raises:
            PatternError: another kind of module, or an unknown layout.
            ValueError: a mask of another shape or dtype, names that the module lacks, or weights on the meta device.
            TypeError: weights that are not float32, float64, bfloat16 or float16.
        """
        check_dense("SparseLSTM", module, nn.LSTM, layout)
        return SparseLSTMCSR(module, mask, dense)

    def to_dense(self) -> nn.LSTM:
        """A torch.nn.LSTM with equal outputs; what was pruned is zero in its weights. Nothing is shared."""
        options: dict[str, Any] = {"proj_size": self.proj_size, **self._factory()}
        dense = nn.LSTM(
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


class SparseLSTMCSR(SparseLSTM):
    """SparseLSTM in layout csr; made by :meth:`SparseLSTM.from_dense`."""

    def __init__(self, module: nn.LSTM, mask: Masks | None = None, dense: Collection[str] = ()) -> None:
        super().__init__()
        self._take(module, mask, dense)

    @overload
    @torch._jit_internal._overload_method
    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        pass

    @overload
    @torch._jit_internal._overload_method
    def forward(
        self, input: PackedSequence, hx: tuple[Tensor, Tensor] | None = None
    ) -> tuple[PackedSequence, tuple[Tensor, Tensor]]:
        pass

    def forward(self, input, hx=None):  # type: ignore[no-untyped-def]
        if isinstance(input, PackedSequence):
            data, batch_sizes, sorted_indices, unsorted_indices = input
            h, c = self._states(data, int(batch_sizes[0]), hx, True)
            h, c = reordered(h, sorted_indices), reordered(c, sorted_indices)
            data, h, c = self._run(data, batch_sizes, h, c)
            packed = PackedSequence(data, batch_sizes, sorted_indices, unsorted_indices)
            return packed, (reordered(h, unsorted_indices), reordered(c, unsorted_indices))
        else:
            batched = input.dim() != 2
            steps = self._steps(input)
            h, c = self._states(steps, steps.size(1), hx, batched)
            output, h, c = self._run(steps, None, h, c)
            if not batched:
                h, c = h.squeeze(1), c.squeeze(1)
            return self._output(output, batched), (h, c)

    def _states(self, data: Tensor, n: int, hx: tuple[Tensor, Tensor] | None, batched: bool) -> tuple[Tensor, Tensor]:
        width = self.proj_size if self.proj_size > 0 else self.hidden_size
        h = self._state(data, n, width, None if hx is None else hx[0], batched)
        return h, self._state(data, n, self.hidden_size, None if hx is None else hx[1], batched)

    def _run(self, data: Tensor, batch_sizes: Tensor | None, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        matrices, counts = self._matrices()
        result: tuple[Tensor, Tensor, Tensor] = torch.ops.jouleprune.lstm_csr(
            data, batch_sizes, h, c, matrices, counts, self.num_layers, self.bidirectional, self.dropout, self.training
        )
        return result
