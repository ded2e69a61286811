"""What a converted network may cost: as its plan says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch

from .energy import Profile, price_workload
from .errors import BudgetError
from .plan import Plan
from .record import record

__all__ = ["check_budget"]

#: Of an entry of a workload: how the call is run, whatever its sizes.
_RUNS = ("weight", "pattern", "layout", "kernel", "nnz")


def check_budget(
    converted: torch.nn.Module, example_inputs: Any, plan: Plan, device: Profile, deviated: str, why: str
) -> None:
    """The converted model must cost what the plan says; where layers had to deviate, at most the budget. Multiply-adds
    depend on the masks alone, which were looked at before.

    Args:
        deviated: names of the layers that stayed dense, for the error.
        why: the decisions, for the error.
    Raises:
        BudgetError: it costs more.
    """
    if plan.prune_for == "bytes":
        _check_bytes(converted, plan, deviated, why)
    if plan.prune_for != "joules":
        return
    energy_j = price_workload(_as_planned(converted, example_inputs, plan), device).energy_j
    if energy_j > plan.budget_j:
        raise BudgetError(
            f"convert: the converted network takes {energy_j:.6g} J, above the budget of {plan.budget_j:.6g} J: "
            f"{deviated} could not follow the plan ({why}). "
            "Pass allow_over_budget=True to keep it, or plan again for these shapes.",
            energy_j,
        )


def _check_bytes(converted: torch.nn.Module, plan: Plan, deviated: str, why: str) -> None:
    from .checkpoint import packed_bytes  # which knows converted networks

    stored, budget = packed_bytes(converted), plan.limits.budget
    if stored > budget:
        raise BudgetError(
            f"convert: the converted network is stored in {stored} bytes, above the budget of {budget:.10g}: "
            f"{deviated} could not follow the plan ({why}). Pass allow_over_budget=True to keep it.",
            stored,
        )


def _as_planned(converted: torch.nn.Module, example_inputs: Any, plan: Plan) -> str:
    """What the converted model runs, on inputs of the sizes that the budget was made for: joules of another batch are
    not comparable with it. Activation densities are frozen in the plan."""
    recorded = json.loads(record(converted, example_inputs, batch=plan.batch, per=plan.per, count=plan.count))
    planned = json.loads(plan.workload)
    if [_call(entry) for entry in recorded["entries"]] == [_call(entry) for entry in planned["entries"]]:
        for mine, theirs in zip(recorded["entries"], planned["entries"], strict=True):
            mine.update({name: value for name, value in theirs.items() if name not in _RUNS})
        return json.dumps(recorded)
    densities = {entry["name"]: entry["input_density"] for entry in planned["entries"] if entry["weight"]}
    for entry in recorded["entries"]:
        entry["input_density"] = densities.get(entry["name"], entry["input_density"])
    return json.dumps(recorded)


def _call(entry: Mapping[str, Any]) -> tuple[Any, ...]:
    """What is the same for inputs of any size. A sparse module calls its weight otherwise: layers have one name."""
    return entry["op"], entry["name"], entry["rows"], entry["cols"], entry["groups"], entry["dtype"]
