"""What the tracing of dependencies sees in place of recurrent and attention modules: one opaque step with the right
shapes, because the many small ops inside of them mix features in ways that a graph of ops does not tell."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

__all__ = ["StandIn", "standing_in"]

OPAQUE = (nn.LSTM, nn.GRU, nn.RNN, nn.MultiheadAttention)


class _Opaque(torch.autograd.Function):
    """Gives the outputs on; of its history only the inputs are seen."""

    @staticmethod
    def forward(ctx: Any, count: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(tensor.clone() for tensor in tensors[:count])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        raise NotImplementedError("the graph is only looked at")


class StandIn(nn.Module):
    """Runs the module inside, but as one step of the graph from its inputs to its outputs."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("inner"), name)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        with torch.no_grad():
            outputs = self.inner(*args, **kwargs)
        inputs = [tensor for tensor in _tensors((args, kwargs)) if tensor.grad_fn is not None or tensor.requires_grad]
        made = list(_tensors(outputs))
        if not inputs:  # the very input of the network
            inputs = [torch.zeros((), requires_grad=True)]
        replaced = iter(_Opaque.apply(len(made), *made, *inputs))  # type: ignore[no-untyped-call]
        return _rebuilt(outputs, replaced)


def standing_in(model: nn.Module) -> dict[nn.Module, nn.Module]:
    """Replaces the modules in place; {stand-in: the module inside}."""
    found: dict[nn.Module, nn.Module] = {}
    by_module: dict[nn.Module, StandIn] = {}
    for parent in list(model.modules()):
        for child, module in list(parent._modules.items()):
            if module is not None and isinstance(module, OPAQUE):
                stand_in = by_module.setdefault(module, StandIn(module))
                parent._modules[child] = stand_in
                found[stand_in] = module
    return found


def _tensors(value: Any) -> Any:
    if isinstance(value, Tensor):
        if value.is_floating_point():
            yield value
    elif isinstance(value, PackedSequence):
        yield value.data
    elif isinstance(value, dict):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _tensors(item)


def _rebuilt(value: Any, replaced: Any) -> Any:
    if isinstance(value, Tensor):
        return next(replaced) if value.is_floating_point() else value
    if isinstance(value, PackedSequence):
        return PackedSequence(next(replaced), value.batch_sizes, value.sorted_indices, value.unsorted_indices)
    if isinstance(value, tuple | list):
        return type(value)(_rebuilt(item, replaced) for item in value)
    return value
