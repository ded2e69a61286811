"""Models named on the command line: ``module:callable``, or a saved TorchScript file with the shapes of its inputs."""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

__all__ = ["load_model", "load_training", "parse_input"]


def load_model(spec: str, inputs: Sequence[str] | None) -> tuple[torch.nn.Module, Any]:
    """(model, example_inputs) for what was named.

    Args:
        spec: ``module:callable`` (found from the working folder too) whose call returns (model, example_inputs, ...),
            or the path of a TorchScript file.
        inputs: for a file: shapes such as "1x1x28x28:float32", one per input.
    Raises:
        ValueError: nothing there, it raised, or it returned something else; or inputs for a callable.
    """
    if Path(spec).is_file():
        return _load_file(Path(spec), inputs)
    if inputs:
        raise ValueError(f"input: only for a saved TorchScript file: the callable of {spec!r} makes its own inputs")
    made = _made_by(spec)
    return made[0], made[1]


def load_training(spec: str) -> tuple[torch.nn.Module, Any, Any, Any]:
    """(model, example_inputs, loader, loss) of ``module:callable``; None for what it does not return.

    Raises:
        ValueError: as :func:`load_model`, and a saved file, whose weights are not those of a module that can be pruned.
    """
    if Path(spec).is_file():
        raise ValueError(
            f"model: expected module:callable, got the file {spec}: build the network and load its weights"
        )
    made = (*_made_by(spec), None, None)
    return made[0], made[1], made[2], made[3]


def _made_by(spec: str) -> tuple[Any, ...]:
    module_name, _, attribute = spec.partition(":")
    if not attribute:
        raise ValueError(f"model: expected module:callable or an existing file, got {spec!r}")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        factory = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"model: {spec!r}: {error}") from error
    except Exception as error:  # whatever the user's module raises while it is imported
        raise ValueError(f"model: {spec!r}: its module raised {type(error).__name__}: {error}") from error
    if not callable(factory):
        raise ValueError(f"model: {spec!r}: expected a callable, got {type(factory).__name__}")
    try:
        made = factory()
    except Exception as error:  # whatever the user's code raises
        raise ValueError(f"model: {spec!r} raised {type(error).__name__}: {error}") from error
    if not isinstance(made, tuple) or len(made) < 2 or not isinstance(made[0], torch.nn.Module):
        raise ValueError(f"model: {spec!r}: expected (model, example_inputs, ...), got {type(made).__name__}")
    return made


def _load_file(path: Path, inputs: Sequence[str] | None) -> tuple[torch.nn.Module, Any]:
    if not inputs:
        raise ValueError(f"input: expected shapes such as 1x1x28x28:float32 for the saved model {path}, got none")
    tensors = tuple(parse_input(text) for text in inputs)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch\\.jit.*")
        try:
            return torch.jit.load(str(path), map_location="cpu"), tensors
        except RuntimeError as error:
            raise ValueError(f"model: {path} is no TorchScript file: {str(error).splitlines()[0]}") from error


def parse_input(text: str) -> torch.Tensor:
    """A tensor from "1x1x28x28:float32": random for floating types, zeros for integers; the dtype defaults to float32.

    Raises:
        ValueError: malformed shape, unknown dtype, or no memory for it.
    """
    shape_text, _, dtype_name = text.partition(":")
    dtype = getattr(torch, dtype_name or "float32", None)
    try:
        shape = [int(size) for size in shape_text.split("x")]
    except ValueError:
        shape = [-1]
    if not isinstance(dtype, torch.dtype) or any(size < 0 for size in shape):
        raise ValueError(f"input: expected a shape and a dtype such as 1x1x28x28:float32, got {text!r}")
    try:
        return torch.rand(shape).to(dtype) if dtype.is_floating_point else torch.zeros(shape, dtype=dtype)
    except (RuntimeError, TypeError, OverflowError) as error:  # more than there is memory, or than 64 bits count
        raise ValueError(f"input: cannot make a tensor of {text!r}: {str(error).splitlines()[0]}") from error
