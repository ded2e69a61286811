"""A case at one sparsity: the pruned layer, its input, and what must come out."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .candidate import Unavailable
from .guard import Expected
from .masks import masked_weight
from .suites import Case, ConvShape, LinearShape

__all__ = ["Problem"]

#: Of one candidate's copies: eight candidates take 2 GB.
_MOST_COLD_BYTES = 256 << 20


class Problem:
    """Attributes:
    layer: torch.nn.Linear or Conv2d in float32 with zeros where it is pruned.
    x: float32 input.
    grad: float32, of the output's shape; for the steps dW and dX.
    """

    def __init__(self, case: Case, sparsity: float, mask: str, *, cache_bytes: int, seed: int = 0) -> None:
        """Args: cache_bytes: of the last-level cache."""
        if not isinstance(case.shape, LinearShape | ConvShape):
            raise ValueError(f"{case.name}: expected a layer, got a network")
        self.case, self._cache_bytes = case, cache_bytes
        shape = case.shape
        kind = "nm" if case.layout == "nm" else mask
        weight = masked_weight(kind, shape.rows, shape.cols, sparsity, block=case.block, seed=seed)
        if isinstance(shape, ConvShape) and case.block[1] > 1:  # channels are neighbours, not taps
            weight = weight.view(shape.rows, -1, shape.channels).transpose(1, 2).reshape(shape.rows, -1)
        random = torch.Generator().manual_seed(seed + 1)
        self.x = _bfloat16_numbers(torch.randn(_input_size(shape), generator=random))
        bias = _bfloat16_numbers(torch.randn(shape.rows, generator=random))
        self.layer = _layer(shape, _bfloat16_numbers(weight), bias)
        with torch.no_grad():
            self.grad = _bfloat16_numbers(torch.randn(self.layer(self.x).shape, generator=random))
        self.nnz = int((self.layer.weight != 0).sum())

    @property
    def dense_work(self) -> int:
        """Multiply-adds with every weight."""
        return self._shape.rows * self._shape.cols * self._shape.positions

    @property
    def kept_work(self) -> int:
        """Multiply-adds with the kept weights alone."""
        return self.nnz * self._shape.positions

    def copies(self, bytes_of_one: int) -> int:
        """How many copies of a weight keep each other out of the last-level cache; 1 for cases with warm caches.

        Raises:
            Unavailable: the copies of one candidate, of which there are about eight, would fill too much memory.
        """
        if not self.case.cold:
            return 1
        if 2 * self._cache_bytes > _MOST_COLD_BYTES:
            raise Unavailable(
                f"cold not possible: a last-level cache of {self._cache_bytes >> 20} MB wants copies of "
                f"{2 * self._cache_bytes >> 20} MB for each candidate, at most {_MOST_COLD_BYTES >> 20} are made"
            )
        return 1 + -(-2 * self._cache_bytes // max(1, bytes_of_one))

    def layers(self, bytes_of_one: int) -> Iterator[nn.Linear | nn.Conv2d]:
        """So many layers; the rows of the i-th are rolled by i places, so that no two share structure or code."""
        for place in range(self.copies(bytes_of_one)):
            if place == 0:
                yield self.layer
                continue
            assert self.layer.bias is not None
            yield _layer(self._shape, self.layer.weight.roll(place, 0), self.layer.bias.roll(place, 0))

    def expected(self) -> Expected:
        """In double precision, from the same numbers."""
        weight, bias = self.layer.weight.double(), self.layer.bias
        assert bias is not None
        x, grad = self.x.double(), self.grad.double()
        if self.case.step == "dW":
            kept = weight != 0
            return Expected(grad.t() @ x * kept, grad.abs().t() @ x.abs() * kept, self._shape.positions)
        if self.case.step == "dX":
            return Expected(grad @ weight, grad.abs() @ weight.abs(), self._shape.rows)
        if isinstance(self.layer, nn.Linear):
            output = F.linear(x, weight, bias.double())
            magnitude = F.linear(x.abs(), weight.abs(), bias.double().abs())
        else:
            padding = self.layer.padding
            output = F.conv2d(x, weight, bias.double(), padding=padding)
            magnitude = F.conv2d(x.abs(), weight.abs(), bias.double().abs(), padding=padding)
        return Expected(output, magnitude, self._shape.cols + 1)

    @property
    def _shape(self) -> LinearShape | ConvShape:
        shape = self.case.shape
        assert not isinstance(shape, str)
        return shape


def _layer(shape: LinearShape | ConvShape, weight: Tensor, bias: Tensor) -> nn.Linear | nn.Conv2d:
    """Made on the meta device: drawing initial weights of 4096x4096 takes longer than all that is measured."""
    layer: nn.Linear | nn.Conv2d
    if isinstance(shape, LinearShape):
        layer = nn.Linear(shape.cols, shape.rows, device="meta")
    else:
        channels, kernel = shape.channels, shape.kernel
        layer = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, device="meta")
    layer.weight = nn.Parameter(weight.view(layer.weight.shape), requires_grad=False)
    layer.bias = nn.Parameter(bias, requires_grad=False)
    return layer


def _input_size(shape: LinearShape | ConvShape) -> tuple[int, ...]:
    if isinstance(shape, LinearShape):
        return (shape.n, shape.cols)
    return (shape.batch, shape.channels, shape.size, shape.size)


def _bfloat16_numbers(values: Tensor) -> Tensor:
    """Rounded, so that a bfloat16 rival computes the same sums as float32. No non-zero becomes zero."""
    return values.to(torch.bfloat16).to(torch.float32)
