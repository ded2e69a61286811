"""``jp.shrink_checkpoint``: fewer layers, heads, features and experts of a Hugging Face model, to joules per token."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..criteria import Context
from ..energy import Profile
from ..errors import BudgetError, PatternError
from ..estimate import as_profile
from ..importance import Importance, importance_name, scores_of
from .hf_layout import Layout, layout_of, smaller_checkpoint, unit_sums
from .hf_prices import TokenPrices, token_prices
from .hf_scores import block_influence, routed_shares
from .make_plan import budget_in_joules, checked_step
from .round_to import round_to_of
from .search import least, search

__all__ = ["KINDS", "ShrunkCheckpoint", "shrink_checkpoint"]

KINDS = ("layer", "head", "neuron", "expert")


@dataclass(frozen=True)
class ShrunkCheckpoint:
    """The smaller model, an ordinary one of its class: ``model.save_pretrained(folder)`` writes a checkpoint that plain
    transformers loads. ``kept``: by "layer", "head" (key-value groups), "neuron" and "expert", how many of how many."""

    model: nn.Module = field(repr=False)
    before: TokenPrices
    after: TokenPrices
    budget_j: float
    minimum_j: float
    importance: str
    importance_lost: float
    kept: Mapping[str, tuple[int, int]]
    layers: tuple[int, ...]
    """Numbers, in the model that came, of the layers that stayed."""


@dataclass(frozen=True)
class _Kind:
    """One number of the configuration: orders by layer, best first; what each rank is worth; allowed numbers."""

    name: str
    orders: Mapping[int, tuple[int, ...]]
    gains: tuple[float, ...]
    widths: tuple[int, ...]

    def lost(self, kept: int) -> float:
        return math.fsum(self.gains[kept:])

    def kept(self, stays: int) -> dict[int, tuple[int, ...]]:
        if stays == len(self.gains):
            return {}
        return {layer: tuple(sorted(order[:stays])) for layer, order in self.orders.items()}


def shrink_checkpoint(
    model: nn.Module,
    *,
    energy: str | float,
    profile: Profile | str | Mapping[str, Any],
    prompt: int = 128,
    generated: int = 32,
    batch: int = 1,
    pattern: str | Sequence[str] = ("layer", "head", "neuron"),
    importance: Importance = "lamp",
    data: Iterable[Any] | None = None,
    round_to: int | None = None,
    min_density: float = 0.0,
) -> ShrunkCheckpoint:
    """A smaller dense model of the same Hugging Face class, with a configuration that says so; ``model`` stays.

    Args:
        model: a Llama-like decoder (Llama, Mistral, Qwen, Mixtral, ...) or a BERT-like encoder. Heads go by whole
            key-value groups, in decoders whose configuration has ``head_dim``.
        energy: "N%" of the unmasked dense model (every weight counted, zeros too), or joules per generated token (per
            token of the input where ``generated`` is 0): prompt and answer together, keys and values read again for
            every token included.
        profile: device profile: a ``Profile``, a built-in name, a path, or a dict.
        prompt, generated, batch: tokens of a request, and requests at a time. Encoders generate nothing.
        pattern: which numbers of the configuration may fall: "layer" (depth), "head" (key-value groups), "neuron" (the
            feed-forward width), "expert" (of a mixture).
        importance: of weights, as in :func:`jouleprune.plan`; a unit is worth the sum over its weights in all layers.
        data: batches (dicts such as ``{"input_ids": ...}``). With them a layer is worth what it turns its input by (1 -
            cosine; Men et al., ShortGPT, 2024) and an expert the routing weight that it gets; both scaled so that all
            layers, or all experts of a layer, are worth their weights together.
        round_to: the feed-forward width is a multiple of it; from the profile unless given.
        min_density: least share to keep of each number.
    Returns:
        ShrunkCheckpoint with ``after.token_j <= budget_j``; no number could be one step larger.
    Raises:
        BudgetError: malformed, above the dense energy, or below the least (``minimum_j``).
        PatternError: an unknown word, or nothing of the kind in this model.
        ValueError: another argument, or a model of another kind.
    """
    layout, device = layout_of(model), as_profile(profile)
    kinds = (pattern,) if isinstance(pattern, str) else tuple(pattern)
    for word in kinds:
        if word not in KINDS:
            raise PatternError(f"pattern: expected some of {', '.join(KINDS)}, got {word!r}")
    for name, number, smallest in (("prompt", prompt, 1), ("generated", generated, 0), ("batch", batch, 1)):
        if isinstance(number, bool) or not isinstance(number, int) or number < smallest:
            raise ValueError(f"{name}: expected a whole number of at least {smallest}, got {number!r}")
    if not layout.groups and generated:
        raise ValueError(
            f"generated: {type(model).__name__} is an encoder and generates nothing: expected 0, got {generated}"
        )
    if isinstance(min_density, bool) or not isinstance(min_density, int | float) or not 0 <= min_density <= 1:
        raise ValueError(f"min_density: expected a share in [0, 1], got {min_density!r}")
    step = round_to_of(device, model) if round_to is None else checked_step(round_to)
    with torch.no_grad():
        options = _options(model, layout, kinds, importance, data, step, min_density)
    known: dict[tuple[int, ...], TokenPrices] = {}

    def made(kept: Sequence[int]) -> tuple[nn.Module, Layout, tuple[int, ...]]:
        stays = dict(zip((kind.name for kind in options), kept, strict=True))
        parts = {kind.name: kind.kept(stays[kind.name]) for kind in options}
        layers = parts.get("layer", {}).get(0) or tuple(range(layout.depth))
        smaller = smaller_checkpoint(
            model, layout, layers, parts.get("head", {}), parts.get("neuron", {}), parts.get("expert", {})
        )
        groups = stays.get("head", layout.groups)
        return smaller, replace(layout, depth=len(layers), groups=groups), layers

    def prices(kept: tuple[int, ...]) -> TokenPrices:
        if kept not in known:
            smaller, sizes, _ = made(kept)
            known[kept] = token_prices(
                smaller, profile=device, layout=sizes, prompt=prompt, generated=generated, batch=batch
            )
        return known[kept]

    def joules(kept: tuple[int, ...]) -> float:
        return prices(kept).token_j

    widths = [kind.widths for kind in options]
    full = tuple(each[-1] for each in widths)
    dense_j = token_prices(
        model, profile=device, layout=layout, prompt=prompt, generated=generated, batch=batch, unmasked=True
    ).token_j
    minimum_j = min(joules(full), least(joules, widths))
    budget_j = budget_in_joules(energy, dense_j)
    if minimum_j > budget_j:
        raise BudgetError(
            f"energy: {budget_j:.4g} J per token is below the least that {', '.join(kinds)} can reach, "
            f"{minimum_j:.4g} J", minimum_j,
        )  # fmt: skip
    found = search(joules, widths, [kind.lost for kind in options], budget_j)
    smaller, _, layers = made(found.kept)
    return ShrunkCheckpoint(
        smaller, prices(full), prices(found.kept), budget_j, minimum_j, importance_name(importance),
        math.fsum(kind.lost(kept) for kind, kept in zip(options, found.kept, strict=True)),
        {kind.name: (kept, len(kind.gains)) for kind, kept in zip(options, found.kept, strict=True)}, layers,
    )  # fmt: skip


def _options(
    model: nn.Module, layout: Layout, kinds: Sequence[str], importance: Importance, data: Iterable[Any] | None,
    step: int, min_density: float,
) -> list[_Kind]:  # fmt: skip
    names = tuple(
        name
        for name, parameter in model.named_parameters()
        if name.startswith(layout.layers + ".") and parameter.dim() >= 2
    )
    scores = _scores(model, names, importance, data)
    sums = [unit_sums(scores, layout, layer) for layer in range(layout.depth)]
    if "expert" in kinds and data is not None and layout.experts:
        for layer, shares in enumerate(routed_shares(model, layout, data)):
            sums[layer]["expert"] = shares * sums[layer]["expert"].sum()
    made = []
    if "layer" in kinds:
        worth = torch.stack(
            [
                torch.stack(
                    [score.double().sum().cpu() for name, score in scores.items() if _layer(layout, name) == layer]
                ).sum()
                for layer in range(layout.depth)
            ]
        )
        if data is not None:
            worth = block_influence(model, layout, data) * worth.sum()
        values, order = worth.sort(descending=True, stable=True)
        floor = max(1, math.ceil(min_density * layout.depth))
        widths = tuple(range(floor, layout.depth + 1))
        made.append(_Kind("layer", {0: tuple(order.tolist())}, tuple(values.tolist()), widths))
    sizes = {
        "head": ("group", layout.groups, 1, 1), "neuron": ("width", layout.width, step, 1),
        "expert": ("expert", layout.experts, 1, layout.experts_each),
    }  # fmt: skip
    for kind, (key, size, rounded, smallest) in sizes.items():
        if kind not in kinds or not size:
            continue
        while rounded > 1 and rounded * 4 > size:
            rounded //= 2
        ranked = [each[key].sort(descending=True, stable=True) for each in sums]
        gains = torch.stack([values for values, _ in ranked]).sum(0)
        floor = max(smallest, math.ceil(min_density * size))
        allowed = {stays for stays in range(floor, size) if stays % rounded == 0} | {size}
        orders = {layer: tuple(order.tolist()) for layer, (_, order) in enumerate(ranked)}
        made.append(_Kind(kind, orders, tuple(gains.tolist()), tuple(sorted(allowed))))
    if not made:
        raise PatternError(
            f"pattern: {type(model).__name__} has nothing of {', '.join(kinds)} that its configuration can lose"
        )
    return made


def _layer(layout: Layout, name: str) -> int:
    return int(name[len(layout.layers) + 1 :].split(".")[0])


def _scores(
    model: nn.Module, names: tuple[str, ...], importance: Importance, data: Iterable[Any] | None
) -> dict[str, Tensor]:
    context = Context(model, names, dict.fromkeys(names, "unstructured"), {"entries": []}, None, data, None)
    flat = scores_of(importance, context)
    return {name: each.reshape(model.get_parameter(name).shape) for name, each in zip(names, flat, strict=True)}
