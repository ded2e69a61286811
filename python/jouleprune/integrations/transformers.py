"""Pruning to a joule budget in ``transformers.Trainer.train``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ..energy import Profile
from ..pruner import Pruner
from ._common import LatePruner

__all__ = ["PrunerCallback"]

#: In each checkpoint folder of the trainer.
_FILE = "jouleprune.pt"


class PrunerCallback(TrainerCallback):
    """A :class:`jouleprune.Pruner` of the trained model: one step of its schedule after each optimizer step.

    Checkpoint folders get the pruner's state (``jouleprune.pt``), which ``train(resume_from_checkpoint=...)`` takes up.
    What the trainer logs holds ``energy_j``, joules per inference, modelled.

    Args:
        example_inputs, energy, profile, options: as of :class:`jouleprune.Pruner`; inputs are a dict of the model's
            keyword arguments, as a tokenizer makes them.
    Raises:
        BudgetError, ValueError, TypeError: an argument, here or when training begins.
    """

    def __init__(
        self,
        example_inputs: Any,
        *,
        energy: str | float,
        profile: Profile | str | Mapping[str, Any],
        **options: Any,
    ) -> None:
        if isinstance(example_inputs, Mapping):
            example_inputs = dict(example_inputs)  # of a BatchEncoding
        self._late = LatePruner("PrunerCallback", example_inputs, energy, profile, options)

    @property
    def pruner(self) -> Pruner:
        """Made when training begins; ``ValueError`` before."""
        return self._late.made

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.global_step > 0:
            path = _folder(args, state) / _FILE
            if not path.is_file():
                raise ValueError(f"PrunerCallback: expected the pruner's state of step {state.global_step} in {path}")
            self._late.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        self._late.begin(kwargs["model"], restore_rng=False)  # the trainer restores generators itself

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.pruner.step()

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if not state.is_world_process_zero:
            return
        folder = _folder(args, state)
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(self._late.state_dict(), folder / f"{_FILE}.new")
        os.replace(folder / f"{_FILE}.new", folder / _FILE)

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        logs = kwargs.get("logs")
        if logs is not None:
            logs["energy_j"] = self.pruner.energy_j
            if state.log_history:
                state.log_history[-1]["energy_j"] = self.pruner.energy_j


def _folder(args: TrainingArguments, state: TrainerState) -> Path:
    return Path(str(args.output_dir), f"checkpoint-{state.global_step}")
