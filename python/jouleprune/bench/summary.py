"""From samples to numbers: medians, quartiles, and the paired ratio of two candidates with its 95 % interval."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from .sampling import Sample

__all__ = ["Ratio", "Summary", "break_even", "geometric_mean", "paired_ratio", "summarise"]

#: Fewer kept samples than this give no number.
MIN_SAMPLES = 3
_RESAMPLES = 2000


@dataclass(frozen=True)
class Summary:
    """Seconds of one call over the kept samples; None where too few were kept."""

    median_s: float | None
    low_quartile_s: float | None
    high_quartile_s: float | None
    samples: int
    dropped: int


@dataclass(frozen=True)
class Ratio:
    """How many times faster than another candidate: median over the pairs of one round each, quartiles, and the
    bootstrap's 95 % interval of the median."""

    median: float
    low_quartile: float
    high_quartile: float
    low_95: float
    high_95: float
    pairs: int


def summarise(samples: Sequence[Sample]) -> Summary:
    """Median and quartiles of the wall seconds, without the samples during which somebody else had the core."""
    kept = [sample.wall_s for sample in samples if not sample.stolen]
    dropped = sum(sample.tries for sample in samples) - len(kept)
    if len(kept) < MIN_SAMPLES:
        return Summary(None, None, None, len(kept), dropped)
    low, middle, high = (float(value) for value in np.quantile(kept, (0.25, 0.5, 0.75)))
    return Summary(middle, low, high, len(kept), dropped)


def paired_ratio(base: Sequence[Sample], other: Sequence[Sample]) -> Ratio | None:
    """Speed of ``other`` over ``base``, round by round; a round counts when both samples are kept."""
    quotients = [
        a.wall_s / b.wall_s for a, b in zip(base, other, strict=True) if not a.stolen and not b.stolen and b.wall_s > 0
    ]
    if len(quotients) < MIN_SAMPLES:
        return None
    values = np.asarray(quotients)
    low, middle, high = (float(value) for value in np.quantile(values, (0.25, 0.5, 0.75)))
    drawn = np.random.default_rng(0).integers(0, len(values), size=(_RESAMPLES, len(values)))
    low_95, high_95 = (float(value) for value in np.quantile(np.median(values[drawn], axis=1), (0.025, 0.975)))
    return Ratio(middle, low, high, low_95, high_95, len(quotients))


def break_even(points: Iterable[tuple[float, float]]) -> tuple[float | None, str]:
    """The sparsity from which on sparse wins, and a sentence.

    Args:
        points: (sparsity, speed over dense), in any order.
    Returns:
        The last crossing of 1, interpolated on the ratio's logarithm; None where the measured range holds none.
    """
    line = sorted(points)
    if not line:
        return None, "not measured"
    if line[-1][1] < 1:
        return None, f"above {line[-1][0]:.0%}"
    losing = [index for index, (_, ratio) in enumerate(line) if ratio < 1]
    if not losing:
        return None, f"below {line[0][0]:.0%}"
    (left, low), (right, high) = line[losing[-1]], line[losing[-1] + 1]
    value = left + (right - left) * -math.log(low) / (math.log(high) - math.log(low))
    return value, f"{value:.0%}"


def geometric_mean(values: Sequence[float]) -> float:
    """Of positive numbers."""
    return math.exp(sum(math.log(value) for value in values) / len(values))
