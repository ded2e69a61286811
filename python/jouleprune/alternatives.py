"""What else could run a pruned layer, and how long that would take: predicted by cost entries, measured where the
machine's table of times knows the call."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from . import _C
from .blocks import kept_blocks
from .energy import Profile, load_profile
from .estimate import price_entry
from .patterns import block_size
from .record import record
from .tuning import Tuning, linear_call

__all__ = ["Alternative", "alternatives"]

_QUAD = 4
#: Of the table of times, by what runs: a kernel and its number type. Our int8 kernel takes the layer's own activations.
_TIMED = {("dense", ""): "dense", ("csr", ""): "csr", ("bsr-int8", "int8"): "bsr-int8", ("dense", "int8"): "torch-int8"}


@dataclass(frozen=True)
class Alternative:
    """One way to run a layer. Seconds per forward pass, all its calls."""

    what: str
    predicted_s: float
    measured_s: float | None

    def __str__(self) -> str:
        measured = "not measured" if self.measured_s is None else f"{self.measured_s * 1e6:.1f} us measured"
        return f"{self.what}: {self.predicted_s * 1e6:.1f} us predicted, {measured}"


def alternatives(
    model: torch.nn.Module, example_inputs: Any, patterns: Mapping[str, str], device: Profile | None
) -> tuple[str, dict[str, list[Alternative]]]:
    """The alternatives of each weight, torch's dense products in bfloat16 and int8 among them.

    Args:
        model: the pruned network, its layers dense.
        patterns: of the weights that are asked about.
        device: predicts the times where it is a CPU or GPU; else ``generic-cpu`` does.
    Returns:
        Name of the profile that predicted, and by weight what could run it.
    """
    profile = device if device is not None and device.kind != "asic" else load_profile("generic-cpu")
    tuning = Tuning()
    calls: dict[str, list[dict[str, Any]]] = {}
    for entry in json.loads(record(model, example_inputs))["entries"]:
        if entry["weight"] in patterns and entry["layout"] == "dense":
            calls.setdefault(entry["weight"], []).append(entry)
    return profile.name, {
        weight: _of_weight(model.get_parameter(weight), entries, patterns[weight], profile, tuning)
        for weight, entries in calls.items()
    }


def _of_weight(
    weight: torch.Tensor, entries: Sequence[dict[str, Any]], pattern: str, profile: Profile, tuning: Tuning
) -> list[Alternative]:
    kept = weight.detach() != 0
    own = entries[0]["dtype"]
    block = block_size(pattern)
    forms = [
        ("dense", own, weight.numel()),
        *((name, own, int(kept.sum())) for name in _kernels(entries, own, profile)),
    ]
    if block is not None:
        forms += [
            (name, own, _stored(kept, *block)) for name in _kernels(entries, own, profile, "block") if name == "bsr"
        ]
    if weight.dim() == 2 and "bsr-int8" in _kernels(entries, "int8", profile, "block"):
        forms.append(("bsr-int8", "int8", _stored(kept, 1, _QUAD)))
    forms += [("dense", dtype, weight.numel()) for dtype in ("bfloat16", "int8") if dtype != own]
    density = float(kept.float().mean()) if weight.numel() else 1.0
    return [
        Alternative(
            _named(kernel, dtype, own, pattern),
            sum(price_entry({**entry, **_run(kernel, dtype, nnz, pattern)}, profile, 1).latency_s for entry in entries),
            _measured(entries, density, kernel, "" if dtype == own else dtype, tuning),
        )
        for kernel, dtype, nnz in forms
    ]


def _kernels(
    entries: Sequence[dict[str, Any]], dtype: str, profile: Profile, pattern: str = "unstructured"
) -> list[str]:
    """Sparse ones that take all the calls."""
    runs = [_C.candidates(json.dumps({**entry, "dtype": dtype}), profile, pattern) for entry in entries]
    return [kernel for kernel in runs[0] if kernel != "dense" and all(kernel in other for other in runs)]


def _run(kernel: str, dtype: str, nnz: int, pattern: str) -> dict[str, Any]:
    return {"kernel": kernel, "layout": kernel.split("-")[0], "dtype": dtype, "nnz": nnz, "pattern": pattern}


def _named(kernel: str, dtype: str, own: str, pattern: str) -> str:
    if kernel == "dense" and dtype != own:
        return f"torch dense {dtype}"
    return f"{kernel} {dtype} in blocks of {pattern}" if kernel == "bsr" else f"{kernel} {dtype}"


def _stored(kept: torch.Tensor, r: int, c: int) -> int:
    """Entries that blocks of r x c store."""
    blocks = kept_blocks(kept.reshape(kept.shape[0], -1), r, c)
    return min(int(blocks.sum()) * r * c, kept.numel())


def _measured(
    entries: Sequence[dict[str, Any]], density: float, kernel: str, dtype: str, tuning: Tuning
) -> float | None:
    """Of all calls, where the table has each."""
    timed = _TIMED.get((kernel, dtype))
    if timed is None or any(entry["op"] != "linear" for entry in entries):
        return None
    seconds = [tuning.find(linear_call(entry, density), timed) for entry in entries]
    return None if None in seconds else sum(each for each in seconds if each is not None)
