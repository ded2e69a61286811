"""``StructurePlan``: which channels, heads and layers stay under a joule budget, as plain data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from .structure import Structure

__all__ = ["ChoicePlan", "NextStep", "StructurePlan"]


@dataclass(frozen=True)
class ChoicePlan:
    """What happens to one group of units: ``kept`` of ``units`` stay. ``kind``: "filter", "neuron", "hidden", "head",
    "layer" or "rank". ``weights`` are those that get smaller."""

    name: str
    kind: str
    units: int
    kept: int
    importance_lost: float
    weights: tuple[str, ...]


@dataclass(frozen=True)
class NextStep:
    """The step that would come back first: ``kept`` units of the group instead of those of the plan, for so many joules
    more."""

    name: str
    kept: int
    energy_j: float


@dataclass(frozen=True)
class StructurePlan:
    """A smaller dense network within a joule budget. Energies in joules per count; those of the network as it will be,
    estimated afresh.

    ``maximal``: no group could keep one step more; ``next_step`` names the cheapest such step and ``slack_j`` what is
    left of the budget. ``whole``: sentences about channels that cannot go.
    """

    profile: str
    profile_hash: str
    per: str
    batch: int
    count: int
    pattern: tuple[str, ...]
    importance: str
    round_to: int
    budget_j: float
    energy_j: float
    dense_j: float
    minimum_j: float
    maximal: bool
    slack_j: float
    next_step: NextStep | None
    choices: tuple[ChoicePlan, ...]
    whole: tuple[str, ...]
    structure: Structure = field(repr=False)

    @property
    def importance_lost(self) -> float:
        return sum(choice.importance_lost for choice in self.choices)

    def to_json(self) -> str:
        """``"schema": 1`` and the fields."""
        data = {**asdict(self), "structure": self.structure.to_dict()}
        return json.dumps({"schema": 1, **data})

    @classmethod
    def from_json(cls, text: str | bytes) -> StructurePlan:
        """Parses what :meth:`to_json` wrote.

        Raises:
            ValueError: not a structure plan of schema 1.
        """
        try:
            data: Mapping[str, Any] = json.loads(text)
            if data["schema"] != 1:
                raise ValueError(f"schema {data['schema']!r}")
            fields = {name: data[name] for name in cls.__dataclass_fields__}
            step = fields["next_step"]
            return cls(
                **{
                    **fields,
                    "pattern": tuple(fields["pattern"]),
                    "whole": tuple(fields["whole"]),
                    "next_step": None if step is None else NextStep(**step),
                    "choices": tuple(
                        ChoicePlan(**{**choice, "weights": tuple(choice["weights"])}) for choice in fields["choices"]
                    ),
                    "structure": Structure.from_dict(fields["structure"]),
                }
            )
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise ValueError(f"StructurePlan.from_json: expected a structure plan of schema 1: {error}") from error

    def __str__(self) -> str:
        lines = [
            f"{self.energy_j:.4g} J per {self.per} of {self.dense_j:.4g} J dense, budget {self.budget_j:.4g} J, "
            f"least {self.minimum_j:.4g} J (modelled, {self.profile})"
        ]
        lines += [
            f"  {choice.name} ({choice.kind}): {choice.kept} of {choice.units} stay, importance lost "
            f"{choice.importance_lost:.4g}"
            for choice in self.choices
        ]
        if self.next_step is not None:
            step = self.next_step
            lines.append(
                f"  next: {step.name} with {step.kept} for {step.energy_j:.4g} J more, {self.slack_j:.4g} J left"
            )
        return "\n".join([*lines, *(f"  whole: {sentence}" for sentence in self.whole)])
