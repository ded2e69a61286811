"""The machine a number was made on: what it is, and how it is held still."""

from __future__ import annotations

import glob
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

__all__ = ["Machine", "cache_bytes", "describe", "pin", "restart"]

#: glibc gives freed output buffers back to the system, and takes them again with a page fault per 4 KB: 3.4 instead of
#: 2.2 ms for a convolution. With these limits it keeps them, for everybody alike. Blocks of 32 MB and more still go
#: back: the dense weights that copies for cold caches are packed from would leave holes between what stays.
MALLOC = {
    "MALLOC_TRIM_THRESHOLD_": "2000000000",
    "MALLOC_TOP_PAD_": "268435456",
    "MALLOC_MMAP_THRESHOLD_": "33554432",
}
_RESTARTED = "JOULEPRUNE_BENCH_RESTARTED"


@dataclass(frozen=True)
class Machine:
    """What a reader must know beside the numbers."""

    cpu: str
    family: str
    cores: list[int]
    threads: int
    cache_mb: float
    torch: str
    torch_isa: str
    jouleprune: str
    isa: str
    jit: bool
    malloc: str
    denormals: str
    python: str
    peaks: dict[str, float]
    peak_method: str

    @property
    def line(self) -> str:
        """All of it in a sentence or two."""
        peaks = ", ".join(f"{name} {value:.0f}" for name, value in self.peaks.items())
        return (
            f"{self.cpu}, core {'+'.join(str(core) for core in self.cores)}, {self.threads} thread(s), last-level "
            f"cache {self.cache_mb:.0f} MB; torch {self.torch} ({self.torch_isa}), jouleprune {self.jouleprune} "
            f"({self.isa}, JIT {'on' if self.jit else 'off'}); {self.malloc}; denormals {self.denormals}. "
            f"Measured peak in GFLOP/s: {peaks or 'not measured'} ({self.peak_method})."
        )

    def data(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def describe(threads: int, peaks: Mapping[str, float], peak_method: str) -> Machine:
    """This process, now."""
    from .. import _C, __version__

    return Machine(
        cpu=_cpu_name(),
        family=family(),
        cores=sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [],
        threads=threads,
        cache_mb=cache_bytes() / 2**20,
        torch=torch.__version__,
        torch_isa=torch.backends.cpu.get_cpu_capability(),
        jouleprune=__version__,
        isa=_C.active_isa(),
        jit=_C.generates_code(),
        malloc="malloc keeps freed memory (MALLOC_*)" if _malloc_raised() else "malloc as it is",
        denormals="flushed" if _flushes_denormals() else "kept",
        python=platform.python_version(),
        peaks=dict(peaks),
        peak_method=peak_method,
    )


def restart(arguments: Sequence[str], environment: Mapping[str, str], cores: Sequence[int]) -> None:
    """Starts this very command again, pinned, with malloc's limits raised and ``environment``; returns in the process
    that was started so. libraries read these settings when they load, so they cannot be changed later."""
    if os.environ.get(_RESTARTED) == str(os.getpid()):
        return
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)
    changed = {**os.environ, **MALLOC, **environment, _RESTARTED: str(os.getpid())}
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(sys.executable, [sys.executable, "-m", "jouleprune", *arguments], changed)


def pin(threads: int, first: int | None) -> list[int]:
    """The cores to run on: ``threads`` of the allowed ones, the last ones unless ``first`` says where to begin (the
    system's own work tends to sit on the first).

    Raises:
        ValueError: too few cores, or ``first`` is not allowed.
    """
    allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    if first is None:
        chosen = allowed[-threads:]
    elif first in allowed:
        chosen = allowed[allowed.index(first) :][:threads]
    else:
        raise ValueError(f"--cpu: expected one of {allowed}, got {first}")
    if len(chosen) < threads:
        raise ValueError(f"--threads: expected at most {len(chosen)} (cores {chosen}), got {threads}")
    return chosen


def cache_bytes() -> int:
    """Of the last-level cache; 32 MB where the system does not say."""
    sizes = []
    for path in glob.glob("/sys/devices/system/cpu/cpu0/cache/index*/size"):
        with open(path) as file:
            text = file.read().strip()
        if text.endswith("K") and text[:-1].isdigit():
            sizes.append(int(text[:-1]) * 1024)
    return max(sizes, default=32 * 2**20)


def family() -> str:
    """ "zen4" (AMD with AVX-512), "sapphire-rapids" (Intel with float16 arithmetic: it and successors), or "other"."""
    text = _cpuinfo()
    if "AuthenticAMD" in text and "avx512_bf16" in text:
        return "zen4"
    if "GenuineIntel" in text and "avx512_fp16" in text:
        return "sapphire-rapids"
    return "other"


def _cpuinfo() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            return file.read().split("\n\n")[0]
    except OSError:
        return ""


def _cpu_name() -> str:
    for line in _cpuinfo().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _malloc_raised() -> bool:
    return all(os.environ.get(name) for name in MALLOC)


def _flushes_denormals() -> bool:
    return float((torch.full((1,), 1.5e-38) * 1e-3).item()) == 0.0
