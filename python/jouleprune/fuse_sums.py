"""``convert(fuse=True)``: sums of a sparse layer's output and something else (residual connections), and the activation
of such a sum, computed by the layer's op.

The sum stands in the code of a module, which gets other code (``fuse_rewrite.py``).
"""

from __future__ import annotations

import operator
from dataclasses import dataclass

import torch
from torch import fx, nn

from .fuse_rewrite import as_module, graph_of, rewrite_modules
from .fuse_trace import ACTIVATIONS, METHODS, activation_of
from .nn import SparseConv1dCSR, SparseConv2dCSR, SparseLinearCSR

__all__ = ["with_fused_sums"]

_ADDS = (operator.add, operator.iadd, torch.add)


@dataclass(frozen=True)
class _Sum:
    """layer(x) + other, and maybe an activation of it."""

    call: fx.Node
    between: list[fx.Node]  # identities, where norms were
    add: fx.Node
    other: fx.Node
    after: fx.Node | None
    activation: str | None


def with_fused_sums(model: nn.Module) -> tuple[nn.Module, dict[str, str]]:
    """Changes ``model`` in place, but for a sum in its own forward, which takes another outermost module.

    Returns:
        (model, by layer what to tell).
    """
    return rewrite_modules(model, _rewritten)


def _rewritten(module: nn.Module) -> tuple[nn.Module, dict[str, str]]:
    graph = graph_of(module)
    if graph is None:
        return module, {}
    told: dict[str, str] = {}
    for node in list(graph.nodes):
        found = _sum(module, node)
        if found is None:
            continue
        last = found.after or found.add
        with graph.inserting_before(last):
            call = graph.call_module(str(found.call.target), (found.call.args[0], found.other, found.activation))
        last.replace_all_uses_with(call)
        for old in (found.after, found.add, *found.between, found.call):
            if old is not None:
                graph.erase_node(old)
        told[str(found.call.target)] = f"; fused a sum{f' and its {found.activation}' if found.activation else ''}"
    return (as_module(module, graph) if told else module), told


def _sum(module: nn.Module, node: fx.Node) -> _Sum | None:
    """What is added in ``node``, where a sparse layer can do it."""
    by_function, by_method = node.op == "call_function" and node.target in _ADDS, node.op == "call_method"
    if not (by_function or (by_method and node.target == "add")) or len(node.args) != 2 or node.kwargs:
        return None
    in_place = node.target is operator.iadd
    for product, other in ((node.args[0], node.args[1]), (node.args[1], node.args[0])):
        if in_place and product is not node.args[0]:
            return None  # changes what others may still read
        if not (isinstance(product, fx.Node) and isinstance(other, fx.Node)) or not _depends_on_input(other):
            continue
        path = _back_to_layer(module, product, node)
        if path and other not in path:
            after, activation = _activation_after(module, node)
            return _Sum(path[-1], path[:-1], node, other, after, activation)
    return None


def _back_to_layer(module: nn.Module, product: fx.Node, add: fx.Node) -> list[fx.Node]:
    """From what is added back to the call of a sparse layer, through identities that nobody else reads; or nothing."""
    path: list[fx.Node] = []
    here, user = product, add
    while here.op == "call_module" and list(here.users) == [user] and len(here.args) == 1 and not here.kwargs:
        path.append(here)
        inner = module.get_submodule(str(here.target))
        if type(inner) is not nn.Identity:
            can_add = type(inner) in (SparseLinearCSR, SparseConv1dCSR, SparseConv2dCSR)
            return path if can_add and inner.activation == "none" else []
        user, here = here, here.all_input_nodes[0]
    return []


def _depends_on_input(node: fx.Node) -> bool:
    """Parameters, and what is made of them alone, are broadcast over the batch: an op adds tensors of equal sizes."""
    seen, waiting = set(), [node]
    while waiting:
        here = waiting.pop()
        if here.op == "placeholder":
            return True
        if here not in seen:
            seen.add(here)
            waiting.extend(here.all_input_nodes)
    return False


def _activation_after(module: nn.Module, add: fx.Node) -> tuple[fx.Node | None, str | None]:
    if len(add.users) != 1:
        return None, None
    (user,) = add.users
    if user.op == "call_module":
        found = activation_of(module.get_submodule(str(user.target)))
    elif user.op == "call_method":
        found = METHODS.get(str(user.target), "")
    else:
        found = ACTIVATIONS.get(user.target, "")
    arguments = [value for name, value in user.kwargs.items() if name != "inplace"]
    if not found or user.args != (add,) or arguments:
        return None, None
    return user, found
