"""Calibration: the fit against profiles whose numbers are known, and the sweep end to end."""

from __future__ import annotations

import json
import random

import pytest
import torch
from live_powercap import live_powercap

import jouleprune as jp
from jouleprune import calibration, calibration_sweep, energy
from jouleprune.calibration_fit import Sample, fit_energy, fit_time
from jouleprune.calibration_shapes import shapes
from jouleprune.calibration_sweep import RANDOM, Made, sweep
from jouleprune.calibration_timing import fit_timing
from jouleprune.cli import main
from jouleprune.estimate import price_entry
from jouleprune.profile_table import profile_text
from jouleprune.record import record

KERNELS = {"dense": ("dense", "dense"), "csr": ("unstructured", "csr")}


def entry(rows: int, cols: int, n: int, dtype: str = "float32", kernel: str = "dense", density: float = 1.0) -> dict:
    pattern, layout = KERNELS[kernel]
    return {
        "name": "layer", "op": "linear", "dtype": dtype, "weight": "weight", "shape": [rows, cols],
        "rows": rows, "cols": cols, "n": n, "groups": 1, "macs": rows * cols * n, "ops": 0,
        "weight_elements": rows * cols,
        "nnz": round(rows * cols * density), "input_elements": cols * n, "output_elements": rows * n,
        "input_density": 1.0, "pattern": pattern, "layout": layout, "kernel": kernel,
    }  # fmt: skip


def document() -> dict:
    return json.loads(jp.energy.load_profile("generic-cpu").to_json())


def changed(factors: dict[str, float]) -> dict:
    """generic-cpu with some numbers multiplied, by JSON pointer."""
    made = document()
    for pointer, factor in factors.items():
        *path, last = pointer.split("/")[1:]
        holder = made
        for part in path:
            holder = holder[int(part)] if isinstance(holder, list) else holder[part]
        holder[last] = {end: factor * value for end, value in holder[last].items()}
    return made


def value(made: dict, pointer: str) -> float:
    holder = made
    for part in pointer.split("/")[1:]:
        holder = holder[int(part)] if isinstance(holder, list) else holder[part]
    return holder["value"]


def samples_of(truth: dict, noise: float, seed: int) -> list[Sample]:
    """Calls of three families, timed and metered by the model itself under ``truth``."""
    chance = random.Random(seed)
    profile = jp.energy.load_profile(truth)
    found = []
    for family in ("small", "wide", "tall"):
        for place in range(60):
            rows, cols, n = (2 ** chance.uniform(4, 11) for _ in range(3))
            n = {"small": 1, "wide": n, "tall": 4 * n}[family]
            kernel = "csr" if place % 3 == 0 else "dense"
            one = entry(
                int(rows),
                int(cols),
                int(n),
                "bfloat16" if place % 2 else "float32",
                kernel,
                0.3 if kernel == "csr" else 1.0,
            )
            priced = json.loads(jp._C.price_entries(json.dumps([one]), profile))[0]
            found.append(
                Sample(
                    family,
                    f"{family} {place}",
                    [one],
                    priced["latency_s"] * chance.gauss(1, noise),
                    False,
                    priced["energy_j"] * chance.gauss(1, noise),
                )
            )
    return found


TIMES = {
    "/compute/float32/macs_s": 0.6,
    "/compute/bfloat16/macs_s": 1.7,
    "/levels/0/bytes_s": 1.5,
    "/launch_s": 2.5,
}


@pytest.mark.parametrize("seed", range(3))
def test_the_times_of_another_machine_are_found(seed):
    truth = changed(TIMES)
    fitted = document()
    summary, kept = fit_time(fitted, samples_of(truth, 0.03, seed), "a machine", "2026-01-01")
    for pointer in TIMES:
        assert value(fitted, pointer) == pytest.approx(value(truth, pointer), rel=0.05), pointer
        provenance = fitted["provenance"][pointer]
        assert provenance["kind"] == "fitted" and "a machine" in provenance["source"]
    assert summary.mape < 0.05 and summary.held_out_mape < 0.1 and summary.held_out_rank > 0.99
    assert set(summary.held_out) == {"small", "wide", "tall"}
    # No call was in these types: as before, with their labels.
    assert {"/compute/int8/macs_s", "/compute/float64/macs_s"} <= set(kept)
    assert value(fitted, "/compute/int8/macs_s") == value(document(), "/compute/int8/macs_s")
    jp.energy.load_profile(fitted)


ENERGIES = {
    "/compute/float32/mac_pj": 0.5,
    "/compute/float32/op_pj": 0.5,
    "/compute/bfloat16/mac_pj": 1.6,
    "/compute/bfloat16/op_pj": 1.6,
    "/levels/0/read_pj_per_bit": 2.0,
    "/levels/0/write_pj_per_bit": 2.0,
    "/static_w": 0.7,
}


def test_the_energies_of_another_machine_are_found():
    # The model's static energy is that of the modelled seconds: the samples' seconds must be the same.
    truth = changed(ENERGIES)
    fitted = document()
    summary, why = fit_energy(fitted, samples_of(truth, 0.0, 1), "a machine", "2026-01-01")
    assert summary is not None, why
    for pointer in ENERGIES:
        assert value(fitted, pointer) == pytest.approx(value(truth, pointer), rel=0.05), pointer
    assert summary.held_out_mape < 0.02
    assert fitted["provenance"]["/compute/float32/mac_pj"]["kind"] == "fitted"
    assert "int8" not in " ".join(key for key in fitted["provenance"] if fitted["provenance"][key]["kind"] == "fitted")
    jp.energy.load_profile(fitted)


def test_what_cannot_be_told_apart_keeps_its_numbers_and_says_why():
    samples = samples_of(document(), 0.0, 2)
    alike = samples[:1] * 40  # one shape only
    fitted = document()
    summary, why = fit_energy(fitted, alike, "a machine", "2026-01-01")
    assert summary is None and "cannot be told apart" in why
    assert fitted == document()
    without = [Sample(one.family, one.name, one.entries, one.seconds, False, None) for one in samples]
    summary, why = fit_energy(fitted, without, "a machine", "2026-01-01")
    assert summary is None and "180 of 180 calls have no joules" in why


def small_sweep() -> list[calibration.Call]:
    """Dense layers of a few sizes in two number types: a second or two."""
    calls = []
    for family, n in (("few rows", 4), ("many rows", 64)):
        for size in (32, 64, 128, 256):
            for dtype in (torch.float32, torch.bfloat16):

                def make(size: int = size, n: int = n, dtype: torch.dtype = dtype) -> Made:
                    module, x = torch.nn.Linear(size, size).to(dtype), torch.rand(n, size, dtype=dtype)
                    return Made(lambda: module(x), json.loads(record(module, x))["entries"])

                calls.append(calibration.Call(family, f"{family} {size} {dtype}", make))
    return calls


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(calibration, "sweep", small_sweep)


def no_meter(root) -> energy.Meters:
    return energy.Meters(sysfs_root=root, proc_root=root, nvml_library="", zeusd_socket="")


def test_end_to_end_without_a_meter(quick, tmp_path):
    path = tmp_path / "mine.json"
    told: list[tuple[int, int, str]] = []
    result = energy.calibrate(path, time_budget_s=1, meters=no_meter(tmp_path), progress=lambda *now: told.append(now))
    profile = energy.load_profile(path)
    assert profile.name == "mine" and profile.kind == "cpu"
    data = json.loads(profile.to_json())
    assert data["provenance"]["/compute/float32/macs_s"]["kind"] == "fitted"
    assert data["compute"]["float32"]["mac_pj"] == document()["compute"]["float32"]["mac_pj"]  # modelled as before
    assert result.samples == 16 and result.energy is None and "powercap" in result.why_no_energy
    assert told[0][:2] == (0, 16) and told[-1] == (16, 16, "done")
    assert not path.with_name("mine.json.samples").exists()
    assert json.loads(result.to_json())["time"]["calls"] == 16
    assert "labelled as there" in str(result)
    assert jp.estimate(torch.nn.Linear(64, 64), torch.rand(4, 64), profile=path).latency_s > 0


def test_an_interrupted_run_goes_on(quick, monkeypatch, tmp_path):
    path = tmp_path / "profile.json"

    def interrupt(done: int, _: int, __: str) -> None:
        if done == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        energy.calibrate(path, time_budget_s=1, meters=no_meter(tmp_path), progress=interrupt)
    assert not path.exists()
    made: list[int] = []

    def counted() -> list[calibration.Call]:
        def watched(call: calibration.Call) -> calibration.Call:
            return calibration.Call(call.family, call.name, lambda: (made.append(1), call.make())[1])

        return [watched(call) for call in small_sweep()]

    monkeypatch.setattr(calibration, "sweep", counted)
    energy.calibrate(path, time_budget_s=1, meters=no_meter(tmp_path))
    assert len(made) == 9 and path.exists()


def test_samples_of_another_machine_or_damaged_ones_are_not_used(quick, tmp_path):
    path = tmp_path / "profile.json"
    for text in ("[", '{"key": "another", "samples": []}'):
        path.with_name("profile.json.samples").write_text(text)
        assert energy.calibrate(path, time_budget_s=0.5, meters=no_meter(tmp_path)).samples == 16


def slowed(sample: Sample) -> Sample:
    """On a machine whose products are slow where there are few rows or columns: no roofline."""
    one = sample.entries[0]
    share = one["rows"] / (one["rows"] + 40) * one["n"] / (one["n"] + 20)
    seconds = 3e-6 + one["macs"] * 1.5e-11 / share + one["weight_elements"] * 2e-10
    return Sample(sample.family, sample.name, sample.entries, seconds, False, None, 0.01)


def drawn_linear(count: int, seed: int, noise: float) -> list[Sample]:
    chance = random.Random(seed)
    found = []
    for place in range(count):
        rows, cols, n = (round(2 ** chance.uniform(4, 11)) for _ in range(3))
        made = slowed(Sample("drawn", str(place), [entry(rows, cols, n)], 0.0, False, None))
        seconds = made.seconds * (1 + noise * chance.gauss(0, 1))
        found.append(Sample("drawn", str(place), made.entries, seconds, False, None, 0.01))
    return found


def mean_error(profile: dict, samples: list[Sample]) -> float:
    loaded = jp.energy.load_profile(profile)
    errors = [abs(price_entry(one.entries[0], loaded, 1).latency_s / one.seconds - 1) for one in samples]
    return sum(errors) / len(errors)


def test_a_machine_that_is_no_roofline_is_predicted_on_unseen_shapes():
    seen, unseen = drawn_linear(300, 1, 0.03), drawn_linear(100, 2, 0.0)
    fitted = document()
    fit_time(fitted, seen, "a machine", "2026-01-01")
    roofline = mean_error(fitted, unseen)
    summary = fit_timing(fitted, seen, "a machine", "2026-01-01")
    assert mean_error(fitted, unseen) < 0.06 < roofline / 2
    told = summary.families["linear float32"]
    assert told["calls"] == 300 and told["mape"] < 0.09 and abs(told["bias"]) < 0.03
    assert "linear float32 " in str(summary)
    source = fitted["provenance"]["/timing/linear float32"]
    assert source["kind"] == "fitted" and "300 calls" in source["source"] and "a machine" in source["source"]
    profile = jp.energy.load_profile(fitted)
    assert json.loads(profile.to_json())["timing"] == json.loads(json.dumps(fitted["timing"]))
    text = profile_text(profile)
    assert "timing linear float32 seconds mac" in text and "timing linear float32 measured ratio at 300 shapes" in text
    assert "measured 0 at" not in text


def test_families_of_few_calls_have_no_timing():
    fitted = document()
    summary = fit_timing(fitted, drawn_linear(3, 1, 0.0), "a machine", "2026-01-01")
    assert summary.families == {} and fitted["timing"] == {}
    assert jp.energy.load_profile(fitted).name == "generic-cpu"


def test_shapes_are_the_same_at_every_run_and_of_bounded_size():
    first, again = list(shapes()), list(shapes())
    assert [one.name for one in first] == [one.name for one in again]
    assert [one.name for one in first] != [one.name for one in shapes(1)]
    assert 1000 < len(first) < 2500
    assert max(torch.Size(size).numel() for one in first for size in one.sizes) <= 22_000_000
    assert {one.dtype for one in first} == {torch.float32, torch.bfloat16}


def test_calls_take_turns_among_copies_of_a_layer(monkeypatch):
    shape = next(one for one in shapes() if one.name.startswith("linear"))
    made = calibration_sweep._of_shape(shape)
    turns = made.run
    assert len(turns._modules) > 1 or made.entries[0]["weight_elements"] > 2_000_000
    made.run()
    made.run()
    assert turns._results[0] is not None and turns._results[1] is not turns._results[0]


@pytest.mark.slow
def test_with_a_meter_joules_are_counted(quick, tmp_path):
    with live_powercap(tmp_path, {"intel-rapl:0": ("package-0", 40.0)}) as root:
        result = energy.calibrate(tmp_path / "p.json", time_budget_s=1, meters=no_meter(root))
    # Constant watts, whatever runs: static power explains all of it, unless the columns cannot be told apart, or this
    # emulation is too slow on a busy machine.
    reasons = ("cannot be told apart", "is 0 in every", "have no joules", "time budget")
    assert result.energy is not None or any(reason in result.why_no_energy for reason in reasons)
    if result.energy is not None:
        assert value(json.loads((tmp_path / "p.json").read_text()), "/static_w") == pytest.approx(40, rel=0.3)


def test_a_meter_too_slow_for_the_time_budget_says_so(quick, tmp_path):
    class Slow:
        available, why_none, window_s = True, "", 5.0

    result = energy.calibrate(tmp_path / "p.json", time_budget_s=1, meters=Slow())
    assert result.energy is None and "time budget" in result.why_no_energy


def test_the_sweep_covers_kernels_types_and_families():
    calls = sweep()
    assert len({call.name for call in calls}) == len(calls) > 1000
    assert {call.family for call in calls} == {"linear", "batch 1", "convolution 3x3", "convolution 1x1", RANDOM}
    kernels, dtypes = set(), set()
    for call in calls:
        if "64ch 28x28" in call.name or "256x256" in call.name:
            made = call.make()
            made.run()
            kernels |= {one["kernel"] for one in made.entries}
            dtypes |= {one["dtype"] for one in made.entries}
    assert kernels >= {"dense", "csr", "bsr-int8"} and dtypes >= {"float32", "bfloat16", "int8"}


def test_bad_arguments(quick, tmp_path, capsys):
    with pytest.raises(ValueError, match="time_budget_s: expected more than 0"):
        energy.calibrate(tmp_path / "p.json", time_budget_s=0)
    with pytest.raises(jp.ProfileError, match="base: expected a profile of kind 'cpu', got 'eyeriss-65nm'"):
        energy.calibrate(tmp_path / "p.json", base="eyeriss-65nm")
    with pytest.raises(ValueError, match="path: no folder"):
        energy.calibrate(tmp_path / "none" / "p.json")
    assert main(["calibrate", "--out", str(tmp_path / "p.json"), "--threads", "0"]) == 1
    assert "--threads: expected at least 1" in capsys.readouterr().err


def test_command(quick, tmp_path, capsys):
    path = str(tmp_path / "p.json")
    assert main(["calibrate", "--out", path, "--time-budget", "1", "--name", "here", "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["samples"] == 16 and "16/16 done" in captured.err
    assert energy.load_profile(path).name == "here"
