"""How many units of each kind stay: the least importance lost within a budget that only a fresh estimate can tell.

Joules of a whole network are no sum over its groups (a layer's inputs are another's outputs, arrays are filled in
steps), so every step is priced by the network that would be left.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

__all__ = ["Found", "search"]

#: Joules of the network in which of each choice so many units stay.
Joules = Callable[[tuple[int, ...]], float]
_EXHAUSTIVE = 64  # networks that are all priced, rather than searched


@dataclass(frozen=True)
class Found:
    """Where a search ended: units kept of each choice, joules, whether no choice can keep one step more, and the
    choice and joules of the cheapest such step."""

    kept: tuple[int, ...]
    energy_j: float
    maximal: bool
    next_choice: int | None
    next_j: float


def least(joules: Joules, widths: Sequence[Sequence[int]]) -> float:
    """Joules of the smallest network."""
    return joules(tuple(each[0] for each in widths))


def search(
    joules: Joules, widths: Sequence[Sequence[int]], lost: Sequence[Callable[[int], float]], budget_j: float
) -> Found:
    """Keeps as much importance as fits. The smallest network must fit.

    Few combinations are all priced: the result is then the best there is. Otherwise groups give up units in steps, the
    least importance lost per joule saved first, each step priced on the network as it is then. At the end whatever
    still fits is put back, the most importance per joule first, until nothing does.
    """
    if math.prod(len(each) for each in widths) <= _EXHAUSTIVE:
        start = _best_of_all(joules, widths, lost, budget_j)
    else:
        start = _descend(joules, widths, lost, budget_j)
    return _fill(joules, widths, lost, budget_j, start)


def _kept(widths: Sequence[Sequence[int]], places: Sequence[int]) -> tuple[int, ...]:
    return tuple(each[place] for each, place in zip(widths, places, strict=True))


def _best_of_all(
    joules: Joules, widths: Sequence[Sequence[int]], lost: Sequence[Callable[[int], float]], budget_j: float
) -> list[int]:
    best: tuple[float, float, tuple[int, ...]] | None = None
    for places in itertools.product(*(range(len(each)) for each in widths)):
        kept = _kept(widths, places)
        energy = joules(kept)
        if energy <= budget_j:
            told = (math.fsum(loss(stay) for loss, stay in zip(lost, kept, strict=True)), energy, places)
            best = told if best is None or told < best else best
    assert best is not None, "the smallest network fits"
    return list(best[2])


def _descend(
    joules: Joules, widths: Sequence[Sequence[int]], lost: Sequence[Callable[[int], float]], budget_j: float
) -> list[int]:
    places = [len(each) - 1 for each in widths]
    # An eighth of what is left: as layers thin out a unit is a larger share of them, and steps become shorter.
    shorter = [0] * len(places)  # how often the step of a choice was halved
    now = joules(_kept(widths, places))
    price: dict[int, float] = {}

    def step_length(choice: int) -> int:
        return max(1, (places[choice] + 1) // 8 >> shorter[choice])

    def step_of(choice: int, step: int) -> tuple[float, float, list[int]]:
        """(importance per joule, joules after it, places after it)"""
        to = list(places)
        to[choice] = max(0, places[choice] - step)
        after = joules(_kept(widths, to))
        saved = now - after
        loss = lost[choice](widths[choice][to[choice]]) - lost[choice](widths[choice][places[choice]])
        # Joules beyond those that are needed are worth nothing: a large unit is charged for what it overshoots.
        return (loss / min(saved, now - budget_j) if saved > 0 else math.inf), after, to

    while now > budget_j:
        left = [choice for choice, place in enumerate(places) if place > 0]
        for choice in left:
            if choice not in price:
                price[choice] = step_of(choice, step_length(choice))[0]
        # Prices of before are bounds good enough to look at the cheapest again, and to take it if it still is.
        while True:
            first = min(left, key=lambda choice: (price[choice], choice))
            price[first], after, to = step_of(first, step_length(first))
            if first == min(left, key=lambda choice: (price[choice], choice)):
                break
        if math.isinf(price[first]):
            widened = _first_that_saves(step_of, places, left)
            if widened is None:  # only several choices together save something
                return [0] * len(places)
            after, to = widened
        elif after < budget_j and step_length(first) > 1:  # do not take more than is needed
            shorter[first] += 1
            price.pop(first)
            continue
        places, now = to, after
        price.pop(first, None)
    return places


def _first_that_saves(
    step_of: Callable[[int, int], tuple[float, float, list[int]]], places: Sequence[int], left: Sequence[int]
) -> tuple[float, list[int]] | None:
    """On a plateau: the shortest steps of all choices that save anything, of those the cheapest."""
    step = 2
    while step < 2 * max(places[choice] for choice in left):
        priced = [(step_of(choice, step), choice) for choice in left]
        (price, after, to), _ = min(priced, key=lambda each: (each[0][0], each[1]))
        if not math.isinf(price):
            return after, to
        step *= 2
    return None


def _fill(
    joules: Joules, widths: Sequence[Sequence[int]], lost: Sequence[Callable[[int], float]], budget_j: float,
    start: Sequence[int],
) -> Found:  # fmt: skip
    places = list(start)
    while True:
        now = joules(_kept(widths, places))
        fitting: list[tuple[float, int]] = []
        over: list[tuple[float, int]] = []
        for choice, place in enumerate(places):
            if place + 1 < len(widths[choice]):
                to = [*places[:choice], place + 1, *places[choice + 1 :]]
                after = joules(_kept(widths, to))
                if after <= budget_j:
                    gain = lost[choice](widths[choice][place]) - lost[choice](widths[choice][place + 1])
                    fitting.append((-gain / max(after - now, 1e-300), choice))
                else:
                    over.append((after, choice))
        if not fitting:
            nearest = min(over, default=None)
            return Found(
                _kept(widths, places), now, True, None if nearest is None else nearest[1],
                math.nan if nearest is None else nearest[0] - now,
            )  # fmt: skip
        places[min(fitting)[1]] += 1
