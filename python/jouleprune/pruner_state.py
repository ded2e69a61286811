"""What ``Pruner.state_dict`` wrote, read with suspicion."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from ._fields import array_of_objects
from ._plan_fit import check_fit
from .energy import Profile
from .importance import importance_name
from .plan import Plan
from .selection import Selector

__all__ = ["SavedState", "check_budget", "read_state"]

_WHERE = "Pruner.load_state_dict"
_KEYS = {"schema", "step", "done", "masks", "plan", "frozen", "profile_hash"}


@dataclass(frozen=True)
class SavedState:
    """A state that fits: the masks are the plan's.

    ``measured``: the limits of the tuning table that plans followed, as JSON; ``rng``: of torch's CPU generator. Both
    None in states of before they were kept. ``owed``: masks were due when gradients had overflowed.
    """

    step: int
    done: bool
    plan: Plan | None
    frozen: tuple[bool, ...] | None
    measured: str | None
    rng: torch.Tensor | None
    owed: bool


def read_state(
    state: object, selector: Selector, model: torch.nn.Module, profile: Profile, budget_j: float
) -> SavedState:
    """Checks all of it.

    Args:
        budget_j: the final budget of the pruner that takes the state, in its currency.

    Raises:
        ValueError: the message names the part that is damaged or belongs elsewhere.
    """
    if not isinstance(state, Mapping):
        raise ValueError(f"{_WHERE}: expected the dict of state_dict(), got {type(state).__name__}")
    missing = _KEYS - set(state)
    if missing or state["schema"] != 1:
        raise ValueError(f"{_WHERE}: expected schema 1, missing {sorted(missing)}")
    if state["profile_hash"] != profile.hash:
        raise ValueError(f"{_WHERE}: the state was made with another profile")
    step, done = state["step"], state["done"]
    if isinstance(step, bool) or not isinstance(step, int) or step < 0:
        raise ValueError(f"{_WHERE}: step: expected a whole number of at least 0, got {step!r}")
    owed = state.get("owed", False)
    for key, value in (("done", done), ("owed", owed)):
        if not isinstance(value, bool):
            raise ValueError(f"{_WHERE}: {key}: expected True or False, got {value!r}")
    masks = _masks(state["masks"])
    plan = None if state["plan"] is None else _plan(state["plan"], masks)
    if plan is None and (masks or done):
        raise ValueError(f"{_WHERE}: plan: expected a plan beside masks, got None")
    if plan is not None:
        _check_plan(plan, selector, model)
    told = state.get("prune_for", "joules" if plan is None else plan.prune_for)
    if told != selector.prune_for:
        raise ValueError(f"{_WHERE}: prune_for: expected {selector.prune_for!r}, got {told!r}")
    if "budget_j" in state:
        check_budget(_WHERE, state["budget_j"], budget_j)
    elif (
        plan is not None and done
    ):  # of before it was kept, or of C++; on the way, a layer at a time, plans name others
        check_budget(_WHERE, plan.limits.budget, budget_j)
    frozen = _frozen(state["frozen"], len(selector.weights))
    return SavedState(step, done, plan, frozen, _measured(state.get("measured")), _rng(state.get("rng")), owed)


def _masks(masks: object) -> dict[str, torch.Tensor]:
    if not isinstance(masks, Mapping):
        raise ValueError(f"{_WHERE}: masks: expected a dict of tensors, got {type(masks).__name__}")
    for name, mask in masks.items():
        if not isinstance(name, str) or not isinstance(mask, torch.Tensor) or mask.dtype != torch.uint8:
            got = mask.dtype if isinstance(mask, torch.Tensor) else type(mask).__name__
            raise ValueError(f"{_WHERE}: mask of {name!r}: expected a uint8 tensor, got {got}")
    return dict(masks)


def _plan(text: object, masks: Mapping[str, torch.Tensor]) -> Plan:
    if not isinstance(text, str):
        raise ValueError(f"{_WHERE}: plan: expected JSON, got {type(text).__name__}")
    return Plan.from_json(text, masks)


def _check_plan(plan: Plan, selector: Selector, model: torch.nn.Module) -> None:
    """The plan was made for what the selector is made for, the weights that it prunes have masks, and these keep what
    it says."""
    for field, expected, got in (
        ("pattern", selector.pattern, plan.pattern),
        ("importance", importance_name(selector.importance), plan.importance),
    ):
        if got != expected:
            raise ValueError(f"{_WHERE}: plan: {field}: expected {expected!r}, got {got!r}")
    weights = tuple(layer.weight for layer in plan.layers)
    if weights != selector.weights:
        raise ValueError(f"{_WHERE}: plan: expected the weights {selector.weights}, got {weights}")
    pruned = {layer.weight for layer in plan.layers if layer.pattern != "dense"}
    if pruned != set(plan.masks):
        raise ValueError(f"{_WHERE}: masks: expected those of {sorted(pruned)}, got {sorted(plan.masks)}")
    check_fit(model, plan, _WHERE)


def check_budget(where: str, saved: object, budget_j: float) -> None:
    """Refuses a saved state of another final budget.

    Raises:
        ValueError: no number, or another one.
    """
    if isinstance(saved, bool) or not isinstance(saved, int | float) or not math.isclose(saved, budget_j, rel_tol=1e-9):
        raise ValueError(f"{where}: budget_j: expected {budget_j!r}, the budget here, got {saved!r}")


def _frozen(frozen: object, weights: int) -> tuple[bool, ...] | None:
    if frozen is None:
        return None
    if (
        not isinstance(frozen, list | tuple)
        or not all(isinstance(flag, bool) for flag in frozen)
        or len(frozen) != weights
    ):
        raise ValueError(f"{_WHERE}: frozen: expected None or {weights} flags, got {frozen!r}")
    return tuple(frozen)


def _measured(measured: object) -> str | None:
    if measured is None:
        return None
    try:
        limits = json.loads(measured) if isinstance(measured, str) else None
    except ValueError:
        limits = None
    array_of_objects(limits, f"{_WHERE}: measured")
    return str(measured)


def _rng(rng: object) -> torch.Tensor | None:
    if rng is None:
        return None
    now = torch.get_rng_state()
    if not isinstance(rng, torch.Tensor) or rng.dtype != now.dtype or rng.shape != now.shape:
        got = f"{rng.dtype} {list(rng.shape)}" if isinstance(rng, torch.Tensor) else type(rng).__name__
        raise ValueError(f"{_WHERE}: rng: expected {now.dtype} {list(now.shape)}, got {got}")
    return rng
