"""``convert(fuse=True)``: batch norms folded into the layer before them, activations and sums computed by the op of a
sparse layer."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from . import nn as sparse_nn
from .fuse_bytes import with_bytes
from .fuse_chains import with_chains
from .fuse_sums import with_fused_sums
from .fuse_trace import activation_of, plain, traced
from .record import arguments
from .untouched import copied, has_no_data, tensors_in, untouched

__all__ = ["FOLDABLE", "FUSABLE", "NORMS", "TakenOver", "fused", "give_bias", "rows_of", "stand_in", "taken_over"]

#: Sparse layers that can take over what follows them.
FUSABLE = (
    sparse_nn.SparseLinearCSR,
    sparse_nn.SparseConv1dCSR,
    sparse_nn.SparseConv2dCSR,
    sparse_nn.SparseLinearInt8,
    sparse_nn.SparseConv2dInt8,
)
_INT8 = (sparse_nn.SparseLinearInt8, sparse_nn.SparseConv2dInt8)
#: Dense layers that can take over a norm.
FOLDABLE = (nn.Linear, nn.Conv1d, nn.Conv2d)
#: Norms that scaling the rows of a weight can replace.
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


_TAKEN_OVER = "_jouleprune_taken_over"


@dataclass(frozen=True)
class TakenOver:
    """What an Identity stands for: a module of class ``was``, whose work ``layer`` does now."""

    layer: nn.Module
    was: str


@dataclass(frozen=True)
class _Chain:
    """Names of modules that run one after the other, with nobody else looking at what goes between."""

    layer: str
    norm: str | None = None
    activation: str | None = None


def fused(model: nn.Module, example_inputs: Any, *, pass_bytes: bool = True) -> tuple[nn.Module, dict[str, str]]:
    """A model whose layers took over what follows them, and by layer what to tell about that.

    A batch norm is an affine map of each output channel once its statistics are frozen: W and b become s W and
    s (b - mean) + beta with s = gamma / sqrt(variance + eps). Rows are scaled, so that what is pruned stays pruned.
    ``model`` itself comes back where nothing can be fused. ``pass_bytes``: int8 layers share and hand over bytes.
    """
    if any(has_no_data(tensor) for tensor in tensors_in(example_inputs)):
        return model, {}
    result, told = _with_followers(model, example_inputs)
    rewrites = (with_fused_sums, with_chains, with_bytes) if pass_bytes else (with_fused_sums, with_chains)
    for rewrite in rewrites:
        rewritten, more = rewrite(copy.deepcopy(result))
        if more and _agree(result, rewritten, example_inputs):
            result = rewritten
            told = {layer: told.get(layer, "") + more.get(layer, "") for layer in {**told, **more}}
    return result, told


def _with_followers(model: nn.Module, example_inputs: Any) -> tuple[nn.Module, dict[str, str]]:
    chains = [chain for chain in _chains(model) if chain.norm or chain.activation]
    if not chains:
        return model, {}
    result = copy.deepcopy(model)
    told = {chain.layer: _fuse(result, chain) for chain in chains}
    if not _agree(model, result, example_inputs):  # a path through the model that was not seen
        return model, {chain.layer: "; not fused: outputs would change" for chain in chains}
    return result, told


def stand_in(layer: nn.Module, was: str) -> nn.Identity:
    """An Identity that knows what it stands for, so that :func:`jouleprune.save` can tell."""
    identity = nn.Identity().train(layer.training)
    identity.__dict__[_TAKEN_OVER] = TakenOver(layer, was)  # no submodule: the layer has its place in the model
    return identity


def taken_over(module: nn.Module) -> TakenOver | None:
    """What an Identity stands for; None when it was one from the start."""
    found: TakenOver | None = module.__dict__.get(_TAKEN_OVER)
    return found


def give_bias(layer: nn.Module) -> None:
    """A zero bias for a layer that has none."""
    if layer.bias is None and isinstance(layer, _INT8):
        layer.bias = torch.zeros_like(layer.scales)  # a buffer
    elif layer.bias is None:
        weight = layer.weight if type(layer) in FOLDABLE else layer.values
        assert isinstance(weight, Tensor)
        layer.bias = nn.Parameter(weight.detach().new_zeros(rows_of(layer)), requires_grad=weight.requires_grad)


def rows_of(layer: Any) -> int:
    """Outputs of a layer, sparse or dense."""
    return int(layer.weight.shape[0] if type(layer) in FOLDABLE else layer.rows)


def _chains(model: nn.Module) -> Iterator[_Chain]:
    """From a symbolic trace of the whole model, or of its Sequentials where that fails."""
    modules = dict(model.named_modules())
    followers = _followers(model)
    if followers is None:
        followers = _sequential(model)
    owners = Counter(id(parameter) for _, parameter in model.named_parameters(remove_duplicate=False))
    for name, module in modules.items():
        after = followers.get(name)
        if type(module) in FOLDABLE and plain(module) and all(owners[id(own)] == 1 for own in module.parameters()):
            yield _Chain(name, after if after is not None and _foldable(modules[after], module) else None)
        if type(module) not in FUSABLE or not plain(module) or module.activation != "none":
            continue
        norm = activation = None
        if after is not None and _foldable(modules[after], module):
            norm, after = after, followers.get(after)
        if after is not None and activation_of(modules[after]) and plain(modules[after]):
            activation = after
        yield _Chain(name, norm, activation)


def _followers(model: nn.Module) -> dict[str, str] | None:
    """The only module that sees a module's output, by name, of modules called once; None when the model has control
    flow that depends on data."""
    graph = traced(model)
    if graph is None:
        return None
    calls = Counter(str(node.target) for node in graph.nodes if node.op == "call_module")
    read = {str(node.target).rpartition(".")[0] for node in graph.nodes if node.op == "get_attr"}
    once = {name for name, count in calls.items() if count == 1} - read
    followers = {}
    for node in graph.nodes:
        if node.op != "call_module" or len(node.users) != 1:
            continue
        (user,) = node.users
        passes_on = user.op == "call_module" and user.all_input_nodes == [node]
        if passes_on and str(node.target) in once and str(user.target) in once:
            followers[str(node.target)] = str(user.target)
    return followers


def _sequential(model: nn.Module) -> dict[str, str]:
    """The next module in a Sequential, of modules that are registered once."""
    places = Counter(id(module) for _, module in model.named_modules(remove_duplicate=False))
    followers = {}
    for name, module in model.named_modules():
        if type(module) is nn.Sequential:
            children = [(f"{name}.{child}" if name else child, inner) for child, inner in module.named_children()]
            for (first, one), (second, other) in pairwise(children):
                if places[id(one)] == places[id(other)] == 1:
                    followers[first] = second
    return followers


def _foldable(norm: nn.Module, layer: nn.Module) -> bool:
    frozen = type(norm) in NORMS and plain(norm) and norm.running_mean is not None
    return bool(frozen and norm.num_features == rows_of(layer))


def _fuse(model: nn.Module, chain: _Chain) -> str:
    layer: Any = model.get_submodule(chain.layer)
    told = []
    if chain.norm:
        norm = model.get_submodule(chain.norm)
        _fold(layer, norm)
        told.append(f"{type(norm).__name__} {chain.norm}")
        model.set_submodule(chain.norm, stand_in(layer, type(norm).__name__))
    if chain.activation:
        after = model.get_submodule(chain.activation)
        layer.activation = activation_of(after)
        told.append(f"{type(after).__name__} {chain.activation}")
        model.set_submodule(chain.activation, stand_in(layer, type(after).__name__))
    return f"; fused {' and '.join(told)}"


@torch.no_grad()
def _fold(layer: Any, norm: Any) -> None:
    give_bias(layer)
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight.double()
    bias = (layer.bias.double() - norm.running_mean.double()) * scale
    if norm.bias is not None:
        bias = bias + norm.bias.double()
    if type(layer) in FOLDABLE:
        layer.weight.copy_(layer.weight.double() * scale.view(-1, *[1] * (layer.weight.dim() - 1)))
    elif isinstance(layer, _INT8):
        layer.scales.copy_(layer.scales.double() * scale)
    else:
        kept = (layer.row_offsets[1:] - layer.row_offsets[:-1]).long()
        layer.values.copy_(layer.values.double() * scale.repeat_interleave(kept))
    layer.bias.copy_(bias)


def _agree(model: nn.Module, other: nn.Module, example_inputs: Any) -> bool:
    outputs = []
    for candidate in (model, other):
        args, kwargs = arguments(copied(example_inputs))
        try:
            with untouched([candidate]):
                outputs.append([tensor.clone() for tensor in tensors_in(candidate(*args, **kwargs))])
        except (ValueError, TypeError):  # a sum that broadcasts or promotes
            if candidate is other:
                return False
            raise
    steps = any(isinstance(module, _INT8) for module in model.modules())
    pairs = list(zip(outputs[0], outputs[1], strict=False))
    return len(outputs[0]) == len(outputs[1]) and all(_close(left, right, steps) for left, right in pairs)


def _close(left: Tensor, right: Tensor, steps: bool) -> bool:
    """Up to roundings, which a deep network amplifies: folding a norm by mistake is off by far more. ``steps``: a value
    between two steps of int8 may go either way."""
    if left.shape != right.shape or not left.is_floating_point():
        return left.shape == right.shape and torch.equal(left, right)
    tolerance = 0.05 if steps else min(1e3 * torch.finfo(left.dtype).eps, 0.1)
    largest = float(left.abs().nan_to_num(0.0, 0.0, 0.0).max()) if left.numel() else 0.0
    return torch.allclose(left, right, rtol=tolerance, atol=tolerance * max(largest, 1e-30), equal_nan=True)
