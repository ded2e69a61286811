"""What the tests of ``jouleprune bench`` share: a clock that obeys, and a suite with one tiny layer."""

from __future__ import annotations

import pytest

from jouleprune.bench import command, options, suites

TINY = suites.Case("linear", "linear 24x20 n=5", suites.LinearShape(24, 20, 5))


class FakeClock:
    """Passes by as much as it is told: wall and CPU alike unless another program steals."""

    def __init__(self) -> None:
        self.now = self.busy = 0.0

    def spend(self, seconds: float, stolen: float = 0.0) -> None:
        self.now += seconds + stolen
        self.busy += seconds

    def wall(self) -> float:
        self.spend(1e-3)  # a sample is worth two calls
        return self.now

    def cpu(self) -> float:
        return self.busy


def tiny_options(**changes) -> options.Options:
    return options.Options(("linear",), sparsities=(0.5, 0.9), rounds=5, quiet=True, **changes)


def use_tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """The suites hold one tiny layer, and time passes by the reads of a clock."""
    monkeypatch.setitem(suites._MAKERS, "linear", lambda: [TINY])
    monkeypatch.setattr(command, "SystemClock", lambda threads: FakeClock())
    monkeypatch.setattr(command, "measure_peaks", lambda threads: {"float32": 100.0})
