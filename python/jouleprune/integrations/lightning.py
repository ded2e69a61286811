"""Pruning to a joule budget in ``lightning.Trainer.fit``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from ..energy import Profile
from ..pruner import Pruner
from ._common import LatePruner

__all__ = ["PrunerCallback"]


class PrunerCallback(Callback):
    """A :class:`jouleprune.Pruner` of the trained module: one step of its schedule after each optimizer step.

    Accumulated gradients count once, precision plugins and DDP work as in any loop, and checkpoints of the trainer hold
    the pruner's state. ``energy_j`` is logged at each step unless ``log=False``.

    Args:
        example_inputs, energy, profile, options: as of :class:`jouleprune.Pruner`, for the module's ``forward``.
        log: whether to log joules per inference, modelled.
    Raises:
        BudgetError, ValueError, TypeError: an argument, here or when training begins.
    """

    def __init__(
        self,
        example_inputs: Any,
        *,
        energy: str | float,
        profile: Profile | str | Mapping[str, Any],
        log: bool = True,
        **options: Any,
    ) -> None:
        super().__init__()
        self._late = LatePruner("PrunerCallback", example_inputs, energy, profile, options)
        self._log, self._seen = log, 0

    @property
    def pruner(self) -> Pruner:
        """Made when training begins; ``ValueError`` before."""
        return self._late.made

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        wrapped = trainer.strategy.model  # by DDP, where there are several processes
        self._late.begin(pl_module if wrapped is None else wrapped, restore_rng=False)
        self._seen = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step == self._seen:  # gradients accumulate
            return
        self._seen = trainer.global_step
        self.pruner.step()
        if self._log:
            pl_module.log("energy_j", self.pruner.energy_j)

    def state_dict(self) -> dict[str, Any]:
        return self._late.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._late.load_state_dict(state_dict)
