"""Machine code of the CUDA kernels without a GPU: compiles .cu files to cubins, and reads what stands in them.

A cubin and what ptxas told of it are kept in build/cubins under a hash of everything they were made of (the file, the
headers of cuda/ that it includes, nvcc's version, its options), so that only what changed is compiled again.

Instructions are read from the cubin itself: 16 bytes each, the operation in the low 12 bits. This encoding is not
documented, so encoding_is_known() first compiles small kernels with one known instruction each.
"""

from __future__ import annotations

import functools
import hashlib
import re
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / "build" / "cubins"
OPTIONS = ["-std=c++20", "-cubin", "--resource-usage", "-I", "cuda"]  # as cuda/CMakeLists.txt compiles them
SPARSE_MMA = 1 << 9  # of an HMMA's second word
WIDTH_128 = 6  # bits 9 to 11 of the second word of a load
OPERATIONS = {
    "HMMA": {0x23C},
    "LDSM": {0x83B},
    "LDGSTS": {0xFAE},
    "LDG": {0x981, 0x381},
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
    "LDG128": """
        int4 x = ((int4*)p)[threadIdx.x];
        p[threadIdx.x + 4096] = x.x + x.y + x.z + x.w;""",
}
SPARSE_PROBE = """
        unsigned a = p[0], b = p[1];
        float d = p[2], e = 0, f = 0, g = 0;
        asm volatile("mma.sp::ordered_metadata.sync.aligned.m16n8k32.row.col.f32.f16.f16.f32 "
                     "{%0,%1,%2,%3},{%4,%4,%4,%4},{%5,%5,%5,%5},{%0,%1,%2,%3},%6,0x0;"
                     : "+f"(d), "+f"(e), "+f"(f), "+f"(g) : "r"(a), "r"(b), "r"(a));
        p[0] = d + e + f + g;"""


class CompileError(Exception):
    """nvcc refused a file; the text is nvcc's."""


@dataclass(frozen=True)
class Kernel:
    """What is known of one kernel of a cubin."""

    numbers: dict[str, int]
    """registers, stack, stores and loads of spills, shared, as ptxas tells them."""
    operations: dict[str, int]
    """How many instructions of each kind its code has, and of all kinds as `instructions`."""


@functools.cache
def nvcc_version() -> str:
    return subprocess.run(["nvcc", "--version"], capture_output=True, text=True, check=True).stdout


def sources() -> list[Path]:
    return sorted((ROOT / "cuda").rglob("*.cu"))


def _included(source: Path, folder: Path, seen: set[Path]) -> Iterator[Path]:
    """The file, and what it includes from below the folder, in the order in which the compiler meets them."""
    if source in seen:
        return
    seen.add(source)
    yield source
    for name in re.findall(r'^\s*#\s*include\s+"([^"]+)"', source.read_text(), re.MULTILINE):
        for candidate in (source.parent / name, folder / name):
            if candidate.is_file():
                yield from _included(candidate.resolve(), folder, seen)
                break


def content_hash(source: Path, arch: str, folder: Path, compiler: str) -> str:
    """Of all that a cubin is made of; headers of the toolkit are stood for by its version."""
    digest = hashlib.sha256(f"{compiler}\n{arch}\n{OPTIONS}\n".encode())
    for path in _included(source.resolve(), folder.resolve(), set()):
        text = path.read_bytes()
        digest.update(f"{path.name} {len(text)}\n".encode() + text)
    return digest.hexdigest()


def compiled(source: Path, arch: str, cache: Path = CACHE) -> tuple[bytes, str]:
    """The cubin of a file, and what nvcc told of it.

    Raises:
        CompileError: nvcc failed.
    """
    stem = cache / content_hash(source, arch, ROOT / "cuda", nvcc_version())
    cubin, report = stem.with_suffix(".cubin"), stem.with_suffix(".txt")
    if not report.exists():
        cache.mkdir(parents=True, exist_ok=True)
        command = ["nvcc", f"-arch=sm_{arch}", *OPTIONS, "-o", str(cubin), str(source)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        if done.returncode != 0:
            raise CompileError(f"nvcc failed on {source} for sm_{arch}:\n{done.stderr}")
        report.write_text(done.stderr + done.stdout)  # last: it marks the entry as whole
    return cubin.read_bytes(), report.read_text()


def resources(report: str) -> dict[str, dict[str, int]]:
    """Registers, stack, spills and shared memory of each kernel, by mangled name."""
    patterns = {
        "registers": r"Used (\d+) registers",
        "stack": r"(\d+) bytes stack frame",
        "stores": r"(\d+) bytes spill stores",
        "loads": r"(\d+) bytes spill loads",
        "shared": r"(\d+) bytes smem",
    }
    found = {}
    for part in report.split("Compiling entry function '")[1:]:
        matches = {key: re.search(pattern, part) for key, pattern in patterns.items()}
        found[part.split("'", 1)[0]] = {key: int(m.group(1)) if m else 0 for key, m in matches.items()}
    return found


def _code_sections(cubin: bytes) -> Iterator[tuple[str, bytes]]:
    """Name and code of each `.text.<kernel>` section of a 64-bit ELF file."""
    table = struct.unpack_from("<Q", cubin, 40)[0]
    entry_size, count, names_index = struct.unpack_from("<HHH", cubin, 58)
    sections = [struct.unpack_from("<IIQQQQ", cubin, table + i * entry_size) for i in range(count)]
    names_at = sections[names_index][4]
    for name_offset, _, _, _, offset, size in sections:
        name = cubin[names_at + name_offset : cubin.index(b"\0", names_at + name_offset)].decode()
        if name.startswith(".text."):
            yield name.removeprefix(".text."), cubin[offset : offset + size // 16 * 16]


def counted(code: bytes) -> dict[str, int]:
    """How many instructions of each kind; LDG128: loads of 16 bytes, HMMA.SP: products of structure 2:4."""
    counts = dict.fromkeys([*OPERATIONS, "LDG128", "HMMA.SP"], 0)
    for low, high in struct.iter_unpack("<QQ", code):
        for name, codes in OPERATIONS.items():
            if low & 0xFFF in codes:
                counts[name] += 1
                counts["LDG128"] += name == "LDG" and (high >> 9 & 7) == WIDTH_128
                counts["HMMA.SP"] += name == "HMMA" and bool(high & SPARSE_MMA)
    return {**counts, "instructions": len(code) // 16}


def kernels_of(source: Path, arch: str, cache: Path = CACHE) -> tuple[dict[str, Kernel], list[str]]:
    """Its kernels by readable name, and the warnings that came with them."""
    cubin, report = compiled(source, arch, cache)
    used = resources(report)
    code = dict(_code_sections(cubin))
    names = demangled(list(used))
    found = {names[mangled]: Kernel(numbers, counted(code[mangled])) for mangled, numbers in used.items()}
    return found, [line for line in report.splitlines() if "warning" in line.lower()]


def demangled(names: list[str]) -> dict[str, str]:
    done = subprocess.run(["c++filt"], input="\n".join(names), capture_output=True, text=True, check=True)
    return dict(zip(names, map(short_name, done.stdout.splitlines()), strict=True))


def short_name(name: str) -> str:
    """The Kernel of `void jouleprune::simt::kernel_entry<Kernel>(Kernel::Params)`, without namespaces."""
    found = re.search(r"kernel_entry<(.*)>\((?:const )?", name)
    text = found.group(1) if found else name
    walks = ["kBlocks", "kVectors", "kBlocksTransposed", "kVectorsTransposed"]
    text = re.sub(r"\(jouleprune::cuda::bsr::Walk\)(\d)", lambda m: walks[int(m[1])], text)
    return re.sub(r"\w+::", "", text).replace(" ", "")


def encoding_is_known(arch: str, cache: Path = CACHE) -> bool:
    """Whether each probe has its one instruction where this module looks for it."""
    probes = PROBES if int(arch) < 80 else {**PROBES, "HMMA.SP": SPARSE_PROBE}
    cache.mkdir(parents=True, exist_ok=True)
    for name, body in probes.items():
        source = cache / f"probe_{name}.cu"
        text = f'extern "C" __global__ void probe(int* p) {{ {body} }}\n'
        if not source.exists() or source.read_text() != text:
            source.write_text(text)
        cubin, _ = compiled(source, arch, cache)
        if counted(dict(_code_sections(cubin))["probe"])[name] != 1:
            print(f"sm_{arch}: instruction {name} was not found where it is known to be: no instructions are counted")
            return False
    return True
