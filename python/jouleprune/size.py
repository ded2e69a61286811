"""Parameters, zeros and bytes of a network, dense, masked or converted."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from .checkpoint import save
from .layers import SPARSE
from .record import unwrapped

__all__ = ["Size", "size_of"]


@dataclass(frozen=True)
class Size:
    """What a network consists of. Sparse layers count as the dense layers they stand for.

    Attributes:
        parameters: trainable or not; one that is used twice counts once.
        nnz: of them, not zero.
        sparsity, density: shares of the parameters that are zero, and that are not.
        pruning_rate: share of zeros among the weights (parameters with two dimensions or more).
        memory_bytes: parameters and buffers as they are held, with what kernels keep of them beside; code that kernels
            generate is not in it.
        dense_bytes: parameters and buffers of the same network without sparse layers.
        compression_rate: dense_bytes / memory_bytes.
        disk_bytes: the file that ``jp.save`` writes; None where it refuses the network.
    """

    parameters: int
    nnz: int
    sparsity: float
    density: float
    pruning_rate: float
    memory_bytes: int
    dense_bytes: int
    compression_rate: float
    disk_bytes: int | None


def size_of(model: nn.Module) -> Size:
    """Counts a network; on meta or fake tensors nothing can be counted."""
    bare = unwrapped(model)
    assert isinstance(bare, nn.Module)
    dense, buffers = _written_densely(bare)
    parameters = sum(parameter.numel() for parameter in dense)
    nnz = sum(int(parameter.count_nonzero()) for parameter in dense)
    weights = [parameter for parameter in dense if parameter.dim() > 1]
    zeros = sum(weight.numel() - int(weight.count_nonzero()) for weight in weights)
    memory, dense_bytes = _bytes([*bare.parameters(), *bare.buffers()]), _bytes([*dense, *buffers])
    return Size(
        parameters=parameters,
        nnz=nnz,
        sparsity=1 - nnz / parameters if parameters > 0 else 0.0,
        density=nnz / parameters if parameters > 0 else 1.0,
        pruning_rate=zeros / max(sum(weight.numel() for weight in weights), 1),
        memory_bytes=memory,
        dense_bytes=dense_bytes,
        compression_rate=dense_bytes / memory if memory > 0 else 1.0,
        disk_bytes=_disk_bytes(bare),
    )


def _written_densely(model: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """Parameters and buffers, each once, with those of the dense twin in place of a sparse layer's."""
    parameters: dict[int, Tensor] = {}
    buffers: dict[int, Tensor] = {}
    seen: set[int] = set()

    def walk(module: nn.Module) -> None:
        if id(module) in seen:
            return
        seen.add(id(module))
        if isinstance(module, SPARSE):
            twin = module.to_dense()
            parameters.update((id(one), one) for one in twin.parameters())
            buffers.update((id(one), one) for one in twin.buffers())
            return
        parameters.update((id(one), one) for one in module._parameters.values() if one is not None)
        buffers.update((id(one), one) for one in module._buffers.values() if one is not None)
        for child in module.children():
            walk(child)

    walk(model)
    return list(parameters.values()), list(buffers.values())


def _bytes(tensors: Iterable[Tensor]) -> int:
    """Of the storages behind them, each once."""
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(storages.values())


def _disk_bytes(model: nn.Module) -> int | None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        try:
            save(model, path)
        except ValueError:
            return None
        return path.stat().st_size
