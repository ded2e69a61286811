"""The calls that ``calibrate`` times: families of shapes, run by the library's kernels and torch's dense ones.

They run as in a network: the weights of the layer and the memory of its result were not touched a moment ago.
"""

from __future__ import annotations

import copy
import json
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from .calibration_shapes import Shape, shapes
from .nn import SparseConv2d, SparseLinear
from .record import record

__all__ = ["RANDOM", "Call", "Made", "sweep"]

#: The family of the shapes that are drawn at random, which the model's own families take apart.
RANDOM = "random shapes"

_LINEAR = [(64, 64, 8), (256, 256, 16), (768, 768, 16), (512, 512, 64), (768, 3072, 128), (1024, 1024, 256)]
_BATCH_1 = [(128, 128), (512, 512), (1024, 1024), (2048, 1024), (2048, 4096)]
_CONV = [(16, 3, 28), (64, 3, 28), (128, 3, 14), (256, 3, 14)]
_POINTWISE = [(64, 1, 56), (128, 1, 28), (256, 1, 14), (512, 1, 7)]
_DENSITIES = (0.5, 0.2, 0.05)
#: Bytes of weights, and of results, that take turns: more than second-level caches hold. Copies of a layer at most.
_WEIGHTS, _RESULTS, _MOST_COPIES = 8_000_000, 4_000_000, 16


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
    drawn = {shape.name: Call(RANDOM, shape.name, partial(_of_shape, shape)) for shape in shapes()}
    calls = [*_calls(), *drawn.values()]
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
    for family, sizes in (("convolution 3x3", _CONV), ("convolution 1x1", _POINTWISE)):
        for channels, kernel, size in sizes:
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
    return _made(make().to(dtype), (make_x().to(dtype),))


def _sparse(
    make: Callable[[], nn.Module],
    make_x: Callable[[], Tensor],
    density: float,
    dtype: torch.dtype,
    quantised: str | None,
) -> Made:
    module = _sparse_form(make().to(dtype), density, quantised)
    return _made(module, (make_x().to(dtype),))


def _of_shape(shape: Shape) -> Made:
    module = shape.make().to(shape.dtype)
    if shape.density:
        module = _sparse_form(module, shape.density, shape.quantised)
    return _made(module, tuple(torch.rand(size).to(shape.dtype) for size in shape.sizes))


def _sparse_form(layer: Any, density: float, quantised: str | None) -> nn.Module:
    weight: Tensor = layer.weight
    with torch.no_grad():
        # Blocks of 1 x 4 inputs live and die together in int8; of a convolution four channels at a tap.
        weight.mul_(_mask(weight, density, 4 if quantised else 1).to(weight.dtype))
    kind: Any = SparseLinear if isinstance(layer, nn.Linear) else SparseConv2d
    module: Any = kind.from_dense(layer) if quantised is None else kind.from_dense(layer, dtype=quantised)
    if hasattr(module, "fix_input_scale"):
        module.fix_input_scale(1 / 127)  # inputs are below 1
    made: nn.Module = module
    return made


def _mask(weight: Tensor, density: float, block: int) -> Tensor:
    """Random, the same at every run."""
    shape = list(weight.shape)
    shape[1] = -(-shape[1] // block)
    generator = torch.Generator().manual_seed(1)
    kept = torch.rand(shape, generator=generator) < density
    return kept.repeat_interleave(block, 1)[:, : weight.shape[1]]


def _made(module: nn.Module, inputs: tuple[Tensor, ...]) -> Made:
    module = module.eval()
    entries: list[dict[str, Any]] = json.loads(record(module, inputs if len(inputs) > 1 else inputs[0]))["entries"]
    return Made(_Turns(module, inputs), entries)


class _Turns:
    """Calls copies of a dense layer in turn, and keeps the last results, so that the next one gets other memory.

    In a network, other layers' weights and results have passed through the caches since a layer last ran; its input is
    what the layer before has just written.
    """

    def __init__(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._inputs = inputs
        result = module(*inputs)
        result = result[0] if isinstance(result, tuple) else result
        weights = sum(weight.nbytes for weight in module.parameters())
        dense = weights > 0 and not isinstance(module, SparseLinear | SparseConv2d)
        copies = min(_MOST_COPIES, math.ceil(_WEIGHTS / weights)) if dense else 1
        self._modules = [module, *(copy.deepcopy(module) for _ in range(copies - 1))]
        self._results: list[object] = [None] * max(1, min(4096, math.ceil(_RESULTS / max(result.nbytes, 1))))
        self._turn = 0

    def __call__(self) -> None:
        module = self._modules[self._turn % len(self._modules)]
        self._results[self._turn % len(self._results)] = module(*self._inputs)
        self._turn += 1
