"""Low rank as something that can go: singular components of Linear layers; of convolutions the forms that SVD and
Tucker offer."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import nn

from .choice import Choice, Wanted, least_units
from .ranks import can_factorise, forms_of, largest_rank, singular_values
from .worth import Scores, ScoresOf, ranked, taken_in_order

__all__ = ["rank_choices"]


def rank_choices(
    model: nn.Module, example_inputs: Any, scores_of_weights: ScoresOf, wanted: Wanted
) -> tuple[list[Choice], list[str]]:
    """A choice for each layer that two smaller ones can take the place of; refuses nothing."""
    layers = {
        name: module
        for name, module in model.named_modules()
        if name and can_factorise(module) and largest_rank(module) >= 1 and f"{name}.weight" not in wanted.ignored
        and type(_parent(model, name)) is not nn.MultiheadAttention
    }  # fmt: skip
    scores = scores_of_weights(tuple(f"{name}.weight" for name in layers))
    made = []
    for name, module in layers.items():
        if isinstance(module, nn.Conv2d):
            made += _forms(name, module, scores, wanted)
            continue
        values = singular_values(module).square()
        total = 1.0 if scores.relative else float(scores.of[f"{name}.weight"].double().sum())
        order, gains = ranked([values / values.sum().clamp_min(1e-300) * total], 1, scores.relative)
        floor, most = least_units(name, len(values), wanted), largest_rank(module)
        widths = (*range(floor, min(most, len(values) - 1) + 1), len(values))
        made.append(Choice(name, "rank", order, gains, widths, (f"{name}.weight",)))
    return made, []


def _forms(name: str, conv: nn.Conv2d, scores: Scores, wanted: Wanted) -> list[Choice]:
    """SVD and Tucker as one choice: a unit more is the next form on their common front."""
    forms = forms_of(conv, least_units(name, conv.weight.numel(), wanted))
    if not forms:
        return []
    whole = float(conv.weight.detach().double().square().sum())
    steps = [max(0.0, more - less) for less, more in itertools.pairwise([0.0, *(kept for _, kept in forms), whole])]
    shares = torch.tensor(steps, dtype=torch.float64) / max(whole, 1e-300)
    gains = taken_in_order(shares) if scores.relative else shares * float(scores.of[f"{name}.weight"].double().sum())
    order = torch.arange(len(gains)).unsqueeze(0)
    widths = tuple(range(1, len(gains) + 1))
    ranks = tuple(rank for rank, _ in forms)
    return [Choice(name, "rank", order, tuple(gains.tolist()), widths, (f"{name}.weight",), forms=ranks)]


def _parent(model: nn.Module, name: str) -> nn.Module:
    return model.get_submodule(name.rpartition(".")[0])
