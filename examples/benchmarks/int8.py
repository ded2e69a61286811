"""Speed and error of int8 sparse Linear against torch: float32 dense, and int8 dynamic dense (the fastest engine).

Run: python examples/benchmarks/int8.py [--rounds 9] [--shapes 768x768x192 ...] [--sparsities 0.5 ...]. One thread,
float32 in and out, one scale per row. A shape is inputs x outputs x batch rows; batch 1 runs with cold caches. Seconds
are those of the thread's CPU clock, which other processes disturb least; above 1 jouleprune is faster.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable

import torch
from torch import nn

import jouleprune as jp
from jouleprune.report import table

SHAPES = ("768x768x192", "1024x1024x256", "3072x768x128", "768x3072x128", "4096x4096x1")
ENGINES = ("x86", "onednn", "fbgemm")
_FLUSH = torch.zeros(96 << 20, dtype=torch.uint8)  # larger than a last-level cache's share


def torch_int8(layer: nn.Linear) -> dict[str, nn.Module]:
    """torch's dynamic int8 of the layer, once per engine."""
    twins = {}
    for engine in ENGINES:
        if engine in torch.backends.quantized.supported_engines:
            torch.backends.quantized.engine = engine
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # deprecated upstream
                twins[engine] = torch.ao.quantization.quantize_dynamic(
                    nn.Sequential(layer), {nn.Linear}, dtype=torch.qint8
                )
    return twins


def seconds(call: Callable[[], object], repeats: int, cold: bool) -> float:
    """CPU seconds of one call."""
    if cold:
        _FLUSH.add_(1)
    start = time.thread_time()
    for _ in range(1 if cold else repeats):
        call()
    return (time.thread_time() - start) / (1 if cold else repeats)


def medians(calls: dict[str, Callable[[], object]], rounds: int, cold: bool) -> dict[str, float]:
    """Median seconds of each, taken in turn."""
    repeats = {}
    for name, call in calls.items():
        call()
        repeats[name] = max(1, int(8e-3 / max(seconds(call, 2, False), 1e-6)))
    samples = [{name: seconds(call, repeats[name], cold) for name, call in calls.items()} for _ in range(rounds)]
    return {name: statistics.median(sample[name] for sample in samples) for name in calls}


def prune(layer: nn.Linear, sparsity: float, pattern: str) -> nn.Linear:
    """A layer of Gaussian weights with a random share removed."""
    rows, cols = layer.weight.shape
    keep = torch.rand(rows, cols // 4) >= sparsity if pattern == "1x4" else torch.rand(rows, cols) >= sparsity
    with torch.no_grad():
        layer.weight.copy_(
            torch.randn(rows, cols) / cols**0.5 * (keep.repeat_interleave(4, 1) if pattern == "1x4" else keep)
        )
    return layer


def error(out: torch.Tensor, exact: torch.Tensor) -> float:
    return float((out.double() - exact).norm() / exact.norm())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--shapes", nargs="*", default=SHAPES)
    parser.add_argument("--sparsities", type=float, nargs="*", default=(0.5, 0.7, 0.8, 0.9, 0.95))
    parser.add_argument("--patterns", nargs="*", default=("1x4", "unstructured"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rows = []
    for pattern in options.patterns:
        for shape in options.shapes:
            inputs, outputs, batch = (int(size) for size in shape.split("x"))
            for sparsity in options.sparsities:
                layer = prune(nn.Linear(inputs, outputs).eval(), sparsity, pattern)
                x = torch.randn(batch, inputs)
                ours, theirs = jp.nn.SparseLinear.from_dense(layer, dtype="int8"), torch_int8(layer)
                with torch.no_grad():
                    calls: dict[str, Callable[[], object]] = {"dense": lambda m=layer, x=x: m(x)}  # type: ignore[misc]
                    calls |= {name: lambda m=m, x=x: m(x) for name, m in theirs.items()}  # type: ignore[misc]
                    calls["ours"] = lambda m=ours, x=x: m(x)  # type: ignore[misc]
                    times = medians(calls, options.rounds, cold=batch == 1)
                    exact = nn.functional.linear(x.double(), layer.weight.double(), layer.bias.double())
                    engine = min(theirs, key=lambda name: times[name])
                    errors = error(ours(x), exact), error(theirs[engine](x), exact)
                rows.append(
                    [
                        pattern, shape, f"{sparsity:.0%}", f"{times['dense'] * 1e6:.0f}",
                        f"{times[engine] * 1e6:.0f} ({engine})", f"{times['ours'] * 1e6:.1f}",
                        f"{times['dense'] / times['ours']:.1f}", f"{times[engine] / times['ours']:.2f}",
                        f"{errors[0]:.2%}", f"{errors[1]:.2%}",
                    ]
                )  # fmt: skip
    head = [
        "pattern",
        "shape",
        "zeros",
        "fp32 us",
        "torch int8 us",
        "int8 us",
        "x fp32",
        "x torch int8",
        "error",
        "torch's",
    ]
    print(table(head, rows))


if __name__ == "__main__":
    main()
