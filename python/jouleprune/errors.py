"""The named errors, and a warning. All errors are ``ValueError``s; the message names the argument, what was expected
and what came."""

from __future__ import annotations

__all__ = ["BudgetError", "EmptyLayerWarning", "MeterError", "PatternError", "ProfileError"]


class ProfileError(ValueError):
    """A device profile is unknown or malformed; the message holds the JSON pointer of the place."""


class PatternError(ValueError):
    """A pattern, layout or importance name is unknown, or does not fit the weight it is used on."""


class BudgetError(ValueError):
    """The budget is malformed, above the dense energy, or below what can be reached.

    Attributes:
        minimum_j: least energy that can be reached, joules per count (with ``prune_for`` bytes or multiply-adds); NaN
            when the budget itself was malformed.
    """

    minimum_j: float

    def __init__(self, message: str, minimum_j: float = float("nan")) -> None:
        super().__init__(message)
        self.minimum_j = minimum_j

    def __reduce__(self) -> tuple[type[BudgetError], tuple[str, float]]:
        return type(self), (str(self), self.minimum_j)


class EmptyLayerWarning(UserWarning):
    """A plan leaves nothing, or next to nothing, of a layer: no signal passes through it any more."""


class MeterError(ValueError):
    """A meter was asked for that cannot count here."""
