"""Attention on projections that are modules: what sparse attention and attention with fewer heads run."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from .in_projection import DenseInProjection, SparseInProjectionCSR
    from .linear import SparseLinearCSR

__all__ = ["AttentionForward", "additive"]


class AttentionForward(nn.Module):
    """The forward of torch.nn.MultiheadAttention on children ``in_proj_weight`` (or ``q_proj_weight``,
    ``k_proj_weight``, ``v_proj_weight``) and ``out_proj``, of ``num_heads`` heads of ``head_dim``.

    The order of operations is torch's, so that outputs and joules are comparable to the last digit.
    """

    #: torch's Transformer layers read these to choose a fused path that needs dense weights: not this one.
    __constants__ = ("_qkv_same_embed_dim", "called", "packed")
    _qkv_same_embed_dim = False

    if TYPE_CHECKING:  # TorchScript would read these strings as types at run time
        called: str
        embed_dim: int
        num_heads: int
        head_dim: int
        dropout: float
        batch_first: bool
        add_zero_attn: bool
        packed: bool
        bias_k: nn.Parameter | None
        bias_v: nn.Parameter | None
        in_proj_weight: DenseInProjection | SparseInProjectionCSR
        q_proj_weight: nn.Linear | SparseLinearCSR
        k_proj_weight: nn.Linear | SparseLinearCSR
        v_proj_weight: nn.Linear | SparseLinearCSR
        out_proj: nn.Linear | SparseLinearCSR

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """As torch.nn.MultiheadAttention's."""
        if query.is_nested or key.is_nested or value.is_nested:
            raise ValueError(f"{self.called}: query, key, value: expected padded tensors, got nested ones")
        if is_causal and attn_mask is None:
            raise ValueError(f"{self.called}: attn_mask: expected one beside the hint is_causal, got None")
        batched = query.dim() == 3
        query, key, value = self._lengths_first(query, key, value)
        padding = additive(key_padding_mask, query)
        if padding is not None and not batched:
            padding = padding.unsqueeze(0)
        mask = additive(attn_mask, query)
        if is_causal and padding is None and not need_weights:
            mask = None  # the kernel masks by itself
        elif padding is not None:
            is_causal = False  # the merged mask is no longer causal
        q, k, v = self._projected(query, key, value)
        mask = self._checked(mask, query, key)
        out, weights = self._attend(q, k, v, mask, padding, need_weights, is_causal)
        out = self.out_proj(out).view(query.size(0), query.size(1), self.embed_dim)
        if weights is not None:
            weights = weights.mean(dim=1) if average_attn_weights else weights
        if not batched:
            return out.squeeze(1), None if weights is None else weights.squeeze(0)
        return out.transpose(1, 0) if self.batch_first else out, weights

    def _lengths_first(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[length, n, features]; what was one tensor stays one."""
        if query.dim() == 3 and not self.batch_first:
            return query, key, value
        one, pair = query is key and key is value, key is value
        if query.dim() == 3:
            query = query.transpose(1, 0)
            key = query if one else key.transpose(1, 0)
            return query, key, key if pair else value.transpose(1, 0)
        if query.dim() != 2 or key.dim() != 2 or value.dim() != 2:
            raise ValueError(
                f"{self.called}: query, key, value: expected [length, n, features] or [length, features] "
                f"alike, got {query.dim()}-d, {key.dim()}-d and {value.dim()}-d"
            )
        query = query.unsqueeze(1)
        key = query if one else key.unsqueeze(1)
        return query, key, key if pair else value.unsqueeze(1)

    def _projected(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if hasattr(self, "in_proj_weight"):
            if key is value and query is key:
                parts = thirds(self.in_proj_weight(query), 3)
                return parts[0], parts[1], parts[2]
            if key is value:
                q = self.in_proj_weight.part(query, 0, 1)
                parts = thirds(self.in_proj_weight.part(key, 1, 3), 2)
                return q, parts[0], parts[1]
            return (
                self.in_proj_weight.part(query, 0, 1),
                self.in_proj_weight.part(key, 1, 2),
                self.in_proj_weight.part(value, 2, 3),
            )
        else:
            return self.q_proj_weight(query), self.k_proj_weight(key), self.v_proj_weight(value)

    def _checked(self, mask: Tensor | None, query: Tensor, key: Tensor) -> Tensor | None:
        """[1 or n x heads, queries, keys]"""
        if mask is None:
            return None
        shape = [query.size(0), key.size(0)]
        full = [query.size(1) * self.num_heads, query.size(0), key.size(0)]
        if list(mask.shape) != shape and list(mask.shape) != full:
            raise ValueError(f"{self.called}: attn_mask: expected {shape} or {full}, got {list(mask.shape)}")
        return mask.unsqueeze(0) if mask.dim() == 2 else mask

    def _attend(
        self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, padding: Tensor | None, need_weights: bool,
        is_causal: bool,
    ) -> tuple[Tensor, Tensor | None]:  # fmt: skip
        """[queries x n, embed_dim], and the weights [n, heads, queries, keys] if needed."""
        length, n, heads = q.size(0), q.size(1), self.num_heads
        bias_k, bias_v = self.bias_k, self.bias_v
        if bias_k is not None and bias_v is not None:
            k = torch.cat([k, bias_k.repeat(1, n, 1)])
            v = torch.cat([v, bias_v.repeat(1, n, 1)])
            mask, padding = widened(mask), widened(padding)
        q = q.view(length, n * heads, self.head_dim).transpose(0, 1)
        k = k.view(k.size(0), n * heads, self.head_dim).transpose(0, 1)
        v = v.view(v.size(0), n * heads, self.head_dim).transpose(0, 1)
        if self.add_zero_attn:
            zeros = torch.zeros([n * heads, 1, self.head_dim], dtype=k.dtype, device=k.device)
            k, v = torch.cat([k, zeros], dim=1), torch.cat([v, zeros], dim=1)
            mask, padding = widened(mask), widened(padding)
        keys = k.size(1)
        if padding is not None:
            padding = padding.view(n, 1, 1, keys).expand(-1, heads, -1, -1).reshape(n * heads, 1, keys)
            mask = padding if mask is None else mask + padding
        dropout = self.dropout if self.training else 0.0
        if need_weights:
            scaled = q * math.sqrt(1.0 / float(self.head_dim))
            if mask is None:
                weights = torch.bmm(scaled, k.transpose(-2, -1))
            else:
                weights = torch.baddbmm(mask, scaled, k.transpose(-2, -1))
            weights = F.softmax(weights, dim=-1)
            if dropout > 0.0:
                weights = F.dropout(weights, p=dropout)
            out = torch.bmm(weights, v).transpose(0, 1).reshape(length * n, heads * self.head_dim)
            return out, weights.view(n, heads, length, keys)
        if mask is not None:
            mask = mask.unsqueeze(0) if mask.size(0) == 1 else mask.view(n, heads, -1, keys)
        out = F.scaled_dot_product_attention(
            q.view(n, heads, length, self.head_dim), k.view(n, heads, keys, self.head_dim),
            v.view(n, heads, keys, self.head_dim), mask, dropout, is_causal,
        )  # fmt: skip
        return out.permute(2, 0, 1, 3).reshape(n * length, heads * self.head_dim), None


def additive(mask: Tensor | None, like: Tensor) -> Tensor | None:
    """-inf where a bool mask is True; a float mask as it is."""
    if mask is None or mask.is_floating_point():
        return mask
    if mask.dtype != torch.bool:
        raise ValueError(f"MultiheadAttention: expected bool or floating-point masks, got {mask.dtype}")
    return torch.zeros_like(mask, dtype=like.dtype).masked_fill_(mask, float("-inf"))


def thirds(projected: Tensor, count: int) -> Tensor:
    """[length, n, count x features] -> [count, length, n, features]"""
    parts: Tensor = projected.unflatten(-1, (count, projected.size(-1) // count))
    return parts.unsqueeze(0).transpose(0, -2).squeeze(-2).contiguous()


def widened(mask: Tensor | None) -> Tensor | None:
    """One more key, which no mask hides."""
    return None if mask is None else F.pad(mask, (0, 1))
