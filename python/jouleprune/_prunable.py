"""Which weights of a recorded network may be pruned, and why others may not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ._already_sparse import sentences
from .currency import PruneFor
from .energy import Profile
from .layers import SPARSE_DTYPES, layer_of, why_not_convertible

__all__ = ["computed_weights", "prunable_weights"]

_SPARSE_OPS = ("linear", "conv1d", "conv2d", "lstm", "gru")
#: Nothing runs them sparse: they are pruned where zeros save by themselves.
_MASKED_OPS = ("conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "rnn")


def prunable_weights(
    model: torch.nn.Module, workload: Mapping[str, Any], profile: Profile, ignored: set[str], prune_for: PruneFor
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Weights in call order that are parameters, not ignored, only used by prunable ops, and runnable once pruned; and
    sentences about those that are not runnable."""
    # Where hardware skips zeros they save energy whatever the host runs, bytes and multiply-adds everywhere; else only
    # a sparse module saves.
    zeros_save = profile.kind == "asic" or prune_for != "joules"
    prunable_ops = {*_SPARSE_OPS, *(_MASKED_OPS if zeros_save else ())}
    parameters = dict(model.named_parameters())
    used_by: dict[str, set[str]] = {}
    for entry in workload["entries"]:
        if entry["weight"]:
            used_by.setdefault(entry["weight"], set()).add(entry["op"] if entry["layout"] == "dense" else "sparse")
    unknown = [] if zeros_save else _unknown_kinds(model)
    prunable, unable = [], [*computed_weights(model), *unknown, *sentences(model)]
    for name, ops in used_by.items():
        if name in ignored or name not in parameters or not ops <= prunable_ops:
            continue
        if parameters[name].dtype not in SPARSE_DTYPES:
            unable.append(f"{layer_of(name)}: no sparse kernel takes {parameters[name].dtype}")
            continue
        obstacle = "" if zeros_save else why_not_convertible(model, name)
        if obstacle:
            unable.append(f"{layer_of(name)}: {obstacle}")
        else:
            prunable.append(name)
    return tuple(prunable), tuple(unable)


def _unknown_kinds(model: torch.nn.Module) -> list[str]:
    """Sentences about layers of weights for which there is no sparse kernel."""
    kinds = (torch.nn.Conv3d, torch.nn.modules.conv._ConvTransposeNd, torch.nn.RNN)
    return [
        f"{name or 'the model'}: {type(module).__name__} has no sparse kernel"
        for name, module in model.named_modules()
        if isinstance(module, kinds)
    ]


def computed_weights(model: torch.nn.Module) -> list[str]:
    """Sentences about layers whose weight is no parameter, but computed from others before each call."""
    return [
        f"{name}: its weight is computed (by torch.nn.utils.prune, weight_norm or a parametrization): make it a "
        "parameter first, with their remove"
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear | torch.nn.modules.conv._ConvNd) and "weight" not in module._parameters
    ]
