"""Criteria that look at gradients of a loss over calibration batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from .. import ops
from ..errors import PatternError
from .context import Context, Loss, block_of

__all__ = ["FScore", "Fisher", "Gradient", "Movement", "MultiTask", "TScore", "gradient_sums"]


class _OfLoss(Protocol):
    """A criterion that can score each of several losses on its own."""

    def of_loss(self, context: Context, loss: Loss) -> dict[str, Tensor]: ...


@dataclass(frozen=True, kw_only=True)
class Gradient:
    """Mean over the batches of |g|, or of |w g| with ``times_weight``: the first-order Taylor term of removing w.

    Source: Molchanov et al., Pruning Convolutional Neural Networks for Resource Efficient Inference, ICLR 2017, eq. 8.
    """

    times_weight: bool = True

    @property
    def name(self) -> str:
        return "taylor" if self.times_weight else "gradient"

    def of_loss(self, context: Context, loss: Loss) -> dict[str, Tensor]:
        sums: dict[str, Tensor] = {}

        def take(gradients: dict[str, Tensor]) -> None:
            for name, grad in gradients.items():
                term = grad.double() * context.weight(name).double() if self.times_weight else grad.double()
                sums[name] = sums[name] + term.abs() if name in sums else term.abs()

        count = context.gradients(self.name, loss, take)
        return {name: total / count for name, total in sums.items()}

    def scores(self, context: Context) -> Mapping[str, Tensor]:
        return self.of_loss(context, context.one_loss(self.name))


@dataclass(frozen=True, kw_only=True)
class Fisher:
    """w^2 F / 2 with F = mean over the batches of g^2: Optimal Brain Damage with the empirical Fisher information in
    place of the Hessian's diagonal.

    The empirical Fisher is over samples: batches of one sample give it exactly, larger ones that of their mean
    gradients. Sources: LeCun et al., Optimal Brain Damage, NeurIPS 1989, eq. 5; Theis et al., Faster gaze prediction
    with dense networks and Fisher pruning, 2018, eq. 10.
    """

    @property
    def name(self) -> str:
        return "fisher"

    def of_loss(self, context: Context, loss: Loss) -> dict[str, Tensor]:
        sums: dict[str, Tensor] = {}

        def take(gradients: dict[str, Tensor]) -> None:
            for name, grad in gradients.items():
                square = grad.double().square()
                sums[name] = sums[name] + square if name in sums else square

        count = context.gradients(self.name, loss, take)
        return {name: context.weight(name).double().square() * total / count / 2 for name, total in sums.items()}

    def scores(self, context: Context) -> Mapping[str, Tensor]:
        return self.of_loss(context, context.one_loss(self.name))


class Movement:
    """-sum of w g: weights that a step moves away from zero stay, those that it moves towards zero go.

    Without ``model`` the sum runs over the calibration batches, at the present weights. With it, over each backward
    pass of the training that follows, at the weights of that time, until :meth:`remove`. Scores are shifted by the
    least of the network, so that none is negative; the order is that of the paper. Backward passes that overflow do not
    count; those of a scaled loss (``GradScaler``) weigh as much as their scale. Source: Sanh et al., Movement
    Pruning, NeurIPS 2020, eq. 6.
    """

    name = "movement"

    def __init__(self, model: nn.Module | None = None) -> None:
        self._sums: dict[str, Tensor] = {}
        self._hooks: list[RemovableHandle] = []
        self._tracks = model is not None
        for name, parameter in model.named_parameters() if model is not None else ():
            if parameter.requires_grad and parameter.dim() >= 2:
                self._hooks.append(parameter.register_hook(self._watch(name, parameter)))

    def _watch(self, name: str, parameter: nn.Parameter):  # type: ignore[no-untyped-def]
        def hook(grad: Tensor) -> None:  # of this backward pass alone, whatever was accumulated before
            if bool(grad.isfinite().all()):  # mixed precision leaves out a step whose gradients overflow
                self._add(name, parameter.detach(), grad.detach())

        return hook

    def _add(self, name: str, weight: Tensor, grad: Tensor) -> None:
        term = -weight.double() * grad.double()
        self._sums[name] = self._sums[name] + term if name in self._sums else term

    def remove(self) -> None:
        """Stops watching; the sums stay."""
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()

    def sums(self, context: Context) -> dict[str, Tensor]:
        """The scores before the shift, by weight."""
        if not self._tracks:
            self._sums = {}

            def take(gradients: dict[str, Tensor]) -> None:
                for name, grad in gradients.items():
                    self._add(name, context.weight(name), grad)

            context.gradients(self.name, context.one_loss(self.name), take)
        missing = [name for name in context.weights if name not in self._sums]
        if missing:
            raise ValueError(f"importance 'movement': {missing[0]!r} has had no backward pass yet")
        return {name: self._sums[name] for name in context.weights}

    def scores(self, context: Context) -> Mapping[str, Tensor]:
        sums = self.sums(context)
        least = min((float(each.min()) for each in sums.values() if each.numel() > 0), default=0.0)
        return {name: each - least for name, each in sums.items()}


@dataclass(frozen=True, kw_only=True)
class MultiTask:
    """Scores of several losses on one network, put together, so that a shared weight keeps what any task needs.

    Args:
        combine: "sum" (weighted) or "max" (of the weighted scores).
        weights: of the losses, in their order; ones unless given.
        base: the criterion that scores each loss; Taylor unless given.
    Raises:
        ValueError: another ``combine``, or weights that are negative or not as many as losses.
    """

    combine: str = "sum"
    weights: Sequence[float] | None = None
    base: _OfLoss = field(default_factory=Gradient)

    def __post_init__(self) -> None:
        if self.combine not in ("sum", "max"):
            raise ValueError(f"MultiTask: combine: expected 'sum' or 'max', got {self.combine!r}")
        if self.weights is not None and any(not weight >= 0 for weight in self.weights):
            raise ValueError(f"MultiTask: weights: expected numbers of at least 0, got {self.weights!r}")

    @property
    def name(self) -> str:
        return "multi_task"

    def scores(self, context: Context) -> Mapping[str, Tensor]:
        losses = context.losses(self.name)
        weights = [1.0] * len(losses) if self.weights is None else list(self.weights)
        if len(weights) != len(losses):
            raise ValueError(f"MultiTask: weights: expected one per loss, {len(losses)}, got {len(weights)}")
        combined: dict[str, Tensor] = {}
        for weight, loss in zip(weights, losses.values(), strict=True):
            for name, scores in self.base.of_loss(context, loss).items():
                mine = scores * weight
                if name not in combined:
                    combined[name] = mine
                else:
                    combined[name] = combined[name] + mine if self.combine == "sum" else combined[name].maximum(mine)
        return combined


def gradient_sums(
    context: Context, criterion: str, loss: Loss, blocks: Mapping[str, tuple[int, int]]
) -> tuple[dict[str, Tensor], dict[str, Tensor], int]:
    """Sums and sums of squares over the batches of each unit's gradient (the mean over its weights), float64 [down,
    across] by weight, and the number of batches."""
    sums: dict[str, Tensor] = {}
    squares: dict[str, Tensor] = {}

    def take(gradients: dict[str, Tensor]) -> None:
        for name, grad in gradients.items():
            units = _unit_means(grad.double().flatten(1), blocks[name])
            sums[name] = sums[name] + units if name in sums else units
            squares[name] = squares[name] + units.square() if name in squares else units.square()

    return sums, squares, context.gradients(criterion, loss, take, tuple(blocks))


def _unit_means(matrix: Tensor, block: tuple[int, int]) -> Tensor:
    """Means over blocks, of the entries inside the matrix alone; rows cut by ``ceil`` at the far edges."""
    if block == (1, 1):
        return matrix
    r, c = min(block[0], matrix.shape[0]), min(block[1], matrix.shape[1])
    pooled = torch.nn.functional.avg_pool2d(
        matrix[None, None], (r, c), ceil_mode=True, count_include_pad=False, divisor_override=None
    )
    return pooled[0, 0]


@dataclass(frozen=True, kw_only=True)
class TScore:
    """t = |mean g| / (std g / sqrt n) of a unit's gradient over n batches: what is told from noise stays.

    ``jouleprune.criteria.significance`` gives p-values and masks.
    """

    @property
    def name(self) -> str:
        return "t_test"

    def scores(self, context: Context) -> Mapping[str, Tensor]:
        blocks = {name: block_of(context.patterns[name]) for name in context.weights}
        sums, squares, count = gradient_sums(context, self.name, context.one_loss(self.name), blocks)
        _check_batches(self.name, count)
        return {
            name: _of_units(ops.t_test(sums[name], squares[name], count)[0], context.weight(name), blocks[name])
            for name in context.weights
        }


@dataclass(frozen=True, kw_only=True)
class FScore:
    """F of the analysis of variance across the units of a layer, the same for all of them: layers whose units have
    gradients of their own stay, those whose units all do the same go first."""

    @property
    def name(self) -> str:
        return "f_test"

    def scores(self, context: Context) -> Mapping[str, Tensor]:
        blocks = {name: block_of(context.patterns[name]) for name in context.weights}
        sums, squares, count = gradient_sums(context, self.name, context.one_loss(self.name), blocks)
        _check_batches(self.name, count)
        found: dict[str, Tensor] = {}
        for name in context.weights:
            if sums[name].numel() < 2:
                raise PatternError(f"importance 'f_test': {name!r}: expected at least 2 units in its pattern, got 1")
            f, _ = ops.f_test(sums[name], squares[name], count)
            found[name] = f.expand(context.weight(name).shape)
        return found


def _check_batches(criterion: str, count: int) -> None:
    if count < 2:
        raise ValueError(f"data: importance {criterion!r} needs at least 2 batches, got {count}")


def _of_units(units: Tensor, weight: Tensor, block: tuple[int, int]) -> Tensor:
    r, c = min(block[0], weight.shape[0]), min(block[1], weight.flatten(1).shape[1])
    rows, cols = weight.flatten(1).shape
    spread = units.repeat_interleave(r, 0)[:rows].repeat_interleave(c, 1)[:, :cols]
    return spread.reshape(weight.shape)
