"""The peer's side of the pipe: answers requests until told to quit."""

from __future__ import annotations

import importlib
import os
import sys
import time
from collections.abc import Callable
from typing import IO, Any

import numpy as np

from . import ADAPTERS
from .layer import Adapter, Layer
from .wire import Arrays, receive, send

__all__ = ["main"]


def main(name: str, threads: int) -> None:
    """Serves the adapter ``name`` on stdin and stdout."""
    requests = sys.stdin.buffer
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the library prints must not fall between the messages
    try:
        module = importlib.import_module(f"{__package__}.{ADAPTERS[name]}")
        adapter: Adapter = module.make(threads)
    except Exception as error:  # not installed, or broken: said, whatever it is
        receive(requests)
        send(answers, {"error": f"{type(error).__name__}: {error}"})
        return
    serve(requests, answers, name, adapter)


def serve(requests: IO[bytes], answers: IO[bytes], name: str, adapter: Adapter) -> None:
    """One answer per request."""
    prepared: dict[int, _Rotation] = {}
    while True:
        try:
            request, arrays = receive(requests)
        except EOFError:
            return
        if request["ask"] == "quit":
            return
        try:
            answer, given = _answer(request, arrays, name, adapter, prepared)
        except Exception as error:  # a layer that the library cannot run is an answer too
            answer, given = {"error": f"{type(error).__name__}: {error}"}, {}
        send(answers, answer, given)


def _answer(
    request: dict[str, Any], arrays: Arrays, name: str, adapter: Adapter, prepared: dict[int, _Rotation]
) -> tuple[dict[str, Any], Arrays]:
    if request["ask"] == "hello":
        facts = {
            "name": name,
            "version": adapter.version,
            "keeps_zeros": adapter.keeps_zeros,
            "arithmetic": adapter.arithmetic,
        }
        return facts, {}
    if request["ask"] == "prepare":
        weight, bias, x = (np.array(arrays[key]) for key in ("weight", "bias", "x"))
        calls = [
            adapter.prepare(Layer(np.roll(weight, place, 0), np.roll(bias, place, 0), x, request["padding"]))
            for place in range(request["copies"])
        ]
        prepared[request["id"]] = _Rotation(calls)
        return {}, {"y": np.asarray(calls[0](), np.float32)}
    if request["ask"] == "sample":
        wall_s, cpu_s = prepared[request["id"]].sample(request["repeats"])
        return {"wall_s": wall_s, "cpu_s": cpu_s}, {}
    if request["ask"] == "drop":
        prepared.pop(request["id"], None)
        return {}, {}
    raise ValueError(f"ask: expected hello, prepare, sample, drop or quit, got {request['ask']!r}")


class _Rotation:
    """Times copies of a layer one after the other, going on where the last sample stopped; a single one after a call
    that is not timed (as ``sampling.CallSampler``)."""

    def __init__(self, calls: list[Callable[[], Any]]) -> None:
        self._calls, self._next = calls, 0

    def sample(self, repeats: int) -> tuple[float, float]:
        count = len(self._calls)
        turns = [self._calls[(self._next + turn) % count] for turn in range(repeats)]
        self._next = (self._next + repeats) % count
        if count == 1:
            self._calls[0]()
        wall, cpu = time.perf_counter(), time.process_time()
        for call in turns:
            call()
        return (time.perf_counter() - wall) / repeats, (time.process_time() - cpu) / repeats
