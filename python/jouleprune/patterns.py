"""Patterns and number types that a plan may choose from, and what a weight's module can run of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from . import _C
from .energy import Profile
from .errors import PatternError
from .layers import unit_of, why_not_convertible

__all__ = ["Freedom", "block_size", "check_pattern", "checked_dtypes", "freedom_of"]

_INT8 = "int8"
_SHRINKS = ("channel", "filter", "neuron", "hidden", "head", "layer", "rank", "structured")


@dataclass(frozen=True)
class Freedom:
    """What the planner may choose for one weight."""

    pattern: str
    """Its own; empty: that of the whole plan."""
    layouts: tuple[str, ...]
    dtypes: tuple[str, ...]
    """Beside its own."""


def check_pattern(pattern: object) -> None:
    """Refuses what is no pattern."""
    if not isinstance(pattern, str):
        raise PatternError(f"pattern: expected a string, got {type(pattern).__name__}")
    if pattern in _SHRINKS:
        raise PatternError(
            f"pattern: {pattern!r} makes the network itself smaller: call jouleprune.shrink with it, "
            "or train with jouleprune.ChannelPruner"
        )
    if pattern != "auto":
        _C.check_pattern(pattern)


def block_size(pattern: str) -> tuple[int, int] | None:
    """(r, c) of "RxC"; None of other patterns."""
    rows, mark, cols = pattern.partition("x")
    return (int(rows), int(cols)) if mark else None


def checked_dtypes(dtype: str | Sequence[str] | None, profile: Profile) -> tuple[str, ...]:
    """Number types that layers may run in beside their own.

    Raises:
        ValueError: a type that the library cannot bring in by itself, or a device for which it has no such kernels.
    """
    if not (dtype is None or isinstance(dtype, str | list | tuple)):
        raise ValueError(f"dtype: expected None, 'int8' or ['int8'], got {dtype!r}")
    asked = () if dtype is None else (dtype,) if isinstance(dtype, str) else tuple(dtype)
    for each in asked:
        if each != _INT8:
            raise ValueError(
                f"dtype: expected None, 'int8' or ['int8'], got {each!r}: activations are converted for int8 alone; "
                "for others cast the model first (model.to(torch.bfloat16)), its layers then run in their own type"
            )
    if asked and profile.kind != "cpu":
        raise ValueError(
            f"dtype: {asked[0]!r} chooses among kernels for CPUs: expected None for {profile.name!r}, whose kind is "
            f"{profile.kind!r}: there layers run in the number type of their weights"
        )
    return tuple(dict.fromkeys(asked))


def freedom_of(model: torch.nn.Module, weight: str, dtypes: Sequence[str], pattern: str = "") -> Freedom:
    """What ``convert`` can make of the module that holds the weight."""
    unit = unit_of(model, weight)
    parameter = model.get_parameter(weight)
    # A convolution runs blocks in int8 alone; no kernel offers to run them otherwise.
    if unit is None or why_not_convertible(model, weight):
        return Freedom(pattern, ("dense",), ())  # masked: no sparse module takes its place
    on_cpu = parameter.device.type != "cuda"  # int8 has kernels there alone
    if not isinstance(unit.module, (torch.nn.Linear, torch.nn.Conv2d) if on_cpu else torch.nn.Linear):
        return Freedom(pattern, ("csr",), ())
    return Freedom(pattern, ("csr", "bsr"), tuple(dtypes) if on_cpu and parameter.dtype != torch.float64 else ())
