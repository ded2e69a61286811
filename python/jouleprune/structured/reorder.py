"""Reordering channels so that zeros cluster: the network computes the same, in fewer blocks or with more of its weight
inside N:M.

Source of the idea for N:M: Pool and Yu, Channel Permutations for N:M Sparsity, NeurIPS 2021. Blocks: greedy clusters of
channels whose kept weights overlap most.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from .. import ops
from ..blocks import kept_blocks
from ..errors import PatternError
from ..patterns import block_size, check_pattern
from ..selection import plain_module
from .cutting import cut_modules
from .graph import ChannelGroup, channel_groups, places_of

__all__ = ["Reordered", "reorder"]


@dataclass(frozen=True)
class Reordered:
    """The network in its new order. ``before`` and ``after``: of "RxC" the blocks that hold a weight, of "N:M" the
    share of the squared weights that the pattern keeps, over all layers that were looked at."""

    model: nn.Module = field(repr=False)
    before: float
    after: float


def reorder(
    model: nn.Module, example_inputs: Any, *, pattern: str = "16x16", trials: int = 300, seed: int = 0
) -> Reordered:
    """A copy of ``model`` with the channels of each group in another order; the function it computes stays.

    Rows of a layer and columns of its readers move together, within each group of a convolution and each direction of a
    recurrent layer. Groups are taken in turn, and a new order is kept when it is better. Needs Torch-Pruning (extra
    ``structured``).

    Args:
        pattern: "RxC": fewest blocks of R outputs x C inputs (at one tap of a kernel) that are not all zero; "N:M":
            most squared weight left when the N largest of M neighbouring inputs stay.
        trials: random swaps that are tried for each group, of "N:M".
        seed: of those.
    Raises:
        ImportError: Torch-Pruning is not installed.
        PatternError: another pattern.
        ValueError: ``trials`` or ``seed`` is no whole number of at least 0.
    """
    check_pattern(pattern)
    if pattern in ("auto", "unstructured"):
        raise PatternError(f'pattern: expected "RxC" or "N:M", got {pattern!r}')
    for name, number in (("trials", trials), ("seed", seed)):
        if isinstance(number, bool) or not isinstance(number, int) or number < 0:
            raise ValueError(f"{name}: expected a whole number of at least 0, got {number!r}")
    current = copy.deepcopy(plain_module(model))
    groups, _ = channel_groups(current, example_inputs)
    layers = sorted({member.module for group in groups for member in group.members})
    before, generator = _worth(current, layers, pattern), torch.Generator().manual_seed(seed)
    for group in groups:
        mine = sorted({member.module for member in group.members})
        best: Tensor | None = None
        worth = _worth(current, mine, pattern)
        for order in _orders(current, group, pattern, trials, generator):
            start = best if best is not None and block_size(pattern) is None else None
            tried = (
                order if start is None else start.gather(1, order - torch.arange(group.parts).unsqueeze(1) * group.each)
            )
            found = _worth(_ordered(current, group, tried, mine), mine, pattern)
            if found > worth:
                best, worth = tried, found
        if best is not None:
            cut_modules(current, places_of(current, [(group, best)]))
    after = _worth(current, layers, pattern)
    sign = 1.0 if block_size(pattern) is None else -1.0
    return Reordered(current, sign * before, sign * after)


def _ordered(model: nn.Module, group: ChannelGroup, order: Tensor, layers: list[str]) -> nn.Module:
    """Only the modules of the group, in that order."""
    holder = nn.Module()
    for name in layers:
        parent = holder
        *path, last = name.split(".")
        for part in path:
            if part not in parent._modules:
                parent.add_module(part, nn.Module())
            parent = parent.get_submodule(part)
        parent.add_module(last, copy.deepcopy(model.get_submodule(name)))
    cut_modules(holder, places_of(holder, [(group, order)]))
    return holder


def _worth(model: nn.Module, layers: list[str], pattern: str) -> float:
    """Higher is better."""
    size = block_size(pattern)
    blocks, kept, total = 0, 0.0, 0.0
    for name in layers:
        for weight in _matrices(model.get_submodule(name)):
            if size is not None:
                blocks += sum(int(kept_blocks(tap != 0, *size).sum()) for tap in weight.movedim(2, 0))
            else:
                n, _, m = pattern.partition(":")
                matrix = weight.flatten(1).abs()
                mask = ops.mask_n_of_m(matrix, int(n), int(m), dim=1)
                kept += float((matrix * mask).square().sum())
                total += float(matrix.square().sum())
    return -float(blocks) if size is not None else kept / max(total, 1e-300)


def _matrices(module: nn.Module) -> Iterator[Tensor]:
    """Weights as [outputs, inputs, taps]."""
    for name, parameter in module._parameters.items():
        if parameter is not None and parameter.dim() >= 2 and "bias" not in name:
            weight = parameter.detach()
            yield weight.reshape(weight.shape[0], weight.shape[1], -1)


def _orders(
    model: nn.Module, group: ChannelGroup, pattern: str, trials: int, generator: torch.Generator
) -> Iterator[Tensor]:
    """Orders [parts, channels of a part] to try. Of N:M: swaps, to be done on top of the best so far."""
    start = torch.arange(group.channels).reshape(group.parts, group.each)
    size = block_size(pattern)
    if size is None:
        for _ in range(trials if group.each > 1 else 0):
            part = int(torch.randint(group.parts, (), generator=generator))
            a, b = torch.randperm(group.each, generator=generator)[:2].tolist()
            order = start.clone()
            order[part, a], order[part, b] = start[part, b], start[part, a]
            yield order
        return
    rows, columns = _kept_of(model, group, "out"), _kept_of(model, group, "in")
    for features, cluster in ((rows, size[0]), (columns, size[1]), (torch.cat([rows, columns], 1), max(size))):
        if features.shape[1] and cluster > 1:
            parts = features.reshape(group.parts, group.each, -1)
            yield torch.stack([_clustered(part, cluster) for part in parts]) + start[:, :1]


def _kept_of(model: nn.Module, group: ChannelGroup, side: str) -> Tensor:
    """bool [channels, weights]: which weights on that side of each channel are kept."""
    found = [torch.zeros(group.channels, 0, dtype=torch.bool)]
    for member in group.members:
        if member.side != side or member.table is None:
            continue
        for weight in _matrices(model.get_submodule(member.module)):
            by_place = weight if side == "out" else weight.transpose(0, 1)
            if int(member.table.max()) < by_place.shape[0]:
                found.append((by_place[member.table] != 0).flatten(1).cpu())
    return torch.cat(found, 1)


def _clustered(kept: Tensor, size: int) -> Tensor:
    """Order in clusters of ``size``: the fullest channel that is left, then those that add least to what the cluster
    holds. kept: bool [channels, weights]."""
    left, order = list(range(len(kept))), []
    while left:
        seed = max(left, key=lambda channel: (int(kept[channel].sum()), -channel))
        cluster, held = [seed], kept[seed].clone()
        left.remove(seed)
        while left and len(cluster) < size:
            candidates = torch.tensor(left)
            added = (kept[candidates] & ~held).sum(1) * (len(kept[0]) + 1) - (kept[candidates] & held).sum(1)
            nearest = left[int(added.argmin())]
            held |= kept[nearest]
            cluster.append(nearest)
            left.remove(nearest)
        order += cluster
    return torch.tensor(order)
