"""What data tells about the layers and experts of a language model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ..record import arguments
from ..untouched import copied, untouched
from .hf_layout import Layout

__all__ = ["block_influence", "routed_shares"]


def _run(model: nn.Module, data: Iterable[Any]) -> None:
    count = 0
    with untouched([model]):
        for batch in data:
            args, kwargs = arguments(copied(batch))
            model(*args, **kwargs)
            count += 1
    if count == 0:
        raise ValueError("data: expected at least one batch, got none")


def block_influence(model: nn.Module, layout: Layout, data: Iterable[Any]) -> Tensor:
    """float64 [layers], sum 1: how far each layer turns its input, mean of 1 - cosine over all tokens.

    Source: Men et al., ShortGPT: Layers in Large Language Models are More Redundant Than You Expect, 2024, eq. 1.
    """
    turned, tokens = torch.zeros(layout.depth, dtype=torch.float64), torch.zeros(layout.depth)
    layers = model.get_submodule(layout.layers)

    def looks(layer: int) -> Any:
        def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            before = args[0] if args else kwargs["hidden_states"]
            after = output[0] if isinstance(output, tuple) else output
            cosine = torch.cosine_similarity(before.double(), after.double(), dim=-1)
            turned[layer] += (1 - cosine).sum().cpu()
            tokens[layer] += cosine.numel()

        return hook

    hooks = [module.register_forward_hook(looks(i), with_kwargs=True) for i, module in enumerate(layers.children())]
    try:
        _run(model, data)
    finally:
        for hook in hooks:
            hook.remove()
    influence = turned / tokens.clamp_min(1)
    return influence / influence.sum().clamp_min(1e-300)


def routed_shares(model: nn.Module, layout: Layout, data: Iterable[Any]) -> list[Tensor]:
    """By layer, float64 [experts], sum 1: the routing weight that each expert gets, over all tokens.

    Each token counts with the weights of the experts that it goes to, the softmax of its router's logits over those.
    """
    shares = [torch.zeros(layout.experts, dtype=torch.float64) for _ in range(layout.depth)]

    def looks(layer: int) -> Any:
        def hook(router: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            tokens = args[0].reshape(-1, args[0].shape[-1])
            logits = nn.functional.linear(tokens, router.get_parameter("weight")).double()
            best, experts = logits.softmax(-1).topk(layout.experts_each, -1)
            shares[layer].index_add_(0, experts.flatten().cpu(), (best / best.sum(-1, keepdim=True)).flatten().cpu())

        return hook

    router = layout.router.rpartition(".")[0]
    layers = model.get_submodule(layout.layers)
    hooks = [
        module.get_submodule(router).register_forward_hook(looks(layer))
        for layer, module in enumerate(layers.children())
    ]
    try:
        _run(model, data)
    finally:
        for hook in hooks:
            hook.remove()
    return [share / share.sum().clamp_min(1e-300) for share in shares]
