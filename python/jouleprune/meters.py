"""The machine's energy meters, and joules between two moments. How far they can be trusted: docs/measurement.md."""

from __future__ import annotations

import functools
import importlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from . import _C
from .errors import MeterError

__all__ = ["Domain", "EnergyWindow", "Meters", "WindowEnergy", "default_meters", "wait_for_devices"]

_BACKENDS = ("auto", "zeus")
#: The mean over about a second is what GPU sensors tell.
_GPU_AVERAGING_S = 1.0
#: As in the core: a window's two ends are known to a refresh each.
_REFRESHES, _SHORTEST_WINDOW_S = 50, 0.1

_Source = tuple[str, str, str, float, Callable[[], float]]


@dataclass(frozen=True)
class Domain:
    """One thing that counts joules.

    Attributes:
        name: "package-0", "dram-0", "psys", "gpu-0", "vdd_in", ...
        meter: the back end: "perf", "rapl", "zeusd", "nvml", "hwmon", "zeus".
        scope: "chip", "package", "board", "module" or "wall"; joules of different scope overlap and are never added.
        inside: the domain that contains this one; empty if none.
        adds: whether it counts in the total of its scope.
        integrated: sampled watts, not a counter.
        available: it moved while the machine was busy.
        status: "counts", or why not and what helps.
        refresh_s: seconds between two values, as seen; 0 = not seen.
        averaging_s: a reading is the mean over so many seconds.
    """

    name: str
    meter: str
    scope: str
    inside: str
    adds: bool
    integrated: bool
    available: bool
    status: str
    refresh_s: float
    averaging_s: float


@dataclass(frozen=True)
class WindowEnergy:
    """Joules between two moments.

    Attributes:
        time_s: seconds between them.
        energy_j: by domain; None is not 0: ``status`` says why there is none.
        totals: by scope, the sum over the domains that add; a scope with a domain that failed has none.
        scope: of each domain.
        status: of each domain.
    """

    time_s: float
    energy_j: Mapping[str, float | None]
    totals: Mapping[str, float]
    scope: Mapping[str, str]
    status: Mapping[str, str]


class Meters:
    """Opens the machine's meters: one core is kept busy for 60 ms (with a GPU up to 0.6 s) to see which counters move.

    Args:
        backend: "auto": perf events, powercap, zeusd, NVML, hwmon, each if it is there. "zeus": those that the Python
            package zeus finds (AMD GPUs too), which must be installed.
        gpus: indices of NVML (or zeus); all unless given.
        cross_check: beside each GPU's counter its power, integrated.
        sysfs_root, proc_root, nvml_library, zeusd_socket: where to look; "" for the last two: nowhere.
    Raises:
        MeterError: an argument is out of range, or the back end that was asked for is not there.
    """

    def __init__(
        self,
        *,
        backend: str = "auto",
        gpus: Sequence[int] | None = None,
        cross_check: bool = False,
        sysfs_root: str | os.PathLike[str] = "/sys",
        proc_root: str | os.PathLike[str] = "/proc",
        nvml_library: str = "libnvidia-ml.so.1",
        zeusd_socket: str = "/var/run/zeusd.sock",
    ) -> None:
        if backend not in _BACKENDS:
            raise MeterError(f"backend: expected one of {', '.join(_BACKENDS)}, got {backend!r}")
        wanted = _indices(gpus)
        zeus = backend == "zeus"
        root = os.fspath(sysfs_root)
        self._meters = _C.Meters(
            sysfs_root="" if zeus else root,
            proc_root=os.fspath(proc_root),
            nvml_library="" if zeus else nvml_library,
            zeusd_socket="" if zeus else zeusd_socket,
            perf=not zeus and root == "/sys",
            gpus=[] if zeus else wanted,
            cross_check=cross_check,
            sources=_zeus_sources(wanted) if zeus else [],
        )
        self._found: dict[str, Any] = json.loads(self._meters.describe())

    @property
    def domains(self) -> tuple[Domain, ...]:
        """What was found, countable or not."""
        return tuple(Domain(**domain) for domain in self._found["domains"])

    @property
    def available(self) -> bool:
        """Whether any domain counts."""
        return self._meters.any()

    @property
    def why_none(self) -> str:
        """Empty when a domain counts; else why none does, in words."""
        return str(self._found["why_none"])

    @property
    def notes(self) -> tuple[str, ...]:
        """What was looked for and not found, a sentence each."""
        return tuple(self._found["notes"])

    @property
    def window_s(self) -> float:
        """Seconds that a window of a measurement takes at least, with what comes before it."""
        refresh_s, averaging_s = float(self._found["refresh_s"]), float(self._found["averaging_s"])
        return max(_SHORTEST_WINDOW_S, _REFRESHES * refresh_s) + averaging_s

    def conditions(self) -> dict[str, str]:
        """Clocks and power caps now, as the system tells them."""
        found: dict[str, str] = json.loads(self._meters.describe())["conditions"]
        return found

    def window(self, *, synchronise: Callable[[], None] | None = None) -> EnergyWindow:
        """``with meters.window() as window: ...``; then ``window.energy``."""
        return EnergyWindow(self, synchronise=synchronise)

    def __str__(self) -> str:
        counting = [domain for domain in self.domains if domain.available]
        if not counting:
            return f"none: {self.why_none}"
        return "; ".join(f"{domain.name} ({domain.meter}, {domain.scope})" for domain in counting)


class EnergyWindow:
    """Joules of a ``with`` block. Windows may nest and overlap.

    Args:
        meters: those of ``default_meters()`` unless given.
        synchronise: called at both ends before the counters are read; by default CUDA is waited for if it is used.
    """

    #: Of the block, once it has ended.
    energy: WindowEnergy

    def __init__(self, meters: Meters | None = None, *, synchronise: Callable[[], None] | None = None) -> None:
        self._meters = default_meters() if meters is None else meters
        self._synchronise = wait_for_devices if synchronise is None else synchronise
        self._open: _C.EnergyWindow | None = None

    def __enter__(self) -> EnergyWindow:
        if self._open is not None:
            raise RuntimeError("EnergyWindow: it is open already; use a second one")
        self._open = _C.EnergyWindow(self._meters._meters, self._synchronise)
        return self

    def __exit__(self, *_: object) -> None:
        window, self._open = self._open, None
        assert window is not None
        self.energy = _window_energy(json.loads(window.end()))


@functools.cache
def default_meters(*, cross_check: bool = False) -> Meters:
    """The machine's meters, opened once."""
    return Meters(cross_check=cross_check)


def wait_for_devices() -> None:
    """Waits for CUDA, on every device, if this process uses it."""
    if torch.cuda.is_initialized():
        for index in range(torch.cuda.device_count()):
            torch.cuda.synchronize(index)


def _window_energy(data: Mapping[str, Any]) -> WindowEnergy:
    domains = data["domains"]
    return WindowEnergy(
        time_s=data["time_s"],
        energy_j={domain["domain"]: domain["energy_j"] for domain in domains},
        totals=data["totals"],
        scope={domain["domain"]: domain["scope"] for domain in domains},
        status={domain["domain"]: domain["status"] for domain in domains},
    )


def _indices(gpus: Sequence[int] | None) -> list[int]:
    found = [] if gpus is None else list(gpus)
    if not all(isinstance(index, int) and not isinstance(index, bool) and index >= 0 for index in found):
        raise MeterError(f"gpus: expected indices from 0 on, got {gpus!r}")
    return found


def _zeus_sources(gpus: Sequence[int]) -> list[_Source]:
    """What zeus finds: GPUs (NVIDIA, AMD) and CPU packages with their DRAM, in millijoules since some moment."""
    try:
        gpu_module, cpu_module = importlib.import_module("zeus.device.gpu"), importlib.import_module("zeus.device.cpu")
    except ImportError as error:
        raise MeterError(f"backend: 'zeus' needs the package zeus (pip install zeus): {error}") from error
    sources: list[_Source] = []
    try:
        found = gpu_module.get_gpus()
        for index in gpus or range(len(found)):
            read = functools.partial(_zeus_gpu, found, index)
            sources.append((f"gpu-{index}", "zeus", "board", _GPU_AVERAGING_S, read))
    except Exception:  # zeus raises errors of its own where there is no GPU, whatever the vendor
        if gpus:
            raise
    try:
        cpus = cpu_module.get_cpus()
    except Exception:  # as above: no RAPL, or no permission
        return sources
    for index in range(len(cpus)):
        sources.append(
            (f"package-{index}", "zeus", "package", 0.0, functools.partial(_zeus_cpu, cpus, index, "cpu_mj"))
        )
        if cpus.get_total_energy_consumption(index).dram_mj is not None:
            dram = functools.partial(_zeus_cpu, cpus, index, "dram_mj")
            sources.append((f"dram-{index}", "zeus", "package", 0.0, dram))
    return sources


def _zeus_gpu(gpus: Any, index: int) -> float:
    return float(gpus.get_total_energy_consumption(index)) / 1e3


def _zeus_cpu(cpus: Any, index: int, field: str) -> float:
    return float(getattr(cpus.get_total_energy_consumption(index), field)) / 1e3
