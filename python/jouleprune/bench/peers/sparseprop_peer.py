"""sparseprop (Nikdan et al., ICML 2023): unstructured CSR with AVX2."""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Callable
from typing import Any

from .layer import Layer

__all__ = ["make"]


class SparseProp:
    keeps_zeros = False
    arithmetic = "float32"

    def __init__(self, threads: int) -> None:
        self._torch: Any = importlib.import_module("torch")
        self._modules: Any = importlib.import_module("sparseprop.modules")
        self._torch.set_num_threads(threads)
        self.version = importlib.metadata.version("sparseprop")

    def prepare(self, layer: Layer) -> Callable[[], Any]:
        torch = self._torch
        weight, bias, x = (torch.from_numpy(array) for array in (layer.weight, layer.bias, layer.x))
        if layer.is_conv:
            # vectorizing_over_on=False is wrong at batch 1 in version 0.1.14.
            dense = torch.nn.Conv2d(weight.shape[1], weight.shape[0], weight.shape[2], padding=layer.padding)
            dense.weight.data, dense.bias.data = weight, bias
            module = self._modules.SparseConv2d.from_dense(dense, vectorizing_over_on=True)
        else:
            dense = torch.nn.Linear(weight.shape[1], weight.shape[0])
            dense.weight.data, dense.bias.data = weight, bias
            module = self._modules.SparseLinear.from_dense(dense)

        def call() -> Any:
            with torch.no_grad():
                return module(x).numpy()

        return call


def make(threads: int) -> SparseProp:
    """Raises ImportError where sparseprop is not installed."""
    return SparseProp(threads)
