"""What people must know of a plan beyond its joules: layers that it empties, and layers that were sparse before."""

from __future__ import annotations

import json
import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from . import _C
from .errors import EmptyLayerWarning

if TYPE_CHECKING:
    from .plan import Plan

__all__ = ["emptied_layers", "quiet_about_emptied", "sparse_before", "warn_emptied"]


def emptied_layers(plan: Plan) -> tuple[str, ...]:
    """Names of the weights' layers that keep no weight, or fewer than one for ten outputs, in call order."""
    calls = {entry["weight"]: entry for entry in reversed(_entries(plan))}
    return tuple(
        layer.name
        for layer in plan.layers
        if layer.pattern != "dense" and _is_empty(layer.density, calls[layer.weight])
    )


def _is_empty(density: float, call: Mapping[str, Any]) -> bool:
    return _C.passes_next_to_nothing(density * call["weight_elements"], call["rows"])


def sparse_before(plan: Plan) -> tuple[str, ...]:
    """Names of layers that ran sparse when the network was recorded: the plan leaves them as they are."""
    decided = {layer.weight for layer in plan.layers}
    found = [entry["name"] for entry in _entries(plan) if entry["layout"] != "dense" and entry["weight"] not in decided]
    return tuple(dict.fromkeys(found))


def warn_emptied(plan: Plan, told: Collection[str] = (), *, stacklevel: int) -> None:
    """Warns of emptied layers that are not among ``told``; ``stacklevel`` counts from the caller of this function."""
    names = [name for name in emptied_layers(plan) if name not in told]
    if not names:
        return
    warnings.warn(
        f"the plan leaves no weights, or next to none, in {', '.join(names)}: nothing passes through them any more; "
        f"{_normalise(plan.importance)}min_density= sets a floor per layer",
        EmptyLayerWarning,
        stacklevel=stacklevel + 1,
    )


def _normalise(importance: str) -> str:
    """What to do about scores that were compared between layers as they are."""
    from .importance import is_named

    if importance == "lamp" or "/" in importance:
        return ""
    other = f'importance="{importance}/sum"' if is_named(importance) else f"criteria.PerLayer({importance})"
    return f"{other} makes its scores comparable between layers; "


@contextmanager
def quiet_about_emptied() -> Iterator[None]:
    """For searches that try budgets on purpose at which layers are empty."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EmptyLayerWarning)
        yield


def _entries(plan: Plan) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = json.loads(plan.workload)["entries"]
    return entries
