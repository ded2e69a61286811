"""Applies cuts to a model: parameters and buffers are replaced by what is left of them, and each cut is remembered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .sides import Cut, sides_of

__all__ = ["Kept", "cut_modules"]


@dataclass
class Kept:
    """Positions of one module that stay, int64 in their new order; None: all."""

    out: Tensor | None = None
    into: Tensor | None = None


def cut_modules(model: nn.Module, kept: Mapping[str, Kept]) -> dict[str, Cut]:
    """Cuts the named modules in place; returns how each parameter was cut, by its name.

    Raises:
        ValueError: a module of a class that cannot be cut, or positions that do not fit its groups.
    """
    done: dict[str, Cut] = {}
    for name, positions in kept.items():
        module = model.get_submodule(name)
        sides = sides_of(module)
        if sides is None:
            raise ValueError(f"{name}: a {type(module).__name__} cannot be made smaller")
        for attribute, cut in sides.cuts(module, positions.out, positions.into).items():
            tensor = getattr(module, attribute, None)
            if tensor is None:
                continue
            if attribute in module._parameters:
                smaller = nn.Parameter(cut(tensor.detach()).clone(), requires_grad=tensor.requires_grad)
                if tensor.grad is not None:
                    smaller.grad = cut(tensor.grad).clone()
                setattr(module, attribute, smaller)
                done[f"{name}.{attribute}"] = cut
            else:
                module._buffers[attribute] = cut(tensor).clone()
        with torch.no_grad():
            sides.resize(module, positions.out, positions.into)
        if isinstance(module, nn.RNNBase):
            module.flatten_parameters()
    return done
