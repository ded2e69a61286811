"""What can go, with its worth: channels, heads, layers and singular components, in one form for the search."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from .._layer_options import ignored_weights
from ..errors import PatternError
from ..record import record
from .blocks import residual_blocks
from .choice import Choice, Wanted, least_units
from .graph import channel_groups, places_of
from .rank_choices import rank_choices
from .ranks import Rank, saves
from .sides import is_depthwise, sides_of
from .structure import Structure, smaller_copy
from .worth import ScoresOf, all_of, ranked

__all__ = ["KINDS", "choices", "kinds_of", "structure_of"]

#: What each word of ``pattern=`` removes.
KINDS: dict[str, tuple[str, ...]] = {
    "channel": ("filter", "neuron", "hidden"),
    "filter": ("filter",),
    "neuron": ("neuron",),
    "hidden": ("hidden",),
    "head": ("head",),
    "layer": ("layer",),
    "rank": ("rank",),
    "structured": ("filter", "neuron", "hidden", "head", "layer"),
}


def kinds_of(pattern: str | Sequence[str]) -> tuple[str, ...]:
    """Kinds of units for ``pattern=``.

    Raises:
        PatternError: an unknown word.
    """
    if not isinstance(pattern, str | Sequence):
        raise PatternError(f"pattern: expected some of {', '.join(KINDS)}, got {pattern!r}")
    words = (pattern,) if isinstance(pattern, str) else tuple(pattern)
    for word in words:
        if not isinstance(word, str) or word not in KINDS:
            raise PatternError(f"pattern: expected some of {', '.join(KINDS)}, got {word!r}")
    if not words:
        raise PatternError(f"pattern: expected some of {', '.join(KINDS)}, got none")
    return tuple(dict.fromkeys(kind for word in words for kind in KINDS[word]))


def choices(
    model: nn.Module,
    example_inputs: Any,
    scores_of_weights: ScoresOf,
    wanted: Wanted,
) -> tuple[list[Choice], list[str]]:
    """All that can go, and sentences about what cannot. ``scores_of_weights(names)``."""
    makers = (
        (("filter", "neuron", "hidden"), _channels), (("head",), _heads), (("layer",), _layers),
        (("rank",), rank_choices),
    )  # fmt: skip
    found, refused = [], []
    for kinds, make in makers:
        if set(kinds) & set(wanted.kinds):
            made, sentences = make(model, example_inputs, scores_of_weights, wanted)
            found += made
            refused += sentences
    if isinstance(wanted.min_density, Mapping):
        absent = sorted(set(wanted.min_density) - {choice.name for choice in found})
        if absent:
            raise ValueError(f"min_density: expected {', '.join(choice.name for choice in found)}, got {absent[0]!r}")
    return found, refused


def structure_of(model: nn.Module, options: Sequence[Choice], kept: Sequence[int]) -> Structure:
    """The structure in which of each choice so many units stay."""
    heads, ranks, removed, staying = {}, {}, [], []
    for choice, stay in zip(options, kept, strict=True):
        if stay == choice.units:
            continue
        if choice.kind == "head":
            heads[choice.name] = tuple(sorted(choice.order[0, :stay].tolist()))
        elif choice.kind == "rank":
            ranks[choice.name] = choice.forms[stay - 1] if choice.forms else stay
        elif choice.kind == "layer":
            removed.append(choice.name)
        else:
            assert choice.group is not None
            staying.append((choice.group, choice.order[:, :stay].sort(dim=1).values))
    places = places_of(model, staying)
    ranks = {  # fewer channels may leave nothing to save by two layers
        name: rank for name, rank in ranks.items() if _saves(model, name, rank, places)
    }
    return Structure(
        {name: tuple(entry.out.tolist()) for name, entry in places.items() if entry.out is not None},
        {name: tuple(entry.into.tolist()) for name, entry in places.items() if entry.into is not None},
        heads, ranks, tuple(removed),
    )  # fmt: skip


def _saves(model: nn.Module, name: str, rank: Rank, places: Mapping[str, Any]) -> bool:
    rows, cols, *kernel = model.get_submodule(name).get_parameter("weight").shape
    entry = places.get(name)
    if entry is not None and entry.out is not None:
        rows = len(entry.out)
    if entry is not None and entry.into is not None:
        cols = len(entry.into)
    return saves(rank, rows, cols, math.prod(kernel))


def _widths(name: str, units: int, wanted: Wanted, parts: int = 1) -> tuple[int, ...]:
    """Multiples of ``round_to`` channels, and all. Where channels are few a step is a quarter of them at most."""
    step, least = wanted.round_to, least_units(name, units, wanted)
    while step > 1 and step * 4 > units * parts:
        step //= 2
    allowed = {kept for kept in range(least, units) if kept * parts % step == 0}
    return tuple(sorted(allowed | {units}))


def _scored_modules(model: nn.Module, names: Sequence[str]) -> dict[str, dict[str, str]]:
    """By module: {attribute: name} of its weights that criteria can score."""
    return {
        name: {
            attribute: f"{name}.{attribute}"
            for attribute, parameter in model.get_submodule(name)._parameters.items()
            if parameter is not None and parameter.dim() >= 2
        }
        for name in dict.fromkeys(names)
    }


def _channels(
    model: nn.Module, example_inputs: Any, scores_of_weights: ScoresOf, wanted: Wanted
) -> tuple[list[Choice], list[str]]:
    groups, refused = channel_groups(model, example_inputs)
    modules = {group.root: _scored_modules(model, [member.module for member in group.members]) for group in groups}
    groups = [
        group
        for group in groups
        if group.kind in wanted.kinds
        and not any(name in wanted.ignored for names in modules[group.root].values() for name in names.values())
    ]
    wanted_weights = dict.fromkeys(
        name for group in groups for names in modules[group.root].values() for name in names.values()
    )
    scores = scores_of_weights(tuple(wanted_weights))
    made = []
    for group in groups:
        taken = []
        for member in group.members:
            module, names = model.get_submodule(member.module), modules[group.root][member.module]
            sides = sides_of(module)
            assert sides is not None
            # A depthwise filter goes with the channel that it reads and passes on: one choice, not a layer of its own.
            if names and not (scores.relative and is_depthwise(module)):
                own = {attribute: scores.of[name] for attribute, name in names.items()}
                sums = sides.sums(module, member.side, own)
                taken.append(torch.stack([sums[list(positions)].sum() for positions in member.positions]))
        order, gains = ranked(taken or [torch.zeros(group.channels).double()], group.parts, scores.relative)
        weights = tuple(name for names in modules[group.root].values() for name in names.values())
        made.append(
            Choice(
                group.root,
                group.kind,
                order,
                gains,
                _widths(group.root, group.each, wanted, group.parts),
                weights,
                group,
            )
        )
    return made, refused


def _heads(
    model: nn.Module, example_inputs: Any, scores_of_weights: ScoresOf, wanted: Wanted
) -> tuple[list[Choice], list[str]]:
    found = {
        name: [f"{name}.{weight}" for weight, p in module.named_parameters() if p.dim() == 2]
        for name, module in model.named_modules()
        if type(module) is nn.MultiheadAttention and name and module.num_heads > 1
    }
    found = {name: names for name, names in found.items() if not wanted.ignored & set(names)}
    scores = scores_of_weights(tuple(weight for names in found.values() for weight in names))
    made = []
    for name, names in found.items():
        module = model.get_submodule(name)
        assert isinstance(module, nn.MultiheadAttention)
        taken = []
        for weight in names:
            score = scores.of[weight].double().cpu()
            score = score.t() if weight.endswith("out_proj.weight") else score
            taken.append(score.reshape(-1, module.num_heads, module.head_dim, score.shape[1]).sum((0, 2, 3)))
        order, gains = ranked(taken, 1, scores.relative)
        floor = least_units(name, module.num_heads, wanted)
        made.append(Choice(name, "head", order, gains, tuple(range(floor, module.num_heads + 1)), tuple(names)))
    return made, []


def _layers(
    model: nn.Module, example_inputs: Any, scores_of_weights: ScoresOf, wanted: Wanted
) -> tuple[list[Choice], list[str]]:
    inside = {
        name: tuple(f"{name}.{weight}" for weight, p in model.get_submodule(name).named_parameters() if p.dim() >= 2)
        for name in residual_blocks(model, example_inputs)
    }
    inside = {name: names for name, names in inside.items() if not wanted.ignored & set(names)}
    scores = scores_of_weights(tuple(weight for names in inside.values() for weight in names))
    made, refused = [], []
    for name, names in inside.items():
        if reason := _why_needed(model, example_inputs, (name,)):
            refused.append(f"{name}: without it the network does not run: {reason}")
            continue
        worth = math.fsum(all_of(scores.of[weight], scores.relative) for weight in names)
        widths = (0, 1) if _floor_of_layer(name, wanted) == 0 else (1,)
        made.append(Choice(name, "layer", torch.zeros(1, 1, dtype=torch.int64), (worth,), widths, names))
    going = tuple(choice.name for choice in made if choice.widths[0] == 0)
    if len(going) > 1 and (reason := _why_needed(model, example_inputs, going)):
        kept = max((choice for choice in made if choice.name in going), key=lambda choice: choice.gains[0])
        made[made.index(kept)] = replace(kept, widths=(1,))
        sentence = "it stays, as the most important layer: without any the network does not run"
        refused.append(f"{kept.name}: {sentence}: {reason}")
    return made, refused


def _why_needed(model: nn.Module, example_inputs: Any, names: tuple[str, ...]) -> str:
    """Why the network cannot be without these layers, in one line; empty if it can. One that computes nothing has no
    energy to budget."""
    try:
        record(smaller_copy(model, Structure(removed=names))[0], example_inputs)
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:
        return (str(error).splitlines() or [type(error).__name__])[0]
    return ""


def _floor_of_layer(name: str, wanted: Wanted) -> int:
    share = wanted.min_density.get(name, 0.0) if isinstance(wanted.min_density, Mapping) else 0.0
    return 1 if share > 0 else 0


def wanted_of(
    model: nn.Module, kinds: tuple[str, ...], ignored_layers: Sequence[nn.Module | str], round_to: int,
    min_density: float | Mapping[str, float],
) -> Wanted:  # fmt: skip
    """Options, checked."""
    for share in min_density.values() if isinstance(min_density, Mapping) else (min_density,):
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0.0 <= share <= 1.0:
            raise ValueError(f"min_density: expected shares in [0, 1], got {share!r}")
    return Wanted(kinds, frozenset(ignored_weights(model, ignored_layers)), round_to, min_density)
