"""The clocks that calls are timed by, behind an interface so that tests can bring their own."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

__all__ = ["STOLEN", "Clock", "SystemClock", "seconds"]

#: Wall time above this share of the CPU time: another program had the core.
STOLEN = 1.1


def seconds(call: Callable[[], object]) -> float:
    """That pass while it runs once."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


class Clock(Protocol):
    """Seconds since some fixed moment."""

    def wall(self) -> float:
        """Time that passes for everybody."""

    def cpu(self) -> float:
        """Time during which the measured code really ran."""


class SystemClock:
    """The machine's clocks.

    With one thread the CPU time is the whole process's, whichever thread of it works. With more it is the calling
    thread's: the process's would hide a thread that another program kept waiting.
    """

    def __init__(self, threads: int = 1) -> None:
        self.wall = time.perf_counter
        self.cpu = time.process_time if threads == 1 else time.thread_time
