"""What the callbacks share: a Pruner that is made when training begins, and its state until then."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.utils import _pytree

from .._pruner_checks import check_options
from ..energy import Profile
from ..errors import BudgetError
from ..pruner import Pruner

__all__ = ["LatePruner"]


class LatePruner:
    """Arguments of a Pruner for a model that comes later."""

    def __init__(
        self,
        where: str,
        example_inputs: Any,
        energy: str | float,
        profile: Profile | str | Mapping[str, Any],
        options: Mapping[str, Any],
    ) -> None:
        check_options(where, options, Pruner, ("plan",))
        if energy is None:
            raise BudgetError('energy: expected "N%" or joules, got None')
        self._where, self._example_inputs = where, example_inputs
        self._arguments = {"energy": energy, "profile": profile, **options}
        self._made: Pruner | None = None
        self._state: Mapping[str, Any] | None = None

    @property
    def made(self) -> Pruner:
        """The pruner.

        Raises:
            ValueError: training has not begun.
        """
        if self._made is None:
            raise ValueError(f"{self._where}.pruner: made when training begins")
        return self._made

    def begin(self, model: torch.nn.Module, *, restore_rng: bool) -> Pruner:
        """Makes the pruner of ``model``, and takes up a state that came before; of a model that it prunes already it
        goes on."""
        if self._made is None or not self._made.prunes(model):
            device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
            inputs = _pytree.tree_map_only(torch.Tensor, lambda tensor: tensor.to(device), self._example_inputs)
            self._made = Pruner(model, inputs, **self._arguments)
        if self._state is not None:
            self._made.load_state_dict(self._state, restore_rng=restore_rng)
            self._state = None
        return self._made

    def state_dict(self) -> dict[str, Any]:
        """Of the pruner; empty before it was made."""
        return dict(self._state or {}) if self._made is None else self._made.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Kept until training begins."""
        self._state = state or None
