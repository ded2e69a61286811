"""From a model and a budget to a structure plan."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import Unpack

from .._prunable import computed_weights
from .._pruner_checks import dense_workload
from ..criteria import Context
from ..energy import EnergyReport, Profile, price_workload
from ..errors import BudgetError
from ..estimate import as_profile, estimate
from ..importance import check_given, importance_name
from ..record import record
from ..selection import plain_module
from ..untouched import has_no_data
from .choice import Choice
from .options import StructureKeywords, StructureOptions
from .plan import ChoicePlan, NextStep, StructurePlan
from .round_to import round_to_of
from .search import least, search
from .structure import smaller_copy
from .units import choices, kinds_of, structure_of, wanted_of
from .worth import Scores, scores_for

__all__ = ["budget_in_joules", "checked_step", "plan_structure", "unmasked_j"]


def _priced_on(
    model: nn.Module, example_inputs: Any, kinds: Sequence[str], estimated: Callable[[nn.Module, Any], EnergyReport]
) -> tuple[nn.Module, Any, Callable[[nn.Module, Any], EnergyReport]]:
    """What is shrunk and run to be priced: tensors without data where the estimate of the whole network is the same to
    the last digit, which is quicker; else the network itself."""
    if "rank" in kinds or "head" in kinds:  # made from numbers
        return model, example_inputs, estimated
    try:
        shapes, inputs = copy.deepcopy(model).to("meta"), _without_data(example_inputs)
        if estimated(shapes, inputs) == estimated(model, example_inputs):
            return shapes, inputs, estimated
    except (RuntimeError, ValueError, TypeError, NotImplementedError):
        pass  # a network that needs its data to run
    return model, example_inputs, estimated


def _without_data(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.to("meta")
    if isinstance(value, Mapping):
        return {key: _without_data(item) for key, item in value.items()}
    return type(value)(_without_data(item) for item in value) if type(value) in (tuple, list) else value


@dataclass
class _Prices:
    """Joules of the networks that could be left, each estimated once."""

    model: nn.Module
    shapes: nn.Module
    """Of the model, without numbers where the estimate does not need any."""
    inputs: Any
    estimated: Callable[[nn.Module, Any], EnergyReport]
    options: Sequence[Choice]
    known: dict[tuple[int, ...], float] = field(default_factory=dict)

    def __call__(self, kept: tuple[int, ...]) -> float:
        if kept not in self.known:
            structure = structure_of(self.model, self.options, kept)
            self.known[kept] = self.estimated(smaller_copy(self.shapes, structure)[0], self.inputs).energy_j
        return self.known[kept]


def plan_structure(
    model: nn.Module,
    example_inputs: Any,
    *,
    energy: str | float,
    profile: Profile | str | Mapping[str, Any],
    **keywords: Unpack[StructureKeywords],
) -> StructurePlan:
    """As :func:`jouleprune.shrink`, but nothing is changed: see there for the arguments."""
    asked = StructureOptions.of("plan_structure", keywords)
    importance, data, loss, activation_density = asked.importance, asked.data, asked.loss, asked.activation_density
    model = plain_module(model)
    kinds, device = kinds_of(asked.pattern), as_profile(profile)
    for sentence in computed_weights(model):
        raise ValueError(f"model: {sentence}")
    _check_finite(model)
    check_given(importance, data, loss)
    step = round_to_of(device, model) if asked.round_to is None else checked_step(asked.round_to)
    recorded = record(
        model,
        example_inputs,
        batch=asked.batch,
        activation_density=activation_density,
        per=asked.per,
        count=asked.count,
    )
    workload = json.loads(recorded)
    batch, per, count = workload["batch"], workload["per"], workload["count"]

    def scores(names: tuple[str, ...]) -> Scores:
        patterns = dict.fromkeys(names, "unstructured")
        return scores_for(importance, Context(model, names, patterns, workload, example_inputs, data, loss))

    def estimated(network: nn.Module, inputs: Any = example_inputs) -> EnergyReport:
        density = activation_density
        if isinstance(density, Mapping):
            alive = dict(network.named_modules())
            density = {name: share for name, share in density.items() if name in alive}
        return estimate(network, inputs, profile=device, batch=batch, activation_density=density, per=per, count=count)

    wanted = wanted_of(model, kinds, asked.ignored_layers, step, asked.min_density)
    with torch.no_grad():
        options, whole = choices(model, example_inputs, scores, wanted)
        prices = _Prices(model, *_priced_on(model, example_inputs, kinds, estimated), options)
        full = tuple(choice.widths[-1] for choice in options)
        widths = [choice.widths for choice in options]
        dense_j = unmasked_j(workload, device)
        minimum_j = min(dense_j, prices(full), least(prices, widths))
        budget_j = budget_in_joules(energy, dense_j)
        if minimum_j > budget_j:
            raise BudgetError(
                f"energy: {budget_j:.4g} J is below the least that {', '.join(kinds)} can reach, {minimum_j:.4g} J"
                + "".join(f"; whole: {sentence}" for sentence in whole),
                minimum_j,
            )
        found = search(prices, widths, [choice.lost for choice in options], budget_j)
    step_back = None
    if found.next_choice is not None:
        choice, stays = options[found.next_choice], found.kept[found.next_choice]
        step_back = NextStep(choice.name, choice.widths[choice.widths.index(stays) + 1], found.next_j)
    return StructurePlan(
        profile=device.name, profile_hash=device.hash, per=per, batch=batch, count=count, pattern=kinds,
        importance=importance_name(importance), round_to=step, budget_j=budget_j, energy_j=found.energy_j,
        dense_j=dense_j, minimum_j=minimum_j, maximal=found.maximal, slack_j=budget_j - found.energy_j,
        next_step=step_back,
        choices=tuple(
            ChoicePlan(choice.name, choice.kind, choice.units, stays, choice.lost(stays), choice.weights)
            for choice, stays in zip(options, found.kept, strict=True)
        ),
        whole=tuple(whole), structure=structure_of(model, options, found.kept),
    )  # fmt: skip


def _check_finite(model: nn.Module) -> None:
    """NaN would make every group look wrong, for a reason that is none."""
    for name, parameter in model.named_parameters():
        if parameter.is_floating_point() and not has_no_data(parameter) and not bool(parameter.isfinite().all()):
            raise ValueError(f"model: expected finite weights, got NaN or infinity in {name!r}")


def unmasked_j(workload: Mapping[str, Any], profile: Profile) -> float:
    """Joules per count with every weight counted, zeros too: what percentages refer to. Layers whose weight is stored
    sparse stay as they are stored."""
    weights = [entry["weight"] for entry in workload["entries"] if entry["weight"] and entry["layout"] == "dense"]
    return price_workload(dense_workload(workload, weights), profile).energy_j


def checked_step(round_to: int) -> int:
    if isinstance(round_to, bool) or not isinstance(round_to, int) or round_to < 1:
        raise ValueError(f"round_to: expected a whole number of at least 1, got {round_to!r}")
    return round_to


def budget_in_joules(energy: str | float, dense_j: float) -> float:
    """Joules of "N%" or of a number.

    Raises:
        BudgetError: malformed, or above the dense energy.
    """
    if isinstance(energy, str):
        try:
            share = float(energy.removesuffix("%")) if energy.endswith("%") else math.nan
        except ValueError:
            share = math.nan
        if not 0.0 < share <= 100.0:
            raise BudgetError(f'energy: expected "N%" with N above 0 and at most 100, or joules, got {energy!r}')
        return dense_j * (share / 100.0)  # in this order "100%" is dense_j itself
    if isinstance(energy, bool) or not isinstance(energy, int | float) or not math.isfinite(energy) or energy <= 0:
        raise BudgetError(f'energy: expected "N%" or joules, got {energy!r}')
    if energy > dense_j:
        raise BudgetError(f"energy: {energy:.4g} J is above the dense network's {dense_j:.4g} J", dense_j)
    return float(energy)
