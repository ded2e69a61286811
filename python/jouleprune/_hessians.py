"""The Hessian of a layer's reconstruction: the sum of x x^T over what the layer reads, streamed batch by batch."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from . import ops
from ._ranks import Ranks
from .criteria import Context
from .untouched import untouched

__all__ = ["calls_of", "check_alike", "hessian_of", "refuse_ranks", "sharing_layers", "warn_uncalled"]

_WHO = "reconstruct"


def refuse_ranks(model: object, who: str) -> None:
    """Raises:
    ValueError: several processes hold the network: each would fit it to its own data."""
    if Ranks.of(model) is not None:
        raise ValueError(
            f"model: {who} in one of several processes would leave other weights in each: run it on the plain module "
            "in one process and broadcast the parameters before the network is wrapped or sharded: docs/distributed.md"
        )


class _Stop(Exception):
    """The layer has seen its input; what comes after it is not needed."""


def sharing_layers(model: nn.Module, kinds: tuple[type[nn.Module], ...]) -> list[dict[str, nn.Module]]:
    """Layers of these kinds by the name of their weight; those that share one weight (tied) in one mapping. A weight
    that a module of another kind holds too, like the table of an embedding, is left out: nothing here knows what that
    one makes of it."""
    sharing: dict[int, dict[str, nn.Module]] = {}
    held_elsewhere: set[int] = set()
    for name, module in model.named_modules():
        if isinstance(module, kinds):
            sharing.setdefault(id(module.weight), {})[f"{name}.weight" if name else "weight"] = module
        else:
            held_elsewhere.update(id(parameter) for parameter in module.parameters(recurse=False))
    return [layers for weight, layers in sharing.items() if weight not in held_elsewhere]


def check_alike(weight: str, layers: Sequence[nn.Module]) -> None:
    """Raises:
    ValueError: layers of several kinds, or of several numbers of groups, share the weight."""
    if len({(type(layer), getattr(layer, "groups", 1)) for layer in layers}) > 1:
        raise ValueError(f"model: layers of several kinds share {weight!r}: name one of them in ignored_layers")


def calls_of(context: Context, layers: Mapping[str, Sequence[nn.Module]]) -> dict[str, int]:
    """How often the layers of each weight (several, where it is tied) are called in one forward pass, in the order of
    the first calls. Layers that are not called as modules, like ``out_proj`` of attention, are not in it.

    Raises:
        ValueError: there is no data.
    """
    calls: dict[str, int] = {}

    def counter(name: str) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            calls[name] = calls.get(name, 0) + 1

        return hook

    hooks = [module.register_forward_pre_hook(counter(name)) for name, modules in layers.items() for module in modules]
    try:
        with untouched([context.model]), torch.no_grad():
            for args, kwargs, _ in context.batches(_WHO):
                context.model(*args, **kwargs)
                break
    finally:
        for hook in hooks:
            hook.remove()
    return calls


def warn_uncalled(layers: Mapping[str, Sequence[nn.Module]], calls: Mapping[str, int]) -> None:
    """Names the layers that stay dense because nothing tells what they read."""
    uncalled = [name for name in layers if name not in calls]
    if uncalled:
        told = f"the layers of {', '.join(uncalled)} are not called as modules on the data and stay as they are"
        warnings.warn(told, UserWarning, stacklevel=3)


def hessian_of(context: Context, name: str, modules: Sequence[nn.Module], calls: int) -> Tensor:
    """[groups, cols, cols] float64 over all data and all layers of the weight; a forward pass ends at their last
    call."""
    weight = context.weight(name)
    groups, cols, seen = int(getattr(modules[0], "groups", 1)), weight[0].numel(), 0
    rows = 0
    total = torch.zeros(groups, cols, cols, dtype=torch.float64, device=weight.device)

    def hook(module: nn.Module, args: tuple[Any, ...]) -> None:
        nonlocal seen, rows
        rows += args[0].numel()
        ops.add_hessian_(total, _patches(module, args[0].detach(), groups))
        seen += 1
        if seen == calls:
            raise _Stop

    with untouched([context.model]), torch.no_grad():
        handles = [module.register_forward_pre_hook(hook) for module in modules]
        try:
            for args, kwargs, _ in context.batches(_WHO):
                seen = 0
                with suppress(_Stop):
                    context.model(*args, **kwargs)
        finally:
            for handle in handles:
                handle.remove()
    if rows == 0:
        raise ValueError(f"data: expected inputs for the layer of {name!r}, got batches of 0 rows")
    return total


def _patches(module: nn.Module, x: Tensor, groups: int) -> Tensor:
    """[groups, rows, cols]: what one output pixel of a convolution reads, or one row of a batch."""
    if isinstance(module, nn.Linear):
        return x.reshape(1, -1, x.shape[-1])
    assert isinstance(module, nn.Conv1d | nn.Conv2d)
    spatial = len(module.kernel_size)
    x = x[None] if x.dim() == spatial + 1 else x
    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
    x = torch.nn.functional.pad(x, module._reversed_padding_repeated_twice, mode=mode)
    x = x.unsqueeze(2) if spatial == 1 else x
    sizes = [(1, *each)[-2:] for each in (module.kernel_size, module.dilation, module.stride)]
    columns = torch.nn.functional.unfold(x, sizes[0], dilation=sizes[1], stride=sizes[2])
    rows: Tensor = columns.unflatten(1, (groups, -1)).permute(1, 0, 3, 2)  # from [batch, cols, pixels]
    return rows.flatten(1, 2)
