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
    shared = _shared(model)
    smaller_of: dict[int, nn.Parameter] = {}
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
                smaller = _smaller(tensor, cut)
                first = smaller_of.setdefault(id(tensor), smaller)
                shared.get(id(tensor), set()).discard(f"{name}.{attribute}")
                if first.shape != smaller.shape or not _same(first, smaller):
                    raise ValueError(f"{name}.{attribute}: is shared, and would be cut in two ways")
                setattr(module, attribute, first)
                done[f"{name}.{attribute}"] = cut
            elif attribute in module._buffers:
                module._buffers[attribute] = cut(tensor).clone()
            else:
                raise ValueError(f"{name}.{attribute}: is computed from other parameters, which cannot be cut")
        sides.resize(module, positions.out, positions.into)
        if isinstance(module, nn.RNNBase):
            module.flatten_parameters()
    for parameter in smaller_of:
        if left := shared.get(parameter):
            raise ValueError(f"{min(left)}: is shared with a weight that would be cut, and would keep its shape")
    return done


def _smaller(parameter: nn.Parameter, cut: Cut) -> nn.Parameter:
    return nn.Parameter(cut(parameter.detach()).clone(), requires_grad=parameter.requires_grad)


def _same(one: Tensor, other: Tensor) -> bool:
    return one is other or one.device.type == "meta" or bool(torch.equal(one, other))


def _shared(model: nn.Module) -> dict[int, set[str]]:
    """Names of each parameter that has several."""
    names: dict[int, set[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), set()).add(name)
    return {key: each for key, each in names.items() if len(each) > 1}
