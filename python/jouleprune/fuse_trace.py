"""What runs after what in a model: symbolic traces in which sparse layers are whole, modules made of changed ones."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from typing import Any

from torch import fx, nn

from .layers import SPARSE
from .untouched import untouched

__all__ = ["activation_of", "as_module", "foreseeable", "inside_out", "plain", "replaced", "traced", "unheard"]


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


def foreseeable(module: nn.Module) -> bool:
    """Containers of a rewritten module are in training mode, which nothing reads."""
    return unheard(module) if module._modules else plain(module)


def inside_out(model: nn.Module) -> Iterator[str]:
    """Names of the modules around sparse layers, the innermost first, the model itself ("") last."""
    names = sorted((name for name, _ in model.named_modules()), key=lambda name: name.count("."), reverse=True)
    for name in [name for name in names if name] + [""]:
        module = model.get_submodule(name)
        if not isinstance(module, SPARSE) and any(isinstance(child, SPARSE) for child in module.modules()):
            yield name


def replaced(model: nn.Module, name: str, module: nn.Module) -> nn.Module:
    """The model with another module called ``name``; that module itself where it is the outermost."""
    if not name:
        return module
    model.set_submodule(name, module)
    return model


class _Rewritten(fx.GraphModule):
    """A module with other code, and with everything else that it had; so are its copies."""

    def __deepcopy__(self, memo: dict[int, Any]) -> fx.GraphModule:
        copied: fx.GraphModule = super().__deepcopy__(memo)
        return _completed(copied, copy.deepcopy(self.__dict__, memo), type(self).__name__)


def as_module(module: nn.Module, graph: fx.Graph) -> fx.GraphModule:
    """``module`` with the code of ``graph``, which calls its children."""
    return _completed(_Rewritten(module, graph), module.__dict__, type(module).__name__)


def _completed(result: fx.GraphModule, attributes: dict[str, Any], class_name: str) -> fx.GraphModule:
    """A GraphModule holds what its code names: the rest, too."""
    for held in ("_parameters", "_buffers", "_modules"):  # containers are there, but as bare modules
        result.__dict__[held].update(attributes[held])
    result.__dict__["_non_persistent_buffers_set"] = set(attributes["_non_persistent_buffers_set"])
    for name, value in attributes.items():
        if name not in result.__dict__ and name != "forward":
            result.__dict__[name] = value
    result.training = attributes["training"]
    type(result).__name__ = class_name  # fx makes a class for each
    return result
