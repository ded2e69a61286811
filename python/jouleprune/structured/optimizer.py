"""Optimizer state through shrinking: what momentum is kept for a weight that stays, stays."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from .sides import Cut

__all__ = ["move_optimizer"]


def move_optimizer(
    optimizer: torch.optim.Optimizer, before: nn.Module, after: nn.Module, cuts: Mapping[str, Cut]
) -> None:
    """Lets the optimizer train ``after`` in place of ``before``.

    Its groups keep their settings. State of a parameter's shape (momentum, second moments) is cut like the parameter,
    and so is a gradient that accumulates; other state (steps) is kept. Parameters that are gone leave with their state;
    those that are new (of two layers in place of one) join the group of what they replace, without state. What the
    optimizer did not train it does not train now either.

    Raises:
        ValueError: the optimizer trains none of the model's parameters.
    """
    names: dict[int, list[str]] = {}  # a tied parameter has several
    for place, parameter in before.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(place)
    if not any(id(parameter) in names for group in optimizer.param_groups for parameter in group["params"]):
        raise ValueError(
            "optimizer: expected one that trains parameters of the model, got one that trains none of them"
        )
    fresh = {_old_name(name): parameter for name, parameter in after.named_parameters(remove_duplicate=False)}
    known = {name for each in names.values() for name in each}
    added = {name: parameter for name, parameter in fresh.items() if name not in known}
    for group in optimizer.param_groups:
        kept = []
        for old in group["params"]:
            told = names.get(id(old))
            state = optimizer.state.pop(old, None)
            name = None if told is None else next((each for each in told if each in fresh), told[0])
            new = old if name is None else fresh.get(name)
            if new is None:
                kept += [each for each in _taken(added, name or "") if each.requires_grad]
                continue
            if name is not None and name not in cuts and new.shape != old.shape:
                continue
            kept.append(new)
            cut = cuts.get(name or "")
            if old.grad is not None and new is not old:
                new.grad = (cut(old.grad) if cut else old.grad).clone()
            if state is not None:
                optimizer.state[new] = {
                    key: cut(value).clone() if cut and _like(value, old) else value for key, value in state.items()
                }
        group["params"] = kept


def _taken(added: dict[str, nn.Parameter], gone: str) -> list[nn.Parameter]:
    """Takes out of ``added`` what lies inside the module that held the parameter ``gone``."""
    inside = [name for name in added if name.startswith(gone.rpartition(".")[0] + ".")]
    return [added.pop(name) for name in inside]


def _like(value: object, parameter: torch.Tensor) -> bool:
    return isinstance(value, torch.Tensor) and value.dim() > 0 and value.shape == parameter.shape


def _old_name(name: str) -> str:
    """Attention with fewer heads holds each projection with its bias in a child of the weight's name."""
    for projection in ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"):
        name = name.removesuffix(f"{projection}.weight") + projection if name.endswith(f"{projection}.weight") else name
    return name.replace("in_proj_weight.bias", "in_proj_bias")
