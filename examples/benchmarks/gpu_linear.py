"""Linear layers on a GPU: checked against masked dense layers, and timed against torch's dense product.

python examples/benchmarks/gpu_linear.py --check [--small]
python examples/benchmarks/gpu_linear.py --time [--json FILE] [--page FILE]

A time is the median of repeats between CUDA events; before each repeat 256 MB are written, so that no weight waits in
the second-level cache.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

import jouleprune as jp

Call = Callable[[], torch.Tensor]
LAYOUTS: dict[str, dict[str, object]] = {
    "csr": {"layout": "csr"},
    "vector 16x1": {"layout": "vector", "block_size": (16, 1)},
    "block 16x16": {"layout": "bsr", "block_size": (16, 16)},
    "block 64x64": {"layout": "bsr", "block_size": (64, 64)},
    "2:4": {"layout": "nm", "pattern": "2:4"},
}
TOLERANCE = {torch.float16: 2e-2, torch.bfloat16: 1.6e-1, torch.float32: 1e-4}


def keep(layout: str, rows: int, cols: int, density: float) -> torch.Tensor:
    """A random mask of the layout's pattern."""
    if layout == "2:4":
        scores = torch.rand(rows, -(-cols // 4), 4)
        return (scores.argsort(-1).argsort(-1) < 2).reshape(rows, -1)[:, :cols]
    r, c = LAYOUTS[layout].get("block_size", (1, 1))  # type: ignore[misc]
    blocks = torch.rand(-(-rows // r), -(-cols // c)) < density
    return blocks.repeat_interleave(r, 0).repeat_interleave(c, 1)[:rows, :cols]


def layers(
    layout: str, rows: int, cols: int, density: float, dtype: torch.dtype
) -> tuple[torch.nn.Module, torch.nn.Linear]:
    """The sparse layer and the masked dense one, on the GPU."""
    dense = torch.nn.Linear(cols, rows, dtype=dtype)
    with torch.no_grad():
        dense.weight.mul_(keep(layout, rows, cols, density))
    return jp.nn.SparseLinear.from_dense(dense, **LAYOUTS[layout]).cuda(), dense.cuda()


def check(small: bool) -> None:
    """Outputs and gradients of every layout and type; raises where they differ by more than rounding explains."""
    sizes = [(37, 70, 5)] if small else [(37, 70, 5), (512, 384, 1), (256, 1000, 33), (768, 768, 300)]
    for layout in LAYOUTS:
        for dtype, allowed in TOLERANCE.items():
            for rows, cols, n in sizes:
                sparse, dense = layers(layout, rows, cols, 0.4, dtype)
                x = torch.randn(n, cols, device="cuda", dtype=dtype, requires_grad=True)
                y, seed = sparse(x), torch.randn(n, rows, device="cuda", dtype=dtype)
                (grad,) = torch.autograd.grad(y, x, seed)
                reference = x.detach().double().requires_grad_()
                weight, bias = dense.weight.detach().double(), dense.bias.detach().double()
                expected = torch.nn.functional.linear(reference, weight, bias)
                (expected_grad,) = torch.autograd.grad(expected, reference, seed.double())
                scale = cols**0.5
                torch.testing.assert_close(y.double(), expected, rtol=allowed, atol=allowed * scale)
                torch.testing.assert_close(grad.double(), expected_grad, rtol=allowed, atol=allowed * scale)
        print(f"{layout}: right", flush=True)


def median_s(call: Call, repeats: int = 20) -> float:
    flush = torch.empty(64 << 20, dtype=torch.int32, device="cuda")
    for _ in range(3):
        call()
    times = []
    for _ in range(repeats):
        flush.zero_()
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        call()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) / 1e3)
    return statistics.median(times)


def times() -> list[dict[str, object]]:
    rows = []
    for size in (4096,):
        for layout in LAYOUTS:
            for density in (0.5,) if layout == "2:4" else (0.5, 0.2, 0.05):
                sparse, dense = layers(layout, size, size, density, torch.float16)
                for n in (1, 8, 64, 1024):
                    x = torch.randn(n, size, device="cuda", dtype=torch.float16)
                    with torch.no_grad():
                        ours, theirs = median_s(partial(sparse, x)), median_s(partial(dense, x))
                    row = {
                        "layout": layout,
                        "size": size,
                        "density": density,
                        "n": n,
                        "sparse_s": ours,
                        "dense_s": theirs,
                    }
                    rows.append(row)
                    print(
                        f"{layout:12} {density:5} n {n:5}: {ours * 1e6:9.1f} us, dense {theirs * 1e6:9.1f} us",
                        flush=True,
                    )
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--small", action="store_true", help="one small size: for compute-sanitizer")
    parser.add_argument("--time", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--page", type=Path)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("no CUDA device", file=sys.stderr)
        return 1
    torch.manual_seed(0)
    if options.check:
        check(options.small)
    if options.time:
        rows = times()
        device = torch.cuda.get_device_name()
        if options.json:
            options.json.write_text(
                json.dumps({"device": device, "torch": torch.__version__, "rows": rows}, indent=1) + "\n"
            )
        if options.page:
            head = (
                f"# Linear layers on {device}, float16, microseconds\n\n"
                "| layout | density | n | sparse | dense | ratio |\n|---|---|---|---|---|---|\n"
            )
            lines = [
                f"| {r['layout']} | {r['density']} | {r['n']} | {r['sparse_s'] * 1e6:.1f} | {r['dense_s'] * 1e6:.1f} "  # type: ignore[operator]
                f"| {r['dense_s'] / r['sparse_s']:.2f} |"  # type: ignore[operator]
                for r in rows
            ]
            options.page.write_text(head + "\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
