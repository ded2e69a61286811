"""Dense against sparse on this machine, layer by layer: who runs faster on the shapes the model really sees?"""

from __future__ import annotations

import copy
import math
import statistics
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from .clock import STOLEN, SystemClock
from .record import record
from .tuning import Tuning, tuned_call
from .untouched import has_no_data

__all__ = ["Race", "Timer", "race", "race_by_cost"]

#: Seconds of one call.
Timer = Callable[[Callable[[], object]], float]

#: Sparse must win by this much: below it the difference drowns in the noise of a shared machine.
_MARGIN = 1.03
_ROUNDS = 7
#: On a busy machine: disturbed rounds are taken again, up to so many in all.
_MOST_ROUNDS = 3 * _ROUNDS
#: Undisturbed rounds, for times that are worth keeping.
_ENOUGH = 3
#: Beside STOLEN: times above this share of the least were disturbed in a way that no clock shows.
_ALIKE = 1.25
#: After a disturbed round with several threads, which else may go on waiting for each other: those that have slept get
#: their cores first, all at once.
_PAUSE_S = 5e-3
#: One sample covers at least this much work, so that the clock's step and the call's overhead do not decide.
_SAMPLE_S = 2e-4

_MEASURED, _NOISY, _BEFORE = "measured", "measured, noisy", "measured before"
#: What is said of several calls: the first of these that is true of one.
_LABELS = (_NOISY, _BEFORE, _MEASURED)


@dataclass(frozen=True)
class Race:
    """Seconds per forward pass of one layer, dense and sparse."""

    dense_s: float
    sparse_s: float
    label: str

    @property
    def noisy(self) -> bool:
        """Whether other programs were in between, whatever was tried."""
        return self.label == _NOISY

    @property
    def sparse_wins(self) -> bool:
        return self.sparse_s * _MARGIN < self.dense_s

    @property
    def sentence(self) -> str:
        return f"csr {self.sparse_s * 1e6:.1f} us, dense {self.dense_s * 1e6:.1f} us per pass ({self.label})"


def race(
    model: torch.nn.Module,
    example_inputs: Any,
    sparse: Mapping[str, torch.nn.Module],
    timer: Timer | None,
    kernel: str = "csr",
) -> dict[str, Race]:
    """Times each module against its sparse stand-in in turn, on random inputs of the recorded shapes. ``sparse``: the
    stand-ins by name of the module, all of them run by ``kernel``. Without a timer, what was measured before is looked
    up (``tuning.py``), and what was not is kept unless it is noisy."""
    calls = _calls(model, example_inputs, set(sparse))
    tuning = Tuning() if timer is None else None
    results = {}
    with torch.no_grad():
        for layer, stand_in in sparse.items():
            dense, sparse_one = copy.deepcopy(model.get_submodule(layer)).eval(), stand_in.eval()
            dense_s, sparse_s, labels = 0.0, 0.0, {_MEASURED}
            for args, kwargs in calls[layer]:
                call = None if tuning is None else tuned_call(dense, args, kwargs, _density(dense))
                both = partial(dense, *args, **kwargs), partial(sparse_one, *args, **kwargs)
                timed = _known(tuning, call, kernel)
                if timed is None:
                    timed = _undisturbed(*both) if timer is None else _by_timer(*both, timer)
                    if tuning is not None and not timed.noisy:  # wrong times would decide for good
                        tuning.put(call, "dense", timed.dense_s)
                        tuning.put(call, kernel, timed.sparse_s)
                dense_s, sparse_s = dense_s + timed.dense_s, sparse_s + timed.sparse_s
                labels.add(timed.label)
            results[layer] = Race(dense_s, sparse_s, next(label for label in _LABELS if label in labels))
    if tuning is not None:
        tuning.save()
    return results


def _density(dense: torch.nn.Module) -> float:
    weight = getattr(dense, "weight", None)
    return float((weight != 0).float().mean()) if isinstance(weight, torch.Tensor) and weight.numel() else 1.0


def _known(tuning: Tuning | None, call: str | None, kernel: str) -> Race | None:
    if tuning is None:
        return None
    dense_s, sparse_s = tuning.find(call, "dense"), tuning.find(call, kernel)
    return None if dense_s is None or sparse_s is None else Race(dense_s, sparse_s, _BEFORE)


def race_by_cost(entries: Sequence[Mapping[str, Any]], weights: Mapping[str, Collection[str]]) -> dict[str, Race]:
    """The same question answered by the cost entries of ``generic-cpu``, without a clock.

    Args:
        entries: the recorded calls of the dense model.
        weights: by name of the module, those that would run sparse.
    """
    from .energy import load_profile
    from .estimate import price_entry

    profile = load_profile("generic-cpu")
    module_of = {weight: module for module, names in weights.items() for weight in names}
    seconds = {module: [0.0, 0.0] for module in weights}
    for entry in entries:
        if entry["weight"] in module_of:
            pair = seconds[module_of[entry["weight"]]]
            pair[0] += price_entry(entry, profile, 1).latency_s
            pair[1] += price_entry(
                {**entry, "pattern": "unstructured", "layout": "csr", "kernel": "csr"}, profile, 1
            ).latency_s
    return {module: Race(pair[0], pair[1], "modelled, generic-cpu") for module, pair in seconds.items()}


@dataclass(frozen=True)
class _Sample:
    """Seconds that passed, and those during which the work really ran."""

    wall_s: float
    cpu_s: float

    def undisturbed(self, least_s: float) -> bool:
        return self.wall_s <= STOLEN * self.cpu_s and self.wall_s <= _ALIKE * least_s


def _sample(work: Callable[[], object]) -> _Sample:
    """By the machine's clocks."""
    clock = SystemClock(torch.get_num_threads())
    cpu_begin, begin = clock.cpu(), clock.wall()
    work()
    end = clock.wall()
    return _Sample(end - begin, clock.cpu() - cpu_begin)


def _undisturbed(dense: Callable[[], object], sparse: Callable[[], object]) -> Race:
    """Both in turn (A B A B ...), so that drift of the machine hits both alike, until enough rounds were undisturbed.
    Whatever disturbs a sample only ever adds to it: the least times are taken."""
    for call in (dense, sparse):
        call()
    once_s = min(_sample(dense).wall_s for _ in range(3))
    rounds: list[tuple[_Sample, _Sample]] = []
    dense_s, sparse_s, quiet = math.inf, math.inf, 0
    while len(rounds) < _MOST_ROUNDS and quiet < _ROUNDS:
        repeats = _repeats(min(once_s, dense_s))  # anew: what came before may have been disturbed
        rounds.append((_mean(dense, repeats), _mean(sparse, repeats)))
        dense_s, sparse_s = (min(sample.wall_s for sample in samples) for samples in zip(*rounds, strict=True))
        undisturbed = [one.undisturbed(dense_s) and other.undisturbed(sparse_s) for one, other in rounds]
        quiet = sum(undisturbed)
        if not undisturbed[-1] and torch.get_num_threads() > 1:
            time.sleep(_PAUSE_S)
    return Race(dense_s, sparse_s, _MEASURED if quiet >= _ENOUGH else _NOISY)


def _mean(call: Callable[[], object], repeats: int) -> _Sample:
    """Of one of several calls in a row; one before them wakes the threads."""
    call()
    sample = _sample(_repeated(call, repeats))
    return _Sample(sample.wall_s / repeats, sample.cpu_s / repeats)


def _by_timer(dense: Callable[[], object], sparse: Callable[[], object], timer: Timer) -> Race:
    """By the user's own timer, which may be no clock at all: medians, in turn."""
    for call in (dense, sparse):
        call()
    repeats = _repeats(timer(dense))
    pairs = [(timer(_repeated(dense, repeats)), timer(_repeated(sparse, repeats))) for _ in range(_ROUNDS)]
    dense_s, sparse_s = (statistics.median(times) / repeats for times in zip(*pairs, strict=True))
    return Race(dense_s, sparse_s, _MEASURED)


def _repeats(seconds: float) -> int:
    """How often a sample repeats what takes so long once."""
    return max(1, min(200, round(_SAMPLE_S / max(seconds, 1e-7))))


def _repeated(call: Callable[[], object], repeats: int) -> Callable[[], None]:
    def many() -> None:
        for _ in range(repeats):
            call()

    return many


_Call = tuple[tuple[Any, ...], dict[str, Any]]


def _calls(model: torch.nn.Module, example_inputs: Any, layers: set[str]) -> dict[str, list[_Call]]:
    """Arguments like those of each call of the named modules in one forward pass, which leaves no trace."""
    seen: dict[str, list[_Call]] = {layer: [] for layer in layers}

    def watch(layer: str) -> Any:
        def hook(_: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            alike: dict[int, Any] = {}  # self-attention passes one tensor three times
            seen[layer].append((_random_like(args, alike), _random_like(kwargs, alike)))

        return hook

    handles = [model.get_submodule(layer).register_forward_pre_hook(watch(layer), with_kwargs=True) for layer in layers]
    try:
        record(model, example_inputs)
    finally:
        for handle in handles:
            handle.remove()
    return seen


def _random_like(value: Any, seen: dict[int, Any]) -> Any:
    """Nested arguments with random numbers in place of floating-point ones; masks of bools and lengths stay."""
    if id(value) in seen:
        return seen[id(value)]
    result = value
    if isinstance(value, torch.Tensor):
        unknown = has_no_data(value)
        if value.is_floating_point() and (unknown or not bool(value.isinf().any())):  # -inf is a mask
            result = torch.rand(value.shape, dtype=torch.float32).to(device=value.device, dtype=value.dtype)
        else:
            result = torch.zeros(value.shape, dtype=value.dtype, device=value.device) if unknown else value.clone()
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        result = type(value)(*(_random_like(item, seen) for item in value))
    elif isinstance(value, tuple | list):
        result = type(value)(_random_like(item, seen) for item in value)
    elif isinstance(value, dict):
        result = {key: _random_like(item, seen) for key, item in value.items()}
    seen[id(value)] = result
    return result
