"""The plan: what happens to each layer under a budget, as plain data; and ``jp.plan``, which makes one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from .energy import Profile
from .estimate import ActivationDensity, as_profile
from .importance import Importance
from .selection import Selector, plain_module

__all__ = ["LayerPlan", "NextUnit", "Plan", "plan"]


@dataclass(frozen=True)
class LayerPlan:
    """What happens to one prunable weight. Energies in joules per count."""

    name: str
    weight: str
    pattern: str
    layout: str
    dtype: str
    kernel: str
    units: int
    kept: int
    density: float
    energy_j: float
    dense_j: float
    importance_lost: float
    min_density: float
    reason: str


@dataclass(frozen=True)
class NextUnit:
    """The removed unit that would come back first, and what that would add in joules per count."""

    weight: str
    index: int
    energy_j: float


@dataclass(frozen=True)
class Plan:
    """Decision per layer under a joule budget, with everything it was made for. Energies in joules per count.

    ``masks`` (uint8 bits by weight name; see docs/formats.md) travel with the plan in memory and in checkpoints, not
    in its JSON.
    """

    profile: str
    profile_hash: str
    per: str
    batch: int
    count: int
    pattern: str
    importance: str
    budget: str
    budget_j: float
    energy_j: float
    dense_j: float
    minimum_j: float
    tuning: str
    maximal: bool
    slack_j: float
    next_unit: NextUnit | None
    layers: tuple[LayerPlan, ...]
    workload: str = field(repr=False)
    decided: tuple[bool, ...] = field(default=(), repr=False)
    masks: Mapping[str, torch.Tensor] = field(default_factory=dict, repr=False, compare=False)
    text: str = field(default="", repr=False, compare=False)

    @classmethod
    def from_json(cls, text: str, masks: Mapping[str, torch.Tensor] | None = None) -> Plan:
        """Parses what :meth:`to_json` wrote.

        Raises:
            ValueError: not a plan of schema 1.
        """
        try:
            data = json.loads(text)
            if not isinstance(data, dict) or data.get("schema") != 1:
                raise TypeError(f'no object with "schema": 1 in {text[:60]!r}')
            unit = data["next_unit"]
            return cls(
                profile=data["profile"],
                profile_hash=data["profile_hash"],
                per=data["per"],
                batch=data["batch"],
                count=data["count"],
                pattern=data["pattern"],
                importance=data["importance"],
                budget=data["budget"],
                budget_j=data["budget_j"],
                energy_j=data["energy_j"],
                dense_j=data["dense_j"],
                minimum_j=data["minimum_j"],
                tuning=data["tuning"],
                maximal=data["maximal"],
                slack_j=data["slack_j"],
                next_unit=None if unit is None else NextUnit(unit["weight"], unit["index"], unit["energy_j"]),
                layers=tuple(
                    LayerPlan(**{name: layer[name] for name in LayerPlan.__dataclass_fields__})
                    for layer in data["layers"]
                ),
                workload=json.dumps(data["workload"]),
                decided=tuple(data.get("decided", ())),
                masks=dict(masks or {}),
                text=text,
            )
        except (KeyError, TypeError, RecursionError, json.JSONDecodeError) as error:
            raise ValueError(f"Plan.from_json: expected a plan of schema 1: {type(error).__name__}: {error}") from error

    def to_json(self) -> str:
        """The plan as JSON (``"schema": 1``), without masks."""
        return self.text

    def __str__(self) -> str:
        from .report import plan_table

        return plan_table(self)


def plan(
    model: torch.nn.Module,
    example_inputs: Any,
    *,
    energy: str | float,
    profile: Profile | str | Mapping[str, Any],
    pattern: str = "unstructured",
    importance: Importance = "lamp",
    ignored_layers: Sequence[torch.nn.Module | str] = (),
    min_density: float | Mapping[str, float] = 0.0,
    activation_density: ActivationDensity = 1.0,
    batch: int | None = None,
    per: str = "inference",
    count: int | None = None,
) -> Plan:
    """Chooses what to remove so that one inference takes at most ``energy``, and changes nothing.

    Args:
        model: the network, also inside DDP or torch.compile; layers whose weights the kernels can run sparse are
            prunable: Linear, Conv1d, Conv2d, LSTM, GRU, MultiheadAttention.
        example_inputs: a tensor, a tuple of positional arguments, or a dict of keyword arguments.
        energy: "N%" of the unmasked dense network, or joules per inference.
        profile: device profile: a ``Profile``, a built-in name, a path, or a dict.
        pattern: "unstructured", or "auto" (for each layer the best of the patterns this version has: unstructured or
            dense).
        importance: "lamp" (default), "magnitude" (w^2), "gradient" (|g|), "taylor" (|w g|), or a callable
            ``(name, weight, grad) -> scores``; higher scores are kept.
        ignored_layers: modules, or names of modules or weights, that stay dense.
        min_density: least share of weights to keep, for all layers or by layer name.
        activation_density, batch, per, count: as in :func:`jouleprune.estimate`.
    Returns:
        Plan with ``energy_j <= budget_j``, and above 99 % of it or maximal.
    Raises:
        BudgetError: the budget is malformed, above the dense energy, or below the least that can be reached
            (``minimum_j`` of the error).
        PatternError: unknown pattern or importance.
        ValueError: other arguments; the message names them.
    """
    model = plain_module(model)
    selector = Selector.record(
        model,
        example_inputs,
        profile=as_profile(profile),
        pattern=pattern,
        importance=importance,
        ignored_layers=ignored_layers,
        min_density=min_density,
        activation_density=activation_density,
        batch=batch,
        per=per,
        count=count,
    )
    return selector.select(model, energy=energy)
