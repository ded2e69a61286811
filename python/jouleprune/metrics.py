"""``jp.metrics``: what one says of a network before and after pruning, each figure with one definition (method R4)."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .compare import _resized
from .energy import Profile, price_workload
from .estimate import as_profile
from .record import _batch, arguments, record
from .savings import _running
from .size import Size, size_of

__all__ = ["Classification", "Latency", "Metrics", "classification", "latency", "metrics"]

_LEAST_RUNS, _MOST_RUNS = 20, 2000


@dataclass(frozen=True)
class Classification:
    """Of a classifier on labelled data; means over classes count each class once ("macro"), as scikit-learn has it.

    Attributes:
        accuracy: share of examples whose largest output is that of their class.
        precision: of a class: share of the examples put into it that belong there, 0 where none was put; the mean over
            the classes that occur in labels or predictions.
        recall: of a class: share of its examples that were put into it; the same mean.
        f1: of a class: harmonic mean of its precision and recall, 0 where both are 0; the same mean.
        loss: mean over examples.
    """

    accuracy: float
    precision: float
    recall: float
    f1: float
    loss: float
    examples: int


@dataclass(frozen=True)
class Latency:
    """Seconds of single forward passes on this machine, measured one by one, disturbed ones included.

    Attributes:
        low_s, high_s: 95 % interval of the median.
        p95_s: 95 of 100 passes take at most this.
        throughput: inferences per second at the median.
    """

    batch: int
    median_s: float
    low_s: float
    high_s: float
    p95_s: float
    throughput: float
    runs: int


@dataclass(frozen=True)
class Metrics:
    """All figures of a network; None where the data, the clock or the profile for it was not given.

    Attributes:
        macs_issued, macs_effective: per inference: executed, and those with no zero operand.
        energy_j, low_j, high_j: per inference, modelled on ``profile``.
        eer: accuracy per joule. Told because people ask for it; it rewards broken networks, so rank by nothing of it.
    """

    size: Size
    macs_issued: float
    macs_effective: float
    profile: str
    energy_j: float
    low_j: float
    high_j: float
    quality: Classification | None
    single: Latency | None
    batch: Latency | None

    @property
    def eer(self) -> float | None:
        return None if self.quality is None or self.energy_j <= 0 else self.quality.accuracy / self.energy_j

    def to_json(self) -> str:
        """As JSON, schema 1."""
        parts = {name: getattr(self, name) for name in self.__dataclass_fields__}
        data = {name: vars(part) if name in _NESTED and part is not None else part for name, part in parts.items()}
        return json.dumps({"schema": 1, **data, "eer": self.eer, "labels": _LABELS})

    def __str__(self) -> str:
        from .report import metrics_text

        return metrics_text(self)


_NESTED = ("size", "quality", "single", "batch")
_LABELS = {
    "size": "counted", "macs_issued": "modelled", "macs_effective": "modelled", "energy_j": "modelled",
    "quality": "measured", "single": "measured", "batch": "measured", "eer": "measured accuracy over modelled joules",
}  # fmt: skip


def metrics(
    model: nn.Module,
    example_inputs: Any,
    *,
    profile: Profile | str | Mapping[str, Any],
    data: Iterable[tuple[Any, Tensor]] | None = None,
    loss: Callable[[Tensor, Tensor], Tensor] = nn.functional.cross_entropy,
    seconds: float = 2.0,
) -> Metrics:
    """The figures of a network on a device profile, on data and on this machine.

    Args:
        model: dense, masked or converted.
        example_inputs: as in :func:`jouleprune.estimate`; their batch is that of the second latency and of the energy.
        profile: device of the modelled joules.
        data: batches (inputs, classes [n]); outputs are [n, classes]. None leaves accuracy and loss out.
        loss: (outputs, classes) -> mean loss of the batch.
        seconds: of timing, in all; 0 leaves time out.
    Raises:
        ProfileError: the profile is unknown or malformed.
        ValueError: an argument is out of range, or outputs and classes do not fit.
    """
    if not isinstance(model, nn.Module):
        raise ValueError(f"model: expected a torch.nn.Module, got {type(model).__name__}")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < math.inf:
        raise ValueError(f"seconds: expected a number from 0 on, got {seconds!r}")
    _check_data(data, loss)
    report = price_workload(record(model, example_inputs), as_profile(profile))
    single = batch = None
    if seconds > 0:
        batch = latency(model, example_inputs, seconds=seconds / 2)
        single = latency(model, _resized(example_inputs, 1), seconds=seconds / 2)
    return Metrics(
        size=size_of(model),
        macs_issued=sum(layer.macs_issued for layer in report.layers) / report.count,
        macs_effective=sum(layer.macs_effective for layer in report.layers) / report.count,
        profile=report.profile,
        energy_j=report.energy_j,
        low_j=report.low_j,
        high_j=report.high_j,
        quality=None if data is None else classification(model, data, loss=loss),
        single=single,
        batch=batch,
    )


def classification(
    model: nn.Module,
    data: Iterable[tuple[Any, Tensor]],
    *,
    loss: Callable[[Tensor, Tensor], Tensor] = nn.functional.cross_entropy,
) -> Classification:
    """Accuracy, macro precision, recall and F1, and the mean loss of a classifier, in eval mode.

    Args:
        data, loss: as in :func:`metrics`.
    Raises:
        ValueError: outputs and classes do not fit, or there is no example.
    """
    _check_data(data, loss)
    confusion, total_loss, examples = torch.zeros(0, 0, dtype=torch.int64), 0.0, 0
    for pair in data:
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise ValueError(f"data: expected batches (inputs, classes), got {_told(pair)}")
        inputs, classes = pair
        outputs = _outputs(model, inputs)
        _check_batch(outputs, classes)
        classes = classes.to(outputs.device).long()
        count = outputs.shape[1]
        if confusion.shape[0] not in (0, count):
            raise ValueError(f"data: expected outputs [n, {confusion.shape[0]}] as before, got {list(outputs.shape)}")
        pairs = classes * count + outputs.argmax(1)
        found = torch.bincount(pairs, minlength=count * count).view(count, count).cpu()
        confusion = found if confusion.numel() == 0 else confusion + found
        total_loss += _loss_of(loss(outputs, classes)) * len(classes)
        examples += len(classes)
    if examples == 0:
        raise ValueError("data: expected at least one example, got none")
    return Classification(*_of_confusion(confusion.double()), loss=total_loss / examples, examples=examples)


def _check_data(data: object, loss: object) -> None:
    if data is not None and (isinstance(data, Tensor | Mapping | str) or not isinstance(data, Iterable)):
        raise ValueError(f"data: expected batches (inputs, classes), as of a DataLoader, got {_told(data)}")
    if not callable(loss):
        raise ValueError(f"loss: expected a callable (outputs, classes) -> mean loss, got {loss!r}")


def _told(value: object) -> str:
    if isinstance(value, Tensor):
        return f"a tensor {list(value.shape)}"
    return f"{type(value).__name__} of {len(value)}" if isinstance(value, tuple | list) else type(value).__name__


def _loss_of(value: Any) -> float:
    if isinstance(value, Tensor) and value.numel() != 1:
        raise ValueError(f"loss: expected one number for a batch, got a tensor {list(value.shape)}")
    try:
        return float(value)
    except TypeError as error:
        raise ValueError(f"loss: expected one number for a batch, got {type(value).__name__}") from error


def _outputs(model: nn.Module, inputs: Any) -> Tensor:
    with _running(model, inputs) as _, torch.inference_mode():
        args, kwargs = arguments(inputs)
        outputs = model(*args, **kwargs)
    if not isinstance(outputs, Tensor):
        raise ValueError(f"data: expected a tensor of outputs from the model, got {type(outputs).__name__}")
    return outputs


def _check_batch(outputs: Tensor, classes: Tensor) -> None:
    whole = isinstance(classes, Tensor) and not classes.is_floating_point() and classes.dtype != torch.bool
    if not whole or outputs.dim() != 2 or classes.dim() != 1 or len(classes) != len(outputs):
        got = list(classes.shape) if isinstance(classes, Tensor) else type(classes).__name__
        kind = f" {classes.dtype}" if isinstance(classes, Tensor) else ""
        raise ValueError(
            f"data: expected outputs [n, classes] and whole numbers [n], got {list(outputs.shape)}, {got}{kind}"
        )
    if len(classes) and (int(classes.min()) < 0 or int(classes.max()) >= outputs.shape[1]):
        ends = f"{int(classes.min())} to {int(classes.max())}"
        raise ValueError(f"data: expected classes from 0 to {outputs.shape[1] - 1}, got {ends}")


def _of_confusion(confusion: Tensor) -> tuple[float, float, float, float]:
    """[true, predicted] -> accuracy, macro precision, recall, F1."""
    hits, true, predicted = confusion.diag(), confusion.sum(1), confusion.sum(0)
    occurs = (true + predicted) > 0
    hits, true, predicted = hits[occurs], true[occurs], predicted[occurs]
    precision, recall = hits / predicted.clamp(min=1), hits / true.clamp(min=1)
    f1 = 2 * hits / (true + predicted)
    return float(hits.sum() / true.sum()), float(precision.mean()), float(recall.mean()), float(f1.mean())


def latency(model: nn.Module, example_inputs: Any, *, seconds: float = 1.0) -> Latency:
    """Times forward passes one by one, in eval mode and without gradients, after two that are not counted.

    Args:
        seconds: about so long, but at least 20 passes and at most 2,000.
    """
    taken: list[float] = []
    with _running(model, example_inputs) as run:
        run(), run()
        end = time.perf_counter() + seconds
        while len(taken) < _LEAST_RUNS or (len(taken) < _MOST_RUNS and time.perf_counter() < end):
            begin = time.perf_counter()
            run()
            taken.append(time.perf_counter() - begin)
    taken.sort()
    runs = len(taken)
    # Ranks between which the median lies in 95 of 100 cases, whatever the distribution: binomial, by its normal limit.
    half = 0.98 * math.sqrt(runs)
    low, high = taken[max(0, math.floor(runs / 2 - half))], taken[min(runs - 1, math.ceil(runs / 2 + half))]
    median, p95 = (float(value) for value in np.quantile(taken, (0.5, 0.95)))
    batch = _batch(example_inputs)
    return Latency(batch, median, low, high, p95, max(batch, 1) / median, runs)
