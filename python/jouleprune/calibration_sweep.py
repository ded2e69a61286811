"""The calls that ``calibrate`` times: families of shapes, run by the library's kernels and torch's dense ones."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from .nn import SparseConv2d, SparseLinear
from .record import record

__all__ = ["Call", "Made", "sweep"]

_LINEAR = [(64, 64, 8), (256, 256, 16), (768, 768, 16), (512, 512, 64), (768, 3072, 128), (1024, 1024, 256)]
_BATCH_1 = [(128, 128), (512, 512), (1024, 1024), (2048, 1024), (2048, 4096)]
_CONV = [(16, 3, 28), (64, 3, 28), (128, 3, 14), (256, 3, 14)]
_POINTWISE = [(64, 1, 56), (128, 1, 28), (256, 1, 14), (512, 1, 7)]
_DENSITIES = (0.5, 0.2, 0.05)


@dataclass(frozen=True)
class Made:
    """A call that is ready to run, and its workload's entries."""

    run: Callable[[], object]
    entries: list[dict[str, Any]]


@dataclass(frozen=True)
class Call:
    """A shape of a family, run by one kernel; ``make`` builds it."""

    family: str
    name: str
    make: Callable[[], Made]


def sweep() -> list[Call]:
    """All calls, in an order that mixes families, so that a drift of the machine does not look like one of them."""
    calls = list(_calls())
    random.Random(0).shuffle(calls)
    return calls


def _calls() -> Iterator[Call]:
    for out, cols, n in _LINEAR:
        yield from _layer(
            "linear", f"linear {out}x{cols} n={n}", partial(_linear, out, cols), partial(torch.rand, n, cols)
        )
    for out, cols in _BATCH_1:
        yield from _layer(
            "batch 1", f"linear {out}x{cols} n=1", partial(_linear, out, cols), partial(torch.rand, 1, cols)
        )
    for family, shapes in (("convolution 3x3", _CONV), ("convolution 1x1", _POINTWISE)):
        for channels, kernel, size in shapes:
            name = f"conv {kernel}x{kernel} {channels}ch {size}x{size}"
            make_x = partial(torch.rand, 1, channels, size, size)
            yield from _layer(family, name, partial(_conv, channels, kernel), make_x)


def _layer(family: str, name: str, make: Callable[[], nn.Module], make_x: Callable[[], Tensor]) -> Iterator[Call]:
    """Dense in float32 and bfloat16, sparse at several densities in float32, at one in bfloat16 and int8."""
    for dtype in (torch.float32, torch.bfloat16):
        short = str(dtype).removeprefix("torch.")
        yield Call(family, f"{name} dense {short}", partial(_dense, make, make_x, dtype))
    for density in _DENSITIES:
        yield Call(family, f"{name} csr {density:g}", partial(_sparse, make, make_x, density, torch.float32, None))
    yield Call(family, f"{name} csr 0.2 bfloat16", partial(_sparse, make, make_x, 0.2, torch.bfloat16, None))
    yield Call(family, f"{name} int8 0.5", partial(_sparse, make, make_x, 0.5, torch.float32, "int8"))


def _linear(out: int, cols: int) -> nn.Module:
    return nn.Linear(cols, out)


def _conv(channels: int, kernel: int) -> nn.Module:
    return nn.Conv2d(channels, channels, kernel, padding=kernel // 2)


def _dense(make: Callable[[], nn.Module], make_x: Callable[[], Tensor], dtype: torch.dtype) -> Made:
    return _made(make().to(dtype), make_x().to(dtype))


def _sparse(
    make: Callable[[], nn.Module],
    make_x: Callable[[], Tensor],
    density: float,
    dtype: torch.dtype,
    quantised: str | None,
) -> Made:
    layer: Any = make().to(dtype)
    with torch.no_grad():
        # Blocks of 1 x 4 inputs live and die together in int8; of a convolution four channels at a tap.
        layer.weight.mul_(_mask(layer.weight, density, 4 if quantised else 1).to(dtype))
    kind: Any = SparseLinear if isinstance(layer, nn.Linear) else SparseConv2d
    module = kind.from_dense(layer) if quantised is None else kind.from_dense(layer, dtype=quantised)
    x = make_x().to(dtype)
    if hasattr(module, "fix_input_scale"):
        module.fix_input_scale(float(x.abs().max()) / 127)
    return _made(module, x)


def _mask(weight: Tensor, density: float, block: int) -> Tensor:
    """Random, the same at every run."""
    shape = list(weight.shape)
    shape[1] = -(-shape[1] // block)
    generator = torch.Generator().manual_seed(1)
    kept = torch.rand(shape, generator=generator) < density
    return kept.repeat_interleave(block, 1)[:, : weight.shape[1]]


def _made(module: nn.Module, x: Tensor) -> Made:
    module = module.eval()
    entries: list[dict[str, Any]] = json.loads(record(module, x))["entries"]
    return Made(lambda: module(x), entries)
