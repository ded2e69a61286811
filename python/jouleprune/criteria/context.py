"""What a criterion may look at: the model, the weights to score, and calibration data with its losses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from .. import _C
from ..record import arguments
from ..untouched import copied, untouched

__all__ = ["Context", "Criterion", "Loss", "block_of"]

#: (outputs, target) -> a scalar, as of ``torch.nn.functional``.
Loss = Callable[[Any, Any], Tensor]


@dataclass(frozen=True)
class Context:
    """Given to a criterion at each selection.

    Attributes:
        model: with its present weights.
        weights: names of the parameters to score.
        patterns: the pattern that each is pruned in ("unstructured", "16x1", "2:4", ...; "auto": not decided yet).
        workload: the recorded forward pass (docs/recorder.md).
        data: calibration batches, iterated anew for each pass: a tensor, ``(inputs, target)``, or a dict of keyword
            arguments; ``inputs`` may be a tuple of positional arguments.
        loss: one loss, or several by name for criteria of several tasks.
    """

    model: nn.Module
    weights: tuple[str, ...]
    patterns: Mapping[str, str]
    workload: Mapping[str, Any]
    example_inputs: Any = field(default=None, repr=False)
    data: Iterable[Any] | None = field(default=None, repr=False)
    loss: Loss | Sequence[Loss] | Mapping[str, Loss] | None = field(default=None, repr=False)
    whole: Mapping[str, Tensor] = field(default_factory=dict, repr=False)
    """Weights that are sharded over processes, gathered."""

    def weight(self, name: str) -> Tensor:
        return self.parameter(name).detach()

    def parameter(self, name: str) -> Tensor:
        """All of the parameter, with its ``grad``."""
        return self.whole[name] if name in self.whole else self.model.get_parameter(name)

    def check_runnable(self, criterion: str) -> None:
        """Refuses to run a network whose weights are sharded over processes, which would have to run it together.

        Raises:
            ValueError: they are.
        """
        if self.whole:
            raise ValueError(
                f"importance {criterion!r} runs the network, whose weights are sharded: plan before fully_shard, and "
                "pass the plan (Pruner(model, x, plan=plan)), or take a criterion of weights or gradients"
            )

    def batches(self, criterion: str) -> Iterator[tuple[tuple[Any, ...], dict[str, Any], Any]]:
        """(positional arguments, keyword arguments, target) of each batch.

        Raises:
            ValueError: there is no data, or it is used up.
        """
        self.check_runnable(criterion)
        if self.data is None:
            raise ValueError(f"data: importance {criterion!r} needs calibration data: data=<batches>, got None")
        count = 0
        for batch in self.data:
            pair = isinstance(batch, tuple | list) and len(batch) > 0
            inputs, target = (batch[0], batch[1] if len(batch) > 1 else None) if pair else (batch, batch)
            args, kwargs = arguments(copied(inputs))
            yield args, kwargs, target
            count += 1
        if count == 0:
            raise ValueError(
                f"data: importance {criterion!r}: expected at least one batch, got none: a generator is used up after "
                "one pass, give a list or a DataLoader"
            )

    def losses(self, criterion: str) -> dict[str, Loss]:
        """By name; ``ValueError`` without any."""
        given = self.loss
        if isinstance(given, Mapping):
            found = {str(name): loss for name, loss in given.items()}
        elif isinstance(given, Sequence):
            found = {str(place): loss for place, loss in enumerate(given)}
        else:
            found = {} if given is None else {"loss": given}
        if not found or not all(callable(loss) for loss in found.values()):
            raise ValueError(
                f"loss: importance {criterion!r} needs a callable (outputs, target) -> scalar, got {given!r}"
            )
        return found

    def one_loss(self, criterion: str) -> Loss:
        found = self.losses(criterion)
        if len(found) != 1:
            raise ValueError(f'loss: importance {criterion!r} takes one, got {len(found)}: see "multi_task"')
        return next(iter(found.values()))

    def gradients(
        self, criterion: str, loss: Loss, take: Callable[[dict[str, Tensor]], None], weights: Sequence[str] = ()
    ) -> int:
        """Calls ``take`` with the gradients of the loss, by weight, for each batch: in eval mode, leaving ``.grad``,
        buffers and generators as they were. Weights that the loss does not reach have zeros. Returns the number of
        batches."""
        names, count = tuple(weights) or self.weights, 0
        with untouched([self.model]), torch.enable_grad():
            parameters = [self.model.get_parameter(name) for name in names]
            for parameter in parameters:
                parameter.requires_grad_(True)
            for args, kwargs, target in self.batches(criterion):
                value = loss(self.model(*args, **kwargs), target)
                if not isinstance(value, Tensor) or value.numel() != 1:
                    got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
                    raise ValueError(f"loss: expected a scalar tensor, got {got}")
                grads = torch.autograd.grad(value.reshape(()), parameters, allow_unused=True)
                with torch.no_grad():
                    take(
                        {
                            name: torch.zeros_like(parameter) if grad is None else grad.detach()
                            for name, parameter, grad in zip(names, parameters, grads, strict=True)
                        }
                    )
                count += 1
        return count


class Criterion(Protocol):
    """A criterion that scores all weights together."""

    @property
    def name(self) -> str:
        """For plans and reports."""

    def scores(self, context: Context) -> Mapping[str, Tensor]:
        """By weight: its shape, finite, at least 0, higher = keep."""


def block_of(pattern: str) -> tuple[int, int]:
    """(r, c) of the units of a pattern; a single weight where units are single weights, or not decided yet."""
    if pattern not in ("", "auto"):
        _C.check_pattern(pattern)
    rows, mark, cols = pattern.partition("x")
    return (int(rows), int(cols)) if mark else (1, 1)
