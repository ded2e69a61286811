"""Schedules: the worked example, the formulas (the same numbers as tests/cpp/prune/test_pruner.cpp), and the Pruner."""

from __future__ import annotations

import pytest
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
