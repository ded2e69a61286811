"""A layer as an ONNX model, for the libraries that read no other form."""

from __future__ import annotations

import importlib
from typing import Any

from .layer import Layer

__all__ = ["onnx_model"]


def onnx_model(layer: Layer, opset: int = 13) -> bytes:
    """One Gemm or Conv with the weight as initializer: x -> y, shapes fixed."""
    onnx: Any = importlib.import_module("onnx")
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    if layer.is_conv:
        padding = layer.padding
        node = helper.make_node("Conv", ["x", "weight", "bias"], ["y"], pads=[padding] * 4)
        shape = [layer.x.shape[0], layer.weight.shape[0], *layer.x.shape[2:]]
    else:
        node = helper.make_node("Gemm", ["x", "weight", "bias"], ["y"], transB=1)
        shape = [layer.x.shape[0], layer.weight.shape[0]]
    graph = helper.make_graph(
        [node],
        "layer",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, list(layer.x.shape))],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(layer.weight, "weight"), numpy_helper.from_array(layer.bias, "bias")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=7)
    data: bytes = model.SerializeToString()
    return data
