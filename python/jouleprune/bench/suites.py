"""The cases a benchmark can measure: shapes of real layers, grouped into suites."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from .chains import CHAINS
from .networks import NETWORKS

__all__ = ["SUITES", "Case", "ConvShape", "LinearShape", "cases"]


@dataclass(frozen=True)
class LinearShape:
    """A weight [rows, cols] and a batch of n."""

    rows: int
    cols: int
    n: int

    @property
    def positions(self) -> int:
        """How often each weight is used."""
        return self.n


@dataclass(frozen=True)
class ConvShape:
    """A square convolution that keeps the image's size: ``channels`` in and out, size x size pixels."""

    channels: int
    kernel: int
    size: int
    batch: int = 1

    @property
    def rows(self) -> int:
        return self.channels

    @property
    def cols(self) -> int:
        return self.channels * self.kernel * self.kernel

    @property
    def positions(self) -> int:
        """How often each weight is used; at the image's border some of it is padding, counted as work for everybody."""
        return self.size * self.size * self.batch


@dataclass(frozen=True)
class Case:
    """What is measured, but for the sparsity and the kind of mask.

    Attributes:
        shape: of the layer, or the name of a network.
        step: "forward", or "dW" (gradient of the weight), "dX" (of the input).
        dtype: "float32", "bfloat16" or "int8" (float32 in and out).
        layout: of jouleprune.nn.
        block: rows x columns of weights that live and die together; neighbouring columns of a convolution are channels
            at one tap.
        cold: the caches hold no weights when a call begins.
        baseline: the candidate that speeds are told against.
        decide: ``convert`` chooses between dense and sparse, and the choice is judged.
    """

    suite: str
    name: str
    shape: LinearShape | ConvShape | str
    step: str = "forward"
    dtype: str = "float32"
    layout: str = "csr"
    block: tuple[int, int] = (1, 1)
    cold: bool = False
    baseline: str = "torch"
    decide: bool = False


#: Suite: what it holds.
SUITES = {
    "linear": "fully connected layers of Transformers, batch-major in and out",
    "conv1x1": "1x1 convolutions",
    "conv3x3": "3x3 convolutions of ResNets",
    "conv7": "3x3 convolution on 7x7 pixels, batch 8",
    "batch1": "one row: weights in the caches, and read from memory",
    "training": "gradients of the kept weights and of the input",
    "bf16": "bfloat16 weights and activations, against torch's bfloat16",
    "int8": "int8 arithmetic between float32 activations",
    "int8conv": "the same for 3x3 convolutions, input scales calibrated",
    "int8chain": "int8 layers in a row, which pass bytes, against the same that each round for themselves",
    "blocks": "zeros in blocks, and 2:4",
    "decisions": "what convert chooses, layers around the break-even: is a converted layer ever slower?",
    "networks": "whole networks, the stem dense, against frozen torch with folded batch norm",
}

_LINEAR = [
    LinearShape(768, 768, 16),
    LinearShape(768, 768, 192),
    LinearShape(1024, 1024, 256),
    LinearShape(3072, 768, 128),
    LinearShape(768, 3072, 128),
]
_LARGE = [shape for shape in _LINEAR if shape.n >= 128]
_CONV1X1 = [ConvShape(256, 1, 28), ConvShape(128, 1, 56)]
_CONV3X3 = [ConvShape(64, 3, 56), ConvShape(128, 3, 28), ConvShape(256, 3, 14)]
_AROUND_BREAK_EVEN: list[LinearShape | ConvShape] = [
    LinearShape(64, 64, 1),
    LinearShape(256, 256, 8),
    LinearShape(1024, 1024, 1),
    LinearShape(512, 512, 32),
    LinearShape(768, 768, 192),
    ConvShape(16, 3, 28),
    ConvShape(64, 3, 14),
    ConvShape(256, 1, 28),
    ConvShape(128, 3, 7),
]
_CONV7 = [ConvShape(512, 3, 7, batch=8)]


def cases(suites: Iterable[str]) -> list[Case]:
    """All cases of the suites, in their order.

    Raises:
        ValueError: a name that is not in ``SUITES``.
    """
    found: list[Case] = []
    for suite in suites:
        if suite not in SUITES:
            raise ValueError(f"suite: expected some of {', '.join(SUITES)}, got {suite!r}")
        found.extend(_MAKERS[suite]())
    return found


def _name(shape: LinearShape | ConvShape) -> str:
    if isinstance(shape, LinearShape):
        return f"linear {shape.rows}x{shape.cols} n={shape.n}"
    batch = f" b{shape.batch}" if shape.batch > 1 else ""
    return f"conv {shape.kernel}x{shape.kernel} {shape.channels}ch {shape.size}x{shape.size}{batch}"


def _plain(suite: str, shapes: Iterable[LinearShape | ConvShape]) -> list[Case]:
    return [Case(suite, _name(shape), shape) for shape in shapes]


def _batch1() -> Iterator[Case]:
    for size in (4096, 1024):
        shape = LinearShape(size, size, 1)
        for cold in (False, True):
            yield Case("batch1", f"{_name(shape)} {'cold' if cold else 'warm'}", shape, cold=cold)


def _training() -> Iterator[Case]:
    for case in _plain("training", _LARGE):
        for step in ("dW", "dX"):
            yield replace(case, name=f"{case.name} {step}", step=step)


def _bf16() -> Iterator[Case]:
    for case in _plain("bf16", _LARGE):
        for name, layout, block in (
            ("unstructured", "csr", (1, 1)),
            ("1x2", "csr", (1, 2)),
            ("16x1", "bsr", (16, 1)),
            ("32x1", "bsr", (32, 1)),
            ("32x32", "bsr", (32, 32)),
        ):
            yield replace(
                case, name=f"{case.name} {name}", dtype="bfloat16", layout=layout, block=block, baseline="torch bf16"
            )


def _int8() -> Iterator[Case]:
    batch1 = LinearShape(4096, 4096, 1)
    for case in _plain("int8", _LARGE):
        yield from _in_int8([case], bands=(16, 32))
    for cold in (True, False):
        name = f"{_name(batch1)} {'cold' if cold else 'warm'}"
        yield from _in_int8([Case("int8", name, batch1, cold=cold)])


def _in_int8(plain: Iterable[Case], bands: Iterable[int] = ()) -> Iterator[Case]:
    for case in plain:
        blocks = [("1x4", (1, 4)), *((f"{rows}x4", (rows, 4)) for rows in bands), ("unstructured", (1, 1))]
        for name, block in blocks:
            yield replace(case, name=f"{case.name} {name}", dtype="int8", block=block)


def _blocks() -> Iterator[Case]:
    kinds = (("16x1", "vector", (16, 1)), ("16x16", "bsr", (16, 16)), ("32x32", "bsr", (32, 32)), ("2:4", "nm", (1, 1)))
    for case in _plain("blocks", _LARGE):
        for name, layout, block in kinds:
            yield replace(case, name=f"{case.name} {name}", layout=layout, block=block)


def _decisions() -> Iterator[Case]:
    for case in _plain("decisions", _AROUND_BREAK_EVEN):
        yield replace(case, decide=True, baseline="dense layer")


def _networks() -> Iterator[Case]:
    for name in NETWORKS:
        yield Case("networks", name, name, baseline="torch frozen")


def _int8chain() -> Iterator[Case]:
    for name in CHAINS:
        yield Case("int8chain", name, name, dtype="int8", block=(1, 4), baseline="jouleprune alone")


_MAKERS = {
    "linear": lambda: _plain("linear", _LINEAR),
    "conv1x1": lambda: _plain("conv1x1", _CONV1X1),
    "conv3x3": lambda: _plain("conv3x3", _CONV3X3),
    "conv7": lambda: _plain("conv7", _CONV7),
    "batch1": _batch1,
    "training": _training,
    "bf16": _bf16,
    "int8": _int8,
    "int8conv": lambda: _in_int8(_plain("int8conv", [*_CONV3X3, *_CONV7])),
    "int8chain": _int8chain,
    "blocks": _blocks,
    "decisions": _decisions,
    "networks": _networks,
}
