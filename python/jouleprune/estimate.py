"""``jp.estimate``: the joules of a forward pass on a device profile."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import torch

from .energy import EnergyReport, LayerEnergy, Profile, load_profile, price_workload
from .record import check_batch, record

__all__ = ["ActivationDensity", "Model", "as_profile", "estimate", "price_entry"]

#: What can be recorded: a module (eager, scripted, traced), or any callable that runs it.
Model = torch.nn.Module | Callable[..., Any]
#: One share of non-zero activations for all layers, one per layer, or "measured" on the example inputs.
ActivationDensity = float | str | Mapping[str, float]


def as_profile(profile: Profile | str | Mapping[str, Any]) -> Profile:
    """A profile from what users pass: a Profile, a built-in name, a path, or a dict."""
    return profile if isinstance(profile, Profile) else load_profile(profile)


def estimate(
    model: Model,
    example_inputs: Any,
    *,
    profile: Profile | str | Mapping[str, Any],
    batch: int | None = None,
    activation_density: ActivationDensity = 1.0,
    per: str = "inference",
    count: int | None = None,
) -> EnergyReport:
    """Energy of one forward pass, in joules per inference, layer by layer.

    Runs ``model`` once on ``example_inputs`` in eval mode without gradients, and leaves no trace in it.

    Args:
        model: module or callable; sparse modules of ``jouleprune.nn`` are priced by their own kernels.
        example_inputs: a tensor, a tuple of positional arguments, or a dict of keyword arguments.
        profile: device profile: a ``Profile``, a built-in name, a path, or a dict.
        batch: inferences in the pass; dim 0 of the first tensor unless given. One sample without a batch dimension,
            like ``torch.randn(33)`` for an MLP, needs ``batch=1``: it would count as 33 inferences.
        activation_density: share of non-zero activations: a number, ``{layer: share}``, or "measured" on these inputs.
            Only devices that gate zeros profit.
        per: what ``count`` counts: "inference", "token" or "request"; the last two need ``count``.
        count: the pass's energy is divided by it; the batch unless given.
    Returns:
        EnergyReport, labelled "modelled".
    Raises:
        ProfileError: the profile is unknown or malformed.
        ValueError: an argument is out of range, or the model runs nothing that can be priced.
    """
    check_batch(example_inputs, batch)
    workload = record(model, example_inputs, batch=batch, activation_density=activation_density, per=per, count=count)
    return price_workload(workload, as_profile(profile))


def price_entry(entry: Mapping[str, Any], profile: Profile, count: int) -> LayerEnergy:
    """Prices one entry of a workload by the kernel it names."""
    workload = {"schema": 1, "entries": [entry], "unknown_ops": [], "batch": 1, "count": count, "per": "inference"}
    return price_workload(json.dumps(workload), profile).layers[0]
