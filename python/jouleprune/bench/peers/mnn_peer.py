"""MNN: dense float32, 3x3 convolutions by Winograd; it does not look at zeros unless asked (``mnn_sparse_peer``)."""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .layer import Layer
from .onnx_layer import onnx_model

__all__ = ["Mnn", "make"]


class Mnn:
    keeps_zeros = True
    arithmetic = "winograd"
    conversion: tuple[str, ...] = ()

    def __init__(self, threads: int) -> None:
        self._module: Any = importlib.import_module("MNN")
        # Not the script `mnnconvert` around it: that one installs packages and reports to a service.
        self._tools: Any = importlib.import_module("_tools")
        importlib.import_module("onnx")  # models are made with it
        self._threads = threads
        self.version = str(self._module.version())

    def prepare(self, layer: Layer) -> Callable[[], Any]:
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder, "layer.onnx"), Path(folder, "layer.mnn")
            source.write_bytes(onnx_model(layer))
            files = ["--modelFile", str(source), "--MNNModel", str(target)]
            self._tools.mnnconvert(["mnnconvert", "-f", "ONNX", *files, "--bizCode", "bench", *self.conversion])
            interpreter = self._module.Interpreter(str(target))
        session = interpreter.createSession({"numThread": self._threads, "precision": "high", "backend": "CPU"})
        given, result = interpreter.getSessionInput(session), interpreter.getSessionOutput(session)
        x, y = self._on_host(layer.x), self._on_host(np.zeros(result.getShape(), np.float32))

        def call() -> Any:
            given.copyFrom(x)  # with `copyToHostTensor` its way from and to row-major arrays
            interpreter.runSession(session)
            result.copyToHostTensor(y)
            return y.getNumpyData()

        return call

    def _on_host(self, array: Any) -> Any:
        return self._module.Tensor(
            array.shape, self._module.Halide_Type_Float, array, self._module.Tensor_DimensionType_Caffe
        )


def make(threads: int) -> Mnn:
    """Raises ImportError where MNN or onnx is not installed."""
    return Mnn(threads)
