"""Dense against sparse on this machine, layer by layer: who runs faster on the shapes the model really sees?"""

from __future__ import annotations

import copy
import json
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from .record import record

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
    model: torch.nn.Module, example_inputs: Any, sparse: Mapping[str, torch.nn.Module], timer: Timer | None
) -> dict[str, Race]:
    """Times each layer's dense module and its sparse stand-in in turn, on random inputs of the recorded shapes."""
    shapes = _input_shapes(model, example_inputs, {weight.removesuffix(".weight") for weight in sparse})
    clock = _seconds if timer is None else timer
    results = {}
    with torch.no_grad():
        for weight, stand_in in sparse.items():
            layer = weight.removesuffix(".weight")
            dense = copy.deepcopy(model.get_submodule(layer)).eval()
            dense_s = sparse_s = 0.0
            for shape, dtype, device in shapes.get(layer, []):
                x = torch.rand(shape, dtype=torch.float32).to(device=device, dtype=dtype)
                pair = _interleaved(lambda x=x, m=dense: m(x), lambda x=x, m=stand_in: m(x), clock)  # type: ignore[misc]
                dense_s, sparse_s = dense_s + pair[0], sparse_s + pair[1]
            results[weight] = Race(dense_s, sparse_s, "measured")
    return results


def race_by_cost(model: torch.nn.Module, example_inputs: Any, sparse: Mapping[str, torch.nn.Module]) -> dict[str, Race]:
    """The same question answered by the cost entries of ``generic-cpu``, without a clock."""
    from .energy import load_profile
    from .estimate import price_entry

    profile = load_profile("generic-cpu")
    seconds = {weight: [0.0, 0.0] for weight in sparse}
    for entry in json.loads(record(model, example_inputs))["entries"]:
        if entry["weight"] in seconds:
            pair = seconds[entry["weight"]]
            pair[0] += price_entry(entry, profile, 1).latency_s
            pair[1] += price_entry(
                {**entry, "pattern": "unstructured", "layout": "csr", "kernel": "csr"}, profile, 1
            ).latency_s
    return {weight: Race(pair[0], pair[1], "modelled, generic-cpu") for weight, pair in seconds.items()}


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


def _input_shapes(
    model: torch.nn.Module, example_inputs: Any, layers: set[str]
) -> dict[str, list[tuple[torch.Size, torch.dtype, torch.device]]]:
    """Input shapes of each call of the named layers in one forward pass, which leaves no trace."""
    seen: dict[str, list[tuple[torch.Size, torch.dtype, torch.device]]] = {layer: [] for layer in layers}

    def watch(layer: str) -> Any:
        def hook(_: torch.nn.Module, args: tuple[Any, ...]) -> None:
            if args and isinstance(args[0], torch.Tensor):
                seen[layer].append((args[0].shape, args[0].dtype, args[0].device))

        return hook

    handles = [model.get_submodule(layer).register_forward_pre_hook(watch(layer)) for layer in layers]
    try:
        record(model, example_inputs)
    finally:
        for handle in handles:
            handle.remove()
    return seen
