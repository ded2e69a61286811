"""Predicted against measured time of networks that the calibration has not seen: Markdown tables.

    python examples/benchmarks/time_prediction.py mine.json              # calibrates first without the file
    python examples/benchmarks/time_prediction.py mine.json --batches 1 4 16 --rounds 7

One core, one thread. Networks, batches and the calibration take turns, so that a drift of the machine hits all alike;
the median of the rounds counts, of the process's CPU time: on an idle machine the time that passes, on a busy one
without the others' share. ``roofline``: the same profile without its ``timing``.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from real_networks import NETWORKS, OPS, hold_still, parts_of, table

import jouleprune as jp
from jouleprune.bench.machine import describe
from jouleprune.estimate import price_entry
from jouleprune.record import record


def seconds_of(model: torch.nn.Module, x: torch.Tensor, repeats: int) -> float:
    model(x)  # what ran before has left other data in the caches
    begin = time.process_time()
    for _ in range(repeats):
        model(x)
    return (time.process_time() - begin) / repeats


def predicted(entries: list[dict[str, Any]], profile: jp.energy.Profile) -> Counter[str]:
    """Seconds by op."""
    seconds: Counter[str] = Counter()
    for entry in entries:
        op = entry["op"] if entry["op"] in OPS.values() else "other"
        seconds[op] += price_entry(entry, profile, 1).latency_s
    return seconds


def with_and_without_timing(path: Path) -> tuple[jp.energy.Profile, jp.energy.Profile]:
    profile = jp.energy.load_profile(path)
    document = json.loads(profile.to_json())
    for family in document.pop("timing"):
        del document["provenance"][f"/timing/{family}"]
    return profile, jp.energy.load_profile(document)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("profile", type=Path)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--time-budget", type=float, default=240.0)
    options = parser.parse_args()
    hold_still()
    print(describe(1, {}, "not measured here").line)
    with torch.inference_mode():
        made = [(name, make(), inputs) for name, (make, inputs) in NETWORKS.items()]
        cases = [(name, batch, model, inputs(batch)) for name, model, inputs in made for batch in options.batches]
        for _, _, model, x in cases:
            model(x)
        repeats = [max(1, math.ceil(0.03 / seconds_of(model, x, 1))) for _, _, model, x in cases]
        times: list[list[float]] = [[] for _ in cases]

        def round_of_all() -> None:
            for place, (_, _, model, x) in enumerate(cases):
                times[place].append(seconds_of(model, x, repeats[place]))

        def in_turn(done: int, calls: int, _: str) -> None:
            if done * options.rounds // calls > len(times[0]):
                round_of_all()

        if not options.profile.exists():
            print(jp.energy.calibrate(options.profile, progress=in_turn, time_budget_s=options.time_budget))
        while len(times[0]) < options.rounds:
            round_of_all()
        profile, roofline = with_and_without_timing(options.profile)
        rows, kinds = [], []
        for (name, batch, model, x), rounds in zip(cases, times, strict=True):
            entries = json.loads(record(model, x))["entries"]
            model_s, line_s = predicted(entries, profile), predicted(entries, roofline)
            median = statistics.median(rounds)
            errors = [f"{100 * (seconds.total() / median - 1):+.1f} %" for seconds in (model_s, line_s)]
            numbers = [f"{1e3 * value:.2f}" for value in (median, min(rounds), max(rounds), model_s.total())]
            rows.append([name, str(batch), *numbers, *errors])
            for op, measured_s in sorted(parts_of(model, x, 3).items(), key=lambda part: -part[1]):
                if measured_s > 0.01 * median:
                    shares = [f"{1e3 * seconds:.2f}" for seconds in (measured_s, model_s[op], line_s[op])]
                    kinds.append([name, str(batch), op, *shares, f"{100 * (model_s[op] / measured_s - 1):+.0f} %"])
    table(["network", "batch", "measured, ms", "least", "most", "predicted, ms", "error", "roofline's error"], rows)
    table(["network", "batch", "op", "measured, ms", "predicted, ms", "roofline, ms", "error"], kinds)


if __name__ == "__main__":
    main()
