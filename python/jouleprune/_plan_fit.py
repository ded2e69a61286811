"""Plans and masks that come from files: they fit each other, and the model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from .layers import SPARSE
from .ops import unpack_mask
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
    sizes = _sizes(model)
    for layer in plan.layers:
        if layer.weight not in sizes:
            raise ValueError(f"{where}: names the weight {layer.weight!r}, which {type(model).__name__} lacks")
        if layer.units != sizes[layer.weight]:
            raise ValueError(f"{where}: {layer.weight!r}: expected {sizes[layer.weight]} units, got {layer.units}")
    _check_masks(plan, where)


def _check_masks(plan: Plan, where: str) -> None:
    layers = {layer.weight: layer for layer in plan.layers}
    for name, bits in plan.masks.items():
        if name not in layers:
            raise ValueError(f"{where}: a mask of {name!r}, which the plan does not name")
        _check_mask(layers[name], bits, where)


def _check_mask(layer: LayerPlan, bits: torch.Tensor, where: str) -> None:
    size = (layer.units + 7) // 8
    if bits.dtype != torch.uint8 or list(bits.shape) != [size]:
        raise ValueError(
            f"{where}: mask of {layer.weight!r}: expected uint8 [{size}], got {bits.dtype} {list(bits.shape)}"
        )
    kept = int(unpack_mask(bits.cpu(), [layer.units]).sum())
    if kept != layer.kept:
        raise ValueError(
            f"{where}: mask of {layer.weight!r}: expected {layer.kept} kept weights as planned, got {kept}"
        )


def _sizes(model: torch.nn.Module) -> dict[str, int]:
    """Entries of every parameter by the names of the dense network."""
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters(remove_duplicate=False)}
    for name, module in model.named_modules():
        if isinstance(module, SPARSE):
            dense = module.to_dense().named_parameters()  # one layer at a time
            sizes |= {f"{name}.{weight}": parameter.numel() for weight, parameter in dense}
    return sizes
