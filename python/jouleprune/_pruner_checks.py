"""What the Pruner checks of its arguments, and the dense workload that percentages refer to."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch

from ._ranks import Ranks, local_part
from .criteria import PerLayer
from .energy import Profile
from .errors import ProfileError
from .estimate import as_profile
from .importance import Importance
from .plan import Plan

__all__ = [
    "check_callable",
    "check_left_out",
    "check_options",
    "check_same_profile",
    "dense_workload",
    "given",
    "gradients_overflow",
    "profile_of",
]


def check_left_out(**options: bool) -> None:
    """What a plan decides is not decided again."""
    for name, is_given in options.items():
        if is_given:
            raise ValueError(f"{name}: comes from the plan: leave it out, or make another plan with it")


def check_options(where: str, options: Mapping[str, Any], taker: Callable[..., Any], decided: Sequence[str]) -> None:
    """Options that are passed on: those of ``taker`` without what ``where`` decides itself.

    Raises:
        ValueError: an option that is decided there.
        TypeError: an option that ``taker`` does not have.
    """
    known = [
        name
        for name, parameter in inspect.signature(taker).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY and name not in decided
    ]
    for name in options:
        if name in decided:
            raise ValueError(f"{name}: {where} decides it: leave it out")
        if name not in known:
            raise TypeError(f"{where}: expected options among {', '.join(known)}, got {name!r}")


def check_callable(name: str, value: object, signature: str, *, optional: bool = False) -> None:
    """Refuses what cannot be called; ``signature`` tells how it would be."""
    if not (callable(value) or (optional and value is None)):
        raise ValueError(f"{name}: expected a callable {signature}, got {value!r}")


def given(value: Any) -> Any:
    if value is None:
        raise ProfileError("profile: expected a Profile, a built-in name, a path or a dict, got None")
    return value


def profile_of(plan: Plan) -> Profile:
    try:
        return as_profile(plan.profile)
    except ProfileError as error:
        raise ProfileError(f"plan: its profile {plan.profile!r} is not built in: pass profile= as well") from error


def check_same_profile(plan: Plan, profile: Profile) -> None:
    if profile.hash != plan.profile_hash:
        raise ProfileError(
            f"plan: made with profile {plan.profile!r} ({plan.profile_hash[:8]}), "
            f"but profile= is {profile.name!r} ({profile.hash[:8]})"
        )


def dense_workload(workload: Mapping[str, Any], weights: Sequence[str]) -> str:
    """The workload with every prunable weight unmasked: what percentages refer to."""
    entries = [
        {**entry, "nnz": entry["weight_elements"]} if entry["weight"] in weights else entry
        for entry in workload["entries"]
    ]
    return json.dumps({**workload, "entries": entries})


def gradients_overflow(
    importance: Importance, data: object, gradients: Iterable[torch.Tensor | None], ranks: Ranks | None
) -> bool:
    """Whether scores would come from present gradients, and some of these are infinite or NaN, in any process: a step
    that a GradScaler leaves out."""
    while isinstance(importance, PerLayer):
        importance = importance.importance
    name = importance.partition("/")[0] if isinstance(importance, str) else ""
    if name not in ("gradient", "taylor") or data is not None:
        return False
    found = any(grad is not None and not bool(local_part(grad).isfinite().all()) for grad in gradients)
    return found if ranks is None else ranks.any_of(found)
