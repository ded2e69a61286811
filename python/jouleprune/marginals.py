"""What leaving something out of a layer saves, and from which density on a layout pays. Every figure is modelled."""

from __future__ import annotations

import json
from dataclasses import dataclass

from ._C import Profile
from ._C import break_evens as _break_evens
from ._C import marginals as _marginals

__all__ = ["BreakEven", "Marginal", "break_evens", "marginals"]


@dataclass(frozen=True)
class Marginal:
    """What one unit of a layer is worth; joules per forward pass."""

    name: str
    op: str
    #: There are this many: kept weights, or outputs or inputs of each group.
    units: int
    #: Energy before less energy after one unit is gone; 0 for a weight that is only masked on a CPU.
    exact_j: float
    #: Mean of one unit while half of them go: what one is worth when steps are smoothed.
    relaxed_j: float
    #: Fewest units that save at least as much each as ``relaxed_j``: the next useful step.
    step: int
    #: What they save together.
    step_j: float


@dataclass(frozen=True)
class BreakEven:
    """From which density on a kernel costs no more than dense."""

    name: str
    op: str
    kernel: str
    layout: str
    #: Largest density at which it costs no more than dense; None when it always costs more.
    density: float | None


def marginals(workload_json: str, profile: Profile, unit: str = "weight") -> tuple[Marginal, ...]:
    """Marginal energies of a recorded workload, one per call of a layer with a weight.

    Args:
        workload_json: what ``jouleprune.record.record`` returns.
        unit: "weight" (a kept weight), "output" (an output feature or channel of every group, with its activations) or
            "input".
    Raises:
        ValueError: the workload is malformed (with the JSON pointer), or the unit unknown.
    """
    return tuple(Marginal(**row) for row in json.loads(_marginals(workload_json, profile, unit)))


def break_evens(workload_json: str, profile: Profile) -> tuple[BreakEven, ...]:
    """Break-even densities of a recorded workload, per layer and kernel.

    Empty on accelerators, where zeros save as such.

    Raises:
        ValueError: the workload is malformed, with the JSON pointer.
    """
    return tuple(BreakEven(**row) for row in json.loads(_break_evens(workload_json, profile)))
