"""Dynamic masks at constant joules: units are dropped by magnitude and others grown in their place while training."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from . import ops
from ._ranks import Ranks, is_sharded
from ._units import unit_numbers
from .criteria.context import block_of

if TYPE_CHECKING:
    from .pruner import Pruner

__all__ = ["Regrow"]

_WAYS = ("gradient", "random")


class Regrow:
    """Every ``frequency`` steps each pruned layer drops the share of its kept weights that are smallest and grows as
    many where the gradient of the whole layer is largest (RigL), or at random (SET). Grown weights start at zero; as
    many are kept as before, so the joules stay those of the plan. Under a pattern of blocks ("16x1", "16x16", ...)
    whole blocks go and come, by the mean magnitude of their weights and gradients, and smaller ones at the edges of a
    weight are exchanged among themselves. Under "N:M" each weight that goes makes room for one in its own group of M.

    Call :meth:`step` after ``optimizer.step()`` in place of the pruner's, once the pruner is done. The share falls from
    ``share`` to 0 at ``end_step`` along half a cosine (RigL, section 3), and masks stay from then on.

    Of a network that several processes train (the pruner got the DDP-wrapped one) the means of their gradients count,
    and moved masks are compared: all have the same. Call :meth:`step` in each.

    Masks of frozen weights (``requires_grad=False``) stay, and so do those of a layer whose gradient overflowed in the
    step that would move them (mixed precision). ``copy.deepcopy((model, pruner, regrow))`` keeps the three together.

    Args:
        pruner: done, with any pattern.
        end_step, frequency: in calls of :meth:`step`, from 0; the first masks change at ``frequency``.
        share: of the kept weights that move at the beginning, in (0, 1).
        grow: "gradient" or "random".
        seed: of "random".
    Raises:
        ValueError: the message names the argument.
        RuntimeError: at a step that moves masks, another process failed or has other masks.
    Sources: Evci et al., Rigging the Lottery, ICML 2020, algorithm 1; Mocanu et al., SET, Nature Communications 2018.
    """

    def __init__(
        self,
        pruner: Pruner,
        *,
        end_step: int,
        frequency: int = 100,
        share: float = 0.3,
        grow: str = "gradient",
        seed: int = 0,
    ) -> None:
        from .pruner import Pruner

        if not isinstance(pruner, Pruner):
            raise ValueError(f"pruner: expected a jouleprune.Pruner, got {type(pruner).__name__}")
        if not pruner.done:
            raise ValueError("pruner: expected one that is done: call prune_now() or let its schedule end")
        if any(is_sharded(pruner.parameter(name)) for name in pruner.plan.masks):
            raise ValueError("pruner: expected whole parameters, got ones that are sharded over processes")
        patterns = {layer.weight: layer.pattern for layer in pruner.plan.layers if layer.weight in pruner.plan.masks}
        for name, value in (("end_step", end_step), ("frequency", frequency)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name}: expected a whole number of at least 1, got {value!r}")
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share < 1:
            raise ValueError(f"share: expected a number in (0, 1), got {share!r}")
        if grow not in _WAYS:
            raise ValueError(f"grow: expected one of {', '.join(_WAYS)}, got {grow!r}")
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
            raise ValueError(f"seed: expected a whole number in [0, 2^63), got {seed!r}")
        self._pruner, self._end, self._frequency = pruner, end_step, frequency
        self._share, self._grow, self._seed, self._steps = float(share), grow, seed, 0
        self._patterns = patterns
        self._dense: dict[str, Tensor] = {}
        self._hooks: dict[str, tuple[Tensor, RemovableHandle]] = {}
        self._watch_gradients()

    def step(self) -> None:
        """Keeps pruned weights at zero; moves masks when it is time.

        Raises:
            ValueError: it is time to grow by gradient, and no backward pass reached a pruned layer since.
        """
        step, self._steps = self._steps, self._steps + 1
        if self._moves_at(step):
            share = self._share / 2 * (1 + math.cos(math.pi * step / self._end))
            ranks = self._pruner.ranks
            if ranks is None:
                self._check_watched()
            else:
                self._share_gradients(ranks)
            moved = {
                name: self._moved(place, name, bits, share)
                for place, (name, bits) in self._masks().items()
                if self._can_move(name)
            }
            if ranks is not None:
                ranks.check_equal("masks", b"".join(bytes(bits.cpu().numpy()) for bits in moved.values()))
            self._pruner.move_masks(moved)
        else:
            self._pruner.keep()
        self._dense.clear()
        self._watch_gradients()  # of what is trained only now

    def state_dict(self) -> dict[str, int]:
        """The step: with the pruner's ``state_dict`` enough to go on after a restart, given the same arguments."""
        return {"schema": 1, "step": self._steps}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Takes up where :meth:`state_dict` left off.

        Raises:
            ValueError: no state of schema 1.
        """
        step = state.get("step") if isinstance(state, Mapping) and state.get("schema") == 1 else None
        if isinstance(step, bool) or not isinstance(step, int) or step < 0:
            raise ValueError(f"Regrow.load_state_dict: expected schema 1 with a step of at least 0, got {state!r}")
        self._steps = step

    def remove(self) -> None:
        """Stops watching gradients; masks stay as they are."""
        for _, hook in self._hooks.values():
            hook.remove()
        self._hooks.clear()

    def __deepcopy__(self, memo: dict[int, Any]) -> Regrow:
        """Watches the copied model; deepcopy leaves the hooks of a parameter behind."""
        other = Regrow.__new__(Regrow)
        memo[id(self)] = other
        other.__dict__.update(self.__dict__, _hooks={})
        other._pruner = copy.deepcopy(self._pruner, memo)
        other._dense = {name: dense.clone() for name, dense in self._dense.items()}
        if self._hooks:
            other._watch_gradients()
        return other

    def _moves_at(self, step: int) -> bool:
        return 0 < step < self._end and step % self._frequency == 0

    def _masks(self) -> dict[int, tuple[str, Tensor]]:
        return dict(enumerate(self._pruner.plan.masks.items()))

    def _can_move(self, name: str) -> bool:
        dense = self._dense.get(name)
        return self._pruner.parameter(name).requires_grad and (dense is None or bool(dense.isfinite().all()))

    def _trained(self) -> list[str]:
        return [name for name in self._pruner.plan.masks if self._pruner.parameter(name).requires_grad]

    def _check_watched(self) -> None:
        for name in self._trained() if self._grow == "gradient" else ():
            if name not in self._dense:
                raise ValueError(f"Regrow: {name!r} had no backward pass in the step that moves masks")

    def _share_gradients(self, ranks: Ranks) -> None:
        """What each process saw is its own part of the batch: hooks run before DDP brings gradients together."""
        ranks.together("Regrow", self._check_watched)
        if self._grow == "gradient":
            names = self._trained()
            ranks.check_equal("Regrow: the weights that are trained", "\n".join(names).encode())
            means = ranks.averaged([self._dense[name].float() for name in names])  # sums of half numbers may overflow
            self._dense = dict(zip(names, means, strict=True))

    def _watch_gradients(self) -> None:
        """Of each pruned weight that is trained, also of one that a module got in another's place."""
        for name in self._pruner.plan.masks if self._grow == "gradient" else ():
            parameter, (watched, hook) = self._pruner.parameter(name), self._hooks.get(name, (None, None))
            if parameter is not watched and parameter.requires_grad:
                if hook is not None:
                    hook.remove()
                self._hooks[name] = (parameter, parameter.register_hook(self._watch(name)))

    def _watch(self, name: str):  # type: ignore[no-untyped-def]
        def hook(grad: Tensor) -> None:  # before the pruner's own hook masks it
            if self._moves_at(self._steps):
                dense = grad.detach()
                self._dense[name] = self._dense[name] + dense if name in self._dense else dense.clone()

        return hook

    @torch.no_grad()
    def _moved(self, place: int, name: str, bits: Tensor, share: float) -> Tensor:
        weight, pattern = self._pruner.parameter(name), self._patterns[name]
        groups = int(pattern.partition(":")[2] or 0)
        block = (1, 1) if groups else block_of(pattern)
        kept = ops.unpack_mask(bits.to(weight.device), weight.shape)
        if self._grow == "gradient":
            worth = self._dense[name]
        else:
            worth = ops.random_importance(
                weight, block_size=block, seed=self._seed, stream=self._steps * len(self._masks()) + place
            )
        if groups:
            return ops.pack_mask(_exchanged_in_groups(weight.detach(), worth, kept, share, groups))
        if block == (1, 1):
            return ops.pack_mask(_exchanged(weight, worth, kept, share))
        numbers = unit_numbers(weight.shape, block).to(weight.device)
        sizes = numbers.flatten().bincount()
        norms, worths, whole = (_unit_means(each, numbers, sizes) for each in (weight, worth, kept))
        units = whole > 0
        for size in sizes.unique():  # blocks at the edges are smaller: joules stay when like goes for like
            units = torch.where(sizes == size, _exchanged(norms, worths, units, share, sizes == size), units)
        return ops.pack_mask(units[numbers])


def _unit_means(values: Tensor, numbers: Tensor, sizes: Tensor) -> Tensor:
    """Mean magnitude of each unit, float64."""
    sums = torch.zeros(sizes.shape, dtype=torch.float64, device=values.device)
    return sums.index_add_(0, numbers.flatten(), values.detach().double().abs().flatten()) / sizes


def _exchanged(norms: Tensor, worth: Tensor, kept: Tensor, share: float, among: Tensor | None = None) -> Tensor:
    """``kept`` without the share of its entries with the least norms, and with as many others of the most worth; only
    entries that are ``among``. Of equal ones the first stay, or come."""
    mine, removed = (kept, ~kept) if among is None else (kept & among, ~kept & among)
    amount = min(int(share * int(mine.sum())), int(removed.sum()))
    (stay,) = ops.mask_smallest([norms], amount, left=[mine])
    (grown,) = ops.mask_smallest([worth], int(removed.sum()) - amount, left=[removed])
    return stay | grown


def _exchanged_in_groups(weight: Tensor, worth: Tensor, kept: Tensor, share: float, m: int) -> Tensor:
    """``kept`` with the share of it exchanged, each for the removed one of most worth in its group of ``m``
    neighbouring inputs; at most one in a group, the groups first whose least kept weight is smallest."""
    rows, cols = weight.flatten(1).shape

    def grouped(values: Tensor) -> Tensor:  # the last group of a row may be shorter
        return torch.nn.functional.pad(values.reshape(rows, cols), (0, -cols % m)).reshape(-1, m)

    mask, there = grouped(kept), grouped(torch.ones_like(kept))
    out = grouped(weight.double().abs()).masked_fill(~mask, torch.inf).min(1)
    free = ~mask & there
    into = grouped(worth.double().abs()).masked_fill(~free, -1.0).max(1)
    able = mask.any(1) & free.any(1)
    amount = min(int(share * int(kept.sum())), int(able.sum()))
    (left,) = ops.mask_smallest([out.values], amount, left=[able])
    moved = (able & ~left).nonzero().flatten()
    mask[moved, out.indices[moved]] = False
    mask[moved, into.indices[moved]] = True
    return mask.reshape(rows, -1)[:, :cols].reshape(weight.shape)
