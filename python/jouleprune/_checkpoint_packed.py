"""Weights with zeros in a checkpoint: the kept values and a bit for each place, where that is smaller."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path

import torch

from . import ops
from ._checkpoint_file import json_of
from ._fields import checked, object_of
from .layers import SPARSE, SPARSE_DTYPES

__all__ = ["BITS", "KEPT", "pack_zeros", "unpack_zeros", "weights_of"]

#: Before the names of packed weights: their values that are not zero, and which these are, as bits.
KEPT, BITS = "kept:", "bits:"
_PACKED = "packed"


def weights_of(model: torch.nn.Module) -> set[str]:
    """What may be packed: parameters with two dimensions or more, under all their names, not those of sparse layers. A
    layer of several weights may hold dense ones beside sparse ones."""
    sparse = {
        id(each)
        for module in model.modules()
        if isinstance(module, SPARSE)
        for each in module.parameters(recurse=False)
    }
    return {
        name
        for name, weight in model.named_parameters(remove_duplicate=False)
        if weight.dim() > 1 and id(weight) not in sparse
    }


def pack_zeros(
    tensors: Mapping[str, torch.Tensor], weights: Collection[str]
) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors to write and what the metadata say of them.

    Args:
        tensors: a state, on the CPU.
        weights: names of those that may be packed, where they are floats and this saves bytes.
    """
    made: dict[str, torch.Tensor] = {}
    shapes: dict[str, list[int]] = {}
    for name, tensor in tensors.items():
        if name not in weights or tensor.dtype not in SPARSE_DTYPES:
            made[name] = tensor
            continue
        kept, size = tensor != 0, tensor.element_size()
        if int(kept.sum()) * size + -(-tensor.numel() // 8) >= tensor.numel() * size:
            made[name] = tensor
            continue
        made[KEPT + name], made[BITS + name] = tensor[kept], ops.pack_mask(kept)
        shapes[name] = list(tensor.shape)
    return made, {_PACKED: json.dumps(shapes)} if shapes else {}


def unpack_zeros(
    tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str], file: Path
) -> dict[str, torch.Tensor]:
    """The tensors that were packed, as they were.

    Raises:
        ValueError: bits, values and shapes that do not go together; the message names the weight.
    """
    where = f"load: metadata {_PACKED!r} of {file}"
    told = object_of(json_of(metadata, _PACKED, "{}", where), where)
    made = {name: tensor for name, tensor in tensors.items() if not name.startswith((KEPT, BITS))}
    for name, sizes in told.items():
        place = f"{where}: {name!r}"
        shape = [checked(each, int, place) for each in checked(sizes, list, place)]
        if name in made or KEPT + name not in tensors or BITS + name not in tensors:
            raise ValueError(f"{place}: expected {KEPT + name!r} and {BITS + name!r} in place of {name!r}")
        made[name] = _unpacked(tensors[KEPT + name], tensors[BITS + name], shape, place)
    untold = [n for n in tensors if n.startswith((KEPT, BITS)) and n.partition(":")[2] not in told]
    if untold:
        raise ValueError(f"{where}: does not tell the shape of {untold[0].partition(':')[2]!r}")
    return made


def _unpacked(kept: torch.Tensor, bits: torch.Tensor, shape: list[int], where: str) -> torch.Tensor:
    if any(size < 0 for size in shape):
        raise ValueError(f"{where}: expected a shape, got {shape}")
    numel = 1
    for size in shape:
        numel *= size
    if bits.dtype != torch.uint8 or list(bits.shape) != [-(-numel // 8)]:
        raise ValueError(f"{where}: bits: expected uint8 [{-(-numel // 8)}], got {bits.dtype} {list(bits.shape)}")
    mask = ops.unpack_mask(bits, shape)
    if kept.dim() != 1 or not kept.is_floating_point() or kept.numel() != int(mask.sum()):
        raise ValueError(f"{where}: expected {int(mask.sum())} kept values, got {kept.dtype} {list(kept.shape)}")
    tensor = torch.zeros(shape, dtype=kept.dtype)
    tensor[mask] = kept
    return tensor
