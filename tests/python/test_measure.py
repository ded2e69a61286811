"""Meters, windows and measurements from Python. The statistics are tested in C++, where no time passes."""

from __future__ import annotations

import importlib.util
import json
import math
import sys
import time
import types

import pytest
import torch
from live_powercap import live_powercap
from networks import mlp

from jouleprune import energy, measurement
from jouleprune.cli import main
from jouleprune.errors import MeterError

WATTS = 50.0


def meters_of(root, **options) -> energy.Meters:
    """Of that folder alone."""
    return energy.Meters(sysfs_root=root, proc_root=root, nvml_library="", zeusd_socket="", **options)


@pytest.fixture
def live(tmp_path):
    """A package of 50 W with its DRAM, 5 W, and a platform counter above both."""
    zones = {
        "intel-rapl:0": ("package-0", WATTS),
        "intel-rapl:0:0": ("dram", 5.0),
        "intel-rapl:1": ("psys", 90.0),
    }
    with live_powercap(tmp_path, zones) as root:
        yield root


def work() -> None:
    time.sleep(0.01)


def test_domains_and_windows(live):
    meters = meters_of(live)
    assert meters.available and meters.why_none == ""
    by_name = {domain.name: domain for domain in meters.domains}
    assert by_name["dram-0"].adds and not by_name["psys"].adds
    assert "package-0 (rapl, package)" in str(meters)
    with meters.window() as outer:
        with energy.EnergyWindow(meters) as inner:
            time.sleep(0.3)
        time.sleep(0.2)
    for window, seconds in ((inner, 0.3), (outer, 0.5)):
        assert window.energy.time_s >= seconds
        watts = window.energy.totals["package"] / window.energy.time_s
        assert watts == pytest.approx(WATTS + 5, rel=0.15)
        assert window.energy.energy_j["psys"] is not None and "board" not in window.energy.totals


def test_a_window_is_synchronised_at_both_ends(live):
    calls: list[int] = []
    window = meters_of(live).window(synchronise=lambda: calls.append(1))
    with window, pytest.raises(RuntimeError, match="open already"):
        window.__enter__()
    assert len(calls) == 2


def test_an_exception_in_the_work_comes_through(live):
    meters = meters_of(live)

    def broken() -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        energy.measure(broken, meters=meters)
    with pytest.raises(ZeroDivisionError), meters.window():
        1 / 0  # noqa: B018
    assert energy.measure(work, meters=meters, min_windows=4, max_s=1).totals["package"] > 0


def test_measurement(live):
    measured = energy.measure(
        work, counts={"inference": 2, "token": 10}, meters=meters_of(live), min_windows=6, max_s=2, idle_s=0.2
    )
    expected = (WATTS + 5) * measured.time_s
    assert measured.totals["package"] == pytest.approx(expected, rel=0.1)
    low, high = measured.interval["total package"]
    assert low <= measured.totals["package"] <= high
    assert measured.idle_w["package-0"] == pytest.approx(WATTS, rel=0.2)
    assert measured.label == "not checked"  # no check, so nothing is called measured
    assert measured.scope == {"package-0": "package", "dram-0": "package", "psys": "board"}
    unit = measured.per("token", grams_per_kwh=400, price_per_kwh=0.3)
    assert unit.energy_j["package"] == measured.totals["package"] / 10
    watt_hours = 1000 * measured.totals["package"] / 10 / 3600
    assert unit.wh_per_1000["package"] == pytest.approx(watt_hours)
    assert unit.co2_g_per_1000 == {"package": pytest.approx(watt_hours / 1000 * 400)}
    assert unit.cost_per_1000 == {"package": pytest.approx(watt_hours / 1000 * 0.3)}
    assert measured.per("inference").co2_g_per_1000 is None  # no factor of ours
    data = json.loads(measured.to_json())
    assert data["schema"] == 1 and data["energy_j"]["psys"] > 0 and data["check"] is None
    assert "not checked" in str(measured) and "included above" in str(measured)


@pytest.mark.parametrize("passed", [True, False])
def test_labels(live, monkeypatch, passed):
    told = measurement.MeterCheck(passed, (), {}, {})
    monkeypatch.setattr(measurement, "_check", lambda *_: told)
    measured = energy.measure(work, meters=meters_of(live), check=True, min_windows=4, max_s=0.5)
    assert measured.label == ("measured" if passed else "check failed")


def test_without_a_meter_time_is_measured(tmp_path):
    meters = meters_of(tmp_path)
    assert not meters.available and "powercap" in meters.why_none
    measured = energy.measure(work, meters=meters, check=True, min_windows=4, max_s=0.5)
    assert measured.label == "unavailable" and measured.time_s >= 0.01
    assert measured.totals == {} and measured.check is not None and not measured.check.passed
    assert "driver is not loaded" in str(measured)
    assert json.loads(measured.to_json())["why_unavailable"] == meters.why_none


def test_a_counter_that_stands_still_is_none_and_not_zero(tmp_path):
    with live_powercap(tmp_path, {"intel-rapl:0": ("package-0", 0.0)}) as root:
        measured = energy.measure(work, meters=meters_of(root), min_windows=4, max_s=0.5)
    assert measured.energy_j == {"package-0": None} and measured.label == "unavailable"
    assert "stood still" in measured.status["package-0"]


def fake_zeus(monkeypatch, *, gpus: int, cpus: int, work_j=lambda: 0.0, watts: float = WATTS) -> None:
    """The two modules of zeus that are used, on real time; ``work_j`` comes on top of the packages' watts."""
    begun = time.monotonic()

    class Gpus:
        def __len__(self) -> int:
            return gpus

        def get_total_energy_consumption(self, index: int) -> int:
            return int(1e3 * 200 * (time.monotonic() - begun))

    class Cpus:
        def __len__(self) -> int:
            return cpus

        def get_total_energy_consumption(self, index: int):
            return types.SimpleNamespace(cpu_mj=1e3 * (work_j() + watts * (time.monotonic() - begun)), dram_mj=None)

    def found(kind, count):
        def get():
            if count == 0:
                raise RuntimeError("none here")
            return kind()

        return get

    for name in ("zeus", "zeus.device"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    for name, function, kind, count in (("gpu", "get_gpus", Gpus, gpus), ("cpu", "get_cpus", Cpus, cpus)):
        module = types.ModuleType(f"zeus.device.{name}")
        setattr(module, function, found(kind, count))
        monkeypatch.setitem(sys.modules, module.__name__, module)


def test_zeus_as_a_back_end(monkeypatch):
    fake_zeus(monkeypatch, gpus=2, cpus=1)
    meters = energy.Meters(backend="zeus", gpus=[1])
    assert [(domain.name, domain.scope) for domain in meters.domains] == [("gpu-1", "board"), ("package-0", "package")]
    with meters.window() as window:
        time.sleep(0.3)
    assert window.energy.totals["board"] == pytest.approx(200 * window.energy.time_s, rel=0.1)
    assert window.energy.totals["package"] == pytest.approx(WATTS * window.energy.time_s, rel=0.1)
    fake_zeus(monkeypatch, gpus=0, cpus=1)
    assert [domain.name for domain in energy.Meters(backend="zeus").domains] == ["package-0"]


@pytest.mark.slow
def test_only_a_check_that_passed_says_measured(monkeypatch):
    runs: list[int] = []

    def counted() -> None:
        time.sleep(0.01)
        runs.append(1)

    # Half a joule a run, 1 W beside it: however busy this machine is, joules are linear in the runs.
    fake_zeus(monkeypatch, gpus=0, cpus=1, work_j=lambda: 0.5 * len(runs), watts=1)
    meters = energy.Meters(backend="zeus")
    monkeypatch.setattr(measurement, "_CHECK_S", 6.0)
    measured = energy.measure(counted, meters=meters, check=True, min_windows=4, max_s=1)
    assert measured.check is not None
    states = {item.name: item.state for item in measured.check.items}
    passed = {"counter moves": "passed", "linear": "passed", "A/A": "passed", "counter against power": "not possible"}
    assert states == passed, str(measured.check)
    assert measured.label == "measured" and measured.totals["package"] == pytest.approx(0.5, rel=0.2)
    # A counter that tells less under load than at rest.
    runs.clear()
    fake_zeus(monkeypatch, gpus=0, cpus=1, work_j=lambda: -0.4 * len(runs))
    found = energy.check(counted, meters=energy.Meters(backend="zeus"), seconds=6)
    assert not found.passed and "failed" in str(found)


@pytest.mark.skipif(importlib.util.find_spec("zeus") is None, reason="zeus is not installed")
def test_zeus_agrees_where_both_count():
    """Zeus as an oracle."""
    try:
        zeus = energy.Meters(backend="zeus")
    except MeterError as error:
        pytest.skip(str(error))
    ours = energy.Meters()
    if not (zeus.available and ours.available):
        pytest.skip(ours.why_none or zeus.why_none)
    with ours.window() as mine, zeus.window() as theirs:
        time.sleep(6)
    for scope in mine.energy.totals.keys() & theirs.energy.totals.keys():
        assert mine.energy.totals[scope] == pytest.approx(theirs.energy.totals[scope], rel=0.05)


def test_zeus_that_is_not_installed_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "zeus", None)
    with pytest.raises(MeterError, match="pip install zeus"):
        energy.Meters(backend="zeus")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"counts": {"image": 1}}, "counts: expected some of inference, token, output_token, request, got 'image'"),
        ({"counts": {"token": 0}}, "token: expected a whole number from 1 on, got 0"),
        ({"target": 0.0}, "target: expected a share above 0 and below 1"),
        ({"target": math.nan}, "target"),
        ({"max_s": -1.0}, "max_s: expected seconds above 0"),
        ({"min_windows": 2}, "min_windows: expected 4 to 1000"),
        ({"idle_s": math.inf}, "idle_s"),
    ],
)
def test_bad_arguments_are_named(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        energy.measure(work, meters=meters_of(tmp_path), **options)


def test_more_bad_arguments(tmp_path):
    with pytest.raises(ValueError, match="fn: expected a callable, got int"):
        energy.measure(3, meters=meters_of(tmp_path))
    with pytest.raises(MeterError, match="backend: expected one of auto, zeus, got 'rapl'"):
        energy.Meters(backend="rapl")
    with pytest.raises(MeterError, match="gpus: expected indices"):
        meters_of(tmp_path, gpus=[-1])
    measured = energy.measure(work, meters=meters_of(tmp_path), min_windows=4, max_s=0.1)
    with pytest.raises(ValueError, match="unit: expected one of inference, got 'token'"):
        measured.per("token")
    with pytest.raises(ValueError, match="grams_per_kwh: expected a number above 0, got 0"):
        measured.per("inference", grams_per_kwh=0)


def make():
    """Named on the command line as test_measure:make."""
    return mlp()


def test_command(capsys):
    """On whatever machine this is: joules or the reason why there are none."""
    arguments = ["measure", "test_measure:make", "--count", "inference=4", "--seconds", "1"]
    assert main([*arguments, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["time_s"] > 0 and data["per"][0]["time_s"] == pytest.approx(data["time_s"] / 4)
    assert data["label"] in ("not checked", "unavailable")
    assert data["totals"] or data["why_unavailable"]
    if data["label"] == "unavailable":  # the check is short then, and cannot pass
        assert main([*arguments, "--check"]) == 1
        assert "check: not passed" in capsys.readouterr().out
    assert main(["measure", "test_measure:make", "--seconds", "1", "--json"]) == 0  # the examples are a batch of 4
    assert json.loads(capsys.readouterr().out)["counts"] == {"inference": 4}
    assert main([*arguments, "--grams-per-kwh", "400"]) == 0
    assert "per inference: " in capsys.readouterr().out
    for wrong in (["--count", "inference"], ["--gpus", "a"], ["--threads", "0"], ["--target", "0"]):
        assert main([*arguments, *wrong]) == 1
        assert "expected" in capsys.readouterr().err


def test_info_tells_the_meters(capsys):
    assert main(["info", "--json"]) == 0
    text = json.loads(capsys.readouterr().out)["meters"]
    assert text.startswith("none: ") or "(" in text


def test_a_measurement_needs_no_meter_to_be_read():
    fields = measurement.Measurement.__dataclass_fields__
    for name in ("time_s", "energy_j", "scope", "interval", "repeats", "label", "status"):
        assert name in fields


def test_cuda_is_not_started_by_waiting_for_it():
    from jouleprune.meters import wait_for_devices

    was = torch.cuda.is_initialized()
    wait_for_devices()
    assert torch.cuda.is_initialized() == was
