"""Modules with other code: what ``convert(fuse=True)`` puts in the place of a module whose code changes.

Such a module becomes a :class:`torch.fx.GraphModule` of its own class name with the same children, parameters and
buffers under the same names: checkpoints fit both.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

from torch import fx, nn
from torch.fx.graph_module import reduce_graph_module

from .fuse_trace import plain, traced, unheard
from .layers import SPARSE
from .nn import SparseConv2dInt8, SparseLinearInt8

__all__ = ["Retracer", "as_module", "graph_of", "is_rewritten", "rewrite_modules"]

#: What rewritten code calls of int8 layers beside the layers themselves.
_METHODS_IN_CODE = ("from_bytes", "to_bytes")


def rewrite_modules(
    model: nn.Module, rewrite: Callable[[nn.Module], tuple[nn.Module, dict[str, str]]]
) -> tuple[nn.Module, dict[str, str]]:
    """Changes ``model`` in place, the innermost modules first, but for its own forward, which takes another outermost
    module.

    Args:
        rewrite: gives another module, or the one that came, and by layer what to tell.
    Returns:
        (model, by layer what to tell).
    """
    told: dict[str, str] = {}
    names = sorted((name for name, module in model.named_modules()), key=lambda name: name.count("."), reverse=True)
    for name in [name for name in names if name] + [""]:  # the innermost first
        module = model.get_submodule(name)
        if isinstance(module, SPARSE) or not any(isinstance(child, SPARSE) for child in module.modules()):
            continue
        rewritten, layers = rewrite(module)
        told |= {f"{name}.{layer}" if name else layer: what for layer, what in layers.items()}
        if layers and name:
            model.set_submodule(name, rewritten)
        elif layers:
            model = rewritten
    return model, told


def graph_of(module: nn.Module) -> fx.Graph | None:
    """What a module computes; None where that depends on data, or somebody listens."""
    graph = traced(module) if all(_foreseeable(inside) for inside in module.modules()) else None
    for node in graph.nodes if graph is not None else ():
        if isinstance(node.type, str):  # an annotation as text, which TorchScript could not look up in new code
            node.type = None
    return graph


def _foreseeable(module: nn.Module) -> bool:
    """Containers of a rewritten module are in training mode, which nothing reads."""
    return unheard(module) if module._modules else plain(module)


class _LayerInCode:
    """An int8 layer while code that calls its methods is traced again: such calls stay calls."""

    def __init__(self, layer: nn.Module, tracer: fx.Tracer) -> None:
        self._layer, self._tracer = layer, tracer

    def __call__(self, *args: Any) -> Any:
        return self._layer(*args)

    def __getattr__(self, name: str) -> Any:
        return self._method(name) if name in _METHODS_IN_CODE else getattr(self._layer, name)

    def _method(self, name: str) -> Callable[..., fx.Proxy]:
        own = self._tracer.create_proxy("get_attr", self._tracer.path_of_module(self._layer), (), {})
        return lambda *args: self._tracer.create_proxy("call_method", name, (own, *args), {})


class Retracer(fx.Tracer):
    """Makes the graph again from the code that a pickle holds."""

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        if isinstance(attr_val, SparseLinearInt8 | SparseConv2dInt8):
            return _LayerInCode(attr_val, self)
        return super().getattr(attr, attr_val, parameter_proxy_cache)


class _Rewritten(fx.GraphModule):
    """A module with other code, and with everything else that it had; so are its copies, also out of a pickle."""

    def __reduce__(self) -> tuple[Any, ...]:
        _, (body, imports) = super().__reduce__()
        kind = _RewrittenSequential if isinstance(self, _RewrittenSequential) else _Rewritten
        return _unpickled, (kind, type(self).__name__, {**body, "_tracer_cls": Retracer}, imports)

    def __deepcopy__(self, memo: dict[int, Any]) -> fx.GraphModule:
        copied: fx.GraphModule = super().__deepcopy__(memo)
        return _completed(copied, copy.deepcopy(self.__dict__, memo), type(self).__name__)


class _RewrittenSequential(_Rewritten):
    """Its children are still found by their place."""

    def __getitem__(self, index: int | slice) -> Any:
        children: list[Any] = list(self._modules.values())
        return nn.Sequential(*children[index]) if isinstance(index, slice) else children[index]

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._modules.values())


def is_rewritten(module: nn.Module) -> bool:
    """Whether ``convert(fuse=True)`` gave it other code."""
    return isinstance(module, _Rewritten)


def as_module(module: nn.Module, graph: fx.Graph) -> fx.GraphModule:
    """``module`` with the code of ``graph``."""
    kind = _RewrittenSequential if isinstance(module, nn.Sequential | _RewrittenSequential) else _Rewritten
    return _completed(kind(module, graph), module.__dict__, type(module).__name__)


def _unpickled(kind: type[_Rewritten], class_name: str, body: dict[str, Any], imports: str) -> fx.GraphModule:
    made = reduce_graph_module(dict(body), imports)
    assert isinstance(made, fx.GraphModule)
    return _completed(kind(made, made.graph), body, class_name)


def _completed(result: fx.GraphModule, attributes: dict[str, Any], class_name: str) -> fx.GraphModule:
    """A GraphModule holds what its code names: the rest, too."""
    for held in ("_parameters", "_buffers", "_modules"):  # there, but bare and in the code's order
        result.__dict__[held].clear()
        result.__dict__[held].update(attributes[held])
    result.__dict__["_non_persistent_buffers_set"] = set(attributes["_non_persistent_buffers_set"])
    for name, value in attributes.items():
        if name not in result.__dict__ and name != "forward":
            result.__dict__[name] = value
    result.training = attributes["training"]
    type(result).__name__ = class_name  # fx makes a class for each
    return result
