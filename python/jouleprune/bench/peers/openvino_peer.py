"""OpenVINO: dense float32 on machines without AMX; it does not look at zeros there."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from .layer import Layer

__all__ = ["make"]


class OpenVino:
    keeps_zeros = True
    arithmetic = "winograd"

    def __init__(self, threads: int) -> None:
        self._module: Any = importlib.import_module("openvino")
        self._operators: Any = importlib.import_module("openvino.opset8")
        self._core = self._module.Core()
        self._settings = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "INFERENCE_PRECISION_HINT": "f32",
            "ENABLE_CPU_PINNING": False,
        }
        self.version = str(self._module.__version__)

    def prepare(self, layer: Layer) -> Callable[[], Any]:
        operators = self._operators
        x = operators.parameter(list(layer.x.shape), np.float32)
        weight = operators.constant(layer.weight)
        if layer.is_conv:
            pads = [layer.padding] * 2
            product = operators.convolution(x, weight, [1, 1], pads, pads, [1, 1])
            bias = operators.constant(layer.bias.reshape(1, -1, 1, 1))
        else:
            product = operators.matmul(x, weight, False, True)
            bias = operators.constant(layer.bias.reshape(1, -1))
        model = self._module.Model([operators.add(product, bias)], [x])
        request = self._core.compile_model(model, "CPU", self._settings).create_infer_request()
        given = self._module.Tensor(layer.x, shared_memory=True)
        request.set_input_tensor(given)

        def call() -> Any:
            request.infer()
            return request.get_output_tensor().data

        return call


def make(threads: int) -> OpenVino:
    """Raises ImportError where openvino is not installed."""
    return OpenVino(threads)
