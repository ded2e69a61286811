"""Was ``convert`` right? Its choices against what an interleaved run says of dense and sparse."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .ours import ALWAYS_SPARSE, NAME
from .results import Cell

__all__ = ["Choice", "choices", "rate"]

#: A converted layer may take this much longer than dense, and a dense one miss this much, before the choice was wrong.
_TOLERATED = 1.03


@dataclass(frozen=True)
class Choice:
    """One layer at one sparsity.

    Attributes:
        layout: "csr" or "dense".
        speed: of the sparse module over dense, median; None: too noisy.
        verdict: "right"; "false": converted though the 95 % interval lies wholly above 1.03 of dense's time; "missed":
            left dense though sparse is surely more than 3 % faster.
    """

    case: str
    sparsity: float
    layout: str
    speed: float | None
    verdict: str


def choices(cells: Iterable[Cell]) -> list[Choice]:
    """Of the cells that have one."""
    found = []
    for cell in cells:
        sparse = cell.result(ALWAYS_SPARSE)
        chosen = cell.result(NAME)
        if sparse is None or chosen is None or not chosen.note:
            continue
        ratio, verdict = sparse.speed.get(cell.baseline), "right"
        if ratio is not None and chosen.note != "dense" and ratio.high_95 < 1 / _TOLERATED:
            verdict = "false"
        elif ratio is not None and chosen.note == "dense" and ratio.low_95 > _TOLERATED:
            verdict = "missed"
        found.append(Choice(cell.case, cell.sparsity, chosen.note, ratio.median if ratio else None, verdict))
    return found


def rate(made: Iterable[Choice]) -> str:
    """A sentence."""
    made = list(made)
    converted = [choice for choice in made if choice.layout != "dense"]
    false = sum(choice.verdict == "false" for choice in converted)
    missed = sum(choice.verdict == "missed" for choice in made)
    return (
        f"convert: {len(converted)} of {len(made)} layers run sparse; false conversions (surely more than 3 % slower "
        f"than dense): {false}; missed (dense, though sparse is surely more than 3 % faster): {missed}"
    )
