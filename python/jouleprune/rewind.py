"""Lottery tickets: kept weights go back to what they were at an earlier step."""

from __future__ import annotations

import torch

from .pruner import Pruner
from .selection import plain_module

__all__ = ["Rewind"]


class Rewind:
    """A copy of all parameters and buffers of ``model``, taken now (at step 0, or k).

    :meth:`rewind` brings them back under the masks of a pruner: kept weights have the values of then, removed ones
    are zero. The optimizer's state belongs to the weights that are gone: make a new optimizer.
    Sources: Frankle and Carbin, The Lottery Ticket Hypothesis, ICLR 2019 (step 0); Frankle et al., Linear Mode
    Connectivity and the Lottery Ticket Hypothesis, ICML 2020 (step k).
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self._model = plain_module(model)
        self._state = {name: value.detach().clone() for name, value in self._model.state_dict().items()}

    @torch.no_grad()
    def rewind(self, pruner: Pruner | None = None) -> None:
        """Back to the copy; with a pruner of the same model its masks hold.

        Raises:
            ValueError: the pruner prunes another model.
        """
        if pruner is not None and not pruner.prunes(self._model):
            raise ValueError("pruner: expected one of the model that the copy was taken of")
        self._model.load_state_dict(self._state)
        if pruner is not None:
            pruner.keep()
