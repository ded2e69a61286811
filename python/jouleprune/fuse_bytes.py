"""``convert(fuse=True)`` of int8 layers: layers that read the same values round them once, and a layer whose outputs
only int8 layers of a fixed input scale read hands them over as bytes.

Between such layers the code passes a tensor of bytes and one of scales (``fuse_rewrite.py``). The results are those of
each layer rounding for itself, to the bit in float32.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn

from .fuse_rewrite import as_module, graph_of, rewrite_modules
from .fuse_trace import ACTIVATIONS, METHODS, WHOLE, activation_of, plain
from .nn import SparseConv2dInt8, SparseLinearInt8
from .nn.transformer import TransformerEncoderLayer

__all__ = ["with_bytes"]

#: Modules that pass on what they get, in eval mode.
_PASSING = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d)


@dataclass(frozen=True)
class _Bytes:
    """A value as bytes: their nodes, and the dtype that floats made of them have."""

    values: fx.Node
    scales: fx.Node
    dtype: fx.Node


@dataclass(frozen=True)
class _Handover:
    """What stands between a layer and those that read its outputs as bytes."""

    between: list[fx.Node]
    activation: str
    readers: list[fx.Node]


def with_bytes(model: nn.Module) -> tuple[nn.Module, dict[str, str]]:
    """Changes ``model`` in place, as :func:`jouleprune.fuse_rewrite.rewrite_modules` does.

    Returns:
        (model, by layer what to tell).
    """
    return rewrite_modules(model, _rewritten)


def _rewritten(module: nn.Module) -> tuple[nn.Module, dict[str, str]]:
    if type(module) is TransformerEncoderLayer:
        return module, _feed_forward(module)
    graph = graph_of(module) if any(_is_int8(child) for child in module.modules()) else None
    if graph is None:
        return module, {}
    found = _Rewriting(module, graph)
    for node in list(graph.nodes):
        if found.layer(node) is not None:
            found.visit(node)
    if not found.told:
        return module, {}
    for node in reversed(found.replaced):
        graph.erase_node(node)
    rewritten = as_module(module, graph)
    setattr(rewritten, WHOLE, True)  # its code calls methods of layers, which a trace would go into
    return rewritten, found.told


def _feed_forward(module: Any) -> dict[str, str]:
    """What depends on data is elsewhere in torch's layer: its own code can hand over bytes."""
    first, second, activation = module.linear1, module.linear2, module.activation
    inside = [first, module.dropout, second, *([activation] if isinstance(activation, nn.Module) else [])]
    if not (_is_int8(first) and _is_int8(second) and all(plain(each) for each in inside)):
        return {}
    after = activation_of(activation) if isinstance(activation, nn.Module) else ACTIVATIONS.get(activation, "")
    taken_over = first.activation if type(activation) is nn.Identity else ""
    if "relu" not in (after if first.activation == "none" else "", taken_over) or float(second.input_scale) == 0:
        return {}
    module.bytes_between = True
    setattr(module, WHOLE, True)
    return {"linear1": "; hands bytes to linear2"}


def _is_int8(module: nn.Module) -> bool:
    return type(module) in (SparseLinearInt8, SparseConv2dInt8)


class _Rewriting:
    """One graph on its way."""

    def __init__(self, module: nn.Module, graph: fx.Graph) -> None:
        self.module, self.graph = module, graph
        self.told: dict[str, str] = {}
        self.replaced: list[fx.Node] = []  # in the order of the graph
        self.given: dict[fx.Node, _Bytes] = {}  # to the calls that read bytes

    def layer(self, node: fx.Node) -> Any:
        """The int8 layer that a node calls, or None."""
        if node.op != "call_module" or len(node.args) != 1 or node.kwargs or not isinstance(node.args[0], fx.Node):
            return None
        layer = self.module.get_submodule(str(node.target))
        return layer if _is_int8(layer) and plain(layer) else None

    def visit(self, node: fx.Node) -> None:
        """A call of an int8 layer."""
        source = node.args[0]
        assert isinstance(source, fx.Node)
        if node not in self.given and len(sharing := self._sharing(source, node)) > 1:
            self._quantise(source, sharing)
        given = self.given.get(node)
        handover = self._handover(node)
        if given is None and handover is None:
            return
        with self.graph.inserting_before(node):
            own = self.graph.get_attr(str(node.target))
            if handover is not None:
                self._hand_over(node, own, given, handover)
            elif given is not None:
                out = self.graph.call_method("from_bytes", (own, given.values, given.scales, given.dtype))
                node.replace_all_uses_with(out)
        self.replaced.append(node)
        if handover is not None:
            self.replaced.extend(handover.between)

    def _sharing(self, source: fx.Node, first: fx.Node) -> list[fx.Node]:
        """The calls that can read the same bytes as `first` does."""
        layer = self.layer(first)
        scale = float(layer.input_scale)
        return [
            user
            for user in source.users
            if type(other := self.layer(user)) is type(layer) and float(other.input_scale) == scale
        ]

    def _quantise(self, source: fx.Node, readers: list[fx.Node]) -> None:
        """Bytes of a value, before the first call that reads them."""
        first = next(node for node in self.graph.nodes if node in readers)
        with self.graph.inserting_before(first):
            scale = self.graph.get_attr(f"{first.target}.input_scale")
            dims = 3 if type(self.layer(first)) is SparseConv2dInt8 else 1
            made = self.graph.call_function(torch.ops.jouleprune.quantize_bytes, (source, scale, dims))
            dtype = self.graph.call_function(getattr, (source, "dtype"))
            shared = _Bytes(*self._both(made), dtype)
        self.given.update(dict.fromkeys(readers, shared))
        names = list(dict.fromkeys(str(reader.target) for reader in readers))
        for name in names:
            others = ", ".join(other for other in names if other != name) or "all its calls"
            self.told[name] = f"{self.told.get(name, '')}; its input is rounded once, for {others} too"

    def _hand_over(self, node: fx.Node, own: fx.Node, given: _Bytes | None, handover: _Handover) -> None:
        reader = handover.readers[0]
        step = self.graph.get_attr(f"{reader.target}.input_scale")
        source = node.args[0]
        assert isinstance(source, fx.Node)
        dtype = given.dtype if given is not None else self.graph.call_function(getattr, (source, "dtype"))
        value, scales = (source, None) if given is None else (given.values, given.scales)
        made = self.graph.call_method("to_bytes", (own, value, scales, step, handover.activation))
        self.given.update(dict.fromkeys(handover.readers, _Bytes(*self._both(made), dtype)))
        readers = ", ".join(str(other.target) for other in handover.readers)
        name = str(node.target)
        self.told[name] = f"{self.told.get(name, '')}; hands bytes to {readers}"

    def _both(self, made: fx.Node) -> tuple[fx.Node, fx.Node]:
        first, second = (self.graph.call_function(operator.getitem, (made, i)) for i in (0, 1))
        return first, second

    def _handover(self, node: fx.Node) -> _Handover | None:
        """From a call to the calls that read its outputs and nothing else does, past what passes them on."""
        layer = self.layer(node)
        activation, between, end = str(layer.activation), list[fx.Node](), node
        while len(end.users) == 1:
            (user,) = end.users
            then = self._passes_on(user, end)
            if then is None or (then and activation != "none"):
                break
            activation, end = then or activation, user
            between.append(user)
        readers = list(end.users)
        layers = [self.layer(reader) for reader in readers]
        if activation not in ("none", "relu") or not readers or any(type(other) is not type(layer) for other in layers):
            return None
        scales = {float(other.input_scale) for other in layers}
        fixed = len(scales) == 1 and min(scales) > 0
        return _Handover(between, activation, readers) if fixed else None

    def _passes_on(self, user: fx.Node, value: fx.Node) -> str | None:
        """The activation that a node applies to a value, "" where it passes it on as it is; None: neither."""
        if user.args[:1] != (value,) or any(name != "inplace" for name in user.kwargs):
            return None
        found: str | None = None
        if user.op == "call_module" and len(user.args) == 1:
            module = self.module.get_submodule(str(user.target))
            if plain(module):
                found = "" if type(module) in _PASSING else activation_of(module) or None
        elif user.op == "call_function" and len(user.args) == 1:
            found = ACTIVATIONS.get(user.target)
        elif user.op == "call_method" and len(user.args) == 1:
            found = METHODS.get(str(user.target))
        return found
