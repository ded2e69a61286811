"""Joules of a language model by token: reading the prompt and writing the answer are priced apart."""

from __future__ import annotations

import importlib
import inspect
import json
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..energy import Profile
from ..estimate import estimate
from ..record import record
from .hf_layout import Layout
from .make_plan import unmasked_j

__all__ = ["TokenPrices", "token_prices"]


@dataclass(frozen=True)
class TokenPrices:
    """Joules of one request, and what they are made of.

    ``prefill_j`` reads the whole prompt, ``decode_j`` writes one token when half of the answer is there (joules of
    attention grow evenly with the context, so that this is the mean). ``kv_bytes`` are the keys and values of the last
    token's whole context, read again for each token; they are part of ``decode_j``.
    """

    prompt: int
    generated: int
    prefill_j: float
    decode_j: float
    kv_bytes: int

    @property
    def request_j(self) -> float:
        return self.prefill_j + self.generated * self.decode_j

    @property
    def token_j(self) -> float:
        """Joules per generated token; per token of the input where nothing is generated."""
        return self.request_j / (self.generated or self.prompt)


def token_prices(
    model: nn.Module,
    *,
    profile: Profile,
    layout: Layout,
    prompt: int,
    generated: int,
    batch: int = 1,
    unmasked: bool = False,
) -> TokenPrices:
    """Prices of a request of ``batch`` sequences of that many tokens, per sequence: two recorded passes. ``unmasked``:
    with every weight counted, zeros too."""
    config: Any = model.config
    tokens = torch.zeros(batch, prompt, dtype=torch.int64, device=next(model.parameters()).device)
    tokens += torch.arange(prompt, device=tokens.device) % config.vocab_size  # a mixture of experts gets various ones

    def joules(network: nn.Module, inputs: Any) -> float:
        if unmasked:
            return unmasked_j(json.loads(record(network, inputs, batch=batch)), profile)
        return estimate(network, inputs, profile=profile, batch=batch).energy_j

    prefill_j = joules(model, {"input_ids": tokens})
    decode_j, kv_bytes = 0.0, 0
    if generated:
        context = prompt + generated // 2
        decode_j = joules(_OneStep(model, layout, batch, context), tokens[:, :1])
        width = next(model.parameters()).element_size()
        kv_bytes = 2 * layout.depth * layout.groups * layout.head_dim * (prompt + generated) * width
    return TokenPrices(prompt, generated, prefill_j, decode_j, kv_bytes)


class _OneStep(nn.Module):
    """One more token after a context, whose keys and values are there already."""

    def __init__(self, model: nn.Module, layout: Layout, batch: int, context: int) -> None:
        super().__init__()
        self.model, self._layout, self._batch, self._context = model, layout, batch, context
        self._cache = self._filled()
        # Renamed in transformers 5; decorators hide the signature of some classes, which take the new name then.
        self._word = "cache" if _is_named(type(model), "cache") else "past_key_values"

    def _filled(self) -> Any:
        parameter, layout = next(self.model.parameters()), self._layout
        cache = importlib.import_module("transformers").DynamicCache(config=self.model.config)
        shape = (self._batch, layout.groups, self._context, layout.head_dim)
        for layer in range(layout.depth):
            cache.update(torch.zeros(shape).to(parameter), torch.zeros(shape).to(parameter), layer)
        return cache

    def forward(self, token: torch.Tensor) -> Any:
        return self.model(input_ids=token, use_cache=True, **{self._word: self._cache})


def _is_named(kind: type[nn.Module], argument: str) -> bool:
    return argument in inspect.signature(kind.forward).parameters
