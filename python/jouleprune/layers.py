"""Which modules hold which weights, and which of them a sparse module can replace."""

from __future__ import annotations

import torch

__all__ = ["layer_of", "owners", "replace_module", "why_not_convertible"]


def layer_of(weight: str) -> str:
    """Layer name of a weight: "fc1.weight" -> "fc1"."""
    return weight.removesuffix(".weight") if weight.endswith(".weight") else weight


def owners(model: torch.nn.Module, weight: str) -> list[tuple[str, torch.nn.Module, str]]:
    """Every (module name, module, attribute) under which the parameter is registered: several when it is tied."""
    parameter = model.get_parameter(weight)
    return [
        (name, module, attribute)
        for name, module in model.named_modules()
        for attribute, candidate in module._parameters.items()
        if candidate is parameter
    ]


def why_not_convertible(model: torch.nn.Module, weight: str) -> str:
    """Empty when a sparse module can take the layer's place, else one sentence."""
    held_by = owners(model, weight)
    if len(held_by) > 1:
        return f"shared by {', '.join(name or 'the root' for name, _, _ in held_by)}"
    name, module, attribute = held_by[0]
    if type(module) not in (torch.nn.Linear, torch.nn.Conv2d) or attribute != "weight":
        return f"held by {type(module).__name__}.{attribute}, not by a plain Linear or Conv2d"
    if not name:
        return "the model itself is the layer; put it into a Sequential to have it replaced"
    if isinstance(module, torch.nn.Conv2d) and module.padding_mode != "zeros":
        return f"padding_mode {module.padding_mode!r} has no sparse kernel"
    if _hooked_parent(model, name):
        return f"its parent {_hooked_parent(model, name)} uses the weight directly"
    return ""


def _hooked_parent(model: torch.nn.Module, name: str) -> str:
    """MultiheadAttention and the Transformer layers read the weights of their children instead of calling them."""
    direct = (torch.nn.MultiheadAttention, torch.nn.TransformerEncoderLayer)
    parts = name.split(".")
    for end in range(len(parts) - 1, -1, -1):
        parent = model.get_submodule(".".join(parts[:end]))
        if isinstance(parent, direct):
            return type(parent).__name__
    return ""


def replace_module(model: torch.nn.Module, name: str, replacement: torch.nn.Module) -> None:
    """Registers ``replacement`` where the module called ``name`` was."""
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, replacement)
