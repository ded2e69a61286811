"""Random paths: whole ways from inputs to outputs go, small weights likelier than large ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .context import Context
from .follow import layers_of

__all__ = ["RandomPaths"]


@dataclass(frozen=True, kw_only=True)
class RandomPaths:
    """Paths through the layers, drawn with a probability inverse to the product of |w| along them.

    Layers that follow each other in the recorded forward pass, each with as many inputs as the one before has outputs,
    form a chain (a Linear layer on flattened pixels begins another one). A path takes one weight of each, of a
    convolution the whole kernel between an input and an output channel, by its L2 norm. The weights of the first path
    drawn go first, and so on; those that no path takes go last. Zero weights are no part of a path and count as drawn
    before all others.

    Args:
        paths: how many are drawn.
        seed: of the draws.
    Raises:
        ValueError: ``paths`` is no whole number of at least 1; at selection: a weight of another module than Linear,
            Conv1d and Conv2d.
    """

    paths: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.paths, bool) or not isinstance(self.paths, int) or self.paths < 1:
            raise ValueError(f"RandomPaths: paths: expected a whole number of at least 1, got {self.paths!r}")

    @property
    def name(self) -> str:
        return "random_path"

    def scores(self, context: Context) -> Mapping[str, Tensor]:
        modules = layers_of(context, self.name)
        called = [entry["weight"] for entry in context.workload["entries"] if entry["weight"] in modules]
        order = [*dict.fromkeys(called), *(name for name in context.weights if name not in called)]
        generator = torch.Generator().manual_seed(self.seed)
        found: dict[str, Tensor] = {}
        for chain in _chains(order, modules):
            weights = [_between_channels(modules[name], context.weight(name)) for name in chain]
            for name, first, weight in zip(chain, first_draws(weights, self.paths, generator), weights, strict=True):
                worth = torch.where(weight == 0, 0.0, (first + 1) / (self.paths + 1))
                found[name] = _of_weights(modules[name], context.weight(name), worth)
        return found


def first_draws(weights: Sequence[Tensor], paths: int, generator: torch.Generator) -> list[Tensor]:
    """float64 [outputs, inputs] for each layer of a chain: number of the first path that takes the weight; ``paths``
    where none does. ``weights``: magnitudes [outputs, inputs], the inputs of one as many as the outputs of the last."""
    inverse = [torch.where(weight > 0, 1 / weight.clamp_min(1e-300), 0.0) for weight in weights]
    onward = [torch.ones(inverse[-1].shape[0], dtype=torch.float64)]  # all ways on from a unit, last layer first
    for matrix in reversed(inverse):
        ways = onward[0] @ matrix
        onward.insert(0, ways / ways.max().clamp_min(1e-300))
    first = [torch.full_like(matrix, float(paths)) for matrix in inverse]
    if not bool(onward[0].sum() > 0):  # nothing gets through
        return first
    units = torch.multinomial(onward[0], paths, replacement=True, generator=generator)
    for draws, matrix, ways in zip(first, inverse, onward[1:], strict=True):
        chosen = torch.multinomial((matrix * ways[:, None]).t()[units], 1, generator=generator).squeeze(1)
        places = chosen * matrix.shape[1] + units
        draws.view(-1).scatter_reduce_(0, places, torch.arange(paths, dtype=torch.float64), "amin")
        units = chosen
    return first


def _between_channels(module: nn.Module, weight: Tensor) -> Tensor:
    """float64 [outputs, inputs]: norm of what connects them; 0 between groups that do not."""
    norms = weight.double().cpu().flatten(2).norm(dim=2) if weight.dim() > 2 else weight.double().cpu().abs()
    groups = getattr(module, "groups", 1)
    return norms if groups == 1 else torch.block_diag(*norms.chunk(groups))


def _of_weights(module: nn.Module, weight: Tensor, worth: Tensor) -> Tensor:
    groups = getattr(module, "groups", 1)
    if groups > 1:
        rows, cols = worth.shape[0] // groups, worth.shape[1] // groups
        parts = [worth[g * rows : (g + 1) * rows, g * cols : (g + 1) * cols] for g in range(groups)]
        worth = torch.cat(parts)
    return (
        worth.to(weight.device, torch.float32).reshape(*weight.shape[:2], *[1] * (weight.dim() - 2)).expand_as(weight)
    )


def _chains(order: Sequence[str], modules: Mapping[str, nn.Module]) -> list[list[str]]:
    """Names by chain."""
    chains: list[list[str]] = []
    outputs = -1
    for name in order:
        module = modules[name]
        inputs = module.in_features if isinstance(module, nn.Linear) else getattr(module, "in_channels", 0)
        if inputs == outputs:
            chains[-1].append(name)
        else:
            chains.append([name])
        outputs = module.out_features if isinstance(module, nn.Linear) else getattr(module, "out_channels", 0)
    return chains
