"""Checks the machine code of the CUDA kernels, without a GPU: resources as ptxas tells them, and instructions.

    python tests/check_cuda_kernels.py                     all architectures, against their baselines
    python tests/check_cuda_kernels.py --arch 90 75        these
    python tests/check_cuda_kernels.py --update            writes the baselines anew: the one command after a change
    python tests/check_cuda_kernels.py --table             prints the table of docs/kernels_cuda.md (of sm_90)

For every kernel of every .cu file: no stack, no spills, no loads or stores of local memory, no warnings, no static
shared memory, no atomics but in kernels that count, double arithmetic only where elements or sums are of that type;
tensor-core and asynchronous-copy instructions exactly in the kernels that promise them, sparse ones in the 2:4 kernels.
Turing has no such copies, and neither bfloat16 nor 2:4 products: what replaces these may spill, as much as before.

Against the baseline of the architecture (tests/data/cuda_kernels/sm_<arch>.json): registers grow by 8 at most, code by
a quarter, and the counts of tensor-core instructions, of ldmatrix, of asynchronous copies and of 16-byte loads are
those of the baseline.

A cubin is compiled once for each content (build/cubins): the first run takes minutes, the next seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cuda_code
from cuda_code import Kernel

BASELINES = cuda_code.ROOT / "tests" / "data" / "cuda_kernels"
ARCHITECTURES = ["75", "80", "86", "89", "90", "100", "120"]
TENSOR_CORE_KERNELS = ("StripProduct<", "BlockGradient<", "TileProduct<", "MaskedGradient<")
COUNTING_KERNELS = ("CountDigits", "CountTies")  # add whole numbers, in any order
SUMS_IN_DOUBLE = ("UnitNorms", "SmallUnitNorms")  # as on the CPU; bound by memory all the same
STORED = ("HMMA", "HMMA.SP", "LDSM", "LDGSTS", "LDG128", "BAR", "instructions")
SAME = ("HMMA", "HMMA.SP", "LDSM", "LDGSTS", "LDG128")
MORE_REGISTERS, MORE_CODE = 8, 1.25
Table = dict[str, dict[str, int]]


def promises_tensor_cores(kernel: str, arch: str) -> bool:
    return kernel.startswith(TENSOR_CORE_KERNELS) and not (arch == "75" and "BFloat16" in kernel)


def replaces_instructions(kernel: str, arch: str) -> bool:
    """Whether sequences stand for products that the architecture lacks: they need more registers than there are."""
    return arch == "75" and kernel.startswith(TENSOR_CORE_KERNELS) and ("BFloat16" in kernel or "PairGroups" in kernel)


def defects(kernel: str, arch: str, found: Kernel, instructions: bool) -> list[str]:
    numbers, ops = found.numbers, found.operations
    spills = replaces_instructions(kernel, arch)  # how much is for the baseline to say
    nothing = ("shared",) if spills else ("stack", "stores", "loads", "shared")
    wrong = [f"{key}: expected 0 bytes, got {numbers[key]}" for key in nothing if numbers[key] != 0]
    if not instructions:
        return wrong
    unwanted = [name for name in ("LDL", "STL") if not spills]
    unwanted += [] if kernel.startswith(COUNTING_KERNELS) else ["ATOM"]
    wrong += [f"{name}: expected none, got {ops[name]}" for name in unwanted if ops[name] != 0]
    if "double" not in kernel and not kernel.startswith(SUMS_IN_DOUBLE) and ops["DFMA"] != 0:
        wrong.append(f"DFMA: expected none, got {ops['DFMA']}")
    promised = {
        "HMMA": promises_tensor_cores(kernel, arch),
        "HMMA.SP": kernel.startswith("TileProduct<") and "Pair" in kernel and arch != "75",
        "LDGSTS": kernel.startswith(TENSOR_CORE_KERNELS) and arch != "75",
    }
    for name, expected in promised.items():
        if expected != (ops[name] > 0):
            wrong.append(f"{name}: expected {'some' if expected else 'none'}, got {ops[name]}")
    return wrong


def compared(table: Table, baseline: Table) -> list[str]:
    """Where a table is worse than its baseline."""
    update = "; python tests/check_cuda_kernels.py --update writes the baselines anew"
    wrong = [f"{kernel}: not in the baseline{update}" for kernel in table.keys() - baseline.keys()]
    wrong += [f"{kernel}: in the baseline, but gone{update}" for kernel in baseline.keys() - table.keys()]
    for kernel in sorted(table.keys() & baseline.keys()):
        now, before = table[kernel], baseline[kernel]
        if now["registers"] > before["registers"] + MORE_REGISTERS:
            most = f"{before['registers']} + {MORE_REGISTERS}"
            wrong.append(f"{kernel}: registers: expected at most {most}, got {now['registers']}")
        for name in SAME:
            if now.get(name, before.get(name)) != before.get(name):
                wrong.append(f"{kernel}: {name}: expected {before.get(name)}, got {now[name]}")
        if now.get("stack", 0) > before.get("stack", 0):
            wrong.append(f"{kernel}: stack: expected at most {before.get('stack', 0)} bytes, got {now['stack']}")
        if now.get("instructions", 0) > MORE_CODE * before.get("instructions", 0):
            most = f"{MORE_CODE} x {before['instructions']}"
            wrong.append(f"{kernel}: instructions: expected at most {most}, got {now['instructions']}")
    return wrong


def examine(arch: str, pool: ThreadPoolExecutor) -> tuple[Table, list[str]]:
    """The table of an architecture, and what is wrong with its kernels whatever the baseline says."""
    instructions = cuda_code.encoding_is_known(arch)
    table: Table = {}
    wrong: list[str] = []
    files = cuda_code.sources()
    for source, (kernels, warnings) in zip(
        files, pool.map(lambda each: cuda_code.kernels_of(each, arch), files), strict=True
    ):
        wrong += [f"sm_{arch} {source.name}: {warning}" for warning in warnings]
        for kernel, found in kernels.items():
            wrong += [f"sm_{arch} {kernel}: {defect}" for defect in defects(kernel, arch, found, instructions)]
            kept = {name: found.operations[name] for name in STORED} if instructions else {}
            stack = {"stack": found.numbers["stack"]} if found.numbers["stack"] else {}
            table[kernel] = {"registers": found.numbers["registers"], **stack, **kept}
    most, size = max(k["registers"] for k in table.values()), sum(k.get("instructions", 0) for k in table.values())
    print(f"sm_{arch}: {len(table)} kernels, at most {most} registers, {16 * size / 1e6:.2f} MB of code", flush=True)
    return dict(sorted(table.items())), wrong


def baseline_path(arch: str) -> Path:
    return BASELINES / f"sm_{arch}.json"


def write_baseline(arch: str, table: Table) -> None:
    lines = ",\n".join(f"{json.dumps(kernel)}: {json.dumps(numbers)}" for kernel, numbers in table.items())
    BASELINES.mkdir(parents=True, exist_ok=True)
    baseline_path(arch).write_text(f"{{\n{lines}\n}}\n")


def print_table(table: Table) -> None:
    """Of all variants of a kernel together, as docs/kernels_cuda.md shows it."""
    families: dict[str, list[dict[str, int]]] = {}
    for kernel, numbers in table.items():
        families.setdefault(kernel.split("<")[0], []).append(numbers)
    print("| kernel | variants | registers | `mma` in the code | `ldmatrix` | asynchronous copies | barriers |")
    print("|---|---|---|---|---|---|---|")
    for name, variants in sorted(families.items()):
        cells = []
        for key in ("registers", "HMMA", "LDSM", "LDGSTS", "BAR"):
            least, most = min(v[key] for v in variants), max(v[key] for v in variants)
            cells.append(str(least) if least == most else f"{least} to {most}")
        print(f"| `{name}` | {len(variants)} | {' | '.join(cells)} |")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--arch", nargs="+", choices=ARCHITECTURES, default=ARCHITECTURES)
    parser.add_argument("--update", action="store_true", help="write the baselines of these architectures anew")
    parser.add_argument("--table", action="store_true", help="print the baseline of 9.0 as a table; compiles nothing")
    options = parser.parse_args()
    if options.table:
        print_table(json.loads(baseline_path("90").read_text()))
        return 0
    wrong: list[str] = []
    with ThreadPoolExecutor(int(os.environ.get("MAX_JOBS") or os.cpu_count() or 1)) as pool:
        for arch in options.arch:
            table, found = examine(arch, pool)
            wrong += found
            if options.update:
                write_baseline(arch, table)
            elif not baseline_path(arch).exists():
                wrong.append(f"sm_{arch}: no baseline: --update writes it")
            else:
                stored = json.loads(baseline_path(arch).read_text())
                wrong += [f"sm_{arch} {defect}" for defect in compared(table, stored)]
    print("\n".join(wrong) if wrong else "no defects")
    return 1 if wrong else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except cuda_code.CompileError as error:
        sys.exit(str(error))
