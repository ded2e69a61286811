"""One number that the search chooses: how many units of a group stay, and what each is worth."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from .graph import ChannelGroup
from .ranks import Rank

__all__ = ["Choice", "Wanted", "least_units"]


@dataclass(frozen=True)
class Choice:
    """One number to choose: how many units stay.

    Attributes:
        order: int64 [parts, units], the most important unit first; unit r is the r-th of each part together.
        gains: importance of unit r; in all but the rarest cases, and those of forms, descending.
        widths: numbers of units that may stay, ascending; the last is all.
        group: what the units are made of, for channels.
        forms: rank of the layers that are made when 1, 2, ... units stay; empty: the number itself.
    """

    name: str
    kind: str
    order: Tensor
    gains: tuple[float, ...]
    widths: tuple[int, ...]
    weights: tuple[str, ...]
    group: ChannelGroup | None = None
    forms: tuple[Rank, ...] = ()

    @property
    def units(self) -> int:
        return len(self.gains)

    def lost(self, kept: int) -> float:
        """Importance lost when so many stay."""
        return math.fsum(self.gains[kept:])


@dataclass(frozen=True)
class Wanted:
    """Options of :func:`choices`."""

    kinds: tuple[str, ...]
    ignored: frozenset[str]
    round_to: int
    min_density: float | Mapping[str, float]


def least_units(name: str, units: int, wanted: Wanted) -> int:
    """How many of ``units`` stay at least."""
    share = wanted.min_density
    if isinstance(share, Mapping):
        share = share.get(name, 0.0)
    return max(1, math.ceil(share * units - 1e-9))
