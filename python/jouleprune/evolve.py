"""Evolutionary search over the density and pattern of each layer: the front of joules against what is lost.

Source: Deb et al., A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II, IEEE TEC 2002. pymoo does the search.
"""

from __future__ import annotations

import copy
import importlib
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from .energy import Profile
from .estimate import as_profile
from .importance import Importance
from .masks import MaskSet
from .patterns import check_pattern
from .plan import Plan
from .selection import Selector, plain_module

__all__ = ["Evolution", "Individual", "evolve"]


@dataclass(frozen=True)
class Individual:
    """A network of the front: its joules, what it loses, and its plan, which ``Pruner(plan=)`` and ``convert`` take."""

    energy_j: float
    lost: float
    plan: Plan = field(repr=False)


@dataclass(frozen=True)
class Evolution:
    """``front``: networks of which none is better in both, cheapest first. ``generations`` so far; the state of the
    search goes into ``evolve(resume=)``."""

    front: tuple[Individual, ...]
    generations: int
    state: Any = field(repr=False)


def evolve(
    model: torch.nn.Module,
    example_inputs: Any,
    *,
    profile: Profile | str | Mapping[str, Any],
    patterns: Sequence[str] = ("unstructured",),
    importance: Importance = "lamp",
    evaluate: Callable[[torch.nn.Module], float] | None = None,
    population: int = 24,
    generations: int = 10,
    seed: int = 0,
    resume: Evolution | None = None,
    ignored_layers: Sequence[torch.nn.Module | str] = (),
) -> Evolution:
    """Searches densities and patterns of all layers at once; ``model`` is not changed.

    Genes are a density and a pattern per layer; each layer keeps its most important units up to the density, unless
    running it dense takes fewer joules. Needs pymoo (extra ``evolve``).

    Args:
        profile, importance, ignored_layers: as in :func:`jouleprune.plan`.
        patterns: what each layer may be pruned in.
        evaluate: loss of a pruned copy of the model, lower is better; without it the sum of importance lost.
        population: networks in a generation.
        generations: how many more.
        seed: the same seed gives the same front.
        resume: goes on from there, as if it had not stopped; for the same model and arguments.
    Raises:
        ImportError: pymoo is not installed.
        PatternError, ValueError: an argument; the message names it.
    """
    if not patterns or isinstance(patterns, str):
        raise ValueError(f"patterns: expected a list of patterns, got {patterns!r}")
    for pattern in patterns:
        check_pattern(pattern)
    for name, number, least in (("population", population, 4), ("generations", generations, 1), ("seed", seed, 0)):
        if isinstance(number, bool) or not isinstance(number, int) or number < least:
            raise ValueError(f"{name}: expected a whole number of at least {least}, got {number!r}")
    if resume is not None and not isinstance(resume, Evolution):
        raise ValueError(f"resume: expected an Evolution, from evolve, got {resume!r}")
    if evaluate is not None and not callable(evaluate):
        raise ValueError(f"evaluate: expected a callable (pruned model) -> loss, got {evaluate!r}")
    model = plain_module(model)
    selector = Selector.record(
        model,
        example_inputs,
        profile=as_profile(profile),
        pattern=patterns[0] if len(patterns) == 1 else "auto",  # under "auto" a plan keeps each layer's own pattern
        importance=importance,
        ignored_layers=ignored_layers,
        min_density=0.0,
        activation_density=1.0,
        batch=None,
        per="inference",
        count=None,
    )
    if not selector.weights:
        raise ValueError("model: nothing can be pruned in it" + "".join(f"; {each}" for each in selector.unable))
    layers = len(selector.weights)

    def planned(genes: np.ndarray) -> Plan:
        floors = tuple(float(gene) for gene in genes[:layers])
        chosen = [patterns[min(int(gene * len(patterns)), len(patterns) - 1)] for gene in genes[layers:]]
        freedoms = tuple(replace(f, pattern=own) for f, own in zip(selector.freedoms, chosen, strict=True))
        mine = replace(selector, floors=floors, freedoms=freedoms)
        return mine.select(model, energy=mine.probe("100%").minimum)

    def objectives(plan: Plan) -> list[float]:
        lost = (
            math.fsum(layer.importance_lost for layer in plan.layers)
            if evaluate is None
            else _loss(model, plan, evaluate)
        )
        return [plan.energy_j, lost]

    algorithm = _started(2 * layers, population, seed) if resume is None else copy.deepcopy(resume.state)
    for _ in range(generations):
        asked = algorithm.ask()
        asked.set("F", np.array([objectives(planned(genes)) for genes in asked.get("X")]))
        for individual in asked:
            individual.evaluated.add("F")
        algorithm.tell(infills=asked)
    best = {tuple(objectives(plan)): plan for plan in map(planned, np.atleast_2d(algorithm.opt.get("X")))}
    front = tuple(Individual(joules, lost, best[joules, lost]) for joules, lost in sorted(best))
    return Evolution(front, generations + (0 if resume is None else resume.generations), algorithm)


def _loss(model: torch.nn.Module, plan: Plan, evaluate: Callable[[torch.nn.Module], float]) -> float:
    pruned = copy.deepcopy(model)
    masks = MaskSet(pruned)
    masks.replace(plan.masks)
    value = float(evaluate(pruned))
    if not math.isfinite(value):
        raise ValueError(f"evaluate: expected a finite loss, got {value!r}")
    return value


def _started(genes: int, population: int, seed: int) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            nsga2 = importlib.import_module("pymoo.algorithms.moo.nsga2")
            problems = importlib.import_module("pymoo.core.problem")
    except ImportError as error:
        raise ImportError("evolve needs pymoo: pip install 'jouleprune[evolve]'") from error
    algorithm = nsga2.NSGA2(pop_size=population)
    problem = problems.Problem(n_var=genes, n_obj=2, xl=0.0, xu=1.0)
    algorithm.setup(problem, termination=("n_gen", 10**9), seed=seed, verbose=False)
    return algorithm
