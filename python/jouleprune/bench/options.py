"""The command line of ``jouleprune bench``, checked."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .masks import KINDS
from .peers import ADAPTERS
from .suites import SUITES

__all__ = ["Options", "add_arguments", "read"]

_SPARSITIES = "50,70,80,90,95,99"
_DEFAULT_SUITES = "linear,conv1x1,conv3x3,conv7,batch1"
_ISAS = ("reference", "portable", "avx2", "avx512")


@dataclass(frozen=True)
class Options:
    """What to measure, how long, and where the results go."""

    suites: tuple[str, ...]
    case: str = "*"
    sparsities: tuple[float, ...] = (0.5, 0.7, 0.8, 0.9, 0.95, 0.99)
    mask: str = "random"
    threads: int = 1
    rounds: int = 25
    runs: int = 1
    time_budget: float | None = None
    isa: str | None = None
    jit: bool = True
    rivals: bool = True
    peers: tuple[tuple[str, str], ...] = ()
    goals: Path | None = None
    goals_for: str | None = None
    csv: Path | None = None
    plot: Path | None = None
    markdown: Path | None = None
    json: bool = False
    cpu: int | None = None
    here: bool = False
    quiet: bool = False
    seed: int = 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options; ``read`` checks them."""
    what = parser.add_argument_group("what")
    suites = "; ".join(f"{name}: {text}" for name, text in SUITES.items())
    what.add_argument(
        "--suite", default=_DEFAULT_SUITES, metavar="A,B", help=f"or 'all' (default: %(default)s). {suites}"
    )
    what.add_argument("--case", default="*", metavar="PATTERN", help="only cases whose name matches, as 'linear 768x*'")
    what.add_argument(
        "--sparsity", default=_SPARSITIES, metavar="50,90", help="percent of zeros (default: %(default)s)"
    )
    kinds = "; ".join(f"{name}: {text}" for name, text in KINDS.items())
    what.add_argument("--mask", default="random", metavar="KIND", help=f"(default: random) {kinds}")
    what.add_argument(
        "--isa", metavar="NAME", help=f"kernels of jouleprune: {', '.join(_ISAS)} (default: the best here)"
    )
    what.add_argument("--no-jit", action="store_true", help="no generated code")
    what.add_argument("--no-rivals", action="store_true", help="only jouleprune and the baseline")
    what.add_argument(
        "--peer",
        action="append",
        default=[],
        metavar="NAME=PYTHON",
        help=f"a peer and the interpreter that has it installed; names: {', '.join(ADAPTERS)}; repeat for several",
    )
    how = parser.add_argument_group("how")
    how.add_argument("--threads", type=int, default=1, metavar="N", help="above 1: also the speed over one thread")
    how.add_argument("--rounds", type=int, default=25, metavar="N", help="samples of each candidate (default: 25)")
    how.add_argument("--runs", type=int, default=1, metavar="N", help="whole repetitions; goals take their median")
    how.add_argument("--time-budget", type=float, metavar="SECONDS", help="shrinks the rounds, to 5 at least")
    how.add_argument("--cpu", type=int, metavar="N", help="first core to run on (default: the last ones)")
    how.add_argument("--here", action="store_true", help="no restart: not pinned, malloc as it is")
    how.add_argument("--seed", type=int, default=0, metavar="N", help="of weights and masks")
    how.add_argument("--quiet", action="store_true", help="no progress on stderr")
    out = parser.add_argument_group("results")
    out.add_argument("--json", action="store_true", help="JSON on stdout instead of tables")
    out.add_argument("--csv", type=Path, metavar="FILE")
    out.add_argument("--markdown", type=Path, metavar="FILE")
    out.add_argument("--plot", type=Path, metavar="FILE.svg", help="needs matplotlib: pip install jouleprune[report]")
    out.add_argument("--goals", type=Path, metavar="FILE.json", help="say of each row whether it is reached")
    out.add_argument("--goals-for", metavar="CPU", help="column of the goals file (default: this machine's)")


def read(given: argparse.Namespace) -> Options:
    """The options of a parsed command line.

    Raises:
        ValueError: names the option, what was expected and what came.
        ImportError: ``--plot`` without matplotlib: better now than after an hour of measuring.
    """
    suites = tuple(SUITES) if given.suite == "all" else _listed(given.suite)
    for suite in suites:
        _one_of("--suite", suite, ("all", *SUITES))
    _one_of("--mask", given.mask, tuple(KINDS))
    if given.isa is not None:
        _one_of("--isa", given.isa, _ISAS)
    for name, least in (("threads", 1), ("rounds", 1), ("runs", 1)):
        if getattr(given, name) < least:
            raise ValueError(f"--{name}: expected at least {least}, got {getattr(given, name)}")
    if given.time_budget is not None and not given.time_budget > 0:
        raise ValueError(f"--time-budget: expected seconds above 0, got {given.time_budget}")
    if given.plot is not None:
        from .plot import check_plot

        check_plot(given.plot)
    if given.goals is not None and not given.goals.is_file():
        raise ValueError(f"--goals: no file {given.goals}")
    for name in ("csv", "markdown", "plot"):
        path = getattr(given, name)
        if path is not None and not path.absolute().parent.is_dir():
            raise ValueError(f"--{name}: no folder {path.absolute().parent}")
    return Options(
        suites=suites,
        case=given.case,
        sparsities=_percents(given.sparsity),
        mask=given.mask,
        threads=given.threads,
        rounds=given.rounds,
        runs=given.runs,
        time_budget=given.time_budget,
        isa=given.isa,
        jit=not given.no_jit,
        rivals=not given.no_rivals,
        peers=tuple(_peer(text) for text in given.peer),
        goals=given.goals,
        goals_for=given.goals_for,
        csv=given.csv,
        plot=given.plot,
        markdown=given.markdown,
        json=given.json,
        cpu=given.cpu,
        here=given.here,
        quiet=given.quiet,
        seed=given.seed,
    )


def _listed(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def _one_of(option: str, value: str, names: Sequence[str]) -> None:
    if value not in names:
        raise ValueError(f"{option}: expected one of {', '.join(names)}, got {value!r}")


def _percents(text: str) -> tuple[float, ...]:
    found = []
    for part in _listed(text):
        try:
            percent = float(part)
        except ValueError:
            raise ValueError(f"--sparsity: expected percents as 50,90, got {part!r}") from None
        if not 0 <= percent < 100:
            raise ValueError(f"--sparsity: expected 0 or more and less than 100 percent, got {part}")
        found.append(percent / 100)
    if not found:
        raise ValueError("--sparsity: expected percents as 50,90, got none")
    return tuple(sorted(set(found)))


def _peer(text: str) -> tuple[str, str]:
    name, separator, python = text.partition("=")
    if not separator or not python:
        raise ValueError(f"--peer: expected NAME=/path/to/python, got {text!r}")
    _one_of("--peer", name, tuple(ADAPTERS))
    return name, python
