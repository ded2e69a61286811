"""Times that were measured before on this machine: a layer is timed once, not at every conversion.

They are kept in one JSON file, by processor, instruction set and version: ``JOULEPRUNE_TUNE`` names it, else it is
``jouleprune/tuning.json`` in the user's cache folder. C++ programs share it.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Sequence
from typing import Any

import torch

from . import _C
from .energy import Profile

__all__ = ["Tuning", "measured_limits", "tuned_call"]


def tuned_call(module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], density: float) -> str | None:
    """What the time of this call depends on, as JSON; None for a module or arguments that the file cannot name."""
    if len(args) != 1 or kwargs or not isinstance(args[0], torch.Tensor) or args[0].device.type != "cpu":
        return None
    x = args[0]
    if type(module) is torch.nn.Linear:
        rows, cols, n, groups = module.out_features, module.in_features, x.numel() // max(1, module.in_features), 1
        geometry = ""
    elif type(module) is torch.nn.Conv2d and not isinstance(module.padding, str):
        groups = module.groups
        rows, cols = module.out_channels // groups, module.in_channels // groups * math.prod(module.kernel_size)
        n = x.shape[0] if x.dim() == 4 else 1
        sizes = (module.kernel_size, module.stride, module.padding, module.dilation)
        geometry = "/".join(_times(size) for size in sizes) + " on " + _times(x.shape[-3:])
    else:
        return None
    call = {
        "op": "linear" if not geometry else "conv2d", "dtype": str(x.dtype).removeprefix("torch."), "rows": rows,
        "cols": cols, "n": n, "groups": groups, "geometry": geometry, "density": density,
        "threads": torch.get_num_threads(),
    }  # fmt: skip
    return json.dumps(call)


def measured_limits(workload: str, weights: Sequence[str], profile: Profile) -> str:
    """From which density on kernels lost to dense in calls like those of the workload, here: JSON, ``[{weight,
    kernel, dtype, below}]``. Empty for profiles that are no CPU."""
    return _C.measured_limits(workload, list(weights), profile, torch.get_num_threads())


def _times(sizes: Sequence[int]) -> str:
    return "x".join(str(size) for size in sizes)


class Tuning:
    """The file's times, and those that are added. Without a file (``JOULEPRUNE_TUNE=off``) it remembers nothing."""

    def __init__(self) -> None:
        self._path = _C.tuning_path()
        self._table = _C.TuningTable()
        self._added = False
        if self._path:
            try:
                self._table.load(self._path)
            except ValueError as error:
                warnings.warn(f"measured times are not used: {error}; the file is made anew", stacklevel=2)

    @property
    def table(self) -> _C.TuningTable | None:
        """The table of the file; None without one."""
        return self._table if self._path else None

    def find(self, call: str | None, kernel: str) -> float | None:
        """Seconds of the kernel on the call."""
        return None if call is None or not self._path else self._table.find(call, kernel)

    def put(self, call: str | None, kernel: str, seconds: float) -> None:
        if call is not None and self._path:
            self._table.put(call, kernel, seconds)
            self._added = True

    def save(self) -> None:
        """Keeps what was added; a folder that cannot be written to is no reason to fail."""
        if not self._added:
            return
        try:
            self._table.save(self._path)
        except (OSError, RuntimeError) as error:
            warnings.warn(f"measured times are not kept: {error}", stacklevel=2)
