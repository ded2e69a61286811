"""Speed of the csr kernels against torch's dense kernels: ratios of medians from one interleaved run, on random data.

Run: python examples/benchmarks/csr.py [--threads 1] [--rounds 25]. A ratio above 1 means that sparse is faster.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

import jouleprune as jp
from jouleprune.report import table

SPARSITIES = (0.5, 0.8, 0.9, 0.95, 0.99)
LINEAR = ((768, 768, 1), (768, 768, 16), (768, 768, 192), (3072, 768, 128), (4096, 4096, 1))
CONV = ((64, 3, 56), (128, 3, 28), (256, 1, 28))


def machine() -> str:
    """CPU, threads and versions, so that a table can be read later."""
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as file:
            model = next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    isa, threads = torch.backends.cpu.get_cpu_capability(), torch.get_num_threads()
    return f"{model}, {isa}, {threads} thread(s), torch {torch.__version__}, jouleprune {jp.__version__}"


def sample(call: Callable[[], object], repeats: int) -> float:
    """Seconds per call."""
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def ratios(dense: nn.Module, sparse: nn.Module, x: torch.Tensor, rounds: int) -> tuple[float, float, float, float]:
    """Dense seconds (median), and dense / sparse: median, lower and upper quartile over rounds taken in turn."""
    repeats = max(1, int(2e-3 / max(sample(lambda: dense(x), 3), 1e-7)))
    pairs = [(sample(lambda: dense(x), repeats), sample(lambda: sparse(x), repeats)) for _ in range(rounds)][2:]
    quotients = [a / b for a, b in pairs]
    low, middle, high = statistics.quantiles(quotients, n=4)
    return statistics.median(a for a, _ in pairs), middle, low, high


def pruned(layer: nn.Module, sparsity: float) -> nn.Module:
    """Zeroes a random share of the weights."""
    with torch.no_grad():
        layer.weight.mul_(torch.rand_like(layer.weight) >= sparsity)
    return layer


def cases() -> list[tuple[str, Callable[[], nn.Module], torch.Tensor]]:
    """Name, maker of the dense layer, input."""
    found: list[tuple[str, Callable[[], nn.Module], torch.Tensor]] = []
    for out, inside, n in LINEAR:
        found.append((f"linear {out}x{inside} n={n}", lambda o=out, i=inside: nn.Linear(i, o), torch.randn(n, inside)))
    for channels, kernel, size in CONV:
        x = torch.randn(1, channels, size, size)
        name = f"conv {kernel}x{kernel} {channels}ch {size}x{size}"
        found.append((name, lambda c=channels, k=kernel: nn.Conv2d(c, c, k, padding=k // 2), x))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=25)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    print(machine())
    rows = []
    with torch.inference_mode():
        for name, make, x in cases():
            cells, dense_s = [], 0.0
            for sparsity in SPARSITIES:
                dense = pruned(make(), sparsity)
                kind = jp.nn.SparseLinear if isinstance(dense, nn.Linear) else jp.nn.SparseConv2d
                dense_s, middle, low, high = ratios(dense, kind.from_dense(dense), x, options.rounds)
                cells.append(f"{middle:.2f} ({low:.2f}-{high:.2f})")
            rows.append([name, f"{dense_s * 1e6:.0f}", *cells])
    header = [
        "float32, speed against torch dense (quartiles)",
        "dense us",
        *(f"{sparsity:.0%}" for sparsity in SPARSITIES),
    ]
    print(table(header, rows))


if __name__ == "__main__":
    main()
