"""``jp.sweep``: what can be afforded? Plans over a range of budgets."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ._plan_notes import quiet_about_emptied
from ._pruner_checks import check_callable, check_options
from .currency import PruneFor, checked_prune_for
from .energy import Profile, price_workload
from .errors import BudgetError
from .estimate import as_profile
from .plan import Plan, plan
from .pruner import Pruner
from .rounds import metric_of

__all__ = ["Sweep", "SweepPoint", "sweep"]

_BUDGETS = ("90%", "75%", "50%", "25%", "10%", "5%")


@dataclass(frozen=True)
class SweepPoint:
    """One budget of a sweep; ``plan`` is None where the budget cannot be reached, and ``minimum_j`` says how far one
    can go, in what the budget counts, as of :class:`jouleprune.BudgetError`. Energies are modelled, in joules per
    inference; ``low_j`` and ``high_j`` are the interval of ``energy_j``. ``used``: of the budget, in what it counts.
    """

    budget: str | float
    energy_j: float | None
    minimum_j: float
    importance_lost: float | None
    metric: float | None
    plan: Plan | None
    low_j: float | None = None
    high_j: float | None = None
    used: float | None = None


class Sweep(list[SweepPoint]):
    """The points of a sweep, in the order of the budgets; prints and plots itself. ``prune_for``: what they count."""

    def __init__(self, points: Sequence[SweepPoint], profile: str, prune_for: PruneFor = "joules") -> None:
        super().__init__(points)
        self.profile, self.prune_for = profile, prune_for

    def to_json(self) -> str:
        """As JSON, schema 1; without the plans."""
        names = [name for name in SweepPoint.__dataclass_fields__ if name != "plan"]
        points = [{name: getattr(point, name) for name in names} for point in self]
        head = {"schema": 1, "profile": self.profile, "label": "modelled", "prune_for": self.prune_for}
        return json.dumps({**head, "points": points})

    def to_svg(self) -> str:
        """Importance lost, or the metric where every reached point has one, over joules; the same sweep gives the same
        bytes.

        Raises:
            ValueError: no budget of the sweep could be reached.
        """
        from .report import interval_text, si
        from .svg import Line, lines

        reached = sorted((point for point in self if point.energy_j is not None), key=lambda point: point.energy_j or 0)
        if not reached:
            raise ValueError("plot: no budget of this sweep could be reached")
        measured = all(point.metric is not None for point in reached)
        name = "metric" if measured else "importance lost"
        top = max(point.energy_j or 0.0 for point in reached)
        scale, prefix = next((one for one in _SCALES if top >= one[0]), _SCALES[-1])
        points = [
            ((point.energy_j or 0.0) / scale, (point.metric if measured else point.importance_lost) or 0.0)
            for point in reached
        ]
        hints = [
            f"{point.budget}: {si(point.energy_j or 0.0, 'J')} ({interval_text(point.low_j, point.high_j, 'J')}), "
            f"modelled; {name} {y:.4g}"
            for point, (_, y) in zip(reached, points, strict=True)
        ]
        return lines(
            [Line(name, points, hints=hints)],
            title=f"{name} over energy on {self.profile}, modelled",
            x_label=f"{prefix}J per inference on {self.profile}, modelled",
            y_label=name,
            from_zero=not measured,
        )

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Writes :meth:`to_svg` to a file, as a whole or not at all.

        Raises:
            ValueError: another ending than .svg, or nothing to draw.
            OSError: it cannot be written.
        """
        from .files import write

        if not os.fspath(path).endswith(".svg"):
            raise ValueError(f"plot: path: expected a file that ends with .svg, got {os.fspath(path)}")
        write(path, self.to_svg())

    def __str__(self) -> str:
        from .report import sweep_table

        return sweep_table(self)


#: Of the joule, largest first.
_SCALES = ((1.0, ""), (1e-3, "m"), (1e-6, "u"), (1e-9, "n"), (1e-12, "p"))


def sweep(
    model: torch.nn.Module,
    example_inputs: Any,
    *,
    profile: Profile | str | Mapping[str, Any],
    budgets: Sequence[str | float] = _BUDGETS,
    evaluate: Callable[[torch.nn.Module], float] | None = None,
    **options: Any,
) -> Sweep:
    """Joules and importance lost (or a metric) over budgets; the model itself is not changed.

    Args:
        model, example_inputs, profile: as in :func:`jouleprune.plan`.
        budgets: budgets to try, each "N%" or joules (or what ``prune_for`` counts).
        evaluate: called with a pruned copy of the model per budget; what it returns is kept as ``metric``.
        options: further arguments of :func:`jouleprune.plan`.
    Raises:
        BudgetError: a budget is malformed, or above the dense energy.
        ValueError: ``budgets`` is no list, ``evaluate`` cannot be called, or gives no number; others as of plan.
    """
    check_options("sweep", options, plan, ("energy",))
    check_callable("evaluate", evaluate, "(model) -> metric", optional=True)
    if isinstance(budgets, str) or not isinstance(budgets, Iterable):
        raise ValueError(f'budgets: expected a list such as ["50%", "25%"], got {budgets!r}')
    device, prune_for = as_profile(profile), checked_prune_for(options.get("prune_for", "joules"))
    points = []
    for budget in budgets:
        try:
            with quiet_about_emptied():  # the points tell what such budgets cost
                candidate = plan(model, example_inputs, energy=budget, profile=device, **options)
        except BudgetError as error:
            if error.minimum_j != error.minimum_j:  # NaN: the budget itself is malformed
                raise
            points.append(SweepPoint(budget, None, error.minimum_j, None, None, None))
            continue
        metric = None
        if evaluate is not None:
            pruned = copy.deepcopy(model)
            with quiet_about_emptied():
                Pruner(pruned, example_inputs, plan=candidate, profile=device).prune_now()
            metric = metric_of(evaluate(pruned))
        lost = sum(layer.importance_lost for layer in candidate.layers)
        priced = price_workload(candidate.workload, device)
        ends = priced.low_j, priced.high_j
        limits = candidate.limits
        points.append(
            SweepPoint(budget, candidate.energy_j, limits.minimum, lost, metric, candidate, *ends, used=limits.used)
        )
    return Sweep(points, device.name, prune_for)
