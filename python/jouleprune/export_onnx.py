"""ONNX: the network with its zeros, which ONNX stores and multiplies like other numbers."""

from __future__ import annotations

import importlib
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from . import files
from .record import arguments
from .to_dense import to_dense

__all__ = ["OnnxExport", "export_onnx"]

_NOTE = (
    "Pruned weights are stored as zeros: ONNX has no sparse layers, so runtimes store and multiply them like other "
    "numbers. Time and joules are those of the dense network."
)


@dataclass(frozen=True)
class OnnxExport:
    """What was written. ``zeros`` of ``weights`` entries of matrices and kernels are zero, and stored."""

    path: Path
    bytes: int
    weights: int
    zeros: int
    note: str = _NOTE

    def __str__(self) -> str:
        return f"{self.path}: {self.bytes} bytes, {self.zeros} of {self.weights} weights are zero. {self.note}"


def export_onnx(
    model: nn.Module,
    example_inputs: Any,
    path: str | os.PathLike[str],
    *,
    dynamic_shapes: Any = None,
    opset: int | None = None,
) -> OnnxExport:
    """Writes ``model``, pruned or converted, as one ONNX file of dense layers (:func:`jouleprune.to_dense`), in eval
    mode; ``model`` is not changed.

    **The zeros stay zeros and are computed.** What a sparse layer saves is gone in ONNX, and so are rounding of int8
    layers and integer weights; the file says so in its metadata ("jouleprune"), and so does what is returned.

    Needs onnx and onnxscript (extra ``onnx``).

    Args:
        example_inputs: a tensor, a tuple of positional arguments, or a dict of keyword arguments.
        path: of the file, which appears when it is whole. Weights are in it, up to the 2 GB that ONNX allows.
        dynamic_shapes: as of :func:`torch.onnx.export`: sizes that may change, as in ``({0: "batch"},)``; else they are
            those of the example.
        opset: version of ONNX's operators; torch's own choice unless given.
    Raises:
        ImportError: onnx or onnxscript is missing.
        ValueError: ``model`` was converted with ``fuse=True``, or cannot be exported; the message says why.
    """
    for package in ("onnx", "onnxscript"):
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise ImportError("export_onnx needs onnx and onnxscript: pip install 'jouleprune[onnx]'") from error
    if opset is not None and (isinstance(opset, bool) or not isinstance(opset, int) or opset < 1):
        raise ValueError(f"opset: expected None or a whole number of at least 1, got {opset!r}")
    dense = to_dense(model).eval()
    args, kwargs = arguments(example_inputs)
    proto = _proto(dense, args, kwargs, dynamic_shapes, opset)
    entry = proto.metadata_props.add()
    entry.key, entry.value = "jouleprune", _NOTE
    data = proto.SerializeToString()
    files.write(path, data)
    matrices = [each.detach() for each in dense.parameters() if each.dim() >= 2]
    zeros = sum(int((each == 0).sum()) for each in matrices)
    return OnnxExport(Path(path), len(data), sum(each.numel() for each in matrices), zeros)


def _proto(dense: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], shapes: Any, opset: int | None) -> Any:
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of torch's exporter about itself
            program = torch.onnx.export(
                dense, args, kwargs=dict(kwargs), dynamo=True, dynamic_shapes=shapes, opset_version=opset, verbose=False
            )
    except Exception as error:  # whatever the network raises while it is traced
        raise ValueError(f"model: torch.onnx cannot export it: {error}") from error
    assert program is not None
    return program.model_proto
