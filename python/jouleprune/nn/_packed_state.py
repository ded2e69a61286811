"""Loading the state of a module that holds one packed weight."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["PackedState"]


class PackedState(nn.Module):
    """Loading checks everything first and takes all of the weight, with another number of kept entries if need be, or
    nothing. A part of it is an error even when ``strict=False``: values without their columns mean nothing."""

    def _take_bias(self, dense: Tensor | None) -> None:
        """A copy as parameter ``bias``, or None."""
        copied = None if dense is None else nn.Parameter(dense.detach().clone(), requires_grad=dense.requires_grad)
        self.register_parameter("bias", copied)

    def _fill(self, dense: nn.Linear | nn.Conv1d | nn.Conv2d, weight: Tensor, trained: bool) -> None:
        """Gives ``dense``, of the shape that ``weight`` has, this module's weight, bias and mode."""
        bias = self.bias
        with torch.no_grad():
            dense.weight.copy_(weight)
            if isinstance(bias, Tensor) and dense.bias is not None:
                dense.bias.copy_(bias).requires_grad_(bias.requires_grad)
        dense.weight.requires_grad_(trained)
        dense.train(self.training)

    def _state_names(self) -> tuple[str, ...]:
        """Tensors that mean something only together."""
        raise NotImplementedError

    def _counted_names(self) -> tuple[str, ...]:
        """Those whose first size is the number of what is kept."""
        raise NotImplementedError

    def _probe(self, state: Mapping[str, Tensor]) -> None:
        """Runs the op on an empty batch: computes nothing, but raises what the op has against these tensors, which lie
        on the CPU."""
        raise NotImplementedError

    def _loaded(self) -> None:
        """Makes anew what is derived from the state."""

    def _load_from_state_dict(
        self,
        state_dict: Mapping[str, Any],
        prefix: str,
        local_metadata: Any,
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        names = self._state_names()
        found = {name: state_dict[prefix + name] for name in names if prefix + name in state_dict}
        if found:
            defect = self._defect(found)
            if defect:
                error_msgs.append(f"{prefix.rstrip('.') or type(self).__name__}: {defect}")
                return
            for name in self._counted_names():
                self._resize(name, found[name].shape)
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )
        if found:
            self._loaded()

    def _defect(self, found: Mapping[str, Any]) -> str:
        """Empty, or why these tensors cannot be this module's state."""
        names = self._state_names()
        missing = [name for name in names if name not in found]
        if missing:
            return f"expected {', '.join(names)} together, found no {', '.join(missing)}"
        for name, value in found.items():
            if not isinstance(value, Tensor):
                return f"{name}: expected a tensor, got {type(value).__name__}"
            mine: Tensor = getattr(self, name)
            if value.dtype != mine.dtype:
                return f"{name}: expected {mine.dtype}, got {value.dtype}"
            fixed = 1 if name in self._counted_names() else 0
            if value.dim() != mine.dim() or value.shape[fixed:] != mine.shape[fixed:]:
                sizes = ["kept"] * fixed + [str(size) for size in mine.shape[fixed:]]
                return f"{name}: expected [{', '.join(sizes)}], got {list(value.shape)}"
        try:
            self._probe({name: value.detach().cpu() for name, value in found.items()})
        except (ValueError, TypeError) as error:
            return str(error)
        return ""

    def _resize(self, name: str, shape: torch.Size) -> None:
        tensor: Tensor = getattr(self, name)
        if tensor.shape == shape:
            return
        empty = tensor.detach().new_empty(shape)
        if isinstance(tensor, nn.Parameter):
            with torch.no_grad():  # the Parameter stays the same object
                tensor.data = empty
                tensor.grad = None
        else:
            setattr(self, name, empty)
