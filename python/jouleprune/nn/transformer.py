"""torch's Transformer encoder without its fused path, which reads dense weights: so that its layers may be sparse."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .attention import additive

__all__ = ["TransformerEncoder", "TransformerEncoderLayer", "with_fused_path", "without_fused_path"]


class TransformerEncoderLayer(nn.TransformerEncoderLayer):
    """torch.nn.TransformerEncoderLayer that always calls its children.

    ``bytes_between``, where it exists: the feed-forward layers are int8 and hand over bytes (``fuse_bytes.py``).
    """

    def forward(
        self,
        src: Tensor,
        src_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        """As torch.nn.TransformerEncoderLayer's."""
        padding, mask = additive(src_key_padding_mask, src), additive(src_mask, src)
        if self.norm_first:
            src = src + self._sa_block(self.norm1(src), mask, padding, is_causal=is_causal)
            return src + self._ff_block(self.norm2(src))
        src = self.norm1(src + self._sa_block(src, mask, padding, is_causal=is_causal))
        out: Tensor = self.norm2(src + self._ff_block(src))
        return out

    def _ff_block(self, x: Tensor) -> Tensor:
        if hasattr(self, "bytes_between"):
            scale = self.linear2.input_scale
            hidden, scales = self.linear1.to_bytes(x, None, scale, "relu")  # type: ignore[operator]
            x = self.linear2.from_bytes(hidden, scales, x.dtype)  # type: ignore[operator]
        else:
            x = self.linear2(self.dropout(self.activation(self.linear1(x))))
        out: Tensor = self.dropout2(x)
        return out


class TransformerEncoder(nn.TransformerEncoder):
    """torch.nn.TransformerEncoder that always calls its layers on padded tensors."""

    def forward(
        self,
        src: Tensor,
        mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool | None = None,
    ) -> Tensor:
        """As torch.nn.TransformerEncoder's."""
        padding, mask = additive(src_key_padding_mask, src), additive(mask, src)
        causal = is_causal_mask(mask) if is_causal is None else is_causal
        for layer in self.layers:
            src = layer(src, src_mask=mask, is_causal=causal, src_key_padding_mask=padding)
        return src if self.norm is None else self.norm(src)


def is_causal_mask(mask: Tensor | None) -> bool:
    """Whether nobody may look ahead, and nothing else is hidden."""
    if mask is None or mask.dim() != 2 or mask.size(0) != mask.size(1):
        return False
    ahead = torch.triu(torch.full_like(mask, float("-inf")), diagonal=1)
    return bool((mask == ahead).all())


def without_fused_path(module: nn.Module) -> None:
    """Makes a layer or encoder of torch's call its children from now on; other modules stay as they are."""
    if type(module) is nn.TransformerEncoderLayer:
        module.__class__ = TransformerEncoderLayer
    elif type(module) is nn.TransformerEncoder:
        module.__class__ = TransformerEncoder


def with_fused_path(model: nn.Module) -> None:
    """Makes the layers and encoders that :func:`without_fused_path` changed torch's own again."""
    own = {TransformerEncoderLayer: nn.TransformerEncoderLayer, TransformerEncoder: nn.TransformerEncoder}
    for module in model.modules():
        if type(module) in own:
            module.__class__ = own[type(module)]
