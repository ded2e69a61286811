"""What units are worth: sums of scores, or (LAMP) what they take of that which stays in each layer."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from ..criteria import Context, PerLayer
from ..importance import Importance, scores_of

__all__ = ["Scores", "ScoresOf", "all_of", "ranked", "scores_for", "taken_in_order"]


@dataclasses.dataclass(frozen=True)
class Scores:
    """Scores by weight, of the weight's shape.

    ``relative``: units are worth the share that they take of what stays of each weight's scores, and sums of scores
    otherwise.
    """

    of: Mapping[str, Tensor]
    relative: bool


#: Of the weights of these names.
ScoresOf = Callable[[tuple[str, ...]], Scores]


def scores_for(importance: Importance, context: Context) -> Scores:
    """Of the weights of the context. "lamp" (which is "magnitude/lamp") and "<criterion>/lamp" compare units, not
    single weights: the criterion's own scores, relative."""
    base: Importance | None = None
    if isinstance(importance, str):
        name, _, normalise = importance.partition("/")
        base = "magnitude" if importance == "lamp" else name if normalise == "lamp" else None
    elif isinstance(importance, PerLayer) and importance.normalise == "lamp":
        base = importance.importance
    flat = scores_of(importance if base is None else base, context) if context.weights else []
    shapes = [context.model.get_parameter(name).shape for name in context.weights]
    scores = {name: each.reshape(shape) for name, each, shape in zip(context.weights, flat, shapes, strict=True)}
    return Scores(scores, base is not None)


def ranked(members: Sequence[Tensor], parts: int, relative: bool) -> tuple[Tensor, tuple[float, ...]]:
    """Order of the units, and what each rank is worth.

    Args:
        members: of each weight that the units go through float64 [parts * units]: the scores that each takes with it.
        parts: the r-th most important unit of each part go together.
        relative: as of :class:`Scores`. Units are then ranked by their share of the scores, summed over the weights.
    Returns:
        int64 [parts, units], the most important first, equal ones in their order; and importance by rank.
    """
    shares = [each / each.sum().clamp_min(torch.finfo(each.dtype).tiny) for each in members] if relative else members
    values, order = torch.stack(list(shares)).sum(0).reshape(parts, -1).sort(dim=1, descending=True, stable=True)
    order = order + torch.arange(parts).unsqueeze(1) * values.shape[1]
    if not relative:
        return order, tuple(values.sum(0).tolist())
    return order, tuple(torch.stack([taken_in_order(each[order].sum(0)) for each in members]).sum(0).tolist())


def taken_in_order(scores: Tensor) -> Tensor:
    """Of units that go from the last to the first: log(what stays with the unit / what stays without it).

    The LAMP score of a unit is 1 - (without / with), its share of what is not less important (Lee et al.,
    Layer-adaptive Sparsity for the Magnitude-based Pruning, ICLR 2021, eq. 4); the logarithm agrees with it where units
    are small, adds up to the log of the share of the layer that is lost, and grows as a layer nears its end. The last
    unit of a weight is worth 1, as LAMP has it.
    """
    stays = scores.cumsum(0)
    without = torch.cat([torch.zeros_like(stays[:1]), stays[:-1]])
    last = without <= 0
    return torch.where(last, (scores > 0).to(scores), torch.log(stays / without.masked_fill(last, 1)))


def all_of(matrix: Tensor, relative: bool) -> float:
    """What a whole weight [units, scores of each] is worth: the sum over its units."""
    sums = matrix.double().reshape(matrix.shape[0], -1).sum(1).cpu()
    return math.fsum(ranked([sums], 1, relative)[1])
