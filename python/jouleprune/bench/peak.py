"""What this machine can do at most, measured: the number that shares of peak are told against."""

from __future__ import annotations

import torch

from .. import _C
from ..clock import seconds

__all__ = ["METHOD", "measure_peaks"]

METHOD = (
    "float32: a loop of fused multiply-adds on registers, or torch's dense product where that is faster; bfloat16: "
    "torch's dense product, best of n = 512, 1024, 2048"
)
_SIZES = (512, 1024, 2048)
_TRIES = 3
_LOOP_S = 0.1


def measure_peaks(threads: int) -> dict[str, float]:
    """GFLOP/s by dtype, of all ``threads``; a kernel of the library may beat a dense product, never the loop."""
    loop: float = _C.peak_gflops(_LOOP_S) * threads
    return {"float32": max(loop, _dense_product(torch.float32)), "bfloat16": _dense_product(torch.bfloat16)}


def _dense_product(dtype: torch.dtype) -> float:
    best = 0.0
    for size in _SIZES:
        a, b = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
        torch.mm(a, b)
        once = min(seconds(lambda a=a, b=b: torch.mm(a, b)) for _ in range(_TRIES))  # type: ignore[misc]
        best = max(best, 2 * size**3 / once * 1e-9)
    return best
