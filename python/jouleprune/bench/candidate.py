"""A candidate: one way to compute a layer, ready to be checked and timed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

__all__ = ["Candidate", "Unavailable"]


class Unavailable(Exception):
    """This candidate does not exist here; the message says why."""


def _as_it_is(output: Any) -> Tensor:
    tensor: Tensor = output
    return tensor


@dataclass
class Candidate:
    """Attributes:
    name: as in tables and goals.
    calls: each computes the layer once; copy i has the weight's rows rolled by i places, so that copies share nothing.
    arithmetic: what the result may be off by: a key of ``guard.BOUNDS``.
    multiply_adds: that one call really does.
    dense: turns what a call returns into a float tensor of the reference's shape.
    note: what a reader must know to compare fairly.
    threads: 0, or how many this candidate runs with, whatever the run's.
    """

    name: str
    calls: Sequence[Callable[[], Any]]
    arithmetic: str
    multiply_adds: int
    dense: Callable[[Any], Tensor] = field(default=_as_it_is)
    note: str = ""
    threads: int = 0
