"""``convert(fuse=True)``: sparse Linear layers that follow one another as one call of ``linear_csr_chain``, between
which the batch stays as the kernel reads and writes it.

The module in whose code they are called gets other code (``fuse_rewrite.py``): children, parameters and buffers stay,
and only who calls the layers changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn

from .fuse_rewrite import as_module, graph_of, rewrite_modules
from .fuse_trace import ACTIVATIONS, METHODS, activation_of, plain
from .nn import SparseLinearCSR

__all__ = ["with_chains"]


@dataclass(frozen=True)
class _Link:
    """The call of a layer, what stands for modules whose work it does, and its activation."""

    layer: str
    calls: list[fx.Node]
    activation: str

    @property
    def last(self) -> fx.Node:
        return self.calls[-1]


def with_chains(model: nn.Module) -> tuple[nn.Module, dict[str, str]]:
    """Changes ``model`` in place, but for a chain in its own forward, which takes another outermost module.

    Returns:
        (model, by layer what to tell).
    """
    return rewrite_modules(model, _rewritten)


def _rewritten(module: nn.Module) -> tuple[nn.Module, dict[str, str]]:
    graph = graph_of(module)
    if graph is None:
        return module, {}
    told: dict[str, str] = {}
    followed: set[fx.Node] = set()
    for node in list(graph.nodes):
        if node in followed:
            continue
        chain = _chain(module, node)
        followed.update(call for link in chain for call in link.calls)
        if len(chain) > 1:
            _replace(module, graph, chain)
            told |= {link.layer: f"; in a chain of {len(chain)}" for link in chain}
    return (as_module(module, graph) if told else module), told


def _chain(module: nn.Module, node: fx.Node) -> list[_Link]:
    """The links from ``node`` on, each read by the next alone."""
    chain: list[_Link] = []
    link = _link(module, node)
    while link is not None:
        chain.append(link)
        users = list(link.last.users)
        link = _link(module, users[0]) if len(users) == 1 else None
    return chain


def _link(module: nn.Module, node: fx.Node) -> _Link | None:
    layer = _called(module, node)
    if type(layer) is not SparseLinearCSR or layer.values.dtype != torch.float32 or not plain(layer):
        return None
    if "values" not in layer._parameters:  # parametrized: a property makes it in each call
        return None
    calls, activation = [node], layer.activation
    while len(calls[-1].users) == 1:
        (user,) = calls[-1].users
        after = _called(module, user)
        if type(after) is nn.Identity and plain(after):
            calls.append(user)
        elif activation == "none" and (found := _activation(after, user)):
            calls.append(user)
            activation = found
        else:
            break
    return _Link(str(node.target), calls, activation)


def _activation(after: Any, user: fx.Node) -> str:
    """How the op calls what ``user`` computes, a module or a function; "" where it has nothing like it."""
    if after is not None:
        return activation_of(after) if plain(after) else ""
    arguments = [value for name, value in user.kwargs.items() if name != "inplace"]
    if len(user.args) != 1 or arguments:
        return ""
    return METHODS.get(str(user.target), "") if user.op == "call_method" else ACTIVATIONS.get(user.target, "")


def _called(module: nn.Module, node: fx.Node) -> Any:
    """The module that a node calls on one tensor; None for other nodes."""
    one = len(node.args) == 1 and isinstance(node.args[0], fx.Node) and not node.kwargs
    return module.get_submodule(str(node.target)) if node.op == "call_module" and one else None


def _replace(module: nn.Module, graph: fx.Graph, chain: list[_Link]) -> None:
    last, first = chain[-1].last, module.get_submodule(chain[0].layer)
    assert isinstance(first, SparseLinearCSR)
    with graph.inserting_before(chain[0].calls[0]):
        weights = [[graph.get_attr(name) for name in _tensors(module, link.layer)] for link in chain]
        call = graph.call_function(
            torch.ops.jouleprune.linear_csr_chain,
            (
                chain[0].calls[0].args[0],
                [tensor for weight in weights for tensor in weight],
                [len(weight) for weight in weights],
                int(first.in_features),
                ",".join(link.activation for link in chain),
            ),
        )
    last.replace_all_uses_with(call)
    for node in reversed([call for link in chain for call in link.calls]):
        graph.erase_node(node)


def _tensors(module: nn.Module, layer: str) -> list[str]:
    bias = [] if module.get_submodule(layer).bias is None else ["bias"]
    return [f"{layer}.{name}" for name in ("values", "col_indices", "row_offsets", "key", *bias)]
