"""Takes samples of several candidates in turn, so that the machine's drift hits all of them alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from ..clock import STOLEN, Clock

__all__ = ["MIN_ROUNDS", "CallSampler", "Sample", "Sampler", "interleave"]

#: One sample covers at least this much work: the clock's step and the call's overhead (1-3 us) drown in it.
SAMPLE_S = 2e-3
#: Fewer rounds than this give no quartiles worth printing.
MIN_ROUNDS = 5
_WARM_UP_ROUNDS = 2
#: Of one round, before it gives up on a candidate.
_TRIES = 6


@dataclass(frozen=True)
class Sample:
    """Seconds of one call, the mean over a sample's calls; ``tries`` counts the stolen samples it replaces too."""

    wall_s: float
    cpu_s: float
    tries: int = 1

    @property
    def stolen(self) -> bool:
        """Whether another program ran in between: such a sample says nothing about the candidate."""
        return self.wall_s > STOLEN * self.cpu_s


class Sampler(Protocol):
    """Something that can be timed."""

    def sample(self, repeats: int) -> Sample:
        """Runs it ``repeats`` times."""


class CallSampler:
    """Times callables of this process.

    A single one is called once more before the clock starts, so that the caches hold what it left there itself, however
    long it runs. Several (copies of one layer, for cold caches) go on where the last sample stopped.
    """

    def __init__(self, calls: Sequence[Callable[[], object]], clock: Clock) -> None:
        self._calls, self._clock, self._next = list(calls), clock, 0

    def sample(self, repeats: int) -> Sample:
        count = len(self._calls)
        turns = [self._calls[(self._next + turn) % count] for turn in range(repeats)]
        self._next = (self._next + repeats) % count
        if count == 1:
            self._calls[0]()
        wall, cpu = self._clock.wall(), self._clock.cpu()
        for call in turns:
            call()
        return Sample((self._clock.wall() - wall) / repeats, (self._clock.cpu() - cpu) / repeats)


def interleave(
    samplers: Mapping[str, Sampler], rounds: int, *, budget_s: float | None = None
) -> dict[str, list[Sample]]:
    """Samples of every candidate, one a round; who begins rotates from round to round.

    Args:
        samplers: by name.
        rounds: samples of each. A stolen sample is taken again at once, so that its round still makes a pair.
        budget_s: wall seconds this may take: fewer rounds when they do not fit, but never under ``MIN_ROUNDS``.
    Returns:
        For every name as many samples as there were rounds, in the order of the rounds.
    """
    names = list(samplers)
    repeats, round_s = {}, 0.0
    for name in names:
        samplers[name].sample(1)
        samplers[name].sample(1)
        seconds = min(samplers[name].sample(1).wall_s for _ in range(_WARM_UP_ROUNDS))
        repeats[name] = max(1, round(SAMPLE_S / max(seconds, 1e-7)))
        round_s += repeats[name] * seconds
    if budget_s is not None:
        rounds = min(rounds, max(MIN_ROUNDS, int(budget_s / max(round_s, 1e-9))))
    taken: dict[str, list[Sample]] = {name: [] for name in names}
    _rounds(samplers, names, repeats, rounds, taken)
    return taken


def _rounds(
    samplers: Mapping[str, Sampler],
    names: Sequence[str],
    repeats: Mapping[str, int],
    rounds: int,
    taken: dict[str, list[Sample]],
) -> None:
    for turn in range(rounds):
        first = turn % len(names)
        for name in [*names[first:], *names[:first]]:
            taken[name].append(_undisturbed(samplers[name], repeats[name]))


def _undisturbed(sampler: Sampler, repeats: int) -> Sample:
    """A sample that nobody disturbed, or the last of ``_TRIES``."""
    sample = sampler.sample(repeats)
    tries = 1
    while sample.stolen and tries < _TRIES:
        sample = sampler.sample(repeats)
        tries += 1
    return replace(sample, tries=tries)
