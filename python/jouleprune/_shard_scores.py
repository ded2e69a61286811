"""Scores of the shards that lie here: sharded weights are selected together without gathering them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor

from ._ranks import is_sharded, local_part
from .importance import flat_scores, scores_of_one
from .ops import pack_mask, unpack_mask

if TYPE_CHECKING:
    from .importance import Importance

__all__ = ["Shards"]

#: Criteria whose score of a weight depends on that weight alone, and its gradient.
_ALONE = ("magnitude", "gradient", "taylor")


@dataclass(frozen=True)
class Shards:
    """Weights of ``fully_shard`` (DTensors, each process with some of the rows), in the order of their calls."""

    weights: tuple[str, ...]
    parameters: tuple[Any, ...]

    @classmethod
    def of(
        cls, model: torch.nn.Module, weights: Sequence[str], importance: Importance, pattern: str, data: object
    ) -> Shards | None:
        """None where masks need more than a sum over the processes: a criterion that compares the weights of a layer
        ("lamp"), units that cross shards, another way of sharding, or a backend without the CPU."""
        if not weights or importance not in _ALONE or data is not None or pattern != "unstructured":
            return None
        parameters = tuple(model.get_parameter(name) for name in weights)
        return cls(tuple(weights), parameters) if all(_by_rows(each) for each in parameters) else None

    def scores(self, importance: Importance) -> list[Tensor]:
        """Of each weight, the part that lies here: flat, float32, on the CPU."""
        return [
            flat_scores(scores_of_one(importance, name, local_part(each.detach()), _local_gradient(each)))
            for name, each in zip(self.weights, self.parameters, strict=True)
        ]

    def request(self) -> dict[str, Any]:
        """What the planner must know to bring histograms together."""
        mesh = self.parameters[0].device_mesh
        return {"group": mesh.get_group().group_name, "rank": mesh.get_local_rank(), "size": mesh.size()}

    def joined(self, masks: Sequence[Tensor], pruned: Sequence[bool]) -> list[Tensor]:
        """Bits of whole weights from those of the parts here; a collective call for each weight that is pruned."""
        from torch.distributed.tensor import DTensor

        result = []
        for bits, parameter, here in zip(masks, self.parameters, pruned, strict=True):
            if not here:
                result.append(bits)
                continue
            shape = local_part(parameter).shape
            kept = unpack_mask(bits, list(shape)).to(torch.uint8).to(parameter.device)
            whole = DTensor.from_local(
                kept, parameter.device_mesh, parameter.placements, run_check=False, shape=parameter.shape,
                stride=parameter.stride(),
            ).full_tensor()  # fmt: skip
            result.append(pack_mask(whole.cpu().bool()))
        return result


def _by_rows(parameter: Any) -> bool:
    from torch.distributed.tensor import Shard

    if not is_sharded(parameter):
        return False
    mesh = parameter.device_mesh
    devices = getattr(mesh.get_group(), "_device_types", ()) if mesh.ndim == 1 else ()
    on_cpu = any(device.type == "cpu" for device in devices)
    return on_cpu and tuple(parameter.placements) == (Shard(0),) and mesh.size() == dist.get_world_size()


def _local_gradient(parameter: Any) -> Tensor | None:
    return None if parameter.grad is None else local_part(parameter.grad)
