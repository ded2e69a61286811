"""``jouleprune bench`` from the command line's options to the printed report."""

from __future__ import annotations

import argparse
import contextlib
import json
import shlex
from collections.abc import Sequence

import torch

from ..clock import Clock, SystemClock
from .candidate import Unavailable
from .files import as_csv, write
from .goals import judge, load_goals
from .machine import Machine, describe, pin, restart
from .measure import Bench
from .options import Options, read
from .peak import METHOD, measure_peaks
from .peer_client import Peer
from .peers import ADAPTERS
from .plot import draw
from .results import Report
from .tables import markdown, text

__all__ = ["bench", "report_of"]


def bench(given: argparse.Namespace, arguments: Sequence[str]) -> tuple[str, int]:
    """Runs the command; returns what to print, and the exit code: 1 when a result was wrong or a goal was missed."""
    options = read(given)
    environment = {}
    if options.isa is not None:
        environment["JOULEPRUNE_ISA"] = options.isa
    if not options.jit:
        environment["JOULEPRUNE_JIT"] = "0"
    cores = pin(options.threads, options.cpu)
    if options.here:
        if environment:
            raise ValueError("--here: --isa and --no-jit need a restart")
    else:
        restart(arguments, environment, cores)
    report = report_of(options, shlex.join(["jouleprune", *arguments]))
    if options.csv is not None:
        write(options.csv, as_csv(report))
    if options.markdown is not None:
        write(options.markdown, markdown(report))
    if options.plot is not None:
        write(options.plot, draw(report))
    missed = any(verdict.reached is False for verdict in report.verdicts)
    printed = json.dumps(report.data(), indent=1) if options.json else text(report)
    return printed, 1 if missed or report.wrong() else 0


def report_of(options: Options, command: str = "", *, clock: Clock | None = None) -> Report:
    """Measures; the clock is the machine's unless given."""
    rows = load_goals(options.goals) if options.goals is not None else []
    before = torch.get_num_threads()
    torch.set_num_threads(options.threads)
    try:
        machine = describe(options.threads, measure_peaks(options.threads) if clock is None else {}, METHOD)
        report = _measured(options, command, machine, clock or SystemClock(options.threads))
    finally:
        torch.set_num_threads(before)
    if rows:
        report.verdicts = judge(report, rows, options.goals_for or machine.family)
    return report


def _measured(options: Options, command: str, machine: Machine, clock: Clock) -> Report:
    states = dict.fromkeys(ADAPTERS, "not installed: name its interpreter with --peer")
    with contextlib.ExitStack() as stack:
        peers = []
        for name, python in options.peers:
            try:
                peer = stack.enter_context(Peer(name, python, options.threads))
            except Unavailable as reason:
                states[name] = str(reason)
            else:
                peers.append(peer)
                states[name] = f"version {peer.version}"
        measurements = Bench(options, machine, clock, peers)
        cells = measurements.cells()
        return Report(machine, command, options.mask, cells, states, measurements.absent)
