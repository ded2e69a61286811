"""How much time is lost by choosing between dense and sparse kernels from a calibrated profile: Markdown tables.

    python examples/benchmarks/dispatch_regret.py mine.json

Layers: the convolutions and Linear layers of the networks of real_networks.py, each shape once, and random shapes that
the calibration has not drawn, pruned to 50, 80 and 90 %. Candidates: dense, csr. Chosen ``by the profile`` without a
clock, or ``by measured times`` as ``convert`` does (JOULEPRUNE_TUNE=off); both are compared with the faster one by
medians of another interleaved measurement. Regret: time of the chosen one over that of the best, less 1.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial

import torch
from real_networks import NETWORKS, hold_still, table
from torch import Tensor, nn

import jouleprune as jp
from jouleprune.bench.machine import describe
from jouleprune.calibration_shapes import shapes
from jouleprune.estimate import price_entry
from jouleprune.nn import SparseConv2d, SparseLinear
from jouleprune.race import race
from jouleprune.record import record

_SPARSITIES = (0.5, 0.8, 0.9)
_ROUNDS = 5
#: Random shapes of another seed than the calibration's.
_SEED, _UNSEEN = 7, 24


def layers(batch: int) -> Iterator[tuple[str, nn.Module, Tensor]]:
    """Each shape of the networks once."""
    for name, (make, inputs) in NETWORKS.items():
        seen: dict[str, tuple[nn.Module, Tensor]] = {}

        def watch(
            module: nn.Module, args: tuple[Tensor, ...], seen: dict[str, tuple[nn.Module, Tensor]] = seen
        ) -> None:
            seen[f"{module} {list(args[0].shape)}"] = (module, args[0].clone())

        model = make()
        for module in model.modules():
            if isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.groups == 1):
                module.register_forward_pre_hook(watch)
        model(inputs(batch))
        for module, x in seen.values():
            module._forward_pre_hooks.clear()
            yield name, plain(module), x


def plain(module: nn.Module) -> nn.Module:
    """Of torch's own class, which the networks' padded convolutions are not."""
    if isinstance(module, nn.Linear) or type(module) is nn.Conv2d:
        return module
    made = nn.Conv2d(
        module.in_channels, module.out_channels, module.kernel_size, module.stride, bias=module.bias is not None
    )
    made.load_state_dict({key: value for key, value in module.state_dict().items() if key in ("weight", "bias")})
    return made


def unseen() -> Iterator[tuple[str, nn.Module, Tensor]]:
    found = [shape for shape in shapes(_SEED) if shape.density and not shape.quantised]
    for shape in found[:_UNSEEN] if len(found) < 2 * _UNSEEN else found[:: len(found) // _UNSEEN]:
        yield "random shapes", shape.make(), torch.rand(shape.sizes[0])


def medians(calls: list[Callable[[], object]]) -> list[float]:
    """Seconds of each, in turn."""
    times: list[list[float]] = [[] for _ in calls]
    repeats = []
    for call in calls:
        call()
        begin = time.process_time()
        call()
        repeats.append(max(1, round(3e-3 / max(time.process_time() - begin, 1e-6))))
    for _ in range(_ROUNDS):
        for place, call in enumerate(calls):
            begin = time.process_time()
            for _ in range(repeats[place]):
                call()
            times[place].append((time.process_time() - begin) / repeats[place])
    return [statistics.median(each) for each in times]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("profile")
    parser.add_argument("--batch", type=int, default=1)
    options = parser.parse_args()
    os.environ["JOULEPRUNE_TUNE"] = "off"
    hold_still()
    profile = jp.energy.load_profile(options.profile)
    print(describe(1, {}, "not measured here").line)
    found: dict[tuple[str, float], list[tuple[float, float, bool]]] = {}
    with torch.no_grad():
        for source, layer, x in [*layers(options.batch), *unseen()]:
            for sparsity in _SPARSITIES:
                pruned = copy.deepcopy(layer).eval()
                kept = pruned.weight.numel() - int(sparsity * pruned.weight.numel())
                threshold = pruned.weight.abs().flatten().kthvalue(pruned.weight.numel() - kept + 1).values
                pruned.weight[pruned.weight.abs() < threshold] = 0
                sparse = (SparseLinear if isinstance(pruned, nn.Linear) else SparseConv2d).from_dense(pruned)
                model = nn.Sequential(pruned)
                prior = [
                    sum(price_entry(entry, profile, 1).latency_s for entry in json.loads(record(one, x))["entries"])
                    for one in (pruned, sparse)
                ]
                tuned = race(model, x, {"0": sparse}, None)["0"]
                times = medians([partial(pruned, x), partial(sparse, x)])
                regrets = [times[choice] / min(times) - 1 for choice in (prior[1] < prior[0], tuned.sparse_wins)]
                found.setdefault((source, sparsity), []).append((*regrets, times[1] < times[0]))
    rows = []
    for (source, sparsity), cases in [
        *found.items(),
        (("all", 0.0), [case for each in found.values() for case in each]),
    ]:
        means = [f"{100 * statistics.mean(case[i] for case in cases):.1f} %" for i in (0, 1)]
        worst = [f"{100 * max(case[i] for case in cases):.0f} %" for i in (0, 1)]
        share = f"{sum(case[2] for case in cases)} of {len(cases)}"
        rows.append(
            [source, f"{100 * sparsity:.0f} %" if sparsity else "", share, means[0], worst[0], means[1], worst[1]]
        )
    table(["layers of", "zeros", "csr is faster", "regret by the profile", "worst", "by measured times", "worst"], rows)


if __name__ == "__main__":
    main()
