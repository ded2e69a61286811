"""Processes that train one network together: what they find is brought together before masks are chosen, so that all
have the same masks, and an error of one is an error of all.

Replicated networks (DistributedDataParallel): the ranks' scores are averaged, and each selects alike. Sharded ones
(``fully_shard``): each rank gathers the weights, one after the other, and masks its own shard.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

__all__ = ["Ranks", "is_sharded", "shard_of", "unsharded", "whole", "whole_weights"]

_Found = TypeVar("_Found")


def is_sharded(tensor: object) -> bool:
    """Whether it is a DTensor."""
    return isinstance(tensor, Tensor) and hasattr(tensor, "device_mesh") and hasattr(tensor, "placements")


def whole(tensor: Tensor) -> Tensor:
    """All of a sharded tensor; a collective call then."""
    full: Tensor = tensor.full_tensor() if is_sharded(tensor) else tensor  # type: ignore[attr-defined]
    return full


def local_part(tensor: Tensor) -> Tensor:
    """What lies here of a sharded tensor, or all of another."""
    if not is_sharded(tensor):
        return tensor
    part: Tensor = tensor.to_local()  # type: ignore[attr-defined]
    return part


def shard_of(values: Tensor, like: Tensor) -> Tensor:
    """The part of ``values``, of the global shape of ``like``, that lies where this rank's shard of ``like`` does."""
    from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

    sizes, offsets = compute_local_shape_and_global_offset(
        like.shape,
        like.device_mesh,  # type: ignore[attr-defined]
        like.placements,  # type: ignore[attr-defined]
    )
    for dim, (size, offset) in enumerate(zip(sizes, offsets, strict=True)):
        values = values.narrow(dim, min(offset, values.shape[dim]), size)
    return values


@torch.no_grad()
def whole_weights(model: nn.Module, names: Sequence[str]) -> dict[str, Tensor]:
    """Sharded parameters with their gradients, gathered one after the other; without those that are not sharded."""
    found = {}
    for name in names:
        parameter = model.get_parameter(name)
        if is_sharded(parameter):
            found[name] = whole(parameter.detach())
            found[name].grad = None if parameter.grad is None else whole(parameter.grad)
    return found


@contextmanager
def unsharded(model: nn.Module) -> Iterator[None]:
    """Inside, parameters of ``fully_shard`` are whole: a recording then knows them by identity."""
    sharded: list[Any] = [
        module for module in model.modules() if hasattr(module, "unshard") and hasattr(module, "reshard")
    ]
    for module in sharded:
        module.unshard()
    try:
        yield
    finally:
        for module in sharded:  # a forward pass in between may have resharded some: once more, for a known state
            module.unshard()
        for module in sharded:
            module.reshard()


@dataclass(frozen=True)
class Ranks:
    """The processes that hold one network. All of them make the same calls in the same order."""

    group: Any = None
    """None: all processes."""

    @classmethod
    def of(cls, model: object) -> Ranks | None:
        """Those of a network wrapped by DistributedDataParallel, or of one with sharded parameters; None otherwise."""
        if not (dist.is_available() and dist.is_initialized()):
            return None
        inner = model
        while isinstance(inner, nn.Module):
            if isinstance(inner, nn.parallel.DistributedDataParallel):
                found = cls(inner.process_group)
                return found if found.size > 1 else None
            if "_orig_mod" not in inner._modules:
                break
            inner = inner._modules["_orig_mod"]  # inside torch.compile
        sharded = isinstance(inner, nn.Module) and any(is_sharded(parameter) for parameter in inner.parameters())
        return cls() if sharded and dist.get_world_size() > 1 else None

    @property
    def size(self) -> int:
        return dist.get_world_size(self.group)

    def together(self, what: str, work: Callable[[], _Found]) -> _Found:
        """What ``work`` returns, which makes no collective calls of its own.

        Raises:
            RuntimeError: it raised in another process; the message names the rank and its error. Where it raised, that
            error itself.
        """
        error: Exception | None = None
        found: list[_Found] = []
        try:
            found.append(work())
        except Exception as raised:
            error = raised
        told = self._gathered(None if error is None else f"{type(error).__name__}: {error}")
        if error is not None:
            raise error
        failed = [f"rank {rank}: {message}" for rank, message in enumerate(told) if message is not None]
        if failed:
            raise RuntimeError(f"{what}: failed in another process: {'; '.join(failed)}")
        return found[0]

    def averaged(self, scores: Sequence[Tensor]) -> list[Tensor]:
        """Means over the ranks, with the same bits in each."""
        size = self.size
        result = []
        for each in scores:
            total = self._communicated(each)
            dist.all_reduce(total, group=self.group)
            dist.broadcast(total, group=self.group, group_src=0)
            result.append((total / size).to(each.device))
        return result

    def any_of(self, flag: bool) -> bool:
        """Whether it is set in any process."""
        return any(self._gathered(flag))

    def of_the_first(self, value: _Found) -> _Found:
        """The value of rank 0."""
        first: _Found = self._gathered(value)[0]
        return first

    def check_equal(self, what: str, value: bytes) -> None:
        """Refuses to go on with different values.

        Raises:
            RuntimeError: in all processes; the message names ranks that differ from rank 0.
        """
        digests = self._gathered(hashlib.sha256(value).hexdigest())
        other = [str(rank) for rank, digest in enumerate(digests) if digest != digests[0]]
        if other:
            raise RuntimeError(f"{what}: expected the same in all processes, but rank {', '.join(other)} has others")

    def _gathered(self, value: Any) -> list[Any]:
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value, group=self.group)
        return values

    def _communicated(self, tensor: Tensor) -> Tensor:
        """A copy where the backend takes it."""
        nccl = dist.get_backend(self.group) == "nccl"
        return tensor.detach().to(torch.device("cuda") if nccl else torch.device("cpu"), copy=True)
