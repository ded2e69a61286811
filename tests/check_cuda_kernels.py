"""Checks the machine code of the CUDA kernels, without a GPU: resources as ptxas tells them, and instructions.

    python tests/check_cuda_kernels.py [--arch 90 ...] [--update] [--json FILE]

For every kernel of every .cu file: no stack, no spills, no loads or stores of local memory, no atomics but in kernels
that count, double arithmetic only where the element type is double; tensor-core and asynchronous-copy instructions
exactly in the kernels that promise them (Turing has no such copies). For the architecture of the baseline
(tests/data/cuda_kernels.json) registers must not grow by more than 8 and the counts of tensor-core instructions must
be those of the baseline; --update writes it anew.

Instructions are read from the cubin itself: 16 bytes each, the operation in the low 12 bits. This encoding is not
documented, so the script first compiles small kernels with one known instruction each, and leaves the counts out where
they are not found.
"""

from __future__ import annotations

import argparse
import json
import re
import struct
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BASELINE = ROOT / "tests" / "data" / "cuda_kernels.json"
ARCHITECTURES = ["75", "80", "86", "89", "90", "100", "120"]
OPERATIONS = {
    "HMMA": {0x23C},
    "LDSM": {0x83B},
    "LDGSTS": {0xFAE},
    "BAR": {0xB1D},
    "LDL": {0x983},
    "STL": {0x987, 0x387},
    "ATOM": {0x9A6, 0x98E, 0x3A9},
    "DFMA": {0x22B, 0x42B, 0x62B, 0x82B, 0xA2B},
}
PROBES = {
    "HMMA": """
        unsigned a = p[0], b = p[1];
        float d = p[2], e = 0, f = 0, g = 0;
        asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3},{%4,%5},{%6},{%0,%1,%2,%3};"
                     : "+f"(d), "+f"(e), "+f"(f), "+f"(g) : "r"(a), "r"(b), "r"(a));
        p[0] = d + e + f + g;""",
    "BAR": """
        __shared__ int s[64];
        s[threadIdx.x] = p[threadIdx.x];
        __syncthreads();
        p[threadIdx.x] = s[63 - threadIdx.x];""",
    "DFMA": """
        double* q = (double*)p;
        q[threadIdx.x] = fma(q[threadIdx.x], q[32 + threadIdx.x], q[64 + threadIdx.x]);""",
}
TENSOR_CORE_KERNELS = ("StripProduct<", "BlockGradient<", "TileProduct<", "MaskedGradient<")
COUNTING_KERNELS = ("CountDigits", "CountTies")  # add whole numbers, in any order


def compiled(source: Path, arch: str, folder: Path) -> tuple[bytes, str]:
    """The cubin of a file, and what ptxas told about its kernels."""
    cubin = folder / f"{source.stem}_{arch}.cubin"
    command = [
        "nvcc",
        "-std=c++20",
        f"-arch=sm_{arch}",
        "-I",
        str(ROOT / "cuda"),
        "-cubin",
        "--resource-usage",
        "-o",
        str(cubin),
        str(source),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"nvcc failed on {source}:\n{done.stderr}")
    return cubin.read_bytes(), done.stderr + done.stdout


def demangled(names: list[str]) -> dict[str, str]:
    done = subprocess.run(["c++filt"], input="\n".join(names), capture_output=True, text=True, check=True)
    return dict(zip(names, map(short_name, done.stdout.splitlines()), strict=True))


def short_name(name: str) -> str:
    """The Kernel of `void jouleprune::simt::kernel_entry<Kernel>(Kernel::Params)`, without namespaces."""
    found = re.search(r"kernel_entry<(.*)>\((?:const )?", name)
    text = found.group(1) if found else name
    text = re.sub(
        r"\(jouleprune::cuda::bsr::Walk\)(\d)",
        lambda m: ["kBlocks", "kVectors", "kBlocksTransposed", "kVectorsTransposed"][int(m[1])],
        text,
    )
    return re.sub(r"\w+::", "", text).replace(" ", "")


def resources(report: str) -> dict[str, dict[str, int]]:
    """Registers, stack and spills of each kernel, by mangled name."""
    found: dict[str, dict[str, int]] = {}
    for part in report.split("Compiling entry function '")[1:]:
        name = part.split("'", 1)[0]
        numbers = {}
        for key, pattern in {
            "registers": r"Used (\d+) registers",
            "stack": r"(\d+) bytes stack frame",
            "stores": r"(\d+) bytes spill stores",
            "loads": r"(\d+) bytes spill loads",
        }.items():
            match = re.search(pattern, part)
            numbers[key] = int(match.group(1)) if match else 0
        found[name] = numbers
    return found


def operations(cubin: bytes) -> dict[str, Counter[int]]:
    """How often each 12-bit operation stands in each `.text.<kernel>` section of a 64-bit ELF file."""
    table, entry_size, count, names_index = (
        struct.unpack_from("<Q", cubin, 40)[0],
        *struct.unpack_from("<HHH", cubin, 58),
    )
    sections = [struct.unpack_from("<IIQQQQ", cubin, table + i * entry_size) for i in range(count)]
    names_at = sections[names_index][4]
    result = {}
    for name_offset, _, _, _, offset, size in sections:
        end = cubin.index(b"\0", names_at + name_offset)
        name = cubin[names_at + name_offset : end].decode()
        if name.startswith(".text."):
            words = struct.iter_unpack("<QQ", cubin[offset : offset + size // 16 * 16])
            result[name.removeprefix(".text.")] = Counter(low & 0xFFF for low, _ in words)
    return result


def counted(histogram: Counter[int]) -> dict[str, int]:
    return {name: sum(histogram[code] for code in codes) for name, codes in OPERATIONS.items()}


def encoding_is_known(arch: str, folder: Path) -> bool:
    for name, body in PROBES.items():
        source = folder / f"probe_{name}.cu"
        source.write_text(f'extern "C" __global__ void probe(int* p) {{ {body} }}\n')
        cubin, _ = compiled(source, arch, folder)
        if counted(operations(cubin)["probe"])[name] != 1:
            print(f"sm_{arch}: instruction {name} was not found where it is known to be: no instructions are counted")
            return False
    return True


def defects(kernel: str, arch: str, used: dict[str, int], ops: dict[str, int] | None) -> list[str]:
    wrong = [f"{key}: expected 0 bytes, got {used[key]}" for key in ("stack", "stores", "loads") if used[key] != 0]
    if ops is None:
        return wrong
    unwanted = ("LDL", "STL") if kernel.startswith(COUNTING_KERNELS) else ("LDL", "STL", "ATOM")
    wrong += [f"{name}: expected none, got {ops[name]}" for name in unwanted if ops[name] != 0]
    if "double" not in kernel and ops["DFMA"] != 0:
        wrong.append(f"DFMA: expected none, got {ops['DFMA']}")
    tensor_cores = kernel.startswith(TENSOR_CORE_KERNELS) and not (arch == "75" and "BFloat16" in kernel)
    if tensor_cores != (ops["HMMA"] > 0):
        wrong.append(f"HMMA: expected {'some' if tensor_cores else 'none'}, got {ops['HMMA']}")
    copies = kernel.startswith(TENSOR_CORE_KERNELS) and arch != "75"
    if copies != (ops["LDGSTS"] > 0):
        wrong.append(f"LDGSTS: expected {'some' if copies else 'none'}, got {ops['LDGSTS']}")
    return wrong


def examine(arch: str, folder: Path) -> tuple[dict[str, dict[str, int]], list[str]]:
    table: dict[str, dict[str, int]] = {}
    wrong: list[str] = []
    count_instructions = encoding_is_known(arch, folder)
    for source in sorted((ROOT / "cuda").rglob("*.cu")):
        cubin, report = compiled(source, arch, folder)
        used = resources(report)
        histograms = operations(cubin)
        for mangled, kernel in demangled(list(used)).items():
            ops = counted(histograms[mangled]) if count_instructions else None
            wrong += [f"sm_{arch} {kernel}: {defect}" for defect in defects(kernel, arch, used[mangled], ops)]
            kept = {name: ops[name] for name in ("HMMA", "LDSM", "LDGSTS", "BAR")} if ops else {}
            table[kernel] = {"registers": used[mangled]["registers"], **kept}
    print(f"sm_{arch}: {len(table)} kernels, at most {max(k['registers'] for k in table.values())} registers")
    return dict(sorted(table.items())), wrong


def compared(table: dict[str, dict[str, int]], baseline: dict[str, dict[str, int]]) -> list[str]:
    wrong = [f"{kernel}: not in the baseline" for kernel in table.keys() - baseline.keys()]
    wrong += [f"{kernel}: in the baseline, but gone" for kernel in baseline.keys() - table.keys()]
    for kernel in table.keys() & baseline.keys():
        now, before = table[kernel], baseline[kernel]
        if now["registers"] > before["registers"] + 8:
            wrong.append(f"{kernel}: registers: expected at most {before['registers']} + 8, got {now['registers']}")
        if now.get("HMMA", before["HMMA"]) != before["HMMA"]:
            wrong.append(f"{kernel}: HMMA: expected {before['HMMA']}, got {now['HMMA']}")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--arch", nargs="+", choices=ARCHITECTURES, default=ARCHITECTURES)
    parser.add_argument("--update", action="store_true", help="write the baseline anew")
    parser.add_argument("--json", type=Path, help="write what was found of every architecture")
    options = parser.parse_args()
    everything, wrong = {}, []
    with tempfile.TemporaryDirectory() as folder:
        for arch in options.arch:
            everything[arch], found = examine(arch, Path(folder))
            wrong += found
    stored = json.loads(BASELINE.read_text()) if BASELINE.exists() else {"arch": "90", "kernels": {}}
    if stored["arch"] in everything:
        table = everything[stored["arch"]]
        if options.update:
            lines = ",\n".join(f"  {json.dumps(kernel)}: {json.dumps(numbers)}" for kernel, numbers in table.items())
            BASELINE.write_text(f'{{"arch": "{stored["arch"]}", "kernels": {{\n{lines}\n}}}}\n')
        else:
            wrong += compared(table, stored["kernels"])
    if options.json:
        options.json.write_text(json.dumps(everything, indent=1) + "\n")
    print("\n".join(wrong) if wrong else "no defects")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
