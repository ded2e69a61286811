"""What ``SparseLSTM`` and ``SparseGRU`` share: their matrices as children, and the way there and back."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ._matrices import Masks, all_weights, check_names, dense_matrices, give, kept, matrix

__all__ = ["Recurrent", "reordered", "weight_names"]


def reordered(state: Tensor, permutation: Tensor | None) -> Tensor:
    """States of sequences in another order."""
    return state if permutation is None else state.index_select(1, permutation)


class Recurrent(nn.Module):
    """A recurrent layer whose children are its matrices, named ``weight_ih_l0`` and so on, each with its bias."""

    __jit_unused_properties__ = ("nnz", "density")

    if TYPE_CHECKING:  # TorchScript would read these strings as types at run time
        input_size: int
        hidden_size: int
        num_layers: int
        bias: bool
        batch_first: bool
        dropout: float
        bidirectional: bool
        proj_size: int

    def _take(self, dense: nn.LSTM | nn.GRU, mask: Masks | None, keep: Collection[str]) -> None:
        self.input_size, self.hidden_size, self.num_layers = dense.input_size, dense.hidden_size, dense.num_layers
        self.bias, self.batch_first, self.dropout = dense.bias, dense.batch_first, dense.dropout
        self.bidirectional, self.proj_size = dense.bidirectional, dense.proj_size
        weights = weight_names(dense)
        check_names(type(self).__name__, weights, mask, keep)
        for name in weights:
            bias = getattr(dense, name.replace("weight", "bias"), None)
            own = None if mask is None else mask.get(name)
            self.add_module(name, matrix(dense.get_parameter(name), bias, own, dense=name in keep))
        self.train(dense.training)

    def _fill(self, dense: nn.LSTM | nn.GRU) -> None:
        for name, layer in dense_matrices(self).items():
            give(layer.weight, dense.get_parameter(name))
            if layer.bias is not None:
                give(layer.bias, dense.get_parameter(name.replace("weight", "bias")))
        dense.train(self.training)

    def _factory(self) -> dict[str, torch.device | torch.dtype]:
        parameter = next(self.parameters())
        return {"device": parameter.device, "dtype": parameter.dtype}

    def _matrices(self) -> tuple[list[Tensor], list[int]]:
        """As the ops take them: all tensors, and how many of them each matrix has."""
        matrices: list[Tensor] = []
        counts: list[int] = []
        for child in self.children():
            tensors = child._matrix()  # type: ignore[operator]
            matrices += tensors
            counts.append(len(tensors))
        return matrices, counts

    def _steps(self, input: Tensor) -> Tensor:
        """[steps, n, features] of what a caller passes."""
        if (input.dim() != 2 and input.dim() != 3) or input.size(-1) != self.input_size:
            raise ValueError(
                f"input: expected [steps, n, input_size = {self.input_size}], [n, steps, ...] with batch_first, or one "
                f"sequence [steps, ...], got {list(input.shape)}"
            )
        if input.dim() == 2:
            return input.unsqueeze(1)
        return input.transpose(0, 1) if self.batch_first else input

    def _output(self, output: Tensor, batched: bool) -> Tensor:
        if not batched:
            return output.squeeze(1)
        return output.transpose(0, 1) if self.batch_first else output

    def _state(self, data: Tensor, n: int, size: int, given: Tensor | None, batched: bool) -> Tensor:
        """[layers x directions, n, size]: what was given, or zeros."""
        if given is not None:
            if given.dim() != (3 if batched else 2):
                raise ValueError(
                    f"hx: expected {'[layers x directions, n, ' if batched else '[layers x directions, '}{size}], got "
                    f"{list(given.shape)}"
                )
            return given if batched else given.unsqueeze(1)
        cells = self.num_layers * (2 if self.bidirectional else 1)
        return torch.zeros(cells, n, size, dtype=data.dtype, device=data.device)

    @property
    def nnz(self) -> int:
        """Kept weights of all matrices."""
        return kept(self)

    @property
    def density(self) -> float:
        """Share of kept weights, 0 to 1."""
        return self.nnz / max(1, all_weights(self))

    def extra_repr(self) -> str:
        parts = [f"{self.input_size}, {self.hidden_size}"]
        parts += [f"proj_size={self.proj_size}"] if self.proj_size else []
        parts += [f"num_layers={self.num_layers}, bias={self.bias}, batch_first={self.batch_first}"]
        parts += [f"dropout={self.dropout}, bidirectional={self.bidirectional}"]
        return ", ".join([*parts, f"nnz={self.nnz}, density={self.density:.4f}"])


def weight_names(dense: nn.LSTM | nn.GRU) -> list[str]:
    """Names of the matrices, in the order in which the ops take them: W_ih, W_hh, W_hr of each cell."""
    names = []
    for layer in range(dense.num_layers):
        for suffix in ("", "_reverse") if dense.bidirectional else ("",):
            kinds = ("ih", "hh", "hr") if dense.proj_size else ("ih", "hh")
            names += [f"weight_{kind}_l{layer}{suffix}" for kind in kinds]
    return names
