"""Which modules hold which weights, and which of them a sparse module can replace."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from . import nn as sparse_nn
from .nn.transformer import TransformerEncoder, TransformerEncoderLayer, without_fused_path

__all__ = [
    "SPARSE",
    "SPARSE_DTYPES",
    "Unit",
    "layer_of",
    "names_of",
    "replace_module",
    "sparse_twin",
    "unit_of",
    "unit_weights",
    "why_not_convertible",
]

#: The sparse modules.
SPARSE = (
    sparse_nn.SparseLinear,
    sparse_nn.SparseLinearBSR,
    sparse_nn.SparseLinearInt8,
    sparse_nn.SparseLinearNM,
    sparse_nn.SparseConv1d,
    sparse_nn.SparseConv2d,
    sparse_nn.SparseConv2dInt8,
    sparse_nn.SparseLSTM,
    sparse_nn.SparseGRU,
    sparse_nn.SparseMultiheadAttention,
)
#: What the weights of sparse modules may be.
SPARSE_DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
#: What runs a layer in int8.
Int8Twin = sparse_nn.SparseLinearInt8 | sparse_nn.SparseConv2dInt8
_ONE_WEIGHT = (nn.Linear, nn.Conv1d, nn.Conv2d)
_ATTENTION_WEIGHTS = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")
#: They read the weights of their children instead of calling them; of these very classes, that can be helped.
_READERS = (nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.TransformerEncoder)
_HELPED = (*_READERS, TransformerEncoderLayer, TransformerEncoder)


@dataclass(frozen=True)
class Unit:
    """A module that a sparse one can replace, and the name that it has for one of its weights."""

    name: str
    module: nn.Module
    weight: str


def layer_of(weight: str) -> str:
    """Layer name of a weight: "fc1.weight" -> "fc1"."""
    return weight.removesuffix(".weight") if weight.endswith(".weight") else weight


def owners(model: nn.Module, weight: str) -> list[tuple[str, nn.Module, str]]:
    """Every (module name, module, attribute) under which the parameter is registered: several when it is tied."""
    parameter = model.get_parameter(weight)
    return [
        (name, module, attribute)
        for name, module in model.named_modules()
        for attribute, candidate in module._parameters.items()
        if candidate is parameter
    ]


def unit_of(model: nn.Module, weight: str) -> Unit | None:
    """The module to replace for this weight to run sparse; None when no sparse module knows such a weight."""
    name, module, attribute = owners(model, weight)[0]
    parent, _, child = name.rpartition(".")
    above = model.get_submodule(parent) if name else None
    if type(above) is nn.MultiheadAttention:
        return Unit(parent, above, "out_proj.weight") if (child, attribute) == ("out_proj", "weight") else None
    known = (
        (type(module) in _ONE_WEIGHT and attribute == "weight")
        or (type(module) in (nn.LSTM, nn.GRU) and attribute.startswith("weight_"))
        or (type(module) is nn.MultiheadAttention and attribute in _ATTENTION_WEIGHTS)
    )
    return Unit(name, module, attribute) if known else None


def why_not_convertible(model: nn.Module, weight: str) -> str:
    """Empty when a sparse module can take the layer's place, else one sentence."""
    held_by = owners(model, weight)
    if len(held_by) > 1:
        return f"shared by {', '.join(name or 'the root' for name, _, _ in held_by)}"
    unit = unit_of(model, weight)
    if unit is None:
        _, module, attribute = held_by[0]
        return f"held by {type(module).__name__}.{attribute}, for which there is no sparse module"
    if not unit.name:
        return "the model itself is the layer; put it into a Sequential to have it replaced"
    if isinstance(unit.module, nn.Conv1d | nn.Conv2d) and unit.module.padding_mode != "zeros":
        return f"padding_mode {unit.module.padding_mode!r} has no sparse kernel"
    dtype = model.get_parameter(weight).dtype
    if dtype not in SPARSE_DTYPES:
        return f"{str(dtype).removeprefix('torch.')} has no sparse kernel"
    reader = _reader(model, unit.name)
    return f"its parent {reader} uses the weight directly" if reader else ""


def _reader(model: nn.Module, name: str) -> str:
    """A parent that may read weights of its children, of a class that we do not know."""
    parts = name.split(".")
    for end in range(len(parts) - 1, -1, -1):
        parent = model.get_submodule(".".join(parts[:end]))
        if isinstance(parent, _READERS) and type(parent) not in _HELPED:
            return type(parent).__name__
    return ""


def sparse_twin(unit: nn.Module, masks: dict[str, Tensor], sparse: set[str]) -> nn.Module:
    """The sparse module for a dense one. ``masks`` by the module's own names of its weights; a weight without one is
    packed by its zeros. Of several weights those not in ``sparse`` stay dense."""
    if isinstance(unit, nn.Linear):
        return sparse_nn.SparseLinear.from_dense(unit, mask=masks.get("weight"))
    if isinstance(unit, nn.Conv1d):
        return sparse_nn.SparseConv1d.from_dense(unit, mask=masks.get("weight"))
    if isinstance(unit, nn.Conv2d):
        return sparse_nn.SparseConv2d.from_dense(unit, mask=masks.get("weight"))
    names = set(unit_weights(unit))
    if isinstance(unit, nn.LSTM):
        return sparse_nn.SparseLSTM.from_dense(unit, mask=masks, dense=names - sparse)
    if isinstance(unit, nn.GRU):
        return sparse_nn.SparseGRU.from_dense(unit, mask=masks, dense=names - sparse)
    if isinstance(unit, nn.MultiheadAttention):
        return sparse_nn.SparseMultiheadAttention.from_dense(unit, mask=masks, dense=names - sparse)
    raise TypeError(f"no sparse module for {type(unit).__name__}")


def int8_twin(unit: nn.Linear | nn.Conv2d, mask: Tensor | None = None) -> Int8Twin:
    """The int8 module for a dense one."""
    if isinstance(unit, nn.Linear):
        linear = sparse_nn.SparseLinear.from_dense(unit, mask=mask, dtype="int8")
        assert isinstance(linear, sparse_nn.SparseLinearInt8)
        return linear
    conv = sparse_nn.SparseConv2d.from_dense(unit, mask=mask, dtype="int8")
    assert isinstance(conv, sparse_nn.SparseConv2dInt8)
    return conv


def unit_weights(unit: nn.Module) -> list[str]:
    """Names of the weights that a sparse module takes of a dense one."""
    return [name for name, _ in unit.named_parameters() if "bias" not in name]


def names_of(model: nn.Module, name: str) -> list[str]:
    """All names of the module called ``name``: several where it is registered in several places."""
    module = model.get_submodule(name)
    return [each for each, found in model.named_modules(remove_duplicate=False) if found is module]


def replace_module(model: nn.Module, name: str, replacement: nn.Module) -> None:
    """Registers ``replacement`` where the module called ``name`` was, under all names it has; its hooks go on being
    called. Parents that would read the dense weights of their children call them from now on."""
    _take_hooks(replacement, model.get_submodule(name))
    for each in names_of(model, name):
        parent, _, child = each.rpartition(".")
        setattr(model.get_submodule(parent), child, replacement)
        parts = parent.split(".") if parent else []
        for end in range(len(parts) + 1):
            without_fused_path(model.get_submodule(".".join(parts[:end])))


def _take_hooks(module: nn.Module, before: nn.Module) -> None:
    """Forward and backward hooks of the user."""
    for name, hooks in vars(before).items():
        if name.endswith(("_hooks", "_hooks_with_kwargs", "_hooks_always_called")) and "state_dict" not in name:
            getattr(module, name).update(hooks)
    module._is_full_backward_hook = before._is_full_backward_hook
