"""ONNX Runtime: dense float32; it does not look at zeros."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from .layer import Layer
from .onnx_layer import onnx_model

__all__ = ["make"]


class OnnxRuntime:
    keeps_zeros = True
    arithmetic = "float32"

    def __init__(self, threads: int) -> None:
        self._module: Any = importlib.import_module("onnxruntime")
        importlib.import_module("onnx")  # models are made with it
        self._threads = threads
        self.version = str(self._module.__version__)

    def prepare(self, layer: Layer) -> Callable[[], Any]:
        options = self._module.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self._threads, 1
        # Spinning would take the core from whoever is measured next.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = self._module.InferenceSession(onnx_model(layer), options, providers=["CPUExecutionProvider"])
        feed = {"x": layer.x}
        return lambda: session.run(None, feed)[0]


def make(threads: int) -> OnnxRuntime:
    """Raises ImportError where onnxruntime or onnx is not installed."""
    return OnnxRuntime(threads)
