"""Which kernel a sparse Linear layer runs on a GPU, and why: predicted from what each has to move and to multiply, or
by times that a benchmark on that GPU left in the tuning file. Works without a GPU:
``print(gpu_choice.explain(gpu_choice.A100, 4096, 4096, density=0.5, n=1))``.

The choice is that of the library: ``linear_csr`` on CUDA makes it by the same function, from the same file
(``JOULEPRUNE_TUNE``, see :mod:`jouleprune.tuning`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from . import _C

__all__ = ["A100", "H100", "KERNELS", "RTX_4090", "Gpu", "GpuTimes", "explain"]

KERNELS = ("dense", "by-entries", "by-tokens", "tiles", "cusparse")
"""What ``JOULEPRUNE_CUDA_CSR`` may force, and what times are kept of."""


@dataclass(frozen=True)
class Gpu:
    """What predictions know of a GPU."""

    name: str
    """As its driver tells it: the tuning file goes by it."""
    major: int
    """Of the compute capability."""
    minor: int
    multiprocessors: int
    clock_hz: float
    dram_bytes_s: float
    """What its memory moves in a second, at most."""

    @staticmethod
    def of_device(device: int | str | torch.device | None = None) -> Gpu:
        """The GPU of this machine.

        Raises:
            RuntimeError: no CUDA device.
        """
        if not torch.cuda.is_available():
            raise RuntimeError("no CUDA device: name a Gpu, for example jouleprune.gpu_choice.A100")
        found = torch.cuda.get_device_properties(device)
        transfers = 2e3 * found.memory_clock_rate  # kilohertz, two in a clock
        return Gpu(
            found.name, found.major, found.minor, found.multi_processor_count, 1e3 * found.clock_rate,
            transfers * found.memory_bus_width / 8,
        )  # fmt: skip

    @property
    def identity(self) -> str:
        """Under which the tuning file keeps its times: the version of the library is part of it."""
        return _C.gpu_identity(self.name, self.major, self.minor, self.multiprocessors)

    @property
    def _machine(self) -> _C.GpuMachine:
        return _C.GpuMachine(self.major, self.minor, self.multiprocessors, self.clock_hz, self.dram_bytes_s)


# Clock, multiprocessors and memory as the vendor's data sheets have them.
A100 = Gpu("NVIDIA A100-SXM4-80GB", 8, 0, 108, 1.41e9, 2.0e12)
H100 = Gpu("NVIDIA H100 80GB HBM3", 9, 0, 132, 1.83e9, 3.35e12)
RTX_4090 = Gpu("NVIDIA GeForce RTX 4090", 8, 9, 128, 2.52e9, 1.0e12)


#: Of a size: entries of a matrix, and what is computed from them, still fit 64 bits.
_MOST = 2**31 - 1


def _gpu(gpu: object) -> Gpu:
    if not isinstance(gpu, Gpu):
        raise ValueError(f"gpu: expected a Gpu, for example jouleprune.gpu_choice.A100, got {gpu!r}")
    return gpu


def _shape(rows: int, cols: int, density: float, n: int, dtype: str | torch.dtype) -> _C.GpuShape:
    for name, size in (("rows", rows), ("cols", cols), ("n", n)):
        if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= _MOST:
            raise ValueError(f"{name}: expected a whole number of at least 1 (at most {_MOST}), got {size!r}")
    if isinstance(density, bool) or not isinstance(density, int | float) or not 0 <= density <= 1:
        raise ValueError(f"density: expected a share in [0, 1], got {density!r}")
    if not isinstance(dtype, str | torch.dtype):
        raise ValueError(f"dtype: expected a torch.dtype or its name, got {dtype!r}")
    return _C.GpuShape(str(dtype).removeprefix("torch."), rows, cols, round(density * rows * cols), n)


class GpuTimes:
    """Measured times of kernels on one GPU, as the tuning file keeps them. Those of other GPUs, or of another version
    of the library, are not seen."""

    def __init__(self, gpu: Gpu, path: str = "") -> None:
        """Reads the file: ``path``, or the one that the library uses; one that does not exist holds nothing.

        Raises:
            ValueError: no Gpu; a damaged file, with the place.
        """
        self._gpu, self._path = _gpu(gpu), path or _C.tuning_path()
        self._table = _C.TuningTable(gpu.identity)
        if self._path:
            self._table.load(self._path)

    def put(
        self, rows: int, cols: int, density: float, n: int, dtype: str | torch.dtype, kernel: str, seconds: float
    ) -> None:
        """One time.

        Raises:
            ValueError: a kernel, a size or a time that there is not.
        """
        if kernel not in KERNELS:
            raise ValueError(f"kernel: expected one of {', '.join(KERNELS)}, got {kernel!r}")
        _C.put_gpu_time(self._table, _shape(rows, cols, density, n, dtype), kernel, seconds)

    def save(self) -> None:
        """Writes them beside what the file holds of other machines.

        Raises:
            ValueError: ``JOULEPRUNE_TUNE=off``.
        """
        if not self._path:
            raise ValueError("there is no tuning file: JOULEPRUNE_TUNE is off, or there is no cache folder")
        self._table.save(self._path)

    def __len__(self) -> int:
        return len(self._table)

    @property
    def hash(self) -> str:
        """Of the times and the GPU: 16 hexadecimal digits."""
        return self._table.hash


def explain(
    gpu: Gpu,
    rows: int,
    cols: int,
    density: float,
    n: int,
    dtype: str | torch.dtype = "float16",
    *,
    times: GpuTimes | None = None,
    cusparse: bool = False,
) -> str:
    """A line for each kernel that could run ``y[n, rows] = x[n, cols] W^T``, with predicted and measured times, dense
    products in other number types among them, and which one runs.

    Args:
        times: what was measured; None: predictions alone.
        cusparse: whether cuSPARSE is there; it is chosen only where it was measured to win.

    Raises:
        ValueError: sizes, a density or a type that there is not; ``gpu`` or ``times`` of another type.
    """
    machine = _gpu(gpu)._machine
    if times is not None and not isinstance(times, GpuTimes):
        raise ValueError(f"times: expected GpuTimes or None, got {times!r}")
    if not isinstance(cusparse, bool):
        raise ValueError(f"cusparse: expected True or False, got {cusparse!r}")
    missing = "" if cusparse else "cuSPARSE is not asked for"
    table = None if times is None else times._table
    text: str = _C.choose_on_gpu(_shape(rows, cols, density, n, dtype), machine, table, missing)[2]
    if times is not None and len(times) == 0:
        text += f"\n(the tuning file holds no times of {gpu.identity})"
    return text
