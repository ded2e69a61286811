"""Pruning in rounds: ``iterative`` (prune, train, repeat) and ``prune_to_floor`` (as far as a metric allows)."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from ._by_layer import order_of
from ._plan_notes import quiet_about_emptied
from ._pruner_checks import check_callable, check_options
from .energy import Profile
from .plan import Plan
from .pruner import Pruner
from .schedule import Schedule, checked_schedule
from .selection import plain_module

__all__ = ["FloorResult", "Round", "iterative", "metric_of", "prune_to_floor"]

#: Trains the model; its second argument is called after each ``optimizer.step()`` and keeps pruned weights at zero.
Train = Callable[[torch.nn.Module, Callable[[], None]], None]
#: Higher is better.
Evaluate = Callable[[torch.nn.Module], float]


@dataclass(frozen=True)
class Round:
    """What one round came to; ``share`` of the removal is done, ``metric`` is None without ``evaluate``."""

    share: float
    energy_j: float
    metric: float | None


def iterative(
    model: torch.nn.Module,
    example_inputs: Any,
    *,
    energy: str | float,
    profile: Profile | str | Mapping[str, Any],
    train: Train,
    rounds: int | None = None,
    order: str | Sequence[str] = "all",
    schedule: Schedule | None = None,
    evaluate: Evaluate | None = None,
    stop: Callable[[Round], bool] | None = None,
    **options: Any,
) -> tuple[Pruner, list[Round]]:
    """Prunes ``model`` in place in rounds, all layers together or one after the other, with training after each.

    Args:
        energy, profile: the budget of the last round, as of :func:`jouleprune.plan`.
        train: ``train(model, keep)``; call ``keep()`` after each ``optimizer.step()``.
        order: "all": layers together. Or layer by layer: "energy" (the most joules first), "forward" (in the order of
            their calls) or a list of layers; each round prunes one layer more. How far each goes is decided on the
            dense network; which units go, by their importance at the time.
        rounds: how many (5); round i of n does the share (i + 1) / n of the removal, unless
        schedule: says otherwise; its steps are then the rounds, and its updates those in which masks change.
        evaluate: the metric of each round, higher is better.
        stop: called after each round; True ends the loop there, short of the budget.
        options: further arguments of :class:`jouleprune.Pruner`.
    Returns:
        The pruner, which holds the masks, and the rounds. Unless ``stop`` ended it, ``energy_j <= budget_j``.
    Raises:
        ValueError: ``rounds`` is no whole number of at least 1, or below the schedule's end; an order that lacks a
        layer which the budget prunes, or beside ``rounds`` or ``schedule``; ``train``, ``evaluate`` or ``stop`` cannot
        be called; others as of Pruner.
    """
    check_options("iterative", options, Pruner, ("plan",))
    check_callable("train", train, "(model, keep)")
    check_callable("evaluate", evaluate, "(model) -> metric", optional=True)
    check_callable("stop", stop, "(round) -> bool", optional=True)
    by_layer = not (isinstance(order, str) and order == "all")
    for name, value in (("rounds", rounds), ("schedule", schedule)):
        if by_layer and value is not None:
            raise ValueError(f"{name}: layer by layer there is a round for each layer: leave it out")
    rounds = 5 if rounds is None else rounds
    if isinstance(rounds, bool) or not isinstance(rounds, int) or rounds < 1:
        raise ValueError(f"rounds: expected a whole number of at least 1, got {rounds!r}")
    if schedule is not None and not checked_schedule(schedule).is_final(rounds - 1):
        raise ValueError(f"rounds: expected enough for the schedule to end, got {rounds}")
    pruner = Pruner(model, example_inputs, energy=energy, profile=profile, schedule=schedule, **options)
    done: list[Round] = []
    for share, prune in _by_layer(pruner, order) if by_layer else _together(pruner, rounds, schedule):
        prune()
        train(model, pruner.keep)
        pruner.keep()
        metric = None if evaluate is None else metric_of(evaluate(model))
        done.append(Round(share, pruner.energy_j, metric))
        if stop is not None and stop(done[-1]):
            break
    return pruner, done


#: The share of the removal that is done after the round, and what does it.
_Rounds = Iterator[tuple[float, Callable[[], object]]]


def _together(pruner: Pruner, rounds: int, schedule: Schedule | None) -> _Rounds:
    for number in range(rounds):
        share = (number + 1) / rounds if schedule is None else schedule.value(number)
        if schedule is None or schedule.updates_at(number):
            yield share, partial(pruner.prune_to, share)
        else:
            yield share, pruner.keep


def _by_layer(pruner: Pruner, order: str | Sequence[str]) -> _Rounds:
    like = pruner.look_ahead()
    weights = order_of(like, order)
    if not weights:  # the budget asks for nothing
        yield 1.0, pruner.prune_now
    for number in range(1, len(weights) + 1):
        yield number / len(weights), partial(pruner.prune_layers, weights[:number], like)


@dataclass(frozen=True)
class FloorResult:
    """Where :func:`prune_to_floor` ended. ``pruner`` holds the masks and is None where nothing could be pruned;
    ``metric`` is that of the model as it is left, ``trials`` are (joules asked for, metric) in their order."""

    pruner: Pruner | None = field(repr=False)
    plan: Plan | None = field(repr=False)
    dense_metric: float
    metric: float
    energy_j: float
    dense_j: float
    trials: tuple[tuple[float, float], ...]


def prune_to_floor(
    model: torch.nn.Module,
    example_inputs: Any,
    *,
    profile: Profile | str | Mapping[str, Any],
    evaluate: Evaluate,
    max_drop: float = 0.05,
    train: Train | None = None,
    tolerance: float = 0.01,
    **options: Any,
) -> FloorResult:
    """Prunes ``model`` in place to the least joules at which the metric drops by at most ``max_drop``.

    Bisects the budget between the least that can be reached and the dense energy; every trial starts from the weights
    that the model came with, and what does not hold is rolled back. A metric that is not monotonic in the budget may
    hold further down, too: the result is the least budget *that was tried and held*.

    Args:
        evaluate: the metric, higher is better; its value for the model as it comes is what the drop refers to.
        max_drop: in the metric's own unit: 0.05 is five points of an accuracy in [0, 1].
        train: as of :func:`iterative`; runs in each trial after pruning.
        tolerance: bisection ends when the budgets differ by this share of the dense energy.
        options: further arguments of :class:`jouleprune.Pruner`, without ``energy`` and ``schedule``.
    Raises:
        ValueError: ``max_drop``, ``tolerance`` or a metric that is no finite number; ``evaluate`` or ``train`` cannot
        be called; an option that is decided here; others as of Pruner.
    """
    check_options("prune_to_floor", options, Pruner, ("energy", "plan", "schedule"))
    check_callable("evaluate", evaluate, "(model) -> metric")
    check_callable("train", train, "(model, keep)", optional=True)
    for name, value in (("max_drop", max_drop), ("tolerance", tolerance)):
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise ValueError(f"{name}: expected a finite number of at least 0, got {value!r}")
    if tolerance <= 0:
        raise ValueError(f"tolerance: expected a number above 0, got {tolerance!r}")
    inner = plain_module(model)
    start = copy.deepcopy(inner.state_dict())
    dense_metric = _finite(evaluate(model))
    if options.get("prune_for", "joules") != "joules":
        raise ValueError(f"prune_for: expected 'joules', which are searched for, got {options['prune_for']!r}")
    probe = Pruner(model, example_inputs, energy="100%", profile=profile, **options)
    dense_j, low, high = probe.dense_j, probe.minimum_j, probe.dense_j
    best: tuple[Pruner, dict[str, Any], dict[str, Any], float] | None = None
    trials: list[tuple[float, float]] = []
    try:
        # The least budget first: where even that holds there is nothing to search for.
        asked = low
        while True:
            pruner = Pruner(model, example_inputs, energy=asked, profile=profile, **options)
            with quiet_about_emptied():  # whether the metric bears it is what the search is about
                pruner.prune_now()
            if train is not None:
                train(model, pruner.keep)
                pruner.keep()
            metric = _finite(evaluate(model))
            trials.append((asked, metric))
            held = metric >= dense_metric - max_drop
            if held:
                best, high = (pruner, pruner.state_dict(), copy.deepcopy(inner.state_dict()), metric), asked
            else:
                low = asked
            pruner.remove()
            inner.load_state_dict(start)
            if high <= low or high - low <= tolerance * dense_j:
                break
            asked = (low + high) / 2
            if asked in (low, high):  # neighbouring numbers: there is no budget between
                break
    except BaseException:
        inner.load_state_dict(start)
        raise
    if best is None:
        return FloorResult(None, None, dense_metric, dense_metric, dense_j, dense_j, tuple(trials))
    pruner, state, weights, metric = best
    inner.load_state_dict(weights)
    pruner.load_state_dict(state, restore_rng=False)
    return FloorResult(pruner, pruner.plan, dense_metric, metric, pruner.energy_j, dense_j, tuple(trials))


def metric_of(metric: Any) -> float:
    """What ``evaluate`` returned, as a number.

    Raises:
        ValueError: it is none.
    """
    try:
        return float(metric)
    except (TypeError, ValueError, RuntimeError) as error:  # RuntimeError: a tensor of several elements
        raise ValueError(f"evaluate: expected a number, got {metric!r}") from error


def _finite(metric: Any) -> float:
    value = metric_of(metric)
    if not math.isfinite(value):
        raise ValueError(f"evaluate: expected a finite metric, got {metric!r}")
    return value
