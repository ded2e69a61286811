"""assert_saves: what holds passes, what does not hold says what was expected and found."""

from __future__ import annotations

import copy
import re
import time

import pytest
import torch
from live_powercap import live_powercap
from networks import lenet, mlp
from torch import nn

import jouleprune as jp
from jouleprune import savings


class Passes(nn.Module):
    """Takes so many seconds of the tests' clock."""

    def __init__(self, clock, seconds) -> None:
        super().__init__()
        self.clock, self.seconds = clock, seconds
        self.dropout = nn.Dropout()

    def forward(self, x):
        assert not self.training and not self.dropout.training and torch.is_inference_mode_enabled()
        self.clock.now += next(self.seconds)
        return x


class Clock:
    """Time that passes only where a network says so; ``stolen``: other programs have the core half of the time."""

    def __init__(self, stolen: bool = False) -> None:
        self.now, self.share = 0.0, 0.5 if stolen else 1.0

    def wall(self) -> float:
        return self.now

    def cpu(self) -> float:
        return self.now * self.share


def forever(*seconds):
    while True:
        yield from seconds


def pruned() -> tuple[nn.Module, nn.Module, torch.Tensor]:
    model, x = lenet()
    before = copy.deepcopy(model)
    pruner = jp.Pruner(model, x, energy="40%", profile="generic-cpu")
    pruner.prune_now()
    return before, jp.convert(model, x, plan=pruner.plan, force=True), x


def test_modelled_energy():
    before, after, x = pruned()
    old, new = (jp.estimate(model, x, profile="generic-cpu") for model in (before, after))
    saved = 1 - new.energy_j / old.energy_j
    found = jp.assert_saves(before, after, x, energy=saved, profile="generic-cpu")
    (claim,) = found.claims
    assert claim.held and claim.found == saved and claim.label == "modelled" and "modelled on generic-cpu" in str(found)
    with pytest.raises(AssertionError, match=r"NOT HELD: expected at least 99 % less, found [\d.]+ % less: .* mJ to"):
        jp.assert_saves(before, after, x, energy=0.99, profile="generic-cpu")
    with pytest.raises(AssertionError, match=r"found [\d.]+ % more"):
        jp.assert_saves(after, before, x, energy=0.0, profile="generic-cpu")


def test_a_mask_alone_saves_nothing_on_a_cpu():
    before, x = mlp()
    after, _ = mlp()
    with torch.no_grad():
        after[1].weight.masked_fill_(torch.rand_like(after[1].weight) < 0.9, 0.0)
    assert jp.assert_saves(before, after, x, energy=0, profile="generic-cpu").claims[0].found == 0
    with pytest.raises(AssertionError, match="found 0 % less"):
        jp.assert_saves(before, after, x, energy=0.001, profile="generic-cpu")


def test_modelled_latency():
    before, after, x = pruned()
    with pytest.raises(AssertionError, match=r"latency: NOT HELD: .* per pass, modelled on generic-cpu"):
        jp.assert_saves(before, after, x, latency=0.99, latency_by="modelled", profile="generic-cpu")
    with pytest.raises(ValueError, match="expected one with a speed"):
        jp.assert_saves(before, after, x, latency=0.1, latency_by="modelled", profile="horowitz-45nm")


def test_the_near_end_of_measured_time_decides():
    clock = Clock()
    noise = forever(*(8e-3 + 1e-3 * (step * 7 % 11) / 11 for step in range(11)))
    before, after = Passes(clock, forever(10e-3)), Passes(clock, noise)
    found = jp.assert_saves(before, after, torch.ones(1), latency=0.12, clock=clock).claims[0]
    median = 1 - (8e-3 + 1e-3 * 5 / 11) / 10e-3
    assert found.held and 0.12 <= found.found <= median
    with pytest.raises(AssertionError, match="near end of the 95 % interval"):
        jp.assert_saves(before, after, torch.ones(1), latency=median, clock=clock)
    assert before.training and after.dropout.training  # modes are as they were


def test_the_interval_holds_its_claim_as_often_as_it_says():
    """Two networks alike save nothing: a claim of any saving may hold by chance in about 2.5 % of the runs."""
    generator = torch.Generator().manual_seed(3)
    times = (10e-3 * (1 + 0.05 * float(torch.randn((), generator=generator))) for _ in iter(int, 1))
    clock, held = Clock(), 0
    for _ in range(300):
        ratio = savings.paired_latency(Passes(clock, times), Passes(clock, times), torch.ones(1), 41, 1e9, clock)
        held += ratio[0] > 1
    assert held <= 0.06 * 300


def test_disturbed_pairs_show_nothing():
    clock = Clock(stolen=True)
    before, after = Passes(clock, forever(10e-3)), Passes(clock, forever(1e-3))
    with pytest.raises(AssertionError, match="found nothing: other programs disturbed all but 0 of 41 pairs"):
        jp.assert_saves(before, after, torch.ones(1), latency=0.1, clock=clock)


def test_accuracy():
    accuracy = {"before": 0.97, "after": 0.96}
    found = jp.assert_saves("before", "after", accuracy_drop=0.01, evaluate=accuracy.get)
    assert found.claims[0].found == pytest.approx(0.01) and found.claims[0].label == "measured"
    with pytest.raises(AssertionError, match=r"expected a drop of at most 0\.009, found 0\.01: 0\.97 to 0\.96"):
        jp.assert_saves("before", "after", accuracy_drop=0.009, evaluate=accuracy.get)
    with pytest.raises(AssertionError):
        jp.assert_saves("before", "after", accuracy_drop=0.5, evaluate={"before": 0.9, "after": float("nan")}.get)


def test_all_claims_are_told_together():
    before, after, x = pruned()
    with pytest.raises(AssertionError) as error:
        jp.assert_saves(before, after, x, energy=0.3, accuracy_drop=-1.0, evaluate=lambda _: 1.0, profile="generic-cpu")
    assert len(re.findall(r"^energy: held|^accuracy: NOT HELD", str(error.value), re.MULTILINE)) == 2


def test_measured_energy(tmp_path, monkeypatch):
    from jouleprune.measurement import MeterCheck

    def pausing(seconds):
        return lambda _: time.sleep(seconds)

    with live_powercap(tmp_path, {"intel-rapl:0": ("package-0", 50.0)}) as root:
        meters = jp.energy.Meters(sysfs_root=root, proc_root=root, nvml_library="", zeusd_socket="")
        options = {"energy_by": "measured", "meters": meters, "max_s": 6.0, "check_s": 4.0}
        monkeypatch.setattr(savings, "check", lambda *_, **__: MeterCheck(True, (), {}, {}))
        found = jp.assert_saves(pausing(0.02), pausing(0.01), torch.ones(1), energy=0.3, **options).claims[0]
        assert found.label == "measured" and 0.3 <= found.found < 0.55 and "package" in found.sentence
        with pytest.raises(AssertionError, match="near ends of the 95 % intervals"):
            jp.assert_saves(pausing(0.02), pausing(0.01), torch.ones(1), energy=0.7, **options)
        monkeypatch.setattr(savings, "check", lambda *_, **__: MeterCheck(False, (), {}, {}))
        with pytest.raises(jp.MeterError, match="meters that pass their check"):
            jp.assert_saves(pausing(0.02), pausing(0.01), torch.ones(1), energy=0.3, **options)


def test_without_a_meter_no_joule_is_measured(tmp_path):
    meters = jp.energy.Meters(sysfs_root=tmp_path, proc_root=tmp_path, nvml_library="", zeusd_socket="")
    before, x = mlp()
    with pytest.raises(jp.MeterError, match=r"got none: .*powercap"):
        jp.assert_saves(before, before, x, energy=0.1, energy_by="measured", meters=meters)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "at least one of energy, latency and accuracy_drop"),
        ({"energy": 20, "profile": "generic-cpu"}, "energy: expected a share from 0 to below 1"),
        ({"latency": -0.1}, "latency: expected a share"),
        ({"energy": float("nan"), "profile": "generic-cpu"}, "energy: expected a share"),
        ({"energy": 0.2}, "profile: needed"),
        ({"energy": 0.2, "energy_by": "guessed"}, "energy_by: expected modelled or measured"),
        ({"latency": 0.2, "rounds": 3}, "rounds: expected a whole number of at least 12"),
        ({"accuracy_drop": 0.01}, "evaluate: a claim about accuracy needs a callable"),
        ({"accuracy_drop": float("inf"), "evaluate": float}, "accuracy_drop: expected a finite number"),
    ],
)
def test_bad_arguments_are_named(options, message):
    model, x = mlp()
    with pytest.raises(ValueError, match=message):
        jp.assert_saves(model, model, x, **options)


def test_inputs_are_needed_for_energy():
    model, _ = mlp()
    with pytest.raises(ValueError, match="example_inputs: needed"):
        jp.assert_saves(model, model, energy=0.2, profile="generic-cpu")
