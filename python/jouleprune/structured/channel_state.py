"""What ``ChannelPruner.state_dict`` wrote, read with suspicion."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..currency import Reach
from ..ops import pack_mask
from ..pruner_state import check_budget
from .plan import StructurePlan
from .structure import Structure, smaller_copy

__all__ = ["ChannelState", "masks_of", "read_channel_state"]

_WHERE = "ChannelPruner.load_state_dict"
#: Of a state beside its schema.
_FIELDS = {"step": int, "done": bool, "plan": str, "dense_j": float, "minimum_j": float, "budget_j": float}


@dataclass(frozen=True)
class ChannelState:
    """A state that fits; ``masks`` are those of the plan."""

    step: int
    done: bool
    owed: bool
    plan: StructurePlan | None
    masks: dict[str, torch.Tensor]


def read_channel_state(state: object, model: nn.Module, made_for: Mapping[str, Any], reach: Reach) -> ChannelState:
    """Checks all of it.

    Args:
        made_for: what the pruner that takes the state is made for: "profile_hash", "pattern" (a list) and "importance".
        reach: of that pruner.
    Raises:
        ValueError: the message names the part that is damaged or belongs elsewhere.
    """
    if not isinstance(state, Mapping) or state.get("schema") != 1:
        raise ValueError(f"{_WHERE}: expected the dict of state_dict(), schema 1, got {state!r}")
    for name, kind in _FIELDS.items():
        value = state.get(name)
        if type(value) is not kind and not (name == "plan" and value is None):
            raise ValueError(f"{_WHERE}: {name}: expected {kind.__name__}, got {value!r}")
    owed = state.get("owed", False)  # states of before it was kept lack it
    if not isinstance(owed, bool):
        raise ValueError(f"{_WHERE}: owed: expected True or False, got {owed!r}")
    if state["step"] < 0 or (state["done"] and state["plan"] is None):
        raise ValueError(f"{_WHERE}: step, done, plan: do not go together: {state!r}")
    plan = None if state["plan"] is None else StructurePlan.from_json(state["plan"])
    if plan is not None:
        told = {"profile_hash": plan.profile_hash, "pattern": list(plan.pattern), "importance": plan.importance}
        _check_made_for({**made_for, **told}, made_for)
    _check_made_for({**made_for, **state}, made_for)
    joules = {"dense_j": state["dense_j"], **({} if plan is None else {"plan: dense_j": plan.dense_j})}
    for name, value in joules.items():
        if not isinstance(value, int | float) or not math.isclose(value, reach.dense_j, rel_tol=1e-9):
            raise ValueError(f"{_WHERE}: {name}: expected {reach.dense_j!r}, of the network here, got {value!r}")
    check_budget(_WHERE, state["budget_j"], reach.budget)
    if plan is not None and state["done"]:
        check_budget(f"{_WHERE}: plan", plan.budget_j, reach.budget)
    return ChannelState(state["step"], state["done"], owed, plan, {} if plan is None else _masks(model, plan))


def _check_made_for(told: Mapping[str, Any], made_for: Mapping[str, Any]) -> None:
    """States of before these were kept lack them: then the plan tells."""
    if told["profile_hash"] != made_for["profile_hash"]:
        raise ValueError(f"{_WHERE}: profile_hash: the state was made with another profile")
    for name in ("pattern", "importance"):
        if told[name] != made_for[name]:
            raise ValueError(f"{_WHERE}: {name}: expected {made_for[name]!r}, got {told[name]!r}")


def _masks(model: nn.Module, plan: StructurePlan) -> dict[str, torch.Tensor]:
    try:
        return masks_of(model, plan.structure)
    except (ValueError, IndexError, RuntimeError) as error:  # places that the layers here lack
        raise ValueError(f"{_WHERE}: plan: belongs to another network: {error}") from error


def masks_of(model: nn.Module, structure: Structure) -> dict[str, torch.Tensor]:
    """Bits by parameter: what the smaller network of ``structure`` still has of it.

    Raises:
        ValueError: the structure names modules or places that the model lacks.
    """
    masks = {}
    for name, cut in smaller_copy(model, structure)[1].items():
        parameter = model.get_parameter(name)
        stay = torch.zeros(parameter.numel(), dtype=torch.bool)
        stay[cut(torch.arange(parameter.numel()).reshape(parameter.shape)).flatten()] = True
        masks[name] = pack_mask(stay.reshape(parameter.shape).to(parameter.device))
    return masks
