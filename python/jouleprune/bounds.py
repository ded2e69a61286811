"""Upper bounds beside the budget of a plan: seconds, bytes from memory and multiply-adds, all modelled, and bytes that
are stored."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from ._C import device_use
from .currency import UNITS
from .energy import Profile, price_workload
from .errors import BudgetError

if TYPE_CHECKING:
    from .plan import Plan

__all__ = ["Bounds", "most_within"]

_CLOSE = 1e-3  # how near to the largest budget the search comes, of itself,
_LEAST = 1e-6  # or of the dense network, where the least budget is 0 and nothing else would end the search
_ABOVE_ZERO = sys.float_info.min  # a budget is positive: of a least of 0 this one leaves nothing either


@dataclass(frozen=True)
class Bounds:
    """Of one forward pass at the recorded batch, as :func:`jouleprune.compare` has them, and of what is stored; None:
    no bound.

    Attributes:
        latency_s: seconds.
        dram_bytes: read from and written to the outermost memory.
        macs: multiply-adds with kept weights.
        stored_bytes: as ``Plan.stored_bytes``.
    """

    latency_s: float | None = None
    dram_bytes: float | None = None
    macs: float | None = None
    stored_bytes: float | None = None

    def checked(self) -> Bounds:
        """
        Raises:
            ValueError: a bound that is no positive number.
        """
        for name, bound in self.given():
            if isinstance(bound, bool) or not isinstance(bound, int | float) or not 0 < bound < math.inf:
                raise ValueError(f"{name}: expected a positive number, got {bound!r}")
        return self

    def given(self) -> list[tuple[str, float]]:
        """(name, bound) of those there are."""
        return [(each.name, getattr(self, each.name)) for each in fields(self) if getattr(self, each.name) is not None]

    def exceeded(self, plan: Plan, profile: Profile) -> list[str]:
        """A sentence for each bound that the planned network does not keep.

        Raises:
            ValueError: the profile does not tell what is bounded.
        """
        use = json.loads(device_use(plan.workload, profile))
        found: dict[str, float | None] = {
            "latency_s": use["latency_s"] if use["latency_s"] > 0 else None,
            "dram_bytes": use["levels"][0]["bytes"] if use["levels"] else None,
            "macs": sum(layer.macs_effective for layer in price_workload(plan.workload, profile).layers),
            "stored_bytes": plan.stored_bytes,
        }
        sentences = []
        for name, bound in self.given():
            reached = found[name]
            if reached is None:
                raise ValueError(f"{name}: profile {plan.profile!r} does not tell it: leave the bound out")
            if reached > bound:
                sentences.append(f"{name}: expected at most {bound:g}, got {reached:g}")
        return sentences


def most_within(planned: Callable[[str | float], Plan], bounds: Bounds, profile: Profile, energy: str | float) -> Plan:
    """The plan of the largest budget up to ``energy`` that bisection finds whose network keeps all bounds. What is
    bounded falls with the budget, but for small steps back where a layer takes another form: the budget found is within
    a thousandth of one that breaks a bound, and another one above that may keep all.

    Raises:
        BudgetError: the network of the least budget does not keep them; the message tells what it reaches.
    """
    best = planned(energy)
    if not bounds.exceeded(best, profile):
        return best
    low, high, dense = best.limits.minimum, best.limits.budget, best.limits.dense
    best = planned(max(low, _ABOVE_ZERO))
    if missed := bounds.exceeded(best, profile):
        of = "energy" if best.prune_for == "joules" else best.prune_for
        least = f"{low:.4g}{' ' * (best.prune_for != 'macs')}{UNITS[best.prune_for]}"
        raise BudgetError(f"{'; '.join(missed)}, of the network of the least {of}, {least}", low)
    while high - low > max(_CLOSE * low, _LEAST * dense):
        middle = (low + high) / 2
        tried = planned(middle)
        if bounds.exceeded(tried, profile):
            high = middle
        else:
            low, best = middle, tried
    return best
