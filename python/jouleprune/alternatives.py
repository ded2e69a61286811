"""What else could run a pruned layer, and how long that would take: predicted by cost entries, measured where the
machine's table of times knows the call."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from . import _C
from .blocks import kept_blocks
from .energy import Profile, load_profile
from .patterns import block_size
from .tuning import Tuning

__all__ = ["alternatives"]

_QUAD = 4


def alternatives(
    model: torch.nn.Module,
    entries: Sequence[Mapping[str, Any]],
    patterns: Mapping[str, str],
    device: Profile | None,
) -> tuple[str, dict[str, list[str]]]:
    """The alternatives of each weight, torch's dense products in bfloat16 and int8 among them.

    Args:
        model: the pruned network, its layers dense.
        entries: its recorded calls.
        patterns: of the weights that are asked about.
        device: predicts the times where it is a CPU or GPU; else ``generic-cpu`` does, or ``xeon-amx`` where matrix
            tiles are in use.
    Returns:
        Name of the profile that predicted, and by weight a line for each way to run it.
    """
    profile = device if device is not None and device.kind != "asic" else load_profile(_C.host_profile())
    tuning = Tuning()
    calls: dict[str, list[Mapping[str, Any]]] = {}
    for entry in entries:
        if entry["weight"] in patterns and entry["layout"] == "dense":
            calls.setdefault(entry["weight"], []).append(entry)
    return profile.name, {
        weight: _of_weight(model.get_parameter(weight), used, patterns[weight], profile, tuning)
        for weight, used in calls.items()
    }


def _of_weight(
    weight: torch.Tensor, calls: Sequence[Mapping[str, Any]], pattern: str, profile: Profile, tuning: Tuning
) -> list[str]:
    kept = weight.detach() != 0
    block = block_size(pattern)
    return _C.alternatives(
        json.dumps(calls),
        pattern,
        int(kept.sum()),
        None if block is None else _stored(kept, *block),
        _in_quads(kept),
        profile,
        tuning.table,
        torch.get_num_threads(),
    )


def _stored(kept: torch.Tensor, r: int, c: int) -> int:
    """Entries that blocks of r x c store, of a convolution c channels at one tap."""
    taps = kept.flatten(2).unbind(2) if kept.dim() > 2 else (kept,)
    blocks = sum(int(kept_blocks(tap, r, c).sum()) for tap in taps)
    return min(blocks * r * c, kept.numel())


def _in_quads(kept: torch.Tensor) -> int | None:
    """Entries as int8 stores them, of layers that it runs."""
    return _stored(kept, 1, _QUAD) if kept.dim() in (2, 4) else None
