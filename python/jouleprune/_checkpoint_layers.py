"""Sparse layers of a checkpoint: which a model has, and how ``jp.load`` makes them from a dense model and a file."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path

import torch

from .errors import PatternError
from .fuse import FOLDABLE, give_bias
from .layers import SPARSE, int8_twin, sparse_twin, unit_weights
from .nn import SparseLinear

__all__ = ["check_dense_state", "folded_layer", "sparse_layer", "sparse_modules"]


def sparse_modules(model: torch.nn.Module) -> list[tuple[str, torch.nn.Module]]:
    """Sparse modules, without those inside another one."""
    found: list[tuple[str, torch.nn.Module]] = []
    for name, module in model.named_modules():  # parents first
        if isinstance(module, SPARSE) and not any(name.startswith(f"{outer}.") for outer, _ in found):
            found.append((name, module))
    return found


def sparse_layer(
    model: torch.nn.Module, name: str, class_name: str, own: dict[str, torch.Tensor], path: Path, *, may_gain_bias: bool
) -> torch.nn.Module:
    """A sparse module with the state of the file, in the shape of the model's own dense (or sparse) layer of that
    name. A bias that the model's layer lacks is one too many, unless a batch norm was folded into it."""
    try:
        here = model.get_submodule(name)
    except AttributeError as error:
        raise ValueError(f"load: {path} holds the layer {name!r}, which {type(model).__name__} lacks") from error
    dense = here.to_dense() if isinstance(here, SPARSE) else here
    sparse = _empty_twin(dense, own, class_name)
    if not name or sparse is None or type(sparse).__name__ != class_name:
        raise ValueError(f"load: layer {name!r} of {path}: no {class_name} can take the place of {type(here).__name__}")
    if may_gain_bias and "bias" in own and hasattr(sparse, "rows"):
        give_bias(sparse)
    return _filled(sparse, name, own, path).train(here.training)


def folded_layer(model: torch.nn.Module, name: str, own: dict[str, torch.Tensor], path: Path) -> torch.nn.Module:
    """A copy of a dense layer of the model with the state of the file, into which a batch norm was folded."""
    try:
        here = model.get_submodule(name)
    except AttributeError as error:
        raise ValueError(f"load: {path} holds the layer {name!r}, which {type(model).__name__} lacks") from error
    if not name or type(here) not in FOLDABLE:
        raise ValueError(f"load: layer {name!r} of {path}: no batch norm can be folded into a {type(here).__name__}")
    folded = copy.deepcopy(here)
    give_bias(folded)
    return _filled(folded, name, own, path)


def _filled(layer: torch.nn.Module, name: str, own: dict[str, torch.Tensor], path: Path) -> torch.nn.Module:
    for key, value in own.items():
        mine = layer.state_dict().get(key)
        if mine is not None and mine.dtype != value.dtype:
            raise ValueError(f"load: '{name}.{key}' of {path}: expected {mine.dtype}, got {value.dtype}")
    try:
        layer.load_state_dict(own)
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"load: layer {name!r} of {path}: {error}") from error
    return layer


def check_dense_state(
    model: torch.nn.Module, state: Mapping[str, torch.Tensor], replaced: set[str], path: Path
) -> None:
    """What is left of the file is the state of what is left of the model."""
    expected = {
        key: value
        for key, value in model.state_dict().items()
        if not any(key.startswith(name + ".") for name in replaced)
    }
    missing, unexpected = sorted(set(expected) - set(state)), sorted(set(state) - set(expected))
    if missing or unexpected:
        raise ValueError(
            f"load: {path} does not fit {type(model).__name__}: missing {missing[:5]}, unexpected {unexpected[:5]}"
        )
    for key, value in expected.items():
        if torch.nn.parameter.is_lazy(value):
            raise ValueError(f"load: model: {key!r} has no shape yet: run the model once first")
        if state[key].shape != value.shape:
            raise ValueError(
                f"load: {key!r} of {path}: expected shape {list(value.shape)}, got {list(state[key].shape)}"
            )
        if state[key].dtype != value.dtype:
            raise ValueError(f"load: {key!r} of {path}: expected {value.dtype}, got {state[key].dtype}")


def _empty_twin(dense: torch.nn.Module, own: Mapping[str, torch.Tensor], class_name: str) -> torch.nn.Module | None:
    """A sparse module that keeps nothing yet; of several weights those are sparse that are so in the file."""
    if class_name in ("SparseLinearInt8", "SparseConv2dInt8"):
        if not isinstance(dense, torch.nn.Linear | torch.nn.Conv2d):
            return None
        none_kept = torch.zeros(dense.weight.shape, dtype=torch.bool, device=dense.weight.device)
        try:
            return int8_twin(dense, none_kept)
        except ValueError:  # a convolution that pads otherwise
            return None
    if class_name == "SparseLinearBSR":
        blocks = own.get("blocks")
        if not isinstance(dense, torch.nn.Linear) or blocks is None or blocks.dim() != 3 or 0 in blocks.shape[1:]:
            return None
        none_kept = torch.zeros(dense.weight.shape, dtype=torch.bool, device=dense.weight.device)
        size = (int(blocks.shape[1]), int(blocks.shape[2]))
        return SparseLinear.from_dense(dense, layout="bsr", block_size=size, mask=none_kept)
    if class_name == "SparseLinearNM":
        pattern = own.get("pattern")
        if not isinstance(dense, torch.nn.Linear) or pattern is None or pattern.dim() != 1 or pattern.numel() != 2:
            return None
        none_kept = torch.zeros(dense.weight.shape, dtype=torch.bool, device=dense.weight.device)
        n, m = (int(number) for number in pattern)
        try:
            return SparseLinear.from_dense(dense, layout="nm", pattern=f"{n}:{m}", mask=none_kept)
        except PatternError:
            return None
    weights = unit_weights(dense)
    sparse = {weight for weight in weights if f"{weight.removesuffix('.weight')}.values" in own}
    nothing = {
        weight: torch.zeros(parameter.shape, dtype=torch.bool, device=parameter.device)
        for weight, parameter in dense.named_parameters()
        if weight in weights
    }
    try:
        return sparse_twin(dense, nothing, sparse)
    except (TypeError, ValueError):  # PatternError too: such a module was never sparse
        return None
