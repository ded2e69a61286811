"""DeepSparse (end of life, not for production): skips zeros of unstructured masks."""

from __future__ import annotations

import importlib
import os
import tempfile
from collections.abc import Callable
from typing import Any

from .layer import Layer
from .onnx_layer import onnx_model

__all__ = ["make"]


class DeepSparse:
    keeps_zeros = False
    arithmetic = "winograd"

    def __init__(self, threads: int) -> None:
        os.environ["NM_DISABLE_ANALYTICS"] = "True"  # else importing it reports to its maker
        self._module: Any = importlib.import_module("deepsparse")
        self._threads = threads
        self.version = str(self._module.__version__)

    def prepare(self, layer: Layer) -> Callable[[], Any]:
        with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
            file.write(onnx_model(layer))
            file.flush()
            engine = self._module.compile_model(file.name, batch_size=len(layer.x), num_cores=self._threads)
        given = [layer.x]
        return lambda: engine.run(given)[0]


def make(threads: int) -> DeepSparse:
    """Raises ImportError where deepsparse is not installed."""
    return DeepSparse(threads)
