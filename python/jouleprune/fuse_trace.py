"""What runs after what in a model: symbolic traces in which sparse layers are whole."""

from __future__ import annotations

import warnings

from torch import fx, nn

from .layers import SPARSE
from .untouched import untouched

__all__ = ["activation_of", "plain", "traced", "unheard"]


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, SPARSE) or super().is_leaf_module(m, module_qualified_name)


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
