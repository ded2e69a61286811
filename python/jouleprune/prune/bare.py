"""A look at a pruned model as if its pruning had been removed: what records and prices a model wants parameters."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import prune as torch_prune

__all__ = ["as_parameters"]


@contextmanager
def as_parameters(model: nn.Module) -> Iterator[None]:
    """Inside, every tensor that a pruning hook of ``model`` computes is a parameter that holds the product's zeros, and
    the hook is off; afterwards everything is as before, also when the body raises."""
    laid_bare: list[_Bare] = []
    try:
        for module in model.modules():
            if any(isinstance(hook, torch_prune.BasePruningMethod) for hook in module._forward_pre_hooks.values()):
                laid_bare.append(_Bare(module))
                laid_bare[-1].lay()
        yield
    finally:
        for bare in reversed(laid_bare):
            bare.restore()


class _Bare:
    """One pruned module: its registries as they were, in their order, and the data of its parameters."""

    def __init__(self, module: nn.Module) -> None:
        self._module: Any = module
        self._registries: list[tuple[Any, dict[Any, Any]]] = [
            (registry, dict(registry)) for registry in (module._parameters, module._buffers, module._forward_pre_hooks)
        ]
        self._flat_weights = list(module._flat_weights) if isinstance(module, nn.RNNBase) else None
        self._attributes: dict[str, Any] = {}
        self._data: list[tuple[nn.Parameter, Tensor]] = []

    @torch.no_grad()
    def lay(self) -> None:
        module = self._module
        for key, hook in list(module._forward_pre_hooks.items()):
            if not isinstance(hook, torch_prune.BasePruningMethod):
                continue
            name = hook._tensor_name
            parameter = module.get_parameter(name + "_orig")
            pruned: Tensor = hook.apply_mask(module)
            if name in module.__dict__:
                self._attributes[name] = module.__dict__.pop(name)
            self._data.append((parameter, parameter.data))
            parameter.data = pruned.detach()
            del module._parameters[name + "_orig"], module._buffers[name + "_mask"], module._forward_pre_hooks[key]
            setattr(module, name, parameter)

    def restore(self) -> None:
        for parameter, data in reversed(self._data):
            parameter.data = data
        for registry, saved in self._registries:
            registry.clear()
            registry.update(saved)
        self._module.__dict__.update(self._attributes)
        if self._flat_weights is not None:
            self._module._flat_weights = self._flat_weights
