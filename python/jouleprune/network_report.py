"""``jp.report``: what a network costs on devices, before and after pruning, as text, JSON and one HTML file."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from ._C import density_curves as _density_curves
from .compare import Comparison, Models, Profiles, compare, named_models, profile_list
from .energy import BreakEven, EnergyReport, LayerExplanation, Measurement, Profile, break_evens, price_workload
from .errors import BudgetError
from .estimate import ActivationDensity
from .plan import Plan
from .plan import plan as make_plan
from .pruner import PruneReport
from .record import record
from .report import network_text

__all__ = ["DensityCurve", "DensityCurves", "DeviceSection", "NetworkReport", "report"]

_DENSITIES = tuple(step / 20 for step in range(21))
#: So many of the costliest layers are explained down to their coefficients unless others are asked for.
_EXPLAINED = 3


@dataclass(frozen=True)
class DensityCurve:
    """Modelled joules of a network whose layers a kernel runs at one density, all that it can; the others dense.

    Attributes:
        layers: calls that it can run.
        energy_j: one per density of :class:`DensityCurves`.
        density: break-even: the largest, in steps of 0.001, at which the network costs no more than dense; None where
            it always costs more.
    """

    kernel: str
    layout: str
    layers: int
    energy_j: tuple[float, ...]
    density: float | None


@dataclass(frozen=True)
class DensityCurves:
    """Joules over density, a curve per kernel; none where zeros save nothing on the device."""

    densities: tuple[float, ...]
    dense_j: float
    dense_low_j: float
    dense_high_j: float
    curves: tuple[DensityCurve, ...]


@dataclass(frozen=True)
class DeviceSection:
    """One network on one device, at the batch of its example inputs.

    Attributes:
        now: the network as it is.
        pruned: dense and as planned; None without a budget or plan for this device.
        why_not_pruned: why a budget could not be met; empty otherwise.
    """

    network: str
    profile: str
    now: EnergyReport
    pruned: PruneReport | None
    why_not_pruned: str
    curves: DensityCurves
    break_evens: tuple[BreakEven, ...]
    explanations: tuple[LayerExplanation, ...]


@dataclass(frozen=True)
class NetworkReport:
    """What :func:`report` found; ``measurements`` by name of the network."""

    comparison: Comparison
    sections: tuple[DeviceSection, ...]
    measurements: Mapping[str, Measurement] = field(default_factory=dict)

    def to_json(self) -> str:
        """As JSON, schema 1."""
        return json.dumps(
            {
                "schema": 1,
                "comparison": json.loads(self.comparison.to_json()),
                "sections": [_section_data(section) for section in self.sections],
                "measurements": {name: json.loads(one.to_json()) for name, one in self.measurements.items()},
            }
        )

    def to_html(self) -> str:
        """One self-contained page: no scripts, nothing loaded from elsewhere; the same report gives the same bytes."""
        from .network_html import page

        return page(self)

    def write_html(self, path: str | os.PathLike[str]) -> None:
        """Writes :meth:`to_html` beside ``path`` and renames it.

        Raises:
            OSError: it cannot be written.
        """
        from .files import write

        write(path, self.to_html())

    def __str__(self) -> str:
        return network_text(self)


def report(
    models: Models,
    example_inputs: Any,
    *,
    profiles: Profiles,
    energy: str | float | None = None,
    plans: Sequence[Plan] = (),
    batches: Sequence[int] | None = (1, 32),
    explain: Sequence[str] | None = None,
    measurements: Measurement | Mapping[str, Measurement] | None = None,
    activation_density: ActivationDensity = 1.0,
    pattern: str = "unstructured",
) -> NetworkReport:
    """What networks cost on devices: comparison, layers, before and after pruning, break-evens, sources.

    Args:
        models, example_inputs, profiles, batches: as in :func:`jouleprune.compare`; layers are told at the batch of
            ``example_inputs``.
        energy: budget as in :func:`jouleprune.plan`: each network is planned on each device. A budget that cannot be
            met is told in its section.
        plans: instead of ``energy``, for one network: plans, each shown on the device it was made for.
        explain: layers to take apart; the three costliest of each section unless given.
        measurements: what :func:`jouleprune.energy.measure` found here, of the one network or by name.
        activation_density, pattern: as in :func:`jouleprune.plan`.
    Raises:
        ProfileError: a profile is unknown or malformed.
        ValueError: an argument does not fit; the message names it.
    """
    networks, devices = named_models(models, example_inputs), profile_list(profiles)
    if not isinstance(plans, Sequence) or not all(isinstance(plan, Plan) for plan in plans):
        raise ValueError(f"plans: expected a list of plans, as in plans=[plan], got {type(plans).__name__}")
    if explain is not None and (isinstance(explain, str) or not isinstance(explain, Sequence)):
        raise ValueError(f"explain: expected a list of layers, as in explain=['fc'], got {explain!r}")
    if plans and (energy is not None or len(networks) > 1):
        raise ValueError("plans: expected for one network and without energy")
    measured = _by_network(measurements, [name for name, _, _ in networks])
    compared = compare(models, example_inputs, profiles=devices, batches=batches, activation_density=activation_density)
    sections = []
    for name, model, inputs in networks:
        workload = record(model, inputs, activation_density=activation_density)
        for device in devices:
            pruned, why = _pruned(workload, device, plans), ""
            if energy is not None:
                if not isinstance(model, torch.nn.Module):
                    raise ValueError(f"energy: expected modules to plan for, got {type(model).__name__} for {name!r}")
                options = {"activation_density": activation_density, "pattern": pattern}
                try:
                    made = make_plan(model, inputs, energy=energy, profile=device, **options)  # type: ignore[arg-type]
                    pruned = _before_and_after(workload, made, device)
                except BudgetError as error:
                    if error.minimum_j != error.minimum_j:  # NaN: the budget itself is malformed
                        raise
                    why = str(error)
            sections.append(_section(name, workload, device, pruned, why, explain))
    unused = [plan.profile for plan in plans if plan.profile_hash not in {device.hash for device in devices}]
    if unused:
        raise ValueError(f"plans: made for {', '.join(unused)}, which is not among the profiles")
    return NetworkReport(compared, tuple(sections), measured)


def _section(
    name: str, workload: str, device: Profile, pruned: PruneReport | None, why: str, explain: Sequence[str] | None
) -> DeviceSection:
    now = price_workload(workload, device)
    if explain is None:
        costliest = sorted(now.layers, key=lambda layer: -layer.energy_j)
        explain = list(dict.fromkeys(layer.name for layer in costliest))[:_EXPLAINED]
    curves = json.loads(_density_curves(workload, device, list(_DENSITIES)))
    made = tuple(DensityCurve(**{**curve, "energy_j": tuple(curve["energy_j"])}) for curve in curves.pop("curves"))
    return DeviceSection(
        network=name,
        profile=now.profile,
        now=now,
        pruned=pruned,
        why_not_pruned=why,
        curves=DensityCurves(_DENSITIES, curves=made, **curves),
        break_evens=break_evens(workload, device),
        explanations=tuple(now.explain(layer) for layer in explain),
    )


def _pruned(workload: str, device: Profile, plans: Sequence[Plan]) -> PruneReport | None:
    plan = next((plan for plan in plans if plan.profile_hash == device.hash), None)
    return None if plan is None else _before_and_after(workload, plan, device)


def _before_and_after(workload: str, plan: Plan, device: Profile) -> PruneReport:
    """Of a plan: the network as recorded with whole weights, and as planned."""
    planned = {layer.weight for layer in plan.layers}
    whole = json.loads(workload)
    for entry in whole["entries"]:
        if entry["weight"] in planned:
            entry |= {"nnz": entry["weight_elements"], "pattern": "dense", "layout": "dense", "kernel": "dense"}
    before = price_workload(json.dumps(whole), device)
    if not math.isclose(before.energy_j, plan.dense_j, rel_tol=1e-9):
        raise ValueError(
            f"plans: expected one for this network and batch, which takes {before.energy_j:.6g} J dense on "
            f"{device.name}, got one for {plan.dense_j:.6g} J"
        )
    return PruneReport(before, price_workload(plan.workload, device), plan)


def _by_network(
    measurements: Measurement | Mapping[str, Measurement] | None, names: Sequence[str]
) -> dict[str, Measurement]:
    if measurements is None:
        return {}
    if isinstance(measurements, Measurement):
        if len(names) > 1:
            raise ValueError(f"measurements: expected a dict by network ({', '.join(names)}), got one")
        return {names[0]: measurements}
    if not isinstance(measurements, Mapping):
        raise ValueError(f"measurements: expected what measure found, or a dict of it, got {measurements!r}")
    for name in measurements:
        if name not in names:
            raise ValueError(f"measurements: expected names among {', '.join(names)}, got {name!r}")
    return dict(measurements)


def _section_data(section: DeviceSection) -> dict[str, Any]:
    curves = section.curves
    return {
        "network": section.network,
        "profile": section.profile,
        "now": json.loads(section.now.to_json()),
        "pruned": None if section.pruned is None else json.loads(section.pruned.to_json()),
        "why_not_pruned": section.why_not_pruned,
        "curves": {**vars(curves), "curves": [vars(curve) for curve in curves.curves]},
        "break_evens": [vars(row) for row in section.break_evens],
        "explanations": [json.loads(one.to_json()) for one in section.explanations],
    }
