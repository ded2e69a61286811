"""The op of several Linear layers, typed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["linear_csr_chain"]


def linear_csr_chain(
    input: Tensor,
    weights: Sequence[Sequence[Tensor]],
    activations: Sequence[str] | None = None,
    *,
    in_features: int,
) -> Tensor:
    """Linear layers one after the other, as :func:`linear_csr` called for each and to the same bits.

    Args:
        input: [..., in_features] of the first layer.
        weights: of each layer (values, col_indices, row_offsets, key) and, if it has one, its bias.
        activations: after each layer; None: none.
        in_features: columns of the first weight.
    Returns:
        [..., rows of the last weight], contiguous.
    Raises:
        TypeError: a dtype.
        ValueError: no layer, another number of tensors or activations, or as :func:`linear_csr`.
    float32 inference on the CPU runs as one kernel from 9 batch rows on, where they fill the threads: between layers
    the batch stays as the kernel reads and writes it. Else it is a loop, differentiable as :func:`linear_csr`.
    """
    flat = [tensor for weight in weights for tensor in weight]
    names = ["none"] * len(weights) if activations is None else list(activations)
    counts = [len(weight) for weight in weights]
    out: Tensor = torch.ops.jouleprune.linear_csr_chain(input, flat, counts, in_features, ",".join(names))
    return out
