"""Training towards sparsity: the proximal step of an L1 or group-lasso penalty, scaled by joules."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from . import ops
from .criteria.context import block_of
from .energy import Profile
from .estimate import ActivationDensity, as_profile
from .selection import Selector, plain_module

__all__ = ["Proximal"]


class Proximal:
    """Pulls the units of a pattern towards zero while ``model`` trains: minimises loss + strength * sum over units of
    joules(u) * sqrt(size(u)) * |u|_2, where joules(u) is the unit's share of what its layer's dense weights cost,
    relative to the mean over all weights. With "unstructured" that is the L1 norm, weighted by joules.

    Call :meth:`step` once per training step with the learning rate, after ``optimizer.step()`` (the forward-backward
    splitting for which the step is exact) or between ``backward()`` and ``optimizer.step()``. Units shrink to exactly
    zero; a plan or a Pruner finds them there. Frozen weights (``requires_grad=False``) stay as they are. There is no
    state beside the weights: after a restart make it anew with the same arguments.

    Args:
        model, example_inputs, profile, ignored_layers, activation_density: as of :func:`jouleprune.plan`.
        strength: of the penalty, at least 0, per weight of average joules.
        pattern: "unstructured" or blocks "RxC".
    Raises:
        ValueError, PatternError, ProfileError: the message names the argument.
    Sources: Parikh and Boyd, Proximal Algorithms, 2014, sections 4.2 and 6.5; Yuan and Lin, group lasso, 2006 (the root
    of the size). The scale by joules is ours.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        example_inputs: Any,
        *,
        profile: Profile | str | Mapping[str, Any],
        strength: float,
        pattern: str = "unstructured",
        ignored_layers: Sequence[torch.nn.Module | str] = (),
        activation_density: ActivationDensity = 1.0,
    ) -> None:
        _check_number("strength", strength)
        if pattern == "auto" or ":" in pattern:
            raise ValueError(f"pattern: expected 'unstructured' or blocks 'RxC', got {pattern!r}")
        self._model, self._strength, self._block = plain_module(model), float(strength), block_of(pattern)
        selector = Selector.record(
            self._model,
            example_inputs,
            profile=as_profile(profile),
            pattern=pattern,
            importance="magnitude",
            ignored_layers=ignored_layers,
            min_density=0.0,
            activation_density=activation_density,
            batch=None,
            per="inference",
            count=None,
        )
        plan = selector.select(self._model, energy="100%")
        joules = {layer.weight: layer.dense_j / max(self._numel(layer.weight), 1) for layer in plan.layers}
        total = sum(joules[name] * self._numel(name) for name in joules)
        mean = total / max(sum(self._numel(name) for name in joules), 1)
        #: Relative joules of one weight of each layer: what its penalty is multiplied by.
        self.scales: dict[str, float] = {name: value / mean if mean > 0 else 1.0 for name, value in joules.items()}
        self._sizes = {name: self._root_sizes(self._model.get_parameter(name)) for name in self.scales}

    def step(self, lr: float) -> None:
        """Shrinks each unit's L2 norm by lr * strength * joules * sqrt(size).

        Raises:
            ValueError: ``lr`` is no finite number of at least 0.
        """
        _check_number("lr", lr)
        for name, scale in self.scales.items():
            weight = self._model.get_parameter(name)
            if not weight.requires_grad:
                continue
            amounts = self._sizes[name].to(weight.device) * (float(lr) * self._strength * scale)
            ops.shrink_units_(weight.detach(), amounts, block_size=self._block)

    def _numel(self, name: str) -> int:
        return self._model.get_parameter(name).numel()

    def _root_sizes(self, weight: Tensor) -> Tensor:
        """[down, across]: the root of the number of entries of each unit."""
        rows, cols = weight.flatten(1).shape
        heights, widths = (
            torch.tensor([min(step, size - start) for start in range(0, size, step)], dtype=torch.float64)
            for size, step in ((rows, self._block[0]), (cols, self._block[1]))
        )
        return torch.outer(heights, widths).sqrt()


def _check_number(name: str, value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ValueError(f"{name}: expected a finite number of at least 0, got {value!r}")
