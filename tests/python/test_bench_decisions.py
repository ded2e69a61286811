"""The suite that judges what ``convert`` chooses."""

from __future__ import annotations

import pytest
from bench_tools import FakeClock, tiny_options, use_tiny

from jouleprune.bench import command, suites
from jouleprune.bench.decisions import choices, rate
from jouleprune.bench.results import Cell, Measured
from jouleprune.bench.summary import Ratio
from jouleprune.bench.tables import text


def cell(layout: str, speed: float, low: float, high: float) -> Cell:
    """convert chose ``layout``; the sparse module is ``speed`` [low, high] times as fast as dense."""
    sparse = Measured("jouleprune csr", "measured", speed={"dense layer": Ratio(speed, low, high, low, high, 9)})
    chosen = Measured("jouleprune", "measured", note=layout)
    return Cell("decisions", "a layer", 0.5, 0.5, "random", 0, "dense layer", [chosen, sparse])


@pytest.mark.parametrize(
    "layout, speed, low, high, verdict",
    [
        ("csr", 1.5, 1.4, 1.6, "right"),
        ("csr", 0.9, 0.88, 0.92, "false"),
        ("csr", 0.96, 0.9, 0.98, "right"),  # perhaps less than 3 % slower
        ("dense", 1.5, 1.4, 1.6, "missed"),
        ("dense", 1.5, 1.02, 1.6, "right"),
        ("dense", 0.5, 0.4, 0.6, "right"),
    ],
)
def test_verdicts(layout, speed, low, high, verdict):
    (made,) = choices([cell(layout, speed, low, high)])
    assert (made.layout, made.speed, made.verdict) == (layout, speed, verdict)
    assert f"false conversions (surely more than 3 % slower than dense): {int(verdict == 'false')}" in rate([made])
    assert rate([made]).endswith(str(int(verdict == "missed")))


def test_the_suite_runs_what_convert_made(monkeypatch):
    use_tiny(monkeypatch)
    tiny = [
        suites.Case("decisions", "linear", suites.LinearShape(24, 20, 5), decide=True, baseline="dense layer"),
        suites.Case("decisions", "conv", suites.ConvShape(8, 3, 6), decide=True, baseline="dense layer"),
    ]
    monkeypatch.setitem(suites._MAKERS, "linear", lambda: tiny)
    report = command.report_of(tiny_options(), clock=FakeClock())
    assert not report.wrong()
    assert len(choices(report.cells)) == len(report.cells) == 4
    for measured in report.cells:
        assert {result.name for result in measured.results} == {"jouleprune", "jouleprune csr", "dense layer"}
        assert all(result.status == "measured" for result in measured.results)
    assert "What convert chose" in text(report) and "false conversions" in text(report)
