"""What a plan's budget counts: joules, bytes of the stored network, or multiply-adds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from ._fields import checked, fields_of, object_of

__all__ = ["UNITS", "Amounts", "PruneFor", "Reach", "bytes_beside", "checked_prune_for", "copies_of", "currency_of"]

PruneFor = Literal["joules", "bytes", "macs"]
#: As after a number.
UNITS = {"joules": "J", "bytes": "B", "macs": " multiply-adds"}


@dataclass(frozen=True)
class Amounts:
    """What a plan spends of bytes of the stored network, or of multiply-adds in a forward pass.

    Attributes:
        used: at most the budget.
        dense: of the unmasked network.
        minimum: the least that can be reached.
        slack: budget - used.
        next: what putting the next unit back would add; None where nothing is removed.
    """

    budget: float
    used: float
    dense: float
    minimum: float
    slack: float
    next: float | None = None


@dataclass(frozen=True)
class Reach:
    """How far a network can go: ``dense``, ``minimum`` and ``budget`` in the currency of the budget."""

    dense: float
    minimum: float
    budget: float
    dense_j: float


def checked_prune_for(prune_for: object) -> PruneFor:
    """
    Raises:
        ValueError: another word.
    """
    if not isinstance(prune_for, str) or prune_for not in UNITS:
        raise ValueError(f'prune_for: expected "joules", "bytes" or "macs", got {prune_for!r}')
    return prune_for  # type: ignore[return-value]


def currency_of(plan: Mapping[str, Any], where: str) -> dict[str, Any]:
    """``prune_for`` and ``amounts`` of a parsed plan: amounts where it is not for joules, and only there.

    Raises:
        ValueError: the message names the field.
    """
    told, amounts = plan.get("prune_for", "joules"), plan.get("amounts")
    try:
        prune_for = checked_prune_for(told)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    if (amounts is None) != (prune_for == "joules"):
        expected = "null" if prune_for == "joules" else "an object"
        raise ValueError(f"{where}: amounts: expected {expected} beside prune_for {prune_for!r}, got {amounts!r}")
    return {"prune_for": prune_for, "amounts": None if amounts is None else _amounts(amounts, f"{where}: amounts")}


def _amounts(amounts: Any, where: str) -> Amounts:
    """``next`` may be null."""
    data = object_of(amounts, where)
    following = data.get("next")
    made = fields_of(Amounts, {name: value for name, value in data.items() if name != "next"}, where)
    return made if following is None else replace(made, next=checked(following, float, f"{where}: next"))


def copies_of(model: torch.nn.Module, weights: Sequence[str]) -> dict[str, int]:
    """Names that each weight is stored under: several where it is tied."""
    held = [id(parameter) for _, parameter in model.named_parameters(remove_duplicate=False)]
    return {name: held.count(id(model.get_parameter(name))) for name in weights}


def bytes_beside(model: torch.nn.Module, copies: dict[str, int]) -> int:
    """Bytes of the ``state_dict`` without the weights that ``copies`` names."""
    stored = sum(
        value.numel() * value.element_size() for value in model.state_dict().values() if isinstance(value, torch.Tensor)
    )
    weights = ((model.get_parameter(name), names) for name, names in copies.items())
    return stored - sum(weight.numel() * weight.element_size() * names for weight, names in weights)
