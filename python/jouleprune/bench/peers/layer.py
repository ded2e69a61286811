"""What an adapter gets and gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

__all__ = ["Adapter", "Array", "Layer"]

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Layer:
    """A pruned layer: weight [rows, cols], or [out, in, k, k] with stride 1 and symmetric padding; float32."""

    weight: Array
    bias: Array
    x: Array
    padding: int

    @property
    def is_conv(self) -> bool:
        return self.weight.ndim == 4


class Adapter(Protocol):
    """A library behind one method. A class with ``__init__(threads)``."""

    version: str
    #: Whether zeros take memory in it as other weights do (decides how many copies leave the caches cold).
    keeps_zeros: bool
    #: As in ``jouleprune.bench.guard.BOUNDS``.
    arithmetic: str

    def prepare(self, layer: Layer) -> Callable[[], Any]:
        """A callable that computes the layer on ``layer.x`` and returns the output as an array, the library's own
        preparation done."""
