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
    other state (steps) is kept. Parameters that are gone leave with their state; those that are new (of two layers in
    place of one) join the group of the first parameter, without state.

    Raises:
        ValueError: the optimizer trains none of the model's parameters.
    """
    names = {id(parameter): name for name, parameter in before.named_parameters()}
    if not any(id(parameter) in names for group in optimizer.param_groups for parameter in group["params"]):
        raise ValueError(
            "optimizer: expected one that trains parameters of the model, got one that trains none of them"
        )
    fresh = {_old_name(name): parameter for name, parameter in after.named_parameters()}
    for group in optimizer.param_groups:
        kept = []
        for old in group["params"]:
            name = names.get(id(old))
            state = optimizer.state.pop(old, None)
            new = old if name is None else fresh.pop(name, None)
            if new is None or (name is not None and name not in cuts and new.shape != old.shape):
                continue
            kept.append(new)
            if state is not None:
                cut = cuts.get(name or "")
                optimizer.state[new] = {
                    key: cut(value).clone() if cut and _like(value, old) else value for key, value in state.items()
                }
        group["params"] = kept
    optimizer.param_groups[0]["params"] += [parameter for parameter in fresh.values() if parameter.requires_grad]


def _like(value: object, parameter: torch.Tensor) -> bool:
    return isinstance(value, torch.Tensor) and value.dim() > 0 and value.shape == parameter.shape


def _old_name(name: str) -> str:
    """Attention with fewer heads holds each projection with its bias in a child of the weight's name."""
    for projection in ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"):
        name = name.removesuffix(f"{projection}.weight") + projection if name.endswith(f"{projection}.weight") else name
    return name.replace("in_proj_weight.bias", "in_proj_bias")
