"""What planning a smaller network asks for besides the network, the budget and the device."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from torch import nn
from typing_extensions import TypedDict

from ..criteria import Loss
from ..estimate import ActivationDensity
from ..importance import Importance

__all__ = ["StructureKeywords", "StructureOptions"]


class StructureKeywords(TypedDict, total=False):
    """The keyword arguments, for type checkers; :class:`StructureOptions` has their defaults, and
    :func:`jouleprune.shrink` says what they mean."""

    pattern: str | Sequence[str]
    importance: Importance
    data: Iterable[Any] | None
    loss: Loss | Sequence[Loss] | Mapping[str, Loss] | None
    ignored_layers: Sequence[nn.Module | str]
    min_density: float | Mapping[str, float]
    round_to: int | None
    activation_density: ActivationDensity
    batch: int | None
    per: str
    count: int | None


@dataclass(frozen=True)
class StructureOptions:
    """The same with defaults."""

    pattern: str | Sequence[str] = "channel"
    importance: Importance = "lamp"
    data: Iterable[Any] | None = None
    loss: Loss | Sequence[Loss] | Mapping[str, Loss] | None = None
    ignored_layers: Sequence[nn.Module | str] = ()
    min_density: float | Mapping[str, float] = 0.0
    round_to: int | None = None
    activation_density: ActivationDensity = 1.0
    batch: int | None = None
    per: str = "inference"
    count: int | None = None

    @classmethod
    def of(cls, where: str, keywords: Mapping[str, Any]) -> StructureOptions:
        """
        Raises:
            TypeError: a keyword that there is not, named with those that there are.
        """
        known = [field.name for field in fields(cls)]
        for name in keywords:
            if name not in known:
                raise TypeError(f"{where}: expected options among {', '.join(known)}, got {name!r}")
        return cls(**keywords)
