"""Schedules: the worked example, the formulas (the same numbers as tests/cpp/prune/test_pruner.cpp), and the Pruner."""

from __future__ import annotations

import copy

import pytest
import torch
from networks import mlp

import jouleprune as jp

SPAN = {"begin_step": 5, "end_step": 25}
SHARES = {
    "linear": (jp.LinearDecay(**SPAN, frequency=5), [0, 0, 0.25, 0.5, 0.75, 1, 1]),
    "linear from 0.2": (jp.LinearDecay(**SPAN, initial=0.2), [0.2, 0.2, 0.4, 0.6, 0.8, 1, 1]),
    "polynomial": (jp.PolynomialDecay(**SPAN, initial=0.2), [0.2, 0.2, 0.6625, 0.9, 0.9875, 1, 1]),
    "cosine": (jp.CosineDecay(**SPAN), [0, 0, 0.14644660940672627, 0.5, 0.8535533905932737, 1, 1]),
    "exponential": (
        jp.ExponentialDecay(**SPAN, rate=2),
        [0, 0, 0.45505423392341127, 0.7310585786300049, 0.8984636759084482, 1, 1],
    ),
    "equal parts": (jp.MultiStep(milestones=[5, 12, 25]), [0, 1 / 3, 1 / 3, 2 / 3, 2 / 3, 1, 1]),
    "parts": (jp.MultiStep(milestones=[5, 12, 25], values=[0.5, 0.9, 1]), [0, 0.5, 0.5, 0.9, 0.9, 1, 1]),
    "one shot": (jp.OneShot(begin_step=10), [0, 0, 1, 1]),
}


@pytest.mark.parametrize("schedule", SHARES)
def test_shares(schedule):
    instance, shares = SHARES[schedule]
    assert [instance.value(5 * place) for place in range(len(shares))] == pytest.approx(shares, rel=0, abs=1e-12)


def test_the_worked_example_from_0_to_a_fifth():
    """0.0 -> 0.2 over steps 1000..10000, power 3."""
    schedule = jp.PolynomialDecay(begin_step=1000, end_step=10000, frequency=100, initial=0.0, final=0.2)
    assert schedule.value(1000) == 0.0 and schedule.value(10000) == schedule.value(20000) == 0.2
    assert schedule.value(5500) == pytest.approx(0.2 * (1 - 0.5**3), rel=1e-12)
    assert schedule.updates_at(1100) and not schedule.updates_at(1101) and not schedule.updates_at(900)


@pytest.mark.parametrize("rate", [1e-20, 1e-300, 1e-8])
def test_a_small_rate_is_linear(rate):
    """The limit of (exp(-rate t) - exp(-rate)) / (1 - exp(-rate)) at rate 0 is 1 - t."""
    schedule = jp.ExponentialDecay(end_step=4, rate=rate)
    assert [schedule.value(step) for step in range(5)] == pytest.approx([0, 0.25, 0.5, 0.75, 1], abs=1e-8)


def test_a_large_rate_does_not_overflow():
    schedule = jp.ExponentialDecay(end_step=4, rate=1e300)
    assert [schedule.value(step) for step in range(5)] == [0, 1, 1, 1, 1]


def test_updates_and_ends():
    steps, cosine = jp.MultiStep(milestones=[3, 8]), jp.CosineDecay(begin_step=1, end_step=9, frequency=3)
    assert [step for step in range(12) if steps.updates_at(step)] == [3, 8]
    assert [step for step in range(12) if steps.is_final(step)] == [8, 9, 10, 11]
    assert [step for step in range(12) if cosine.updates_at(step)] == [1, 4, 7, 9]


@pytest.mark.parametrize(
    "schedule",
    [
        jp.LinearDecay(end_step=4),
        jp.CosineDecay(end_step=4, frequency=2),
        jp.ExponentialDecay(end_step=4),
        jp.MultiStep(milestones=[0, 2, 4]),
        jp.OneShot(),
    ],
    ids=lambda schedule: type(schedule).__name__,
)
def test_the_budget_holds_in_the_end(schedule):
    model, x = mlp()
    pruner = jp.Pruner(model, x, energy="30%", profile="eyeriss-65nm", schedule=schedule)
    joules = [pruner.energy_j]
    for step in range(6):
        pruner.step()
        joules.append(pruner.energy_j)
        wanted = pruner.budget_j + (pruner.dense_j - pruner.budget_j) * (1 - schedule.value(step))
        if schedule.updates_at(step):
            assert pruner.energy_j <= wanted * (1 + 1e-12)
    assert pruner.done and joules == sorted(joules, reverse=True)
    assert joules[-1] <= pruner.budget_j and (joules[-1] > 0.99 * pruner.budget_j or pruner.plan.maximal)


@pytest.mark.parametrize(
    ("match", "make"),
    [
        ("LinearDecay: end_step: expected a whole number >= 3", lambda: jp.LinearDecay(begin_step=3, end_step=2)),
        ("CosineDecay: frequency", lambda: jp.CosineDecay(end_step=2, frequency=0)),
        ("ExponentialDecay: rate: expected a finite number above 0", lambda: jp.ExponentialDecay(end_step=2, rate=0)),
        ("LinearDecay: initial: expected a share", lambda: jp.LinearDecay(end_step=2, initial=1.5)),
        ("LinearDecay: initial: expected at most final", lambda: jp.LinearDecay(end_step=2, initial=0.5, final=0.4)),
        ("MultiStep: milestones: expected at least one", lambda: jp.MultiStep(milestones=[])),
        ("MultiStep: milestones: expected a list, got 5", lambda: jp.MultiStep(milestones=5)),
        ("MultiStep: milestones: expected a whole number >= 4", lambda: jp.MultiStep(milestones=[3, 3])),
        (
            "MultiStep: values: expected one per milestone, 2, got 1",
            lambda: jp.MultiStep(milestones=[1, 2], values=[1]),
        ),
        (
            "MultiStep: values: expected shares that do not fall",
            lambda: jp.MultiStep(milestones=[1, 2], values=[1, 0.5]),
        ),
        ("MultiStep: values: expected a share", lambda: jp.MultiStep(milestones=[1], values=[2])),
    ],
)
def test_bad_schedules(match, make):
    with pytest.raises(ValueError, match=match):
        make()


def test_schedules_that_end_short_of_the_budget_are_refused():
    model, x = mlp()
    for schedule in (jp.MultiStep(milestones=[1], values=[0.5]), jp.CosineDecay(end_step=3, final=0.5)):
        with pytest.raises(ValueError, match=r"schedule: final: .* expected 1\.0, got 0\.5"):
            jp.Pruner(model, x, energy="30%", profile="eyeriss-65nm", schedule=schedule)


def test_milestones_may_be_generated():
    assert jp.MultiStep(milestones=(step for step in (1, 2))).is_final(2)


LOSSES = [1.0, 1.02, 1.2, 1.04, 0.9, 0.94, 0.95]
FOLLOWED = [0.2, 0.4, 0.2, 0.4, 0.6, 0.8, 0.6]  # bounds: 1.05 up to the fifth, then 0.945


def test_the_threshold_follows_the_loss_by_hand():
    losses = iter(LOSSES)
    schedule = jp.AdaptiveSchedule(lambda: next(losses), begin_step=2, end_step=16, frequency=2, stride=0.2)
    assert schedule.value(0) == schedule.value(1) == 0.0
    found = [schedule.value(step) for step in range(2, 16, 2) for _ in range(3)]  # asked once, however often it is read
    assert found == pytest.approx([share for share in FOLLOWED for _ in range(3)])
    assert schedule.value(15) == pytest.approx(0.6) and schedule.value(16) == 1.0
    assert [step for step in range(20) if schedule.updates_at(step)] == [2, 4, 6, 8, 10, 12, 14, 16]
    negative = iter([-1.0, -0.96, -0.9])  # of a loss below zero the bound is above it, too
    schedule = jp.AdaptiveSchedule(lambda: next(negative), end_step=9, stride=0.5)
    assert [schedule.value(step) for step in range(3)] == [0.5, 1.0, 0.5]


def test_joules_follow_the_loss_and_the_budget_holds_at_the_end():
    model, x = mlp()
    losses = iter(LOSSES)
    schedule = jp.AdaptiveSchedule(lambda: next(losses), end_step=7, stride=0.2)
    pruner = jp.Pruner(model, x, energy="20%", profile="eyeriss-65nm", schedule=schedule)
    for share in FOLLOWED:
        with torch.no_grad():  # training moves what came back
            for parameter in model.parameters():
                parameter.add_(1e-3 * torch.randn_like(parameter))
        pruner.step()
        target = pruner.budget_j + (pruner.dense_j - pruner.budget_j) * (1 - share)
        assert 0.99 * target <= pruner.energy_j <= target and not pruner.done
    pruner.step()
    assert pruner.done and pruner.energy_j <= pruner.budget_j


def test_an_adaptive_schedule_goes_on_after_a_restart():
    first = jp.AdaptiveSchedule(iter(LOSSES).__next__, end_step=7, stride=0.2)
    for step in range(4):
        first.value(step)
    second = jp.AdaptiveSchedule(iter(LOSSES[4:]).__next__, end_step=7, stride=0.2)
    second.load_state_dict(first.state_dict())
    assert [second.value(step) for step in range(3, 7)] == pytest.approx(FOLLOWED[3:])
    for state in (3, {}, {**first.state_dict(), "schema": 2}, {**first.state_dict(), "share": 1.5}):
        with pytest.raises(ValueError, match="expected share, lowest and asked of schema 1"):
            second.load_state_dict(state)


def test_a_pruners_state_holds_where_its_adaptive_schedule_stands():
    def pruner_of(losses):
        model, x = mlp()
        schedule = jp.AdaptiveSchedule(iter(losses).__next__, end_step=7, stride=0.2)
        return jp.Pruner(model, x, energy="30%", profile="eyeriss-65nm", schedule=schedule), schedule

    whole, _ = pruner_of(LOSSES)
    for _ in range(3):
        whole.step()
    state = copy.deepcopy(whole.state_dict())
    resumed, schedule = pruner_of(LOSSES[3:])
    resumed.load_state_dict(state)
    twin = copy.deepcopy(resumed)  # shares the loss, not the share
    for _ in range(3):
        whole.step(), resumed.step()
        assert resumed.energy_j == whole.energy_j
    assert whole.state_dict()["adaptive"] == resumed.state_dict()["adaptive"] == schedule.state_dict()
    assert twin.state_dict()["adaptive"] == state["adaptive"] != schedule.state_dict()
    with pytest.raises(ValueError, match="expected share, lowest and asked of schema 1"):
        resumed.load_state_dict({**state, "adaptive": {"share": 2}})
    without = {name: value for name, value in state.items() if name != "adaptive"}
    with pytest.raises(ValueError, match=r"Pruner\.load_state_dict: adaptive: missing"):
        resumed.load_state_dict(without)
    assert resumed.state_dict()["step"] == 6
    whole.prune_now()
    resumed.load_state_dict({name: value for name, value in whole.state_dict().items() if name != "adaptive"})
    assert resumed.done  # as C++ writes it


def test_a_schedule_that_has_begun_serves_no_other_pruner():
    model, x = mlp()
    schedule = jp.AdaptiveSchedule(lambda: 1.0, end_step=7)
    options = {"energy": "30%", "profile": "eyeriss-65nm", "schedule": schedule}
    jp.Pruner(model, x, **options)
    pruner = jp.Pruner(model, x, **options)  # nothing has begun
    pruner.step()
    with pytest.raises(ValueError, match="schedule: this AdaptiveSchedule has begun with another Pruner"):
        jp.Pruner(*mlp(), **options)


@pytest.mark.parametrize(
    ("match", "options"),
    [
        ("loss: expected a callable", {"loss": 3}),
        ("end_step: expected a whole number >= 4", {"end_step": 3, "begin_step": 4}),
        ("frequency: expected", {"frequency": 0}),
        ("stride: expected a share in", {"stride": 2}),
        ("stride: expected a share above 0", {"stride": 0}),
        ("tolerance: expected a finite number", {"tolerance": float("inf")}),
    ],
)
def test_bad_adaptive_schedules(match, options):
    arguments = {"loss": lambda: 1.0, "end_step": 9, **options}
    with pytest.raises(ValueError, match=match):
        jp.AdaptiveSchedule(arguments.pop("loss"), **arguments)


@pytest.mark.parametrize(
    "loss", [float("nan"), float("inf"), "a", "1", None, torch.ones(2), 10**400], ids=lambda loss: repr(loss)[:9]
)
def test_a_broken_loss_is_named(loss):
    with pytest.raises(ValueError, match="loss: expected a finite number"):
        jp.AdaptiveSchedule(lambda: loss, end_step=9).value(0)
