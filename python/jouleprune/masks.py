"""Masks as bits beside the model: they zero weights in place and mask gradients, while the modules stay ordinary."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch.utils.hooks import RemovableHandle

from ._ranks import is_sharded, local_part, shard_of
from .ops import apply_mask_, pack_mask, unpack_mask

__all__ = ["MaskSet"]


class MaskSet:
    """Bit masks by parameter name (uint8, see docs/formats.md); a parameter without a mask is dense."""

    def __init__(self, model: torch.nn.Module) -> None:
        self._model = model
        self.bits: dict[str, torch.Tensor] = {}
        self._hooked: dict[str, tuple[torch.nn.Parameter, RemovableHandle]] = {}
        self._shards: dict[str, torch.Tensor] = {}  # bits of what lies here of sharded parameters

    def replace(self, bits: Mapping[str, torch.Tensor]) -> None:
        """Takes new masks for old; weights that are free again keep their (zero) values."""
        for name in set(self._hooked) - set(bits):
            self._unhook(name)
        self.bits = {name: mask.clone() for name, mask in bits.items()}
        self._shards.clear()
        self.apply(gradients=True)

    @torch.no_grad()
    def apply(self, *, gradients: bool = False) -> None:
        """Zeroes what is pruned in the weights and keeps the hooks in place, which mask gradients as they accumulate.

        Args:
            gradients: also zeroes what is pruned in gradients that came before the masks.
        """
        for name, mask in self.bits.items():
            parameter = self._model.get_parameter(name)
            if mask.device != parameter.device:
                self.bits[name] = mask.to(parameter.device)
            self._hook(name, parameter)
            self._mask(name, parameter)
            if gradients and parameter.grad is not None:
                self._mask(name, parameter.grad)

    def clear(self) -> None:
        """Drops all masks and hooks; zeros stay zeros until something changes them."""
        for name in list(self._hooked):
            self._unhook(name)
        self.bits = {}
        self._shards.clear()

    def _mask(self, name: str, tensor: torch.Tensor) -> None:
        """Zeroes what is pruned in a parameter or its gradient: in the shard of it that lies here."""
        bits = self.bits[name].to(tensor.device)
        if not is_sharded(tensor):
            apply_mask_(tensor, bits)
            return
        if name not in self._shards:
            self._shards[name] = pack_mask(shard_of(unpack_mask(bits, tensor.shape), tensor))
        apply_mask_(local_part(tensor), self._shards[name])

    def _hook(self, name: str, parameter: torch.nn.Parameter) -> None:
        hooked = self._hooked.get(name)
        if hooked is not None and hooked[0] is parameter:
            return
        if hooked is not None:  # the module got another Parameter object, as after .to_empty() or a manual swap
            self._unhook(name)
        if parameter.requires_grad:
            self._hooked[name] = (parameter, parameter.register_post_accumulate_grad_hook(self._gradient_hook(name)))

    def _unhook(self, name: str) -> None:
        _, handle = self._hooked.pop(name)
        handle.remove()

    def _gradient_hook(self, name: str):  # type: ignore[no-untyped-def]
        @torch.no_grad()
        def mask_gradient(parameter: torch.Tensor) -> None:
            if name in self.bits and parameter.grad is not None:
                self._mask(name, parameter.grad)

        return mask_gradient
