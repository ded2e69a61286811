"""``PerLayer``: another criterion's scores, made comparable between layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from .context import Context, Criterion

__all__ = ["NORMALISATIONS", "PerLayer"]

#: What ``normalise`` may be.
NORMALISATIONS = ("sum", "lamp")


@dataclass(frozen=True)
class PerLayer:
    """Scores of ``importance``, normalised within each layer.

    Scores of weights in different layers are divided by the joules that the weights save, and compared. A criterion
    whose scores are alike everywhere (norms, draws, counts of activations) then takes all weights from the layers where
    one weight costs most, the first convolutions, before it touches others.

    Args:
        importance: a name, a criterion or a callable, as ``importance=`` takes them.
        normalise: "sum": score / sum of the layer's scores, so that each layer is worth 1 in all; "lamp": score / sum
            of the layer's scores that are not smaller, so that a layer's last weight is worth 1 and goes late (Lee et
            al., Layer-adaptive Sparsity for the Magnitude-based Pruning, ICLR 2021, eq. 4, with any score for w^2).
    Raises:
        ValueError: another word.
        PatternError: no importance.
    As a name: ``importance="l1/sum"``, ``"fpgm/lamp"``.
    """

    importance: str | Criterion | Callable[[str, Tensor, Tensor | None], Tensor]
    normalise: str = "sum"

    def __post_init__(self) -> None:
        if self.normalise not in NORMALISATIONS:
            raise ValueError(f"PerLayer: normalise: expected one of {NORMALISATIONS}, got {self.normalise!r}")
        _ = self.name  # names what cannot be an importance

    @property
    def name(self) -> str:
        from ..importance import importance_name

        return f"{importance_name(self.importance)}/{self.normalise}"

    def scores(self, context: Context) -> Mapping[str, Tensor]:
        from ..importance import raw_scores

        return {name: self._normalised(scores) for name, scores in raw_scores(self.importance, context).items()}

    def _normalised(self, scores: Tensor) -> Tensor:
        from ..ops import importance

        scores = scores.detach().to(torch.float32)
        if self.normalise == "lamp":
            # w^2 / sum of w^2 not smaller, with w = sqrt(score): in float64, where no two roots round to one.
            return importance(scores.double().sqrt(), None, "lamp")
        total = scores.sum(dtype=torch.float64)
        return (scores / total).to(torch.float32) if float(total) != 0.0 else scores
