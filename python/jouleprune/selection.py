"""The seam to the C++ planner: a recorded workload, a profile and importance scores in; masks and a plan out."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from .energy import Profile
from .errors import BudgetError, PatternError, ProfileError
from .estimate import ActivationDensity
from .importance import Importance, importance_name, score
from .layers import SPARSE_DTYPES, layer_of, why_not_convertible
from .record import record

if TYPE_CHECKING:
    from .plan import Plan

__all__ = ["PATTERNS", "Selector"]

PATTERNS = ("unstructured", "auto")
_PRUNABLE_OPS = ("linear", "conv1d", "conv2d", "lstm", "gru")


@dataclass(frozen=True)
class Selector:
    """What selection needs besides the weights: recorded once, then asked at every update of a schedule."""

    workload: Mapping[str, Any]
    profile: Profile
    pattern: str
    importance: Importance
    weights: tuple[str, ...]
    floors: tuple[float, ...]

    @classmethod
    def record(
        cls,
        model: torch.nn.Module,
        example_inputs: Any,
        *,
        profile: Profile,
        pattern: str,
        importance: Importance,
        ignored_layers: Sequence[torch.nn.Module | str],
        min_density: float | Mapping[str, float],
        activation_density: ActivationDensity,
        batch: int | None,
        per: str,
        count: int | None,
    ) -> Selector:
        """Runs the model once, without a trace, and finds what can be pruned in it."""
        if not isinstance(model, torch.nn.Module):
            raise ValueError(f"model: expected a torch.nn.Module, got {type(model).__name__}")
        if pattern not in PATTERNS:
            raise PatternError(f"pattern: expected one of {', '.join(PATTERNS)}, got {pattern!r}")
        importance_name(importance)
        ignored = _ignored_weights(model, ignored_layers)
        recorded = record(
            model, example_inputs, batch=batch, activation_density=activation_density, per=per, count=count
        )
        workload = json.loads(recorded)
        weights = _prunable_weights(model, workload, profile, ignored)
        return cls(workload, profile, pattern, importance, weights, _floors(model, weights, min_density))

    def probe(self, energy: str | float) -> tuple[float, float, float]:
        """(dense, minimum, budget) in joules per count. Raises BudgetError when the budget cannot be met."""
        _, text = self._ask([], {"probe": True, **_budget(energy)})
        data = json.loads(text)
        return data["dense_j"], data["minimum_j"], data["budget_j"]

    def select(
        self,
        model: torch.nn.Module,
        *,
        energy: str | float,
        relaxed_j: float | None = None,
        frozen: Sequence[bool] | None = None,
    ) -> Plan:
        """Masks of least importance lost within the budget; ``relaxed_j`` and ``frozen`` serve the steps of a
        schedule."""
        from .plan import Plan

        request: dict[str, Any] = _budget(energy)
        if relaxed_j is not None:
            request["relaxed_j"] = relaxed_j
        if frozen is not None:
            request["frozen"] = list(frozen)
        parameters = dict(model.named_parameters())
        scores = [score(self.importance, name, parameters[name]) for name in self.weights]
        masks, text = self._ask(scores, request)
        kept = {name: mask for name, mask in zip(self.weights, masks, strict=True) if mask.numel() > 0}
        return Plan.from_json(text, kept)

    def _ask(self, scores: list[torch.Tensor], request: dict[str, Any]) -> tuple[list[torch.Tensor], str]:
        request |= {
            "schema": 1,
            "workload": self.workload,
            "profile": json.loads(self.profile.to_json()),
            "pattern": "unstructured",  # "auto" is the best of the patterns there are: this one, or dense
            "importance": importance_name(self.importance),
            "weights": [
                {"name": name, "min_density": floor} for name, floor in zip(self.weights, self.floors, strict=True)
            ],
        }
        masks, text = torch.ops.jouleprune.select_masks(scores, json.dumps(request))
        _raise_named(text)
        return masks, text


def _budget(energy: str | float) -> dict[str, Any]:
    if isinstance(energy, str):
        return {"budget": energy}
    if isinstance(energy, bool) or not isinstance(energy, int | float):
        raise BudgetError(f'energy: expected "N%" or joules, got {energy!r}', float("nan"))
    try:
        joules = float(energy)
    except OverflowError:
        joules = math.inf
    if not math.isfinite(joules):
        raise BudgetError(f"energy: expected a finite number of joules, got {energy!r}", float("nan"))
    return {"budget_j": joules}


def _raise_named(text: str) -> None:
    if not text.startswith('{"error"'):
        return
    error = json.loads(text)["error"]
    if error["type"] == "BudgetError":
        minimum = error.get("minimum_j")
        raise BudgetError(error["message"], float("nan") if minimum is None else minimum)
    kinds: dict[str, type[ValueError]] = {"PatternError": PatternError, "ProfileError": ProfileError}
    raise kinds.get(error["type"], ValueError)(error["message"])


def _ignored_weights(model: torch.nn.Module, ignored_layers: Sequence[torch.nn.Module | str]) -> set[str]:
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


def _prunable_weights(
    model: torch.nn.Module, workload: Mapping[str, Any], profile: Profile, ignored: set[str]
) -> tuple[str, ...]:
    """Weights in call order that are parameters, not ignored, only used by prunable ops, and runnable once pruned."""
    parameters = dict(model.named_parameters())
    used_by: dict[str, set[str]] = {}
    for entry in workload["entries"]:
        if entry["weight"]:
            used_by.setdefault(entry["weight"], set()).add(entry["op"] if entry["layout"] == "dense" else "sparse")
    prunable = []
    for name, ops in used_by.items():
        if name in ignored or name not in parameters or not ops <= set(_PRUNABLE_OPS):
            continue
        if parameters[name].dtype not in SPARSE_DTYPES:
            continue
        # Where hardware skips zeros they save energy whatever the host runs; on CPU and GPU only a sparse module saves.
        if profile.kind != "asic" and why_not_convertible(model, name):
            continue
        prunable.append(name)
    return tuple(prunable)


def _floors(
    model: torch.nn.Module, weights: Sequence[str], min_density: float | Mapping[str, float]
) -> tuple[float, ...]:
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
