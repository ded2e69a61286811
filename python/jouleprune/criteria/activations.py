"""Criteria that look at activations, collected batch by batch in float64: no labels, and nothing is kept but sums."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .. import ops
from ..untouched import untouched
from .context import Context
from .follow import Follower, layers_of
from .weights import of_rows

__all__ = ["Apoz", "ConnectionEnergy", "InputStatistics", "MeanActivation", "Wanda", "input_statistics"]


@dataclass
class InputStatistics:
    """Of the inputs of a layer: ``square_sums`` and ``active`` [groups, features of a group] float64 (sum of x^2; how
    often |x| was above the threshold), and how many values of each feature there were."""

    square_sums: Tensor
    active: Tensor
    count: int = 0


def input_statistics(context: Context, criterion: str, threshold: float = 0.0) -> dict[str, InputStatistics]:
    """One pass over the data. A feature is an input of a Linear, or a channel of a convolution at all its pixels.

    Raises:
        ValueError: a weight of another module, no data, or a layer that was not called.
    """
    layers, found = layers_of(context, criterion), dict[str, InputStatistics]()

    def gather(name: str, module: nn.Module, x: Tensor) -> None:
        features = _features(module, x.detach()).double()
        squares, active = features.square().sum(1), (features.abs() > threshold).double().sum(1)
        groups = getattr(module, "groups", 1)
        seen = found.setdefault(
            name,
            InputStatistics(
                squares.new_zeros(groups, squares.numel() // groups), active.new_zeros(groups, active.numel() // groups)
            ),
        )
        seen.square_sums = seen.square_sums + squares.view(groups, -1)
        seen.active = seen.active + active.view(groups, -1)
        seen.count += features.shape[1]

    with untouched([context.model]), torch.no_grad():
        hooks = [
            module.register_forward_pre_hook(lambda module, args, name=name: gather(name, module, args[0]))
            for name, module in layers.items()
        ]
        try:
            for args, kwargs, _ in context.batches(criterion):
                context.model(*args, **kwargs)
        finally:
            for hook in hooks:
                hook.remove()
    _check_called(criterion, layers, found)
    return found


def _features(module: nn.Module, x: Tensor) -> Tensor:
    """[features, values] of an input; unbatched inputs of convolutions have one dimension less."""
    if isinstance(module, nn.Linear):
        return x.reshape(-1, x.shape[-1]).t()
    spatial = 1 if isinstance(module, nn.Conv1d) else 2
    return x.movedim(-1 - spatial, 0).flatten(1)


def _check_called(criterion: str, layers: Mapping[str, nn.Module], found: Mapping[str, Any]) -> None:
    for name in layers:
        if name not in found:
            raise ValueError(
                f"importance {criterion!r}: {name!r}: its layer was not called on its own for any batch: name it in "
                "ignored_layers, or take another importance"
            )


@dataclass(frozen=True, kw_only=True)
class Wanda:
    """|w| times the L2 norm of the input feature that it reads, over the data.

    Source: Sun et al., A Simple and Effective Pruning Approach for Large Language Models, ICLR 2024, eq. 1; of
    convolutions the feature is the channel. Norms are root mean squares: of one layer they rank alike, and layers whose
    features have different numbers of values compare.
    """

    @property
    def name(self) -> str:
        return "wanda"

    def scores(self, context: Context) -> Mapping[str, Tensor]:
        found = input_statistics(context, self.name)
        return {
            name: ops.input_importance(context.weight(name), (seen.square_sums / seen.count).sqrt())
            for name, seen in found.items()
        }


@dataclass(frozen=True, kw_only=True)
class ConnectionEnergy:
    """E_c = |w| p c: p = share of the data for which |input| is above ``threshold``, c = MACs that the connection
    causes per inference (1 in a linear layer on vectors, output pixels in a convolution).

    Args:
        order: "low" removes connections of low energy first (least signal carried): the score is E_c; "high" those of
            high energy: the score is the largest E_c of the network less E_c.
        threshold: above 0 for activations that are never exactly 0, such as those of Sigmoid.
    Raises:
        ValueError: another order, or a threshold that is negative.
    """

    order: str = "low"
    threshold: float = 0.0

    def __post_init__(self) -> None:
        if self.order not in ("low", "high"):
            raise ValueError(f"ConnectionEnergy: order: expected 'low' or 'high', got {self.order!r}")
        if not self.threshold >= 0:
            raise ValueError(f"ConnectionEnergy: threshold: expected at least 0, got {self.threshold!r}")

    @property
    def name(self) -> str:
        return f"connection_{self.order}"

    def energies(self, context: Context) -> dict[str, Tensor]:
        """E_c by weight. ``ops.mask_threshold(energies, alpha, rule="max")`` tells which reach theta = alpha max."""
        found = input_statistics(context, self.name, self.threshold)
        return {
            name: ops.input_importance(
                context.weight(name), seen.active / seen.count, scale=_macs_per_weight(context, name)
            )
            for name, seen in found.items()
        }

    def scores(self, context: Context) -> Mapping[str, Tensor]:
        energies = self.energies(context)
        if self.order == "low" or not energies:
            return energies
        largest = max(float(energy.max()) for energy in energies.values() if energy.numel() > 0)
        return {name: largest - energy for name, energy in energies.items()}


def _macs_per_weight(context: Context, weight: str) -> float:
    """Of the recorded pass, per inference: all calls of the weight together."""
    calls = [entry for entry in context.workload["entries"] if entry["weight"] == weight]
    macs = sum(float(entry["macs"]) / float(entry["weight_elements"]) for entry in calls)
    return macs / float(context.workload["batch"] or 1)


@dataclass(frozen=True, kw_only=True)
class _Outputs:
    """Mean of a function of each filter's activations, after the modules that the layer's output goes through."""

    def means(self, context: Context, criterion: str) -> dict[str, Tensor]:
        layers, sums, counts = layers_of(context, criterion), dict[str, Tensor](), dict[str, int]()

        def seen(name: str, output: Tensor, path: list[nn.Module]) -> None:
            layer = layers[name]
            features = self.of(_features(layer, output.detach()).double())
            sums[name] = sums.get(name, torch.zeros(())) + features.sum(1)
            counts[name] = counts.get(name, 0) + features.shape[1]

        with untouched([context.model]), torch.no_grad(), Follower(context.model, layers, seen) as follower:
            for args, kwargs, _ in context.batches(criterion):
                context.model(*args, **kwargs)
                follower.finish()
        _check_called(criterion, layers, sums)
        return {name: of_rows(context.weight(name), sums[name] / max(counts[name], 1)) for name in context.weights}

    def of(self, activations: Tensor) -> Tensor:
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Apoz(_Outputs):
    """1 - APoZ: the share of a filter's activations that are above zero.

    APoZ is the average percentage of zeros after the ReLU: Hu et al., Network Trimming, 2016, eq. 1. What is not above
    zero before a ReLU is zero after it, so a ReLU that is a function counts like one that is a module.
    """

    @property
    def name(self) -> str:
        return "apoz"

    def of(self, activations: Tensor) -> Tensor:
        return (activations > 0).double()

    def scores(self, context: Context) -> Mapping[str, Tensor]:
        return self.means(context, self.name)


@dataclass(frozen=True, kw_only=True)
class MeanActivation(_Outputs):
    """Mean |a| of a filter's activations, after the batch norm and activation modules that follow the layer.

    An activation that is called as a function is not followed: there a is the layer's output (after its batch norm).
    Source: Molchanov et al., Pruning Convolutional Neural Networks for Resource Efficient Inference, ICLR 2017.
    """

    @property
    def name(self) -> str:
        return "mean_activation"

    def of(self, activations: Tensor) -> Tensor:
        return activations.abs()

    def scores(self, context: Context) -> Mapping[str, Tensor]:
        return self.means(context, self.name)
