"""The pruning methods of torch, by selection without sorting: see ``csrc/select/smallest.h``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import prune as torch_prune

from ..ops import mask_smallest
from .amounts import (
    _compute_norm,
    _validate_pruning_amount_init,
    _validate_pruning_dim,
    _validate_structured_pruning,
    amount_of,
)
from .hooks import BasePruningMethod

__all__ = [
    "CustomFromMask",
    "Identity",
    "L1Unstructured",
    "LnStructured",
    "RandomStructured",
    "RandomUnstructured",
]

Hook = BasePruningMethod


class Identity(BasePruningMethod, torch_prune.Identity):
    """Prunes nothing, but makes the reparametrization, with a mask of ones."""

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        return default_mask

    @classmethod
    def apply(cls, module: nn.Module, name: str) -> Hook:  # type: ignore[override]
        return super().apply(module, name)


class _Entries(BasePruningMethod):
    """Methods that remove single entries, of one tensor or of several at once."""

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        return default_mask * self._kept(t, None)

    def _kept(self, t: Tensor, left: Tensor | None) -> Tensor:
        return self._kept_of_all([t], None if left is None else [left])[0]

    def _kept_of_all(self, scores: Sequence[Tensor], left: Sequence[Tensor] | None) -> list[Tensor]:
        raise NotImplementedError


class L1Unstructured(_Entries, torch_prune.L1Unstructured):
    """Removes the entries of least magnitude, of equal ones the last.

    Args:
        amount: share in [0.0, 1.0] or count of the entries that are left.
    """

    def __init__(self, amount: float) -> None:
        _validate_pruning_amount_init(amount)
        super().__init__(amount)

    def _kept_of_all(self, scores: Sequence[Tensor], left: Sequence[Tensor] | None) -> list[Tensor]:
        return mask_smallest(scores, amount_of(self.amount, _count(scores, left)), left=left)

    @classmethod
    def apply(  # type: ignore[override]
        cls, module: nn.Module, name: str, amount: float, importance_scores: Tensor | None = None
    ) -> Hook:
        return super().apply(module, name, amount=amount, importance_scores=importance_scores)


class RandomUnstructured(_Entries, torch_prune.RandomUnstructured):
    """Removes entries at random, drawn as torch draws them: the same seed gives the same masks for float32 and float64
    (16-bit draws, which collide, are not copied).

    Args:
        amount: share in [0.0, 1.0] or count of the entries that are left.
    """

    def __init__(self, amount: float) -> None:
        _validate_pruning_amount_init(amount)
        super().__init__(amount)

    def _kept_of_all(self, scores: Sequence[Tensor], left: Sequence[Tensor] | None) -> list[Tensor]:
        total = _count(scores, left)
        amount = amount_of(self.amount, total)
        if amount == 0 or total == 0:
            return mask_smallest(scores, amount, left=left)
        dtype = torch.float64 if any(each.dtype == torch.float64 for each in scores) else torch.float32
        draws = 1 - torch.rand(total, dtype=dtype, device=scores[0].device)  # torch removes the largest draws
        spread = _spread(draws, scores, left)
        return mask_smallest(spread, amount, left=left)

    @classmethod
    def apply(cls, module: nn.Module, name: str, amount: float) -> Hook:  # type: ignore[override]
        return super().apply(module, name, amount=amount)


class _Channels(BasePruningMethod):
    """Methods that remove whole slices along ``dim``."""

    amount: float
    dim: int

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        return default_mask * self._kept(t, None)

    def _kept(self, t: Tensor, left: Tensor | None) -> Tensor:
        _validate_structured_pruning(t)
        _validate_pruning_dim(t, self.dim)
        others = [d for d in range(t.dim()) if d != self.dim % t.dim()]
        channels = None if left is None else left.sum(dim=others) != 0
        count = t.shape[self.dim] if channels is None else int(channels.sum())
        amount = amount_of(self.amount, count)
        if amount == 0:  # draws nothing either, as torch
            return torch.ones_like(t, dtype=torch.bool) if left is None else left
        channel_masks = None if channels is None else [channels]
        kept = mask_smallest([self._channel_scores(t, channels)], amount, left=channel_masks)[0]
        for d in others:
            kept = kept.unsqueeze(d)
        return kept.expand(t.shape) if left is None else kept & left

    def _channel_scores(self, t: Tensor, channels: Tensor | None) -> Tensor:
        """[t.shape[dim]]; entries of channels that are gone are not looked at."""
        raise NotImplementedError


class RandomStructured(_Channels, torch_prune.RandomStructured):
    """Removes slices along ``dim`` at random, exactly as many as asked for; drawn as torch draws them.

    Args:
        amount: share in [0.0, 1.0] or count of the slices that are left.
        dim: along which slices are cut.
    """

    def __init__(self, amount: float, dim: int = -1) -> None:
        _validate_pruning_amount_init(amount)
        super().__init__(amount, dim)

    def _channel_scores(self, t: Tensor, channels: Tensor | None) -> Tensor:
        if channels is None:
            return torch.rand(t.shape[self.dim]).to(t.device)
        scores = torch.zeros(channels.shape)
        scores[channels.cpu()] = torch.rand(int(channels.sum()))
        return scores.to(t.device)

    @classmethod
    def apply(cls, module: nn.Module, name: str, amount: float, dim: int = -1) -> Hook:  # type: ignore[override]
        return super().apply(module, name, amount=amount, dim=dim)


class LnStructured(_Channels, torch_prune.LnStructured):
    """Removes the slices along ``dim`` of least L_n norm, of equal ones the last.

    Args:
        amount: share in [0.0, 1.0] or count of the slices that are left.
        n: as ``p`` of :func:`torch.norm`.
        dim: along which slices are cut.
    """

    def __init__(self, amount: float, n: float | str, dim: int = -1) -> None:
        _validate_pruning_amount_init(amount)
        super().__init__(amount, n, dim)

    def _channel_scores(self, t: Tensor, channels: Tensor | None) -> Tensor:
        return _compute_norm(t if t.is_floating_point() else t.float(), self.n, self.dim)

    @classmethod
    def apply(  # type: ignore[override]
        cls,
        module: nn.Module,
        name: str,
        amount: float,
        n: float | str,
        dim: int,
        importance_scores: Tensor | None = None,
    ) -> Hook:
        return super().apply(module, name, amount=amount, n=n, dim=dim, importance_scores=importance_scores)


class CustomFromMask(BasePruningMethod, torch_prune.CustomFromMask):
    """Prunes by a given mask, on top of what is pruned already.

    Args:
        mask: shape of the parameter; 0 removes.
    """

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        if default_mask.shape != self.mask.shape:
            raise ValueError(f"mask: expected shape {list(default_mask.shape)}, got {list(self.mask.shape)}")
        mask: Tensor = self.mask.to(dtype=default_mask.dtype, device=default_mask.device)
        return default_mask * mask

    @classmethod
    def apply(cls, module: nn.Module, name: str, mask: Tensor) -> Hook:  # type: ignore[override]
        if not isinstance(mask, Tensor):
            raise TypeError(f"mask: expected a tensor, got {type(mask).__name__}")
        return super().apply(module, name, mask=mask)


def _count(scores: Sequence[Tensor], left: Sequence[Tensor] | None) -> int:
    return sum(each.numel() for each in scores) if left is None else sum(int(each.sum()) for each in left)


def _spread(draws: Tensor, scores: Sequence[Tensor], left: Sequence[Tensor] | None) -> list[Tensor]:
    """Gives each entry that is left its draw, in order."""
    spread: list[Any] = []
    for place, each in enumerate(scores):
        if left is None:
            mine, draws = draws[: each.numel()].view(each.shape), draws[each.numel() :]
        else:
            mine = torch.zeros(each.shape, dtype=draws.dtype, device=draws.device)
            count = int(left[place].sum())
            mine[left[place].to(draws.device)] = draws[:count]
            draws = draws[count:]
        spread.append(mine.to(each.device))
    return spread
