"""Dense against sparse on this machine, layer by layer: who runs faster on the shapes the model really sees?"""

from __future__ import annotations

import copy
import json
import statistics
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from .record import record
from .tuning import Tuning, tuned_call
from .untouched import has_no_data

__all__ = ["Race", "Timer", "race", "race_by_cost"]

#: Seconds of one call.
Timer = Callable[[Callable[[], object]], float]

#: Sparse must win by this much: below it the difference drowns in the noise of a shared machine.
_MARGIN = 1.03
_ROUNDS = 7
#: One sample covers at least this much work, so that the clock's step and the call's overhead do not decide.
_SAMPLE_S = 2e-4


@dataclass(frozen=True)
class Race:
    """Median seconds per forward pass of one layer, dense and sparse."""

    dense_s: float
    sparse_s: float
    label: str

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
    stand-ins by name of the module, all of them run by ``kernel``. What was measured before is looked up
    (``tuning.py``), unless a timer is given."""
    calls = _calls(model, example_inputs, set(sparse))
    clock = _seconds if timer is None else timer
    tuning = Tuning() if timer is None else None
    results = {}
    with torch.no_grad():
        for layer, stand_in in sparse.items():
            dense, sparse_one = copy.deepcopy(model.get_submodule(layer)).eval(), stand_in.eval()
            dense_s, sparse_s, label = 0.0, 0.0, "measured"
            for args, kwargs in calls[layer]:
                call = None if tuning is None else tuned_call(dense, args, kwargs, _density(dense))
                pair = _known(tuning, call, kernel)
                if pair is not None:
                    label = "measured before"
                else:
                    pair = _interleaved(partial(dense, *args, **kwargs), partial(sparse_one, *args, **kwargs), clock)
                    if tuning is not None:
                        tuning.put(call, "dense", pair[0])
                        tuning.put(call, kernel, pair[1])
                dense_s, sparse_s = dense_s + pair[0], sparse_s + pair[1]
            results[layer] = Race(dense_s, sparse_s, label)
    if tuning is not None:
        tuning.save()
    return results


def _density(dense: torch.nn.Module) -> float:
    weight = getattr(dense, "weight", None)
    return float((weight != 0).float().mean()) if isinstance(weight, torch.Tensor) and weight.numel() else 1.0


def _known(tuning: Tuning | None, call: str | None, kernel: str) -> tuple[float, float] | None:
    if tuning is None:
        return None
    dense_s, sparse_s = tuning.find(call, "dense"), tuning.find(call, kernel)
    return None if dense_s is None or sparse_s is None else (dense_s, sparse_s)


def race_by_cost(
    model: torch.nn.Module, example_inputs: Any, weights: Mapping[str, Collection[str]]
) -> dict[str, Race]:
    """The same question answered by the cost entries of ``generic-cpu``, without a clock. ``weights``: by name of the
    module, those that would run sparse."""
    from .energy import load_profile
    from .estimate import price_entry

    profile = load_profile("generic-cpu")
    module_of = {weight: module for module, names in weights.items() for weight in names}
    seconds = {module: [0.0, 0.0] for module in weights}
    for entry in json.loads(record(model, example_inputs))["entries"]:
        if entry["weight"] in module_of:
            pair = seconds[module_of[entry["weight"]]]
            pair[0] += price_entry(entry, profile, 1).latency_s
            pair[1] += price_entry(
                {**entry, "pattern": "unstructured", "layout": "csr", "kernel": "csr"}, profile, 1
            ).latency_s
    return {module: Race(pair[0], pair[1], "modelled, generic-cpu") for module, pair in seconds.items()}


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _interleaved(a: Callable[[], object], b: Callable[[], object], clock: Timer) -> tuple[float, float]:
    """Median seconds of each, taken in turn (A B A B ...) so that drift of the machine hits both alike."""
    for call in (a, b):
        call()
    repeats = max(1, min(200, round(_SAMPLE_S / max(clock(a), 1e-7))))

    def sample(call: Callable[[], object]) -> float:
        def many() -> None:
            for _ in range(repeats):
                call()

        return clock(many) / repeats

    pairs = [(sample(a), sample(b)) for _ in range(_ROUNDS)]
    return statistics.median(pair[0] for pair in pairs), statistics.median(pair[1] for pair in pairs)


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
