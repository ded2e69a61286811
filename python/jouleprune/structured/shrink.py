"""``jp.shrink``: a smaller dense network within a joule budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from typing_extensions import Unpack

from ..energy import Profile
from ..errors import BudgetError
from ..selection import plain_module
from .make_plan import plan_structure
from .optimizer import move_optimizer
from .options import StructureKeywords, StructureOptions
from .plan import StructurePlan
from .structure import smaller_copy

__all__ = ["Shrunk", "shrink"]


@dataclass(frozen=True)
class Shrunk:
    """The smaller network, and why it is what it is."""

    model: nn.Module = field(repr=False)
    plan: StructurePlan

    @property
    def energy_j(self) -> float:
        """Joules per count: what ``estimate`` says of ``model``."""
        return self.plan.energy_j


def shrink(
    model: nn.Module,
    example_inputs: Any = None,
    *,
    energy: str | float | None = None,
    profile: Profile | str | Mapping[str, Any] | None = None,
    plan: StructurePlan | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    **keywords: Unpack[StructureKeywords],
) -> Shrunk:
    """A smaller dense copy of ``model`` that takes at most ``energy``; ``model`` is not changed.

    Channels that belong together are found by Torch-Pruning's dependency graph (extra ``structured``) and tried: the
    network without every other one must compute what it does when nobody reads them; what fails stays whole
    (``plan.whole``). Units go the least importance lost per joule saved first; joules are those of a fresh estimate of
    the network that would be left, so inputs of later layers, activations and steps of the hardware count. With "lamp"
    a unit's importance is its share of what stays in each weight that it goes through (docs/structured.md), with other
    criteria the sum over all weights that it takes with it.

    Args:
        model: Linear, Conv1d/2d/3d and transposed ones (grouped, depthwise), LSTM and GRU, batch and instance norms,
            PReLU, MultiheadAttention. In a multi-layer LSTM or GRU, whose layers share one ``hidden_size``, units of
            the same number go in all layers.
        example_inputs: a tensor, a tuple of positional arguments, or a dict of keyword arguments.
        energy: "N%" of the unmasked dense network (every weight counted, zeros too), or joules per count.
        plan: instead of ``energy``: an earlier plan, for the same network; other options are left out then.
        profile: device profile: a ``Profile``, a built-in name, a path, or a dict.
        pattern: one or several of "channel" (unless given; the next three), "filter" (of convolutions),
            "neuron" (of Linear layers), "hidden" (units of LSTM and GRU), "head" (of MultiheadAttention, which becomes
            a :class:`jouleprune.nn.NarrowMultiheadAttention`), "layer" (blocks with a residual path around them),
            "rank" (two smaller layers in place of one, or three of a convolution; extra ``lowrank``), "structured" (all
            but "rank").
        importance, data, loss: as in :func:`jouleprune.plan`; "lamp" (unless given) and "<criterion>/lamp" compare
            whole units.
        ignored_layers: modules, or names of modules or weights, that keep their shape.
        min_density: least share of units to keep, for all groups or by name of the group; one unit always stays.
        round_to: numbers of channels are multiples of it; from the profile unless given (columns of a systolic array, a
            cache line of numbers), and finer for layers of few channels: a step is a quarter of them at most.
        activation_density, batch, per, count: as in :func:`jouleprune.estimate`.
        optimizer: trains the smaller network from now on, with the state of what stays and the gradients that it has
            accumulated; parameters that it did not train it leaves alone.
    Returns:
        Shrunk, with ``energy_j <= budget``, and above 99 % of it or maximal: no group could keep one step more.
    Raises:
        BudgetError: malformed, above the dense energy, or below what the smallest network takes (``minimum_j``).
        PatternError: an unknown pattern or importance.
        ImportError: Torch-Pruning or tensorly is needed and not installed.
        ValueError: other arguments; the message names them.
    """
    StructureOptions.of("shrink", keywords)
    inner = plain_module(model)
    if (energy is None) == (plan is None):
        raise BudgetError("shrink: expected exactly one of energy and plan")
    if optimizer is not None and not isinstance(optimizer, torch.optim.Optimizer):
        raise ValueError(f"optimizer: expected a torch.optim.Optimizer, got {type(optimizer).__name__}")
    if plan is None:
        if profile is None:
            raise ValueError("profile: expected a Profile, a built-in name, a path or a dict, got None")
        assert energy is not None
        plan = plan_structure(inner, example_inputs, energy=energy, profile=profile, **keywords)
    elif not isinstance(plan, StructurePlan):
        raise ValueError(f"plan: expected a StructurePlan, got {type(plan).__name__}")
    smaller, cuts = smaller_copy(inner, plan.structure)
    if optimizer is not None:
        move_optimizer(optimizer, inner, smaller, cuts)
    return Shrunk(smaller, plan)
