"""What is left of a network, as plain data; and making the smaller network from it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from ..layers import replace_module
from ..nn.narrow_attention import NarrowMultiheadAttention, head_rows
from .blocks import PassThrough
from .cutting import Kept, cut_modules
from .ranks import Rank, factorised
from .sides import Cut, taking

__all__ = ["Structure", "smaller_copy"]


@dataclass(frozen=True)
class Structure:
    """Places that stay, by module. Empty: the network as it is.

    Attributes:
        out, into: outputs and inputs that stay of a module, in their new order.
        heads: numbers of the heads that stay of a MultiheadAttention.
        ranks: rank of the two layers that take a layer's place; two numbers of the three layers of Tucker.
        removed: layers that are gone; what they were given flows on.
    """

    out: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    into: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    heads: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    ranks: Mapping[str, Rank] = field(default_factory=dict)
    removed: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        places = {
            name: {module: list(kept) for module, kept in getattr(self, name).items()}
            for name in ("out", "into", "heads")
        }
        ranks = {module: rank if isinstance(rank, int) else list(rank) for module, rank in self.ranks.items()}
        return {**places, "ranks": ranks, "removed": list(self.removed)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Structure:
        """Raises ValueError for what :meth:`to_dict` did not write."""
        try:
            places = {
                name: {str(module): tuple(int(place) for place in kept) for module, kept in data[name].items()}
                for name in ("out", "into", "heads")
            }
            ranks = {str(module): _rank(rank) for module, rank in data["ranks"].items()}
            return cls(**places, ranks=ranks, removed=tuple(str(name) for name in data["removed"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"structure: expected out, into, heads, ranks and removed: {error!r}") from error


def smaller_copy(model: nn.Module, structure: Structure) -> tuple[nn.Module, dict[str, Cut]]:
    """The smaller network, and how each parameter was cut, by its name; parameters that are in neither are as before or
    gone. ``model`` is not changed.

    Raises:
        ValueError: the structure names modules or places that the model lacks.
    """
    names = dict(model.named_modules())
    told = {*structure.out, *structure.into, *structure.heads, *structure.ranks, *structure.removed}
    if absent := sorted(told - set(names)):
        raise ValueError(f"structure: names the module {absent[0]!r}, which the model lacks")
    smaller = copy.deepcopy(model)
    for name in structure.removed:
        replace_module(smaller, name, PassThrough().train(names[name].training))
    alive = dict(smaller.named_modules())
    cuts = _narrow_attention(smaller, {n: heads for n, heads in structure.heads.items() if n in alive})
    kept: dict[str, Kept] = {}
    for side, places in (("out", structure.out), ("into", structure.into)):
        for name, stay in places.items():
            if name in alive:
                setattr(kept.setdefault(name, Kept()), side, _checked(name, stay))
    cuts.update(cut_modules(smaller, kept))
    for name, rank in structure.ranks.items():
        if name in alive:
            replace_module(smaller, name, factorised(smaller.get_submodule(name), rank))
            cuts.pop(f"{name}.weight", None)
            cuts.pop(f"{name}.bias", None)
    return smaller, cuts


def _rank(value: Any) -> Rank:
    if isinstance(value, list | tuple):
        behind, front = value
        return int(behind), int(front)
    return int(value)


def _checked(name: str, stay: tuple[int, ...]) -> torch.Tensor:
    if not stay or len(set(stay)) != len(stay) or min(stay) < 0:
        raise ValueError(f"structure: {name!r}: expected different places, at least one, got {list(stay)}")
    return torch.tensor(stay, dtype=torch.int64)


def _narrow_attention(model: nn.Module, kept: Mapping[str, tuple[int, ...]]) -> dict[str, Cut]:
    cuts: dict[str, Cut] = {}
    for name, heads in kept.items():
        module = model.get_submodule(name)
        if type(module) is not nn.MultiheadAttention:
            raise ValueError(f"structure: {name!r}: expected a MultiheadAttention, got {type(module).__name__}")
        replace_module(model, name, NarrowMultiheadAttention(module, heads).train(module.training))
        rows = head_rows(heads, module.head_dim)
        cuts[f"{name}.out_proj.weight"] = taking(rows, 1)
        thirds = torch.cat([rows + third * module.embed_dim for third in range(3)])
        if module.in_proj_weight is not None:
            cuts[f"{name}.in_proj_weight"] = taking(thirds)
        else:
            for weight in ("q_proj_weight", "k_proj_weight", "v_proj_weight"):
                cuts[f"{name}.{weight}"] = taking(rows)
        if module.in_proj_bias is not None:
            cuts[f"{name}.in_proj_bias"] = taking(thirds)
    return cuts
