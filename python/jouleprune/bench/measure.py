"""Measures all cells of a command: prepares the candidates, checks them, times them in turn."""

from __future__ import annotations

import fnmatch
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ..clock import Clock
from .candidate import Candidate, Unavailable
from .chain_problem import ChainProblem
from .guard import WrongResult, check
from .machine import Machine, cache_bytes
from .network_problem import NetworkProblem
from .options import Options
from .ours import NAME, choice, ours, why_not_offered
from .peer_client import Peer, PeerLayer
from .problem import Problem
from .results import Cell, Measured
from .rivals import rivals
from .sampling import CallSampler, Sample, Sampler, interleave
from .suites import Case, cases
from .summary import paired_ratio, summarise

__all__ = ["Bench"]


@dataclass
class _Ready:
    """A checked candidate that waits for its turn."""

    measured: Measured
    sampler: Sampler
    work: int
    arithmetic: str


class _OtherThreads:
    """Samples with another number of threads than the run's."""

    def __init__(self, sampler: Sampler, threads: int) -> None:
        self._sampler, self._threads = sampler, threads

    def sample(self, repeats: int) -> Sample:
        before = torch.get_num_threads()
        torch.set_num_threads(self._threads)
        try:
            return self._sampler.sample(repeats)
        finally:
            torch.set_num_threads(before)


class Bench:
    """One command's measurements.

    Attributes:
        absent: sentences about what was asked for and does not exist, once each.
    """

    def __init__(self, options: Options, machine: Machine, clock: Clock, peers: Sequence[Peer] = ()) -> None:
        self._options, self._machine, self._clock, self._peers = options, machine, clock, peers
        self._begun = time.monotonic()
        self.absent: list[str] = []

    def cells(self) -> list[Cell]:
        """Measures them all.

        Raises:
            ValueError: no case matches.
        """
        options = self._options
        chosen = [case for case in cases(options.suites) if fnmatch.fnmatchcase(case.name, options.case)]
        if not chosen:
            names = ", ".join(case.name for case in cases(options.suites))
            raise ValueError(f"--case: no case of the suites matches {options.case!r}; they are {names}")
        plan = [
            (run, case, sparsity)
            for run in range(options.runs)
            for case in chosen
            for sparsity in options.sparsities
            if case.layout != "nm" or sparsity == 0.5  # 2:4 has one sparsity
        ]
        found = []
        for place, (run, case, sparsity) in enumerate(plan):
            self._say(place, len(plan), f"{case.name} {sparsity:.0%}")
            with torch.set_grad_enabled(False):
                cell = self._cell(run, case, sparsity, len(plan) - place)
            if cell is not None:
                found.append(cell)
        return found

    def _cell(self, run: int, case: Case, sparsity: float, cells_left: int) -> Cell | None:
        options, started = self._options, time.monotonic()
        refused = why_not_offered(case)
        if refused:
            self._note(f"{case.suite}: {refused}")
            return None
        problem: Any
        if isinstance(case.shape, str):
            kind = ChainProblem if case.dtype == "int8" else NetworkProblem
            problem = kind(case, sparsity, options.mask, seed=options.seed)
            makers, zeros = problem.makers(), 1 - problem.kept / max(1, problem.weights)
        else:
            problem = Problem(case, sparsity, options.mask, cache_bytes=cache_bytes(), seed=options.seed)
            makers = choice(problem) if case.decide else [(NAME, ours), *rivals(problem)]
            zeros = 1 - problem.nnz / problem.layer.weight.numel()
        if not options.rivals:
            makers = [(name, make) for name, make in makers if name.startswith(NAME) or name == case.baseline]
        expected = problem.expected()
        ready: list[_Ready] = []
        results: list[Measured] = []
        for name, make in makers:
            measured, candidate = self._checked(name, make, problem, expected)
            if measured.status == "unavailable" and name == NAME:
                self._note(f"{case.name}: {measured.reason}")
                return None
            results.append(measured)
            if candidate is not None:
                ready.extend(self._ready(measured, candidate, results))
        layers = self._peer_layers(problem, expected, results, ready) if isinstance(problem, Problem) else []
        left = None
        if options.time_budget is not None:
            spent = time.monotonic() - started
            left = max(0.0, (options.time_budget - (started - self._begun)) / cells_left - spent)
        samples = interleave({entry.measured.name: entry.sampler for entry in ready}, options.rounds, budget_s=left)
        for layer in layers:
            layer.drop()
        self._summarise(ready, samples, case)
        return Cell(case.suite, case.name, sparsity, zeros, options.mask, run, case.baseline, results)

    def _checked(
        self, name: str, make: Callable[[Any], Candidate], problem: Any, expected: Any
    ) -> tuple[Measured, Candidate | None]:
        """Makes a candidate and compares every copy's result."""
        try:
            candidate = make(problem)
            error = 0.0
            for place, call in enumerate(candidate.calls):
                output = candidate.dense(call())
                error = max(error, check(output.roll(-place, -1), expected, candidate.arithmetic))
        except Unavailable as reason:
            return Measured(name, "unavailable", str(reason)), None
        except WrongResult as reason:
            return Measured(name, "wrong", str(reason)), None
        except (RuntimeError, ValueError, TypeError, NotImplementedError) as reason:
            return Measured(name, "failed", f"{type(reason).__name__}: {str(reason).splitlines()[0]}"), None
        return Measured(name, "measured", note=candidate.note, relative_error=error), candidate

    def _ready(self, measured: Measured, candidate: Candidate, results: list[Measured]) -> list[_Ready]:
        """The candidate, and with several threads jouleprune on one besides."""
        sampler = CallSampler(candidate.calls, self._clock)
        found = [_Ready(measured, sampler, candidate.multiply_adds, candidate.arithmetic)]
        if self._options.threads > 1 and candidate.name == NAME:
            alone = Measured(f"{NAME} 1 thread", "measured", relative_error=measured.relative_error)
            results.append(alone)
            found.append(_Ready(alone, _OtherThreads(sampler, 1), candidate.multiply_adds, candidate.arithmetic))
        return found

    def _peer_layers(
        self, problem: Problem, expected: Any, results: list[Measured], ready: list[_Ready]
    ) -> list[PeerLayer]:
        layers = []
        for peer in self._peers:
            try:
                layer = peer.prepare(problem)
                layers.append(layer)
                error = check(layer.output, expected, peer.arithmetic)
            except Unavailable as reason:
                results.append(Measured(peer.name, "unavailable", str(reason)))
            except WrongResult as reason:
                results.append(Measured(peer.name, "wrong", str(reason)))
            else:
                measured = Measured(peer.name, "measured", note=f"version {peer.version}", relative_error=error)
                results.append(measured)
                work = problem.dense_work if peer.keeps_zeros else problem.kept_work
                ready.append(_Ready(measured, layer, work, "float32"))
        return layers

    def _summarise(self, ready: list[_Ready], samples: dict[str, list[Sample]], case: Case) -> None:
        peaks = self._machine.peaks
        for entry in ready:
            measured, taken = entry.measured, samples[entry.measured.name]
            if isinstance(entry.sampler, PeerLayer) and entry.sampler.failed:
                measured.status, measured.reason = "failed", entry.sampler.failed
                continue
            measured.summary = summarise(taken)
            if measured.summary.median_s is None:
                measured.status = "noisy"
                measured.reason = f"another program had the core in {measured.summary.dropped} samples"
                continue
            if entry.work:
                measured.gflops = 2 * entry.work / measured.summary.median_s * 1e-9
                if peaks.get(entry.arithmetic):
                    measured.peak_share = measured.gflops / peaks[entry.arithmetic]
            for other in ready:
                against = other.measured.name
                if against != measured.name and (measured.name.startswith(NAME) or against == case.baseline):
                    ratio = paired_ratio(samples[against], taken)
                    if ratio is not None:
                        measured.speed[against] = ratio

    def _note(self, sentence: str) -> None:
        if sentence not in self.absent:
            self.absent.append(sentence)

    def _say(self, place: int, total: int, what: str) -> None:
        if not self._options.quiet:
            passed = time.monotonic() - self._begun
            print(f"[{place + 1}/{total}] {what} ({passed:.0f} s)", file=sys.stderr, flush=True)
