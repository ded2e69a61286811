"""A folder like /sys whose RAPL counters rise with real time, for tests of what happens above them."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def live_powercap(root: Path, zones: dict[str, tuple[str, float]]) -> Iterator[Path]:
    """``zones``: {"intel-rapl:0": ("package-0", watts)}. A thread rewrites the counters every millisecond or so."""
    counters = []
    for zone, (name, watts) in zones.items():
        folder = root / "class" / "powercap" / zone
        folder.mkdir(parents=True)
        (folder / "name").write_text(name)
        (folder / "max_energy_range_uj").write_text("262143328850")
        (folder / "energy_uj").write_text("0")
        counters.append((folder / "energy_uj", watts))
    stopping = threading.Event()
    begun = time.monotonic()

    def run() -> None:
        while not stopping.wait(1e-3):
            passed = time.monotonic() - begun
            for path, watts in counters:
                fresh = path.with_name("fresh")
                fresh.write_text(str(int(1e6 * watts * passed)))
                fresh.replace(path)  # a reader sees the old number or the new one

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield root
    finally:
        stopping.set()
        thread.join()
