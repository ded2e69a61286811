"""Which layers ``convert`` may replace: those that a plan prunes, or those that hold zeros."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from ._already_sparse import refuse_sparse
from .energy import Profile
from .layers import layer_of, unit_of
from .ops import unpack_mask
from .plan import LayerPlan, Plan
from .record import record

__all__ = ["Candidate", "Recording", "density_of", "planned_candidates", "stays_dense", "with_zeros"]

_SPARSE_OPS = ("linear", "conv1d", "conv2d", "lstm", "gru")


class Recording:
    """One forward pass of the dense model, recorded when it is first asked for."""

    def __init__(self, model: torch.nn.Module, example_inputs: Any) -> None:
        self._model = model
        self._example_inputs = example_inputs

    @cached_property
    def workload(self) -> Mapping[str, Any]:
        """As ``record`` tells it."""
        workload: dict[str, Any] = json.loads(record(self._model, self._example_inputs))
        return workload


@dataclass(frozen=True)
class Candidate:
    """A weight with zeros, or one that a plan runs otherwise; how it is to run where joules have decided."""

    name: str
    weight: str
    kernel: str
    wanted: bool  # whether joules already decided for the sparse kernel
    reason: str
    layout: str = "csr"
    pattern: str = "unstructured"

    @property
    def mask_is_full(self) -> bool:
        """Whether the plan keeps all weights and changes how they run."""
        return self.pattern == "dense"


def stays_dense(layer: LayerPlan) -> bool:
    """Whether a plan prunes the layer for another currency than joules and runs it dense all the same."""
    return layer.layout == "bitmap" or (layer.layout == "dense" and layer.pattern != "dense")


def planned_candidates(model: torch.nn.Module, plan: Plan, force: bool = False) -> list[Candidate]:
    """The layers that a plan runs sparse or in another number type; ``force``: and those that it prunes but runs dense.

    Raises:
        ValueError: the model lacks one, or does not hold the plan's zeros.
    """
    parameters = dict(model.named_parameters())
    for layer in plan.layers:
        if layer.weight not in parameters:
            refuse_sparse(model, layer.name, layer.weight)
            raise ValueError(f"plan: names the weight {layer.weight!r}, which the model lacks")
        _check_zeros(parameters[layer.weight], layer, plan)
    changed = [layer for layer in plan.layers if layer.pattern != "dense" or layer.layout != "dense"]
    return [_candidate(layer) for layer in changed if force or not stays_dense(layer)]


def _candidate(layer: LayerPlan) -> Candidate:
    wanted = layer.layout not in ("dense", "compressed", "bitmap")
    layout = layer.layout if wanted else "csr"
    return Candidate(layer.name, layer.weight, layer.kernel, wanted, layer.reason, layout, layer.pattern)


def _check_zeros(weight: torch.Tensor, layer: LayerPlan, plan: Plan) -> None:
    bits = plan.masks.get(layer.weight)
    if bits is None:
        return
    expected = (weight.numel() + 7) // 8
    if bits.numel() != expected:
        raise ValueError(f"plan: mask of {layer.weight!r}: expected {expected} bytes, got {bits.numel()}")
    kept = unpack_mask(bits.to(weight.device), list(weight.shape))
    revived = int((weight.detach()[~kept] != 0).sum())
    if revived:
        raise ValueError(
            f"model: {revived} weights of {layer.weight!r} are not zero where the plan removed them: "
            "call pruner.step() after the last optimizer.step(), or pruner.prune_now()"
        )


def with_zeros(model: torch.nn.Module, device: Profile | None, recording: Recording) -> list[Candidate]:
    """Layers that hold zeros; with a profile, only those whose sparse kernel costs fewer joules there."""
    wanted = _cheaper_sparse(recording, device) if device is not None and device.kind != "asic" else None
    found = []
    for name, parameter in model.named_parameters():
        if unit_of(model, name) is None or not bool((parameter == 0).any()):
            continue
        if wanted is None:
            found.append(Candidate(layer_of(name), name, "csr", False, ""))
        elif name in wanted:
            found.append(Candidate(layer_of(name), name, "csr", True, wanted[name]))
    return found


def _cheaper_sparse(recording: Recording, device: Profile) -> dict[str, str]:
    from .estimate import price_entry

    workload = recording.workload
    joules: dict[str, list[float]] = {}
    for entry in workload["entries"]:
        if entry["weight"] and entry["op"] in _SPARSE_OPS and entry["layout"] == "dense":
            sparse = {**entry, "pattern": "unstructured", "layout": "csr", "kernel": "csr"}
            both = joules.setdefault(entry["weight"], [0.0, 0.0])
            both[0] += price_entry(entry, device, workload["count"]).energy_j
            both[1] += price_entry(sparse, device, workload["count"]).energy_j
    return {
        weight: f"csr: {sparse:.3g} J instead of {dense:.3g} J on {device.name}"
        for weight, (dense, sparse) in joules.items()
        if sparse < dense
    }


def density_of(model: torch.nn.Module, name: str) -> float:
    """Share of the weight that is not zero."""
    weight = model.get_parameter(name)
    return float((weight != 0).sum()) / max(1, weight.numel())
