"""Which units have a gradient that is told from noise: t and F tests over calibration batches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from .. import ops
from .context import Context, Loss, block_of
from .gradients import gradient_sums

__all__ = ["Significance", "significance"]

_CORRECTIONS = (None, "benjamini-hochberg")


@dataclass(frozen=True)
class Significance:
    """Of the units of one weight. ``t``, ``p`` float64, ``keep`` bool: [ceil(rows / r), ceil(cols / c)]. ``f``, ``f_p``
    say whether the units differ at all (None for a single unit)."""

    t: Tensor
    p: Tensor
    keep: Tensor
    f: float | None
    f_p: float | None


def significance(
    model: nn.Module,
    data: Iterable[Any],
    loss: Loss,
    *,
    weights: Sequence[str] | None = None,
    pattern: str = "unstructured",
    alpha: float = 0.05,
    correction: str | None = None,
) -> dict[str, Significance]:
    """Tests the gradient of each unit, over batches, against zero; keeps those with p < alpha.

    Args:
        data, loss: at least two batches, as of :func:`jouleprune.plan`.
        weights: names of parameters; all of at least two dimensions unless given.
        pattern: whose units are tested: single weights, or blocks "RxC"; a unit's gradient is the mean of its weights'.
        correction: "benjamini-hochberg" bounds the share of false discoveries over all units by ``alpha``.
    Raises:
        ValueError: the message names the argument.
        PatternError: no such pattern.
    """
    if correction not in _CORRECTIONS:
        raise ValueError(f"correction: expected one of {_CORRECTIONS}, got {correction!r}")
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not 0 < alpha < 1:
        raise ValueError(f"alpha: expected a share in (0, 1), got {alpha!r}")
    parameters = {name: p for name, p in model.named_parameters() if p.dim() >= 2}
    names = tuple(parameters) if weights is None else tuple(weights)
    for name in names:
        if name not in parameters:
            raise ValueError(f"weights: expected parameters of at least two dimensions, got {name!r}")
    context = Context(model, names, dict.fromkeys(names, pattern), {"entries": []}, data=data, loss=loss)
    blocks = dict.fromkeys(names, block_of(pattern))
    sums, squares, count = gradient_sums(context, "t_test", context.one_loss("t_test"), blocks)
    if count < 2:
        raise ValueError(f"data: expected at least 2 batches, got {count}")
    tested = {name: ops.t_test(sums[name], squares[name], count) for name in names}
    keeps = _keeps({name: p for name, (_, p) in tested.items()}, alpha, correction)
    found = {}
    for name, (t, p) in tested.items():
        several = t.numel() >= 2
        f, f_p = ops.f_test(sums[name], squares[name], count) if several else (None, None)
        found[name] = Significance(t, p, keeps[name], _number(f), _number(f_p))
    return found


def _keeps(p: Mapping[str, Tensor], alpha: float, correction: str | None) -> dict[str, Tensor]:
    import torch

    if correction is None:
        return {name: each < alpha for name, each in p.items()}
    together = torch.cat([each.flatten() for each in p.values()])
    kept = ops.benjamini_hochberg(together, alpha).split([each.numel() for each in p.values()])
    return {name: mask.reshape(each.shape) for (name, each), mask in zip(p.items(), kept, strict=True)}


def _number(value: Tensor | None) -> float | None:
    return None if value is None else float(value)
