"""What the Pruner checks of its arguments, and the dense workload that percentages refer to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from .energy import Profile
from .errors import ProfileError
from .estimate import as_profile
from .plan import Plan

__all__ = ["check_left_out", "check_same_profile", "dense_workload", "given", "profile_of"]


def check_left_out(**options: bool) -> None:
    """What a plan decides is not decided again."""
    for name, is_given in options.items():
        if is_given:
            raise ValueError(f"{name}: comes from the plan: leave it out, or make another plan with it")


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
