"""What can be cut off a module: channels that it writes ("out") and reads ("in"), and where they sit in its weights.

One class per family of modules. Torch-Pruning tells which channels of which modules belong together; cutting is ours,
because groups, recurrent layers and optimizer state need more than whole rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from .recurrent import Recurrent

__all__ = ["Cut", "Sides", "is_depthwise", "is_grouped", "sides_of", "taking"]

#: A tensor of a parameter's shape -> what is left of it; for the parameter and for what an optimizer keeps beside it.
Cut = Callable[[Tensor], Tensor]


class Sides(Protocol):
    """How one family of modules is cut. ``out`` and ``into`` are int64 positions to keep, in their new order; None: all
    of them as they are."""

    def size(self, module: Any, side: str) -> int:
        """Positions of the side."""

    def cuts(self, module: Any, out: Tensor | None, into: Tensor | None) -> dict[str, Cut]:
        """By name of the parameter or buffer."""

    def resize(self, module: Any, out: Tensor | None, into: Tensor | None) -> None:
        """Sets the module's own numbers: features, channels, groups."""

    def sums(self, module: Any, side: str, scores: Mapping[str, Tensor]) -> Tensor:
        """float64 [positions]: sum of the scores of the weights at each position."""

    def mute(self, module: Any, positions: Tensor) -> None:
        """Sets what is read from these positions to nothing; of modules that only pass channels on, does nothing."""


def taking(index: Tensor | None, dim: int = 0) -> Cut:
    """Keeps these slices of one dimension."""
    return lambda tensor: tensor if index is None else tensor.index_select(dim, index.to(tensor.device))


def _sum_but(tensor: Tensor, dim: int) -> Tensor:
    return tensor.double().movedim(dim, 0).reshape(tensor.shape[dim], -1).sum(1).cpu()


class _Linear:
    def size(self, module: nn.Linear, side: str) -> int:
        return module.out_features if side == "out" else module.in_features

    def cuts(self, module: nn.Linear, out: Tensor | None, into: Tensor | None) -> dict[str, Cut]:
        return {"weight": lambda w: taking(into, 1)(taking(out)(w)), "bias": taking(out)}

    def resize(self, module: nn.Linear, out: Tensor | None, into: Tensor | None) -> None:
        if out is not None:
            module.out_features = len(out)
        if into is not None:
            module.in_features = len(into)

    def sums(self, module: nn.Linear, side: str, scores: Mapping[str, Tensor]) -> Tensor:
        return _sum_but(scores["weight"], 0 if side == "out" else 1)

    def mute(self, module: nn.Linear, positions: Tensor) -> None:
        module.weight.data[:, positions] = 0


class _Conv:
    """Convolutions and transposed ones, in any number of groups: each group gives up as many as the others."""

    def size(self, module: nn.modules.conv._ConvNd, side: str) -> int:
        return module.out_channels if side == "out" else module.in_channels

    def cuts(self, module: nn.modules.conv._ConvNd, out: Tensor | None, into: Tensor | None) -> dict[str, Cut]:
        if is_depthwise(module):
            both = out if out is not None else into
            return {"weight": taking(both), "bias": taking(both)}
        groups, sizes = module.groups, (module.out_channels // module.groups, module.in_channels // module.groups)
        local = [_in_groups(index, groups, size) for index, size in zip((out, into), sizes, strict=True)]
        first, second = (1, 0) if module.transposed else (0, 1)  # a transposed weight is [in, out / groups, ...]

        def weight(tensor: Tensor) -> Tensor:
            parts = tensor.reshape(groups, sizes[first], sizes[second], *tensor.shape[2:])
            kept = [
                taking(local[second][group], 1)(taking(local[first][group])(parts[group])) for group in range(groups)
            ]
            return torch.cat(kept)

        return {"weight": weight, "bias": taking(out)}

    def resize(self, module: nn.modules.conv._ConvNd, out: Tensor | None, into: Tensor | None) -> None:
        if is_depthwise(module):
            both = out if out is not None else into
            if both is not None:
                module.in_channels = module.out_channels = module.groups = len(both)
            return
        if out is not None:
            module.out_channels = len(out)
        if into is not None:
            module.in_channels = len(into)

    def sums(self, module: nn.modules.conv._ConvNd, side: str, scores: Mapping[str, Tensor]) -> Tensor:
        weight = scores["weight"]
        if is_depthwise(module):
            return _sum_but(weight, 0)
        if (side == "out") != module.transposed:
            return _sum_but(weight, 0)
        grouped = weight.reshape(module.groups, weight.shape[0] // module.groups, *weight.shape[1:])
        return torch.cat([_sum_but(part, 1) for part in grouped])

    def mute(self, module: nn.modules.conv._ConvNd, positions: Tensor) -> None:
        if is_depthwise(module):
            return
        if module.transposed:
            module.weight.data[positions] = 0
            return
        each = module.in_channels // module.groups
        rows_each = module.out_channels // module.groups
        for position in positions.tolist():
            group, local = divmod(position, each)
            module.weight.data[group * rows_each : (group + 1) * rows_each, local] = 0


class _PerChannel:
    """Batch and instance norms, PReLU: a number per channel, which they pass on."""

    def size(self, module: Any, side: str) -> int:
        return int(module.num_parameters if isinstance(module, nn.PReLU) else module.num_features)

    def cuts(self, module: Any, out: Tensor | None, into: Tensor | None) -> dict[str, Cut]:
        both = out if out is not None else into
        if isinstance(module, nn.PReLU):
            return {"weight": taking(both)} if module.num_parameters > 1 else {}
        return {name: taking(both) for name in ("weight", "bias", "running_mean", "running_var")}

    def resize(self, module: Any, out: Tensor | None, into: Tensor | None) -> None:
        both = out if out is not None else into
        if both is None:
            return
        if not isinstance(module, nn.PReLU):
            module.num_features = len(both)
        elif module.num_parameters > 1:
            module.num_parameters = len(both)

    def sums(self, module: Any, side: str, scores: Mapping[str, Tensor]) -> Tensor:
        return torch.zeros(self.size(module, side), dtype=torch.float64)

    def mute(self, module: Any, positions: Tensor) -> None:
        return


class _Embedding:
    def size(self, module: nn.Embedding, side: str) -> int:
        return module.embedding_dim

    def cuts(self, module: nn.Embedding, out: Tensor | None, into: Tensor | None) -> dict[str, Cut]:
        return {"weight": taking(out, 1)}

    def resize(self, module: nn.Embedding, out: Tensor | None, into: Tensor | None) -> None:
        if out is not None:
            module.embedding_dim = len(out)

    def sums(self, module: nn.Embedding, side: str, scores: Mapping[str, Tensor]) -> Tensor:
        return _sum_but(scores["weight"], 1) if "weight" in scores else torch.zeros(self.size(module, side)).double()

    def mute(self, module: nn.Embedding, positions: Tensor) -> None:
        return


_FAMILIES: tuple[tuple[tuple[type[nn.Module], ...], Sides], ...] = (
    ((nn.Linear,), _Linear()),
    ((nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d), _Conv()),
    ((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.PReLU), _PerChannel()),
    ((nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d), _PerChannel()),
    ((nn.Embedding,), _Embedding()),
    ((nn.LSTM, nn.GRU), Recurrent()),
)


def sides_of(module: nn.Module) -> Sides | None:
    """None of modules that cannot be cut; exact classes, because a subclass may use its weights otherwise."""
    return next((sides for kinds, sides in _FAMILIES if type(module) in kinds), None)


def is_depthwise(module: nn.Module) -> bool:
    """One filter per channel: what it reads and writes goes together."""
    return (
        isinstance(module, nn.modules.conv._ConvNd)
        and module.groups == module.in_channels == module.out_channels
        and module.groups > 1
    )


def is_grouped(module: nn.Module) -> bool:
    """In more than one group, of more than one channel each."""
    return isinstance(module, nn.modules.conv._ConvNd) and module.groups > 1 and not is_depthwise(module)


def _in_groups(index: Tensor | None, groups: int, size: int) -> list[Tensor | None]:
    """Positions within each group.

    Raises:
        ValueError: the groups would keep different numbers of channels, or exchange some.
    """
    if index is None:
        return [None] * groups
    if len(index) % groups == 0:
        parts = index.reshape(groups, -1)
        if bool((parts // size == torch.arange(groups).unsqueeze(1)).all()):
            return list(parts % size)
    raise ValueError(f"channels: expected as many kept in each of the {groups} groups, got {index.tolist()}")
