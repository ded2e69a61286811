"""Options by layer: which stay dense, and how much of each stays at least."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch

from .layers import layer_of

__all__ = ["floors_of", "ignored_weights"]


def ignored_weights(model: torch.nn.Module, ignored_layers: Sequence[torch.nn.Module | str]) -> set[str]:
    """Names of all parameters of the ignored modules."""
    modules = dict(model.named_modules())
    names = {id(module): name for name, module in modules.items()}
    parameters = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    ignored: set[str] = set()
    if isinstance(ignored_layers, str | torch.nn.Module) or not isinstance(ignored_layers, Iterable):
        raise ValueError(f"ignored_layers: expected a list of modules or names, got {type(ignored_layers).__name__}")
    for layer in ignored_layers:
        if isinstance(layer, torch.nn.Module):
            if id(layer) not in names:
                raise ValueError(f"ignored_layers: {type(layer).__name__} is no module of the model")
            prefix = names[id(layer)]
        elif isinstance(layer, str) and layer in parameters:
            ignored.add(layer)
            continue
        elif isinstance(layer, str) and layer in modules:
            prefix = layer
        else:
            raise ValueError(f"ignored_layers: expected names of modules or parameters of the model, got {layer!r}")
        ignored |= {name for name in parameters if not prefix or name.startswith(prefix + ".")}
    return ignored


def floors_of(weights: Sequence[str], min_density: float | Mapping[str, float]) -> tuple[float, ...]:
    if isinstance(min_density, Mapping):
        layers = {layer_of(name): name for name in weights}
        by_weight = {}
        for layer, floor in min_density.items():
            name = layers.get(layer, layer)
            if name not in weights:
                raise ValueError(f"min_density: expected prunable layers ({', '.join(layers)}), got {layer!r}")
            by_weight[name] = floor
        floors = tuple(by_weight.get(name, 0.0) for name in weights)
    else:
        floors = tuple(min_density for _ in weights)
    for floor in floors:
        if isinstance(floor, bool) or not isinstance(floor, int | float) or not 0.0 <= floor <= 1.0:
            raise ValueError(f"min_density: expected shares in [0, 1], got {floor!r}")
    return tuple(float(floor) for floor in floors)
