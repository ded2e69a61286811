"""Layers that run sparse before ``convert`` or ``plan`` looks at a network: they stay as they are, and are told."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from ._checkpoint_layers import sparse_modules

if TYPE_CHECKING:
    from .convert import Decision

__all__ = ["kept_decisions", "refuse_sparse", "sentences"]

_STAYS = "sparse before, kept as it is"


def kept_decisions(model: torch.nn.Module, earlier: Iterable[Decision]) -> list[Decision]:
    """What to tell of each sparse layer: the decision that made it, where one is known."""
    from .convert import Decision

    found: list[Decision] = []
    before = list(earlier)
    for name, module in sparse_modules(model):
        own = [one for one in before if one.name == name or one.name.startswith(f"{name}.")]
        if own:
            found += [
                one if one.reason.startswith(_STAYS) else replace(one, reason=f"{_STAYS}: {one.reason}") for one in own
            ]
            continue
        layout = "bsr" if hasattr(module, "blocks") else "nm" if hasattr(module, "m") else "csr"
        kernel = f"{layout}-int8" if type(module).__name__.endswith("Int8") else layout
        density = float(module.density)  # type: ignore[arg-type]  # every sparse module has it
        found.append(Decision(name, f"{name}.weight" if name else "weight", layout, kernel, density, _STAYS))
    return found


def sentences(model: torch.nn.Module) -> list[str]:
    """Of each sparse layer, why it cannot be pruned."""
    return [
        f"{name or 'the model'}: is a {type(module).__name__} already, at density {float(module.density):.3f}: "  # type: ignore[arg-type]
        "it stays as it is (its to_dense() can be pruned further)"
        for name, module in sparse_modules(model)
    ]


def refuse_sparse(model: torch.nn.Module, layer: str, weight: str) -> None:
    """Tells that a plan's weight is missing because its layer is sparse already, where that is so.

    Raises:
        ValueError: it is.
    """
    for name, module in sparse_modules(model):
        if layer == name or layer.startswith(f"{name}.") or weight.startswith(f"{name}."):
            raise ValueError(
                f"plan: names the weight {weight!r}, but {name!r} is a {type(module).__name__} already: a plan goes "
                "with the dense network that it was made for"
            )
