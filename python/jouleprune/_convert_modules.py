"""The modules that ``convert`` makes."""

from __future__ import annotations

import copy

import torch

from ._convert_candidates import Candidate
from .layers import Unit, int8_twin, replace_module, sparse_twin, unit_of
from .nn import SparseLinear
from .ops import unpack_mask
from .patterns import block_size
from .plan import Plan

__all__ = ["INT8_KERNEL", "block_module", "known_unit", "sparse_module", "with_sparse_modules"]

INT8_KERNEL = "bsr-int8"


def sparse_module(model: torch.nn.Module, weights: list[str], plan: Plan | None) -> torch.nn.Module:
    """The stand-in for the module that holds these weights."""
    masks: dict[str, torch.Tensor] = {}
    units = [known_unit(model, weight) for weight in weights]
    for weight, unit in zip(weights, units, strict=True):
        mask = _planned_mask(model.get_parameter(weight), weight, plan)
        if mask is not None:
            masks[unit.weight] = mask
    return sparse_twin(units[0].module, masks, {unit.weight for unit in units})


def block_module(model: torch.nn.Module, layer: Candidate, plan: Plan | None) -> torch.nn.Module:
    """The stand-in for a layer that the plan runs in blocks: of int8, or of a Linear also of its pattern."""
    module = known_unit(model, layer.weight).module
    assert isinstance(module, torch.nn.Linear | torch.nn.Conv2d)
    full = torch.ones_like(module.weight, dtype=torch.bool) if layer.mask_is_full else None
    mask = _planned_mask(module.weight, layer.weight, plan) if full is None else full
    if layer.kernel == INT8_KERNEL:
        return int8_twin(module, mask)
    assert isinstance(module, torch.nn.Linear)
    return SparseLinear.from_dense(module, layout="bsr", block_size=block_size(layer.pattern), mask=mask)


def _planned_mask(parameter: torch.Tensor, weight: str, plan: Plan | None) -> torch.Tensor | None:
    """Of the plan, or None: then the zeros say what is pruned."""
    bits = None if plan is None else plan.masks.get(weight)
    return None if bits is None else unpack_mask(bits.to(parameter.device), list(parameter.shape))


def known_unit(model: torch.nn.Module, weight: str) -> Unit:
    """The module to replace for this weight to run sparse."""
    unit = unit_of(model, weight)
    if unit is None:
        raise ValueError(f"convert: no sparse module knows the weight {weight!r}")
    return unit


def with_sparse_modules(model: torch.nn.Module, weights: list[str], plan: Plan | None) -> torch.nn.Module:
    """A copy in which these weights run sparse."""
    converted = copy.deepcopy(model)
    modules: dict[str, list[str]] = {}
    for weight in weights:
        modules.setdefault(known_unit(model, weight).name, []).append(weight)
    for name, held in modules.items():
        replace_module(converted, name, sparse_module(converted, held, plan))
    return converted
