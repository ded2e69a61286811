"""Layers that a residual path runs around: they can go as a whole, and what they were given flows on."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..record import arguments
from ..untouched import copied, untouched

__all__ = ["PassThrough", "residual_blocks"]

#: What may lie on the way around: sums, and what changes each number or each row of features on its own after them.
_AROUND = ("add", "relu", "gelu", "silu", "dropout", "mul", "alias", "view", "layernorm", "nativelayernorm", "toCopy")


class PassThrough(nn.Module):
    """In place of a removed layer: gives its first argument on, whatever else it is called with."""

    def forward(self, input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return input


class _Marker(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        return tensor.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        raise NotImplementedError("the graph is only looked at")


def residual_blocks(model: nn.Module, example_inputs: Any) -> list[str]:
    """Names of the modules that can be removed: called once, one tensor in, one of the same shape out, holding weights,
    and with a sum in them whose other summand is the input. Of nested ones the innermost: a chain of such modules goes
    one by one."""
    traced = copy.deepcopy(model)
    found: dict[str, int] = {}
    starts: dict[str, Any] = {}
    hooks = []
    for name, module in traced.named_modules():
        if name and not isinstance(module, nn.ModuleList) and any(True for _ in module.parameters()):
            hooks.append(module.register_forward_pre_hook(_marks(name, starts)))
            hooks.append(module.register_forward_hook(_looks(name, starts, found)))
    with untouched([traced]), torch.enable_grad():
        for parameter in traced.parameters():
            parameter.requires_grad_(True)
        args, kwargs = arguments(copied(example_inputs))
        traced(*args, **kwargs)
    for hook in hooks:
        hook.remove()
    around = [name for name, calls in found.items() if calls == 1]
    return [name for name in around if not any(other.startswith(name + ".") for other in around)]


def _marks(name: str, starts: dict[str, Any]) -> Callable[..., Any]:
    def hook(module: nn.Module, args: tuple[Any, ...]) -> Any:
        if not args or not isinstance(args[0], Tensor) or not args[0].is_floating_point():
            return None
        tensor = args[0] if args[0].requires_grad else args[0].detach().requires_grad_(True)
        marked = _Marker.apply(tensor)  # type: ignore[no-untyped-call]
        starts[name] = (marked.grad_fn, marked.shape)
        return (marked, *args[1:])

    return hook


def _looks(name: str, starts: dict[str, Any], found: dict[str, int]) -> Callable[..., None]:
    def hook(module: nn.Module, args: Any, output: Any) -> None:
        begun = starts.pop(name, None)
        if begun is None or not isinstance(output, Tensor) or output.shape != begun[1]:
            found[name] = 2  # not removable, whatever other calls look like
        elif _goes_around(output.grad_fn, begun[0]):
            found[name] = found.get(name, 0) + 1
        else:
            found[name] = 2

    return hook


def _goes_around(end: Any, start: Any) -> bool:
    """Whether a way from the output to the input passes at least one sum and nothing that mixes features."""
    stack, seen = [(end, False)], set()
    while stack:
        node, summed = stack.pop()
        if node is None or (node, summed) in seen:
            continue
        seen.add((node, summed))
        if node is start:
            if summed:
                return True
            continue
        kind = node.name().lower()
        if "_marker" in kind or any(kind.startswith(op.lower()) for op in _AROUND):
            further = summed or kind.startswith("add")
            stack.extend((before, further and not kind.startswith("addmm")) for before, _ in node.next_functions)
    return False
