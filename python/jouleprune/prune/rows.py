"""The bias of output rows that are pruned as a whole: it goes with them (pytorch#38598), and comes back as a plain
parameter with them on ``remove``."""

from __future__ import annotations

from torch import nn

from .hooks import bake, hook_on, methods_of
from .methods import CustomFromMask

__all__ = ["BiasOfPrunedRows", "prune_bias_of_rows", "remove_bias_of_rows"]

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_ROWS_FIRST = (nn.Linear, nn.Bilinear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


class BiasOfPrunedRows(CustomFromMask):
    """Removes the bias of outputs of which no weight is left."""


def prune_bias_of_rows(module: nn.Module, name: str, dim: int) -> None:
    """Prunes the bias where a whole slice along ``dim`` of ``module.weight`` is pruned and the slices are outputs.

    Modules whose bias does not belong to single slices (RNNs, grouped transposed convolutions, one's own classes) stay
    as they are.
    """
    mask = module._buffers.get(name + "_mask")
    if mask is None or name != "weight" or dim % mask.dim() != _output_dim(module):
        return
    if "bias_orig" not in module._parameters and module._parameters.get("bias") is None:
        return
    rows = mask.movedim(dim, 0).flatten(1).ne(0).any(1)
    if not bool(rows.all()):
        BiasOfPrunedRows.apply(module, "bias", rows)


def remove_bias_of_rows(module: nn.Module, name: str) -> None:
    """Makes a bias that was pruned with its rows, and only so, a parameter again."""
    if name != "weight":
        return
    key, hook = hook_on(module, "bias")
    if key is not None and hook is not None and all(type(each) is BiasOfPrunedRows for each in methods_of(hook)):
        bake(module, hook)
        del module._forward_pre_hooks[key]


def _output_dim(module: nn.Module) -> int | None:
    if isinstance(module, _TRANSPOSED):
        return 1 if module.groups == 1 else None
    return 0 if isinstance(module, _ROWS_FIRST) else None
