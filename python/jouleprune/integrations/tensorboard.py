"""Curves of pruning in TensorBoard."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..pruner import Pruner

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

__all__ = ["log_pruner"]


def log_pruner(writer: SummaryWriter, pruner: Pruner, step: int, *, prefix: str = "jouleprune") -> None:
    """Writes joules per count and the density of each layer at a step, and the plan as text when it is final.

    Args:
        writer: of ``torch.utils.tensorboard``, or anything with ``add_scalar`` and ``add_text``.
        prefix: of all tags: ``<prefix>/energy_j``, ``<prefix>/budget_j``, ``<prefix>/density/<layer>``,
            ``<prefix>/plan``.
    """
    writer.add_scalar(f"{prefix}/energy_j", pruner.energy_j, step)
    writer.add_scalar(f"{prefix}/budget_j", pruner.budget_j, step)
    if pruner.energy_j == pruner.dense_j and not pruner.done:
        return  # nothing was pruned yet
    for layer in pruner.plan.layers:
        writer.add_scalar(f"{prefix}/density/{layer.name}", layer.density, step)
    if pruner.done:
        writer.add_text(f"{prefix}/plan", f"```\n{pruner.plan}\n```", step)
