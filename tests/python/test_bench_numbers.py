"""``jouleprune bench``: sampling and statistics on made-up clocks, break-even, masks, the guard."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from bench_tools import TINY, FakeClock

from jouleprune.bench import suites
from jouleprune.bench.candidate import Unavailable
from jouleprune.bench.guard import Expected, WrongResult, check
from jouleprune.bench.machine import pin
from jouleprune.bench.masks import KINDS, masked_weight, n_of_m
from jouleprune.bench.problem import Problem
from jouleprune.bench.sampling import CallSampler, Sample, interleave
from jouleprune.bench.summary import Summary, break_even, geometric_mean, paired_ratio, summarise


class Steady:
    """Takes the same time always; every ``steal_every``-th sample is disturbed."""

    def __init__(self, seconds: float, log: list[str], name: str, steal_every: int = 0) -> None:
        self.seconds, self.log, self.name, self.steal_every, self.taken = seconds, log, name, steal_every, 0

    def sample(self, repeats: int) -> Sample:
        self.log.append(self.name)
        self.taken += 1
        stolen = self.steal_every and self.taken % self.steal_every == 0
        return Sample(self.seconds * (2 if stolen else 1), self.seconds)


def test_the_order_rotates_and_everybody_gets_the_same_rounds():
    log: list[str] = []
    samplers = {name: Steady(1e-3, log, name) for name in "abc"}
    taken = interleave(samplers, 6)
    assert {name: len(samples) for name, samples in taken.items()} == {"a": 6, "b": 6, "c": 6}
    rounds = ["".join(log[-18:][start : start + 3]) for start in range(0, 18, 3)]
    assert rounds == ["abc", "bca", "cab"] * 2


def test_a_budget_shrinks_the_rounds_to_five_at_least():
    samplers = {"a": Steady(1.0, [], "a")}
    assert len(interleave(samplers, 100, budget_s=8.5)["a"]) == 8
    assert len(interleave(samplers, 100, budget_s=0.0)["a"]) == 5
    assert len(interleave(samplers, 3, budget_s=1e9)["a"]) == 3


def test_disturbed_samples_are_dropped_and_counted_and_taken_again():
    taken = interleave({"a": Steady(1e-3, [], "a", steal_every=3)}, 30)["a"]
    summary = summarise(taken)
    assert (summary.samples, summary.dropped) == (30, 15)
    assert summary.median_s == summary.low_quartile_s == summary.high_quartile_s == 1e-3
    never = summarise(interleave({"a": Steady(1e-3, [], "a", steal_every=1)}, 10)["a"])
    assert (never.median_s, never.samples, never.dropped) == (None, 0, 60)
    nothing = summarise([Sample(2.0, 1.0)] * 9)
    assert nothing == Summary(None, None, None, 0, 9)
    assert paired_ratio([Sample(2.0, 1.0)] * 9, [Sample(1.0, 1.0)] * 9) is None


def test_quartiles_and_interval_of_paired_ratios():
    base = [Sample(seconds, seconds) for seconds in (2.0, 4.0, 6.0, 8.0, 10.0)]
    same = paired_ratio(base, base)
    assert same is not None and (same.median, same.low_95, same.high_95, same.pairs) == (1.0, 1.0, 1.0, 5)
    found = paired_ratio(base, [Sample(1.0, 1.0)] * 5)
    assert found is not None
    assert (found.low_quartile, found.median, found.high_quartile) == (4.0, 6.0, 8.0)
    assert 2.0 <= found.low_95 < 6.0 < found.high_95 <= 10.0
    # A machine that slows down under both: the pairs do not notice.
    drift = [Sample(place, place) for place in range(1, 40)]
    half = paired_ratio(drift, [Sample(place / 2, place / 2) for place in range(1, 40)])
    assert half is not None and half.low_95 == half.high_95 == 2.0


def test_the_bootstrap_interval_covers_the_median():
    random, covered = np.random.default_rng(1), 0
    for _ in range(200):
        values = random.lognormal(0.0, 0.3, 25)
        ratio = paired_ratio([Sample(value, value) for value in values], [Sample(1.0, 1.0)] * 25)
        assert ratio is not None
        covered += ratio.low_95 <= 1.0 <= ratio.high_95
    assert 180 <= covered <= 200


def test_samplers_go_through_the_copies():
    clock, calls = FakeClock(), []
    sampler = CallSampler([lambda place=place: calls.append(place) for place in range(3)], clock)
    sampler.sample(2)
    sampler.sample(5)
    assert calls == [0, 1, 2, 0, 1, 2, 0]
    calls.clear()
    CallSampler([lambda: calls.append(0)], clock).sample(3)
    assert len(calls) == 4, "a warm candidate's first call is not timed"
    slow = CallSampler([lambda: clock.spend(1e-3, stolen=5e-3)], clock)
    sample = slow.sample(4)
    assert sample.stolen  # 1 ms for reading the clock, 4 times 6 ms of which 1 ms was ours
    assert (sample.wall_s, sample.cpu_s) == (pytest.approx(25e-3 / 4), pytest.approx(5e-3 / 4))


@pytest.mark.parametrize(
    "points, value, text",
    [
        ([(0.5, 0.5), (0.7, 2.0)], 0.6, "60%"),
        ([(0.7, 2.0), (0.5, 0.5)], 0.6, "60%"),
        ([(0.5, 1.2), (0.7, 2.0)], None, "below 50%"),
        ([(0.5, 0.2), (0.99, 0.9)], None, "above 99%"),
        ([(0.5, 1.1), (0.7, 0.5), (0.9, 2.0)], 0.8, "80%"),
        ([], None, "not measured"),
    ],
)
def test_break_even_is_interpolated(points, value, text):
    found, sentence = break_even(points)
    assert sentence == text
    assert found is None if value is None else found == pytest.approx(value)


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.7, 0.9, 0.99])
def test_masks_have_the_sparsity_that_was_asked_for(kind, sparsity):
    weight = masked_weight(kind, 40, 300, sparsity)
    assert weight.dtype == torch.float32 and weight.isfinite().all()
    assert float((weight == 0).float().mean()) == pytest.approx(sparsity, abs=0.011)
    assert torch.equal(weight, masked_weight(kind, 40, 300, sparsity))
    if sparsity:
        assert not torch.equal(weight, masked_weight(kind, 40, 300, sparsity, seed=1))


def test_masks_differ_as_they_say():
    density = lambda weight: (weight != 0).float().mean(1)  # noqa: E731
    even, skewed = (density(masked_weight(kind, 200, 500, 0.9)) for kind in ("random", "skewed"))
    assert skewed.std() > 5 * even.std() and skewed.mean() == pytest.approx(0.1, abs=0.01)
    columns = (masked_weight("sparsegpt", 500, 256, 0.5) != 0).float().mean(0)
    assert columns.std() > 3 * (masked_weight("random", 500, 256, 0.5) != 0).float().mean(0).std()
    for half in (columns[:128], columns[128:]):
        assert half.mean() == pytest.approx(0.5, abs=1e-4)
    groups = (masked_weight("nm", 16, 80, 0.7) != 0).view(16, 8, 10).sum(2)
    assert (groups == 3).all() and n_of_m(0.5) == (2, 4) and n_of_m(0.01) == (1, 100)
    blocks = (masked_weight("magnitude", 64, 64, 0.75, block=(16, 4)) != 0).view(4, 16, 16, 4).float()
    assert torch.equal(blocks.amax((1, 3)), blocks.amin((1, 3))) and blocks.mean() == 0.25
    with pytest.raises(ValueError, match="block 16x1 does not divide a weight of 40x8"):
        masked_weight("random", 40, 8, 0.5, block=(16, 1))


def test_the_guard_finds_one_missing_weight():
    problem = Problem(TINY, 0.5, "random", cache_bytes=0)
    expected = problem.expected()
    good = problem.layer(problem.x)
    assert check(good, expected, "float32") < 1e-6
    assert check(good.bfloat16().float(), expected, "bfloat16") < 1e-2
    with pytest.raises(WrongResult, match="element"):
        check(good.bfloat16().float(), expected, "float32")
    row, column = (int(index) for index in problem.layer.weight.nonzero()[7])
    problem.layer.weight[row, column] = 0
    with pytest.raises(WrongResult, match=r"expected .* got"):
        check(problem.layer(problem.x), expected, "float32")
    with pytest.raises(WrongResult, match="shape"):
        check(good[:2], expected, "float32")
    for arithmetic in ("float32", "int8"):
        with pytest.raises(WrongResult):
            check(good * float("nan"), expected, arithmetic)
    with pytest.raises(WrongResult, match=r"relative error: expected at most 0\.1"):
        check(good * 1.2, expected, "int8")
    empty = torch.zeros(0, 3, dtype=torch.float64)
    assert check(empty.float(), Expected(empty, empty, 3), "float32") == 0


def test_cold_copies_share_nothing_and_agree():
    case = suites.Case("batch1", "cold", suites.LinearShape(24, 20, 1), cold=True)
    problem = Problem(case, 0.5, "random", cache_bytes=4000)
    layers = list(problem.layers(1000))
    assert len(layers) == 9  # twice the cache, and one
    expected = problem.expected()
    with torch.no_grad():
        for place, layer in enumerate(layers):
            check(layer(problem.x).roll(-place, -1), expected, "float32")
    assert len({layer.weight.data_ptr() for layer in layers}) == 9
    assert not torch.equal(layers[0].weight, layers[1].weight)
    problem = Problem(case, 0.5, "random", cache_bytes=480 << 20)
    with pytest.raises(Unavailable, match="cold not possible: a last-level cache of 480 MB wants copies of 960 MB"):
        next(problem.layers(1000))


def test_pinning_and_means():
    assert len(pin(1, None)) == 1
    assert geometric_mean([2.0, 8.0]) == pytest.approx(4.0)


def test_the_peak_is_a_number_of_this_machine():
    from jouleprune import _C

    assert 1 < _C.peak_gflops(0.02) < 1e4
    assert isinstance(_C.generates_code(), bool)
