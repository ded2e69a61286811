"""Where the sizes of a Hugging Face transformer sit: in its configuration and in the weights of each layer.

A checkpoint can only be smaller in the numbers that its configuration has: layers, key-value groups (with
``head_dim``), feed-forward width, experts, each the same in all layers. What is chosen in each layer may differ.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Layout", "layout_of", "smaller_checkpoint", "unit_sums"]


@dataclass(frozen=True)
class Layout:
    """Names within a layer, and sizes. Empty tuples and 0: the network has no such thing, or its configuration no
    number for it."""

    layers: str
    """Name of the list of layers, such as "model.layers"."""
    depth: int
    queries: tuple[str, ...] = ()
    keys_values: tuple[str, ...] = ()
    output: tuple[str, ...] = ()
    heads: int = 0
    groups: int = 0
    """Key-value groups: heads that share keys and values."""
    head_dim: int = 0
    widen: tuple[str, ...] = ()
    """Linear layers into the feed-forward width."""
    narrow: tuple[str, ...] = ()
    """Linear layers out of it."""
    width: int = 0
    router: str = ""
    expert_weights: tuple[str, ...] = ()
    """Parameters [experts, ...]."""
    experts: int = 0
    experts_each: int = 0
    """Experts that a token goes to."""


def layout_of(model: nn.Module) -> Layout:
    """The layout of a Hugging Face model.

    Raises:
        ValueError: no Hugging Face model, or one whose layers have other names than those of Llama-like decoders
            (Llama, Mistral, Qwen, Mixtral, ...) and BERT-like encoders.
    """
    config = getattr(model, "config", None)
    depth = getattr(config, "num_hidden_layers", 0)
    lists = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) == depth and depth > 0
    ]
    for name, module in lists:
        inside = {child for child, _ in module[0].named_modules()} | {p for p, _ in module[0].named_parameters()}
        if {"self_attn.q_proj", "self_attn.o_proj"} <= inside:
            return _llama_like(name, depth, inside, config)
        if {"intermediate.dense", "output.dense"} <= inside:
            return Layout(
                name, depth, widen=("intermediate.dense",), narrow=("output.dense",), width=config.intermediate_size  # type: ignore[union-attr]
            )  # fmt: skip
    raise ValueError(
        f"model: expected a Hugging Face model with Llama-like or BERT-like layers, got {type(model).__name__}"
    )


def _llama_like(name: str, depth: int, inside: set[str], config: Any) -> Layout:
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    experts = getattr(config, "num_local_experts", None) or getattr(config, "num_experts", None) or 0
    moe = "mlp.experts.gate_up_proj" in inside and "mlp.gate.weight" in inside
    dense = {"mlp.up_proj", "mlp.down_proj"} <= inside
    return Layout(
        name, depth,
        queries=("self_attn.q_proj",), keys_values=("self_attn.k_proj", "self_attn.v_proj"),
        output=("self_attn.o_proj",), heads=config.num_attention_heads,
        groups=getattr(config, "num_key_value_heads", None) or config.num_attention_heads, head_dim=head_dim,
        widen=tuple(each for each in ("mlp.gate_proj", "mlp.up_proj") if each in inside) if dense else (),
        narrow=("mlp.down_proj",) if dense else (), width=config.intermediate_size if dense else 0,
        router="mlp.gate.weight" if moe else "",
        expert_weights=("mlp.experts.gate_up_proj", "mlp.experts.down_proj") if moe else (),
        experts=experts if moe else 0, experts_each=getattr(config, "num_experts_per_tok", 0) if moe else 0,
    )  # fmt: skip


def smaller_checkpoint(
    model: nn.Module,
    layout: Layout,
    layers: Sequence[int],
    groups: Mapping[int, Sequence[int]],
    width: Mapping[int, Sequence[int]],
    experts: Mapping[int, Sequence[int]],
) -> nn.Module:
    """A network of the same class with a smaller configuration. By layer (number in ``model``): key-value groups,
    feed-forward features and experts that stay; those without an entry keep all."""
    config: Any = copy.deepcopy(model.config)
    config.num_hidden_layers = len(layers)
    for name in ("layer_types", "mlp_layer_types"):
        if getattr(config, name, None) is not None:
            setattr(config, name, [getattr(config, name)[layer] for layer in layers])
    first = layers[0]
    if first in groups:
        config.head_dim = layout.head_dim
        config.num_attention_heads = layout.heads // layout.groups * len(groups[first])
        config.num_key_value_heads = len(groups[first])
    if first in width:
        config.intermediate_size = len(width[first])
    if first in experts:
        for name in ("num_local_experts", "num_experts"):
            if getattr(config, name, None) is not None:
                setattr(config, name, len(experts[first]))
    parameter = next(model.parameters())
    made: nn.Module = type(model)(config).to(device=parameter.device, dtype=parameter.dtype)
    places = {layer: place for place, layer in enumerate(layers)}
    pattern = re.compile(re.escape(layout.layers) + r"\.(\d+)\.(.*)$")
    state = {}
    for name, tensor in model.state_dict().items():
        match = pattern.match(name)
        if match is None:
            state[name] = tensor
        elif int(match[1]) in places:
            layer, rest = int(match[1]), match[2]
            kept = _cut(layout, rest, tensor, groups.get(layer), width.get(layer), experts.get(layer))
            state[f"{layout.layers}.{places[layer]}.{rest}"] = kept
    made.load_state_dict(state)
    if hasattr(model, "generation_config"):
        made.generation_config = copy.deepcopy(model.generation_config)
    return made.train(model.training)


def _cut(
    layout: Layout, name: str, tensor: Tensor, groups: Sequence[int] | None, width: Sequence[int] | None,
    experts: Sequence[int] | None,
) -> Tensor:  # fmt: skip
    owner, _, attribute = name.rpartition(".")
    if groups is not None:
        each = layout.heads // layout.groups
        queries = _rows([group * each + head for group in groups for head in range(each)], layout.head_dim)
        if owner in layout.queries:
            return tensor[queries]
        if owner in layout.keys_values:
            return tensor[_rows(groups, layout.head_dim)]
        if owner in layout.output and attribute == "weight":
            return tensor[:, queries]
    if width is not None:
        if owner in layout.widen:
            return tensor[list(width)]
        if owner in layout.narrow and attribute == "weight":
            return tensor[:, list(width)]
    if experts is not None and (name == layout.router or name in layout.expert_weights):
        return tensor[list(experts)]
    return tensor


def _rows(units: Sequence[int], size: int) -> list[int]:
    return [unit * size + row for unit in units for row in range(size)]


def unit_sums(scores: Mapping[str, Tensor], layout: Layout, layer: int) -> dict[str, Tensor]:
    """float64 sums of the scores in one layer, by kind of unit: "group", "width" and "expert"."""

    def of(name: str) -> Tensor:
        return scores[f"{layout.layers}.{layer}.{name}"].double().cpu()

    found: dict[str, Tensor] = {}
    if layout.groups:
        parts = [
            of(name + ".weight").reshape(layout.groups, -1).sum(1) for name in (*layout.queries, *layout.keys_values)
        ]
        parts += [of(name + ".weight").t().reshape(layout.groups, -1).sum(1) for name in layout.output]
        found["group"] = torch.stack(parts).sum(0)
    if layout.width:
        parts = [of(name + ".weight").sum(1) for name in layout.widen]
        parts += [of(name + ".weight").sum(0) for name in layout.narrow]
        found["width"] = torch.stack(parts).sum(0)
    if layout.experts:
        parts = [of(name).reshape(layout.experts, -1).sum(1) for name in layout.expert_weights]
        found["expert"] = torch.stack(parts).sum(0)
    return found
