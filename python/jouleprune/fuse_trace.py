"""What runs after what in a model: symbolic traces in which sparse layers are whole."""

from __future__ import annotations

import warnings
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from .layers import SPARSE
from .untouched import untouched

__all__ = ["ACTIVATIONS", "METHODS", "WHOLE", "activation_of", "plain", "traced", "unheard"]


#: An attribute of modules that are not traced into.
WHOLE = "_jouleprune_whole"
#: Functions and methods of tensors that the ops can apply, by how the ops call them.
ACTIVATIONS: dict[Any, str] = {F.relu: "relu", torch.relu: "relu", torch.relu_: "relu", F.silu: "silu"}
METHODS = {"relu": "relu", "relu_": "relu"}


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, SPARSE) or hasattr(m, WHOLE) or super().is_leaf_module(m, module_qualified_name)


def traced(module: nn.Module) -> fx.Graph | None:
    """None when the module has control flow that depends on data."""
    try:
        with untouched([module]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _Tracer().trace(module)
    except Exception:  # tracing raises whatever the model raises on symbols
        return None


def plain(module: nn.Module) -> bool:
    """In eval mode, and nobody listens to it."""
    return not module.training and unheard(module)


def unheard(module: nn.Module) -> bool:
    """Without hooks around its forward."""
    return not (module._forward_hooks or module._forward_pre_hooks)


def activation_of(module: nn.Module) -> str:
    """How the ops call this activation, or "" when they have none like it."""
    if type(module) is nn.GELU:
        return "gelu" if module.approximate == "none" else ""
    return {nn.ReLU: "relu", nn.SiLU: "silu"}.get(type(module), "")
