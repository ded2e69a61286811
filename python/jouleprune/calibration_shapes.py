"""Shapes that ``calibrate`` times besides the sweep of ``calibration_sweep.py``.

They are drawn at random over the sizes that networks have, the same at every run, so that the time of each family of
calls is known at many places and not on a line of round numbers.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Shape", "shapes"]

#: Images in a batch, as often as networks see them.
_BATCHES = (1, 1, 1, 2, 4, 8, 16, 16, 32)
_DENSITIES = (0.5, 0.3, 0.2, 0.1, 0.05)
#: How many of each kind; "small" ones are single images that torch unfolds, "line" has windows along one axis.
_CONVOLUTIONS = {"convolution": 140, "small": 70, "line": 260, "pointwise": 200, "depthwise": 180, "grouped": 80}
#: Elements of the largest image that torch unfolds.
_UNFOLDED = 20_480
#: Of the largest tensor, of a weight, in elements; multiply-accumulates of most calls, and of some.
_LARGEST, _LARGEST_WEIGHT, _MOST_MACS, _SOME_MACS = 22_000_000, 10_000_000, 4e8, 2e9

_SIMPLE: dict[str, Callable[..., Tensor]] = {
    "relu": F.relu, "relu6": F.relu6, "hardtanh": F.hardtanh, "add": lambda x: x + x, "mul": lambda x: x * x,
    "sigmoid": torch.sigmoid, "tanh": torch.tanh, "gelu": F.gelu, "silu": F.silu, "hardswish": F.hardswish,
    "exp": torch.exp,
}  # fmt: skip


class _Function(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *args: Tensor) -> Tensor:
        return self.function(*args)


class Shape:
    """A layer and its inputs. ``density``: of one that runs sparse (0 = dense), in ``quantised`` or its own type."""

    def __init__(
        self,
        name: str,
        make: Callable[[], nn.Module],
        sizes: tuple[tuple[int, ...], ...],
        dtype: torch.dtype = torch.float32,
        density: float = 0.0,
        quantised: str | None = None,
    ) -> None:
        self.name = f"{name} of {', '.join('x'.join(map(str, size)) for size in sizes)} {str(dtype)[6:]}"
        if density:
            self.name += f" {quantised or 'sparse'} {density:g}"
        self.make, self.sizes, self.dtype, self.density, self.quantised = make, sizes, dtype, density, quantised


class _Draw(random.Random):
    """Sizes, evenly over their logarithms."""

    def size(self, least: float, most: float) -> int:
        return max(1, round(math.exp(self.uniform(math.log(least), math.log(most)))))

    def channels(self, least: float, most: float) -> int:
        step = self.choice((8, 8, 16, 16, 32))
        return max(step, round(self.size(least, most) / step) * step)


def shapes(seed: int = 0) -> Iterator[Shape]:
    """About 2400 calls, family by family."""
    draw = _Draw(seed)
    for count, dtype in ((140, torch.float32), (60, torch.bfloat16)):
        for _ in range(count):
            yield _linear(draw, dtype)
    for kind, count in _CONVOLUTIONS.items():
        for _ in range(count):
            yield _convolution(draw, kind)
    for kind, count in (("convolution", 30), ("pointwise", 30), ("depthwise", 20)):
        for _ in range(count):
            yield _convolution(draw, kind, torch.bfloat16)
    yield from _recurrent(draw)
    yield from _simple(draw)
    yield from _of_images(draw)
    yield from _of_rows(draw)
    for quantised, count in ((None, 70), ("int8", 40)):
        for _ in range(count):
            yield _linear(draw, torch.float32, draw.choice(_DENSITIES), quantised)
        for _ in range(count):
            yield _convolution(
                draw, draw.choice(("convolution", "pointwise")), torch.float32, draw.choice(_DENSITIES), quantised
            )


def _linear(draw: _Draw, dtype: torch.dtype, density: float = 0.0, quantised: str | None = None) -> Shape:
    while True:
        rows, cols = draw.channels(16, 4096), draw.channels(16, 4096)
        n = draw.choice((1, 1, draw.size(1, 16), draw.size(1, 2048), draw.size(1, 2048)))
        if rows * cols <= (2e6 if density else 4e6) and rows * cols * n <= _MOST_MACS:
            return Shape(
                f"linear {rows}x{cols}", partial(nn.Linear, cols, rows), ((n, cols),), dtype, density, quantised
            )


def _kernel_and_image(draw: _Draw, kind: str) -> tuple[tuple[int, int], tuple[int, int]]:
    """Of a line of pixels (audio, text) the long axis may be either."""
    if kind == "line" or (kind == "depthwise" and draw.random() < 0.25):
        kernel, length = draw.size(3, 256 if kind == "line" else 31), draw.size(16, 1024)
        width = draw.choice((1, 1, 1, 4, 16))
        return ((kernel, 1), (length, width)) if draw.random() < 0.6 else ((1, kernel), (width, length))
    side = 1 if kind == "pointwise" else draw.choice((3, 3, 3, 5, 7))
    height = draw.choice((7, 14, 28, 56, 112, draw.size(4, 128)))
    return (side, side), (height, max(2, round(height * draw.choice((1, 1, 1, 0.5, 2)))))


def _convolution(
    draw: _Draw, kind: str, dtype: torch.dtype = torch.float32, density: float = 0.0, quantised: str | None = None
) -> Shape:
    while True:
        batch, groups = 1 if kind == "small" else draw.choice(_BATCHES), 1
        kernel, image = _kernel_and_image(draw, draw.choice(("convolution", "line")) if kind == "small" else kind)
        step = draw.choice((2, 4)) if max(kernel) >= 7 and draw.random() < 0.3 else draw.choice((1, 1, 1, 2))
        ins, outs = draw.channels(8, 1024), draw.channels(8, 1024)
        if kind in ("convolution", "line", "small") and not density and draw.random() < 0.12:
            ins = draw.choice((1, 2, 3, 4))
        if kind == "depthwise":
            outs = groups = ins
        if kind == "grouped":
            groups = draw.choice((2, 4, 8, 32))
            ins = groups * draw.size(1, max(1, 512 // groups))
            outs = ins * draw.choice((1, 1, 2))
        stride = (step if image[0] > 1 else 1, step if image[1] > 1 else 1)
        padding = (kernel[0] // 2, kernel[1] // 2)
        output = [
            (size + 2 * pad - taps) // by + 1
            for size, pad, taps, by in zip(image, padding, kernel, stride, strict=True)
        ]
        weights, n = outs * (ins // groups) * math.prod(kernel), batch * math.prod(output)
        most = _SOME_MACS if draw.random() < 0.15 and not density else _MOST_MACS
        largest = max(batch * ins * math.prod(image), outs * n)
        if kind == "small" and ins * math.prod(image) > _UNFOLDED:
            continue
        fits = min(output) > 0 and weights <= (2.4e6 if density else _LARGEST_WEIGHT) and max(kernel) <= 2 * max(image)
        if fits and 1e4 <= weights * n <= most and largest <= _LARGEST:
            make = partial(nn.Conv2d, ins, outs, kernel, stride, padding, groups=groups, bias=draw.random() < 0.5)
            name = f"{kind} {ins} to {outs} by {kernel[0]}x{kernel[1]} stride {step} groups {groups}"
            return Shape(name, make, ((batch, ins, *image),), dtype, density, quantised)


def _recurrent(draw: _Draw) -> Iterator[Shape]:
    for kind, count in ((nn.LSTM, 150), (nn.GRU, 60)):
        found = 0
        while found < count:
            inputs, hidden = draw.channels(16, 512), draw.channels(32, 768)
            batch, steps = draw.choice((1, 1, 2, 4, 8, 16, 32)), draw.size(8, 320)
            if 4 * hidden * (hidden + inputs) * batch * steps < _MOST_MACS:
                found += 1
                make = partial(kind, inputs, hidden, batch_first=True)
                yield Shape(f"{kind.__name__} {inputs} to {hidden}", make, ((batch, steps, inputs),))


def _simple(draw: _Draw) -> Iterator[Shape]:
    for name, function in _SIMPLE.items():
        for place in range(22):
            most = 4_000_000 if name in ("exp", "gelu", "silu", "tanh", "hardswish") else _LARGEST
            size = draw.size(200 if place % 2 else 20_000, most)
            yield Shape(name, partial(_Function, function), ((size,),))
    for _ in range(20):
        size = draw.size(200, 4_000_000)
        yield Shape("cat", partial(_Function, lambda x: torch.cat([x, x])), ((size,),))


def _image(draw: _Draw) -> tuple[int, ...]:
    """Batch, channels, height, width; a quarter of them are lines."""
    while True:
        channels, batch, side = draw.channels(8, 512), draw.choice((1, 1, 4, 16)), draw.choice((7, 14, 28, 56, 112))
        sizes = (batch, channels, draw.size(8, 512), 1) if draw.random() < 0.25 else (batch, channels, side, side)
        if math.prod(sizes) <= _LARGEST:
            return sizes


def _of_images(draw: _Draw) -> Iterator[Shape]:
    for _ in range(50):
        sizes = _image(draw)
        yield Shape("batch norm", partial(nn.BatchNorm2d, sizes[1]), (sizes,))
    for _ in range(50):
        sizes = _image(draw)
        pad = draw.choice(((1, 1, 1, 1), (0, 1, 0, 1), (2, 2, 2, 2))) if sizes[3] > 1 else (0, 0, 7, 8)
        yield Shape(f"pad {pad}", partial(_Function, partial(F.pad, pad=pad)), (sizes,))
    for kind, count in (("max", 44), ("average", 24), ("global", 24)):
        for _ in range(count):
            sizes, window, step = _image(draw), draw.choice((2, 2, 3)), draw.choice((1, 2))
            step = 2 if window == 2 else step
            window2, step2 = ((window, 1), (step, 1)) if sizes[3] == 1 else ((window, window), (step, step))
            makes: dict[str, Callable[[], nn.Module]] = {
                "max": partial(nn.MaxPool2d, window2, step2),
                "average": partial(nn.AvgPool2d, window2, step2),
                "global": partial(nn.AdaptiveAvgPool2d, 1),
            }
            if math.prod(sizes) <= _LARGEST / 4:
                yield Shape(f"{kind} pool by {window} stride {step}", makes[kind], (sizes,))


def _of_rows(draw: _Draw) -> Iterator[Shape]:
    functions: dict[str, Callable[..., Tensor]] = {
        "softmax": lambda x: torch.softmax(x, -1),
        "transposed copy": lambda x: x.t().contiguous(),
        "mean of rows": lambda x: x.mean(1),
        "mean of columns": lambda x: x.mean(0),
    }
    for name, function in functions.items():
        for _ in range(24):
            yield Shape(name, partial(_Function, function), ((draw.size(2, 2048), draw.size(8, 1024)),))
    for _ in range(24):
        rows, cols = draw.size(1, 512), draw.channels(64, 2048)
        yield Shape("layer norm", partial(nn.LayerNorm, cols), ((rows, cols),))
    for _ in range(24):
        many, rows, cols, n = draw.size(1, 32), draw.size(8, 256), draw.size(8, 256), draw.size(8, 256)
        yield Shape("product of activations", partial(_Function, torch.matmul), ((many, rows, cols), (many, cols, n)))
