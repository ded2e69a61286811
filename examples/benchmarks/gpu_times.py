"""Times and joules of Linear layers on a GPU, for examples/benchmarks/gpu.sh.

python examples/benchmarks/gpu_times.py --tune [--seconds S]
python examples/benchmarks/gpu_times.py --rows [--seconds S] [--json FILE] [--page FILE]

--tune times each kernel for layout csr and puts it into the tuning file (JOULEPRUNE_TUNE), by which the library then
chooses; --rows times what can run each layer, and reads joules.

A time is the median of repeats between CUDA events; before each repeat 256 MB are written, so that no weight waits in
the second-level cache. Joules are those of the board, by NVML's counter, over a window of calls one after the other;
the weight of such calls may stay in the cache, as that of a small model does. What does not fit into --seconds is left
out, and the page says so. --dry-run goes through all of it on the CPU with tiny layers and a clock of the host: it
shows that the script runs, and nothing else.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import cache, partial
from pathlib import Path

import torch
from gpu_linear import LAYOUTS, layers

import jouleprune as jp
from jouleprune import gpu_choice
from jouleprune.meters import Meters

Call = Callable[[], torch.Tensor]
FLUSH_BYTES = 256 << 20
WINDOW_S = 5.0  # NVML's sensor averages over a second: shorter windows read too little


@dataclass
class Row:
    """One way to run one layer. A time of None: `note` says why there is none."""

    layout: str
    size: int
    density: float
    n: int
    way: str
    seconds: float | None = None
    joules: float | None = None
    note: str = ""


@dataclass
class Setting:
    """Where and for how long is measured."""

    device: str
    size: int
    batches: tuple[int, ...]
    repeats: int
    deadline: float
    window_s: float
    left_out: list[str] = field(default_factory=list)

    def has_time(self, what: str) -> bool:
        if time.monotonic() < self.deadline:
            return True
        self.left_out.append(what)
        return False


@contextlib.contextmanager
def forced(**variables: str) -> Iterator[None]:
    """Environment variables that choose a kernel, for as long as it lasts."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def under(variables: dict[str, str], call: Call) -> torch.Tensor:
    with forced(**variables):
        return call()


def median_s(call: Call, setting: Setting) -> float:
    on_gpu = setting.device != "cpu"
    flush = torch.empty((FLUSH_BYTES if on_gpu else 1 << 10) // 4, dtype=torch.int32, device=setting.device)
    for _ in range(3):
        call()
    times = []
    for _ in range(setting.repeats):
        flush.zero_()
        if on_gpu:
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            call()
            end.record()
            end.synchronize()
            times.append(begin.elapsed_time(end) / 1e3)
        else:
            started = time.perf_counter()
            call()
            times.append(time.perf_counter() - started)
    return statistics.median(times)


def joules_per_call(call: Call, seconds: float, meters: Meters, window_s: float) -> tuple[float | None, str]:
    """Of the board; and why there are none."""
    calls = max(1, int(window_s / seconds))
    with meters.window() as window:
        for _ in range(calls):
            call()
    total = window.result.totals.get("board", window.result.totals.get("module"))
    return (None, meters.why_none or "no meter of the board") if total is None else (total / calls, "")


def ways(layout: str, sparse: torch.nn.Module, dense: torch.nn.Linear, x: torch.Tensor) -> dict[str, Call]:
    """Everything that can multiply this layer, by name; what is not available raises when it is called."""
    weight = dense.weight.detach()
    found: dict[str, Call] = {"ours": partial(sparse, x), "dense": partial(dense, x)}
    if layout == "csr":
        forced_to = {"JOULEPRUNE_CUDA_CSR": "cusparse"}
        found["cuSPARSE"] = partial(under, forced_to, partial(sparse, x))
        compressed = weight.to_sparse_csr()
        found["torch sparse"] = lambda: torch.sparse.mm(compressed, x.t()).t()
    elif layout == "2:4":
        found["cuSPARSELt"] = partial(under, {"JOULEPRUNE_CUDA_NM": "cusparselt"}, partial(sparse, x))
        compress = cache(partial(torch.sparse.to_sparse_semi_structured, weight))  # once, before the first repeat
        found["torch semi-structured"] = lambda: torch.nn.functional.linear(x, compress(), dense.bias)
    else:
        found["cuSPARSE"] = partial(under, {"JOULEPRUNE_CUDA_BSR": "cusparse"}, partial(sparse, x))
    bytes_x, bytes_weight = x.to(torch.int8), weight.to(torch.int8)
    found["dense int8"] = lambda: torch._int_mm(bytes_x, bytes_weight.t())
    return found


def measured(layout: str, density: float, n: int, setting: Setting, meters: Meters | None) -> list[Row]:
    rows = []
    dtype = torch.float32 if setting.device == "cpu" else torch.float16
    sparse, dense = layers(layout, setting.size, setting.size, density, dtype, setting.device)
    x = torch.randn(n, setting.size, device=setting.device, dtype=dtype)
    for way, call in ways(layout, sparse, dense, x).items():
        row = Row(layout, setting.size, density, n, way)
        if setting.has_time(f"{layout} {density} n {n}: {way}"):
            try:
                row.seconds = median_s(call, setting)
                if meters is not None and way in ("ours", "dense"):
                    row.joules, row.note = joules_per_call(call, row.seconds, meters, setting.window_s)
            except (RuntimeError, ValueError, NotImplementedError) as error:
                row.seconds, row.note = None, str(error).splitlines()[0][:100]
            rows.append(row)
    return rows


def densities(layout: str) -> tuple[float, ...]:
    return (0.5,) if layout == "2:4" else (0.5, 0.2, 0.05)


@torch.no_grad()
def all_rows(setting: Setting) -> list[Row]:
    meters = Meters() if setting.window_s > 0 else None
    rows = []
    # By batch first: where time runs out, every layout has had its turn at the smaller ones.
    for n in setting.batches:
        for layout in LAYOUTS:
            for density in densities(layout):
                rows += measured(layout, density, n, setting, meters)
    return rows


@torch.no_grad()
def tune(setting: Setting, times: gpu_choice.GpuTimes) -> None:
    """Each kernel for layout csr on its own, into the tuning file: what the library then chooses by."""
    dtype = torch.float32 if setting.device == "cpu" else torch.float16
    for n in setting.batches:
        for density in densities("csr"):
            sparse, _ = layers("csr", setting.size, setting.size, density, dtype, setting.device)
            kept = sparse.values.numel() / setting.size**2
            x = torch.randn(n, setting.size, device=setting.device, dtype=dtype)
            for kernel in gpu_choice.KERNELS:
                if not setting.has_time(f"tuning {density} n {n}: {kernel}"):
                    continue
                with contextlib.suppress(RuntimeError), forced(JOULEPRUNE_CUDA_CSR=kernel):  # cuSPARSE may be missing
                    seconds = median_s(partial(sparse, x), setting)
                    times.put(setting.size, setting.size, kept, n, dtype, kernel, seconds)
                    print(f"{kernel:12} {density:5} n {n:5}: {seconds * 1e6:9.1f} us", flush=True)
    times.save()


def page(rows: list[Row], device: str, left_out: list[str]) -> str:
    lines = [
        f"# Linear layers on {device}",
        "",
        "Microseconds, cold; joules of the board per call and per token (`bash examples/benchmarks/gpu.sh`).",
        "",
        "| layout | density | n | way | us | over dense | J per call | J per token | |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    dense = {(r.layout, r.density, r.n): r.seconds for r in rows if r.way == "dense"}
    for r in rows:
        base = dense.get((r.layout, r.density, r.n))
        us = "-" if r.seconds is None else f"{1e6 * r.seconds:.1f}"
        ratio = "-" if r.seconds is None or base is None else f"{base / r.seconds:.2f}"
        per_call = "-" if r.joules is None else f"{r.joules:.3g}"
        per_token = "-" if r.joules is None else f"{r.joules / r.n:.3g}"
        cells = (r.layout, r.density, r.n, r.way, us, ratio, per_call, per_token, r.note)
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    if left_out:
        lines += ["", f"Left out for want of time: {len(left_out)}, the first: {left_out[0]}."]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tune", action="store_true")
    parser.add_argument("--rows", action="store_true")
    parser.add_argument("--seconds", type=float, default=150, help="what does not fit is left out")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--page", type=Path)
    parser.add_argument("--dry-run", action="store_true", help="on the CPU, with tiny layers: no result")
    options = parser.parse_args()
    dry = options.dry_run
    if not dry and not torch.cuda.is_available():
        print("no CUDA device", file=sys.stderr)
        return 1
    torch.manual_seed(0)
    setting = Setting(
        "cpu" if dry else "cuda", 64 if dry else 4096, (1, 8) if dry else (1, 8, 64, 1024), 2 if dry else 20,
        time.monotonic() + options.seconds, 0.0 if dry else WINDOW_S,
    )  # fmt: skip
    device = "no GPU (dry run)" if dry else torch.cuda.get_device_name()
    if options.tune:
        tune(setting, gpu_choice.GpuTimes(gpu_choice.A100 if dry else gpu_choice.Gpu.of_device()))
    if options.rows:
        rows = all_rows(setting)
        text = page(rows, device, setting.left_out)
        print(text)
        if options.json:
            result = {"device": device, "torch": torch.__version__, "jouleprune": jp.__version__}
            everything = {**result, "left_out": setting.left_out, "rows": [asdict(r) for r in rows]}
            options.json.write_text(json.dumps(everything, indent=1) + "\n")
        if options.page:
            options.page.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
