"""Plans and masks that come from files: they fit each other, and the model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch

from .layers import SPARSE
from .ops import unpack_mask
from .patterns import block_size
from .plan import LayerPlan, Plan

__all__ = ["check_fit", "plan_in"]


def plan_in(metadata: Mapping[str, str], masks: Mapping[str, torch.Tensor], path: Path) -> Plan | None:
    """The plan of a file with its masks; None when it holds neither.

    Raises:
        ValueError: masks without a plan, a plan that cannot be read, or masks and profile that are not the plan's.
    """
    where = f"load: metadata 'plan' of {path}"
    if "plan" not in metadata:
        if masks:
            raise ValueError(f"load: {path} holds the mask of {next(iter(masks))!r}, but no plan")
        return None
    try:
        plan = Plan.from_json(metadata["plan"], masks)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    for field in ("profile", "profile_hash"):
        if metadata.get(field) != getattr(plan, field):
            raise ValueError(
                f"load: metadata {field!r} of {path}: expected {getattr(plan, field)!r} of the plan, "
                f"got {metadata.get(field)!r}"
            )
    _check_masks(plan, where)
    return plan


def check_fit(model: torch.nn.Module, plan: Plan, where: str) -> None:
    """The plan's weights are the model's, of the sizes that it says.

    Raises:
        ValueError: a weight is missing or has another size.
    """
    shapes = _shapes(model)
    for layer in plan.layers:
        if layer.weight not in shapes:
            raise ValueError(f"{where}: names the weight {layer.weight!r}, which {type(model).__name__} lacks")
        expected = _units(layer.pattern, shapes[layer.weight])
        if layer.units != expected:
            raise ValueError(f"{where}: {layer.weight!r}: expected {expected} units, got {layer.units}")
    _check_masks(plan, where)


def _units(pattern: str, shape: torch.Size) -> int:
    """Units of a weight, as the planner counts them."""
    weights = shape.numel()
    size = block_size(pattern)
    n, mark, m = pattern.partition(":")
    if size is None and not mark:
        return weights
    rows = shape[0]
    cols = weights // max(1, rows)
    if size is not None:  # of a convolution channels at one tap
        taps = shape[2:].numel()
        return -(-rows // size[0]) * -(-(cols // max(1, taps)) // size[1]) * taps
    return rows * (cols // int(m) * int(n) + min(int(n), cols % int(m)))


def _check_masks(plan: Plan, where: str) -> None:
    layers = {layer.weight: layer for layer in plan.layers}
    sizes = {entry["weight"]: entry["weight_elements"] for entry in json.loads(plan.workload)["entries"]}
    for name, bits in plan.masks.items():
        if name not in layers or name not in sizes:
            raise ValueError(f"{where}: a mask of {name!r}, which the plan does not name")
        _check_mask(layers[name], sizes[name], bits, where)


def _check_mask(layer: LayerPlan, weights: int, bits: torch.Tensor, where: str) -> None:
    size = (weights + 7) // 8
    if bits.dtype != torch.uint8 or list(bits.shape) != [size]:
        raise ValueError(
            f"{where}: mask of {layer.weight!r}: expected uint8 [{size}], got {bits.dtype} {list(bits.shape)}"
        )
    expected = layer.kept if layer.units == weights else round(layer.density * weights)
    kept = int(unpack_mask(bits.cpu(), [weights]).sum())
    if kept != expected:
        raise ValueError(f"{where}: mask of {layer.weight!r}: expected {expected} kept weights as planned, got {kept}")


def _shapes(model: torch.nn.Module) -> dict[str, torch.Size]:
    """Of every parameter by the names of the dense network."""
    shapes = {name: parameter.shape for name, parameter in model.named_parameters(remove_duplicate=False)}
    for name, module in model.named_modules():
        if isinstance(module, SPARSE):
            dense = module.to_dense().named_parameters()  # one layer at a time
            shapes |= {f"{name}.{weight}": parameter.shape for weight, parameter in dense}
    return shapes
