"""Linear layers on a GPU: checked against masked dense layers, and packing against the CPU's.

python examples/benchmarks/gpu_linear.py [--small] [--dry-run]

--small: one small size, for compute-sanitizer. --dry-run: the same on the CPU, where it shows that the script runs.
"""

from __future__ import annotations

import argparse
import sys

import torch

import jouleprune as jp

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
    layout: str, rows: int, cols: int, density: float, dtype: torch.dtype, device: str
) -> tuple[torch.nn.Module, torch.nn.Linear]:
    """The sparse layer, made on the CPU, and the masked dense one."""
    dense = torch.nn.Linear(cols, rows, dtype=dtype)
    with torch.no_grad():
        dense.weight.mul_(keep(layout, rows, cols, density))
    return jp.nn.SparseLinear.from_dense(dense, **LAYOUTS[layout]).to(device), dense.to(device)


def check(small: bool, device: str) -> None:
    """Outputs and gradients of every layout and type; raises where they differ by more than rounding explains."""
    sizes = [(37, 70, 5)] if small else [(37, 70, 5), (512, 384, 1), (256, 1000, 33), (768, 768, 300)]
    for layout in LAYOUTS:
        for dtype, allowed in TOLERANCE.items():
            for rows, cols, n in sizes:
                sparse, dense = layers(layout, rows, cols, 0.4, dtype, device)
                x = torch.randn(n, cols, device=device, dtype=dtype, requires_grad=True)
                y, seed = sparse(x), torch.randn(n, rows, device=device, dtype=dtype)
                (grad,) = torch.autograd.grad(y, x, seed)
                reference = x.detach().double().requires_grad_()
                weight, bias = dense.weight.detach().double(), dense.bias.detach().double()
                expected = torch.nn.functional.linear(reference, weight, bias)
                (expected_grad,) = torch.autograd.grad(expected, reference, seed.double())
                scale = cols**0.5
                torch.testing.assert_close(y.double(), expected, rtol=allowed, atol=allowed * scale)
                torch.testing.assert_close(grad.double(), expected_grad, rtol=allowed, atol=allowed * scale)
        print(f"{layout}: right", flush=True)


def packed(weight: torch.Tensor, mask: torch.Tensor, pairs: torch.Tensor) -> dict[str, tuple[torch.Tensor, ...]]:
    """Everything that packing and masking makes of a weight, on its device."""
    ops = jp.ops
    return {
        "pack_csr": ops.pack_csr(weight, mask),
        "pack_bsr": ops.pack_bsr(weight, mask, block_size=(16, 1)),
        "pack_nm": ops.pack_nm(weight, pairs, n=2, m=4),
        "unit_norms": ops.unit_norms(weight, block_size=(16, 1), norm=2.0),
        "spread_units": (ops.spread_units(mask[:5].contiguous(), weight.shape, block_size=(16, 1)),),
        "mask_n_of_m": (ops.mask_n_of_m(weight, 2, 4, dim=1),),
        "mask_smallest": tuple(ops.mask_smallest([weight], 3000)),
    }


def check_packing(device: str) -> None:
    """What the device packs and masks is the CPU's, bit for bit."""
    for dtype in TOLERANCE:
        arguments = torch.randn(70, 100, dtype=dtype), torch.rand(70, 100) < 0.4, keep("2:4", 70, 100, 0.5)
        there = packed(*(each.to(device) for each in arguments))
        for op, results in packed(*arguments).items():
            same = all(torch.equal(a, b.cpu()) for a, b in zip(results, there[op], strict=True))
            if not same:
                raise AssertionError(f"{op} of {dtype}: expected the CPU's bits on {device}")
    print("packing and masks: the CPU's", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="one small size: for compute-sanitizer")
    parser.add_argument("--dry-run", action="store_true", help="on the CPU")
    options = parser.parse_args()
    if not options.dry_run and not torch.cuda.is_available():
        print("no CUDA device", file=sys.stderr)
        return 1
    torch.manual_seed(0)
    device = "cpu" if options.dry_run else "cuda"
    check(options.small, device)
    check_packing(device)
    return 0


if __name__ == "__main__":
    sys.exit(main())
