"""Thresholds without a budget: keep what reaches theta; ties at theta stay."""

from __future__ import annotations

from torch import Tensor

from .. import ops

__all__ = ["threshold"]


def threshold(
    values: Tensor,
    *,
    absolute: float | None = None,
    quantile: float | None = None,
    std: float | None = None,
    of_max: float | None = None,
) -> tuple[Tensor, float]:
    """The mask |value| >= theta, and theta.

    Args:
        values: weights, gradients, or scores of any shape.
        absolute: theta itself.
        quantile: share of the values to remove, in [0, 1).
        std: theta = std x the standard deviation of the values.
        of_max: theta = of_max x the largest magnitude.
    Raises:
        ValueError: not exactly one of them is given, or it is out of range.
    Example:
        >>> weight = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
        >>> weight * threshold(weight, absolute=3)[0]
        tensor([[0., 0.],
                [3., 4.]])
    """
    rules = {"absolute": absolute, "quantile": quantile, "std": std, "max": of_max}
    given = [(rule, amount) for rule, amount in rules.items() if amount is not None]
    if len(given) != 1:
        raise ValueError(f"threshold: expected exactly one of absolute, quantile, std and of_max, got {len(given)}")
    rule, amount = given[0]
    mask, theta = ops.mask_threshold(values, amount, rule=rule)
    return mask, float(theta)
