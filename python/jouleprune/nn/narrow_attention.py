"""``NarrowMultiheadAttention``: attention with fewer heads than its embedding has room for."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..errors import PatternError
from ._matrices import owned
from .attention import SparseMultiheadAttentionCSR
from .attention_forward import AttentionForward

__all__ = ["NarrowMultiheadAttention"]


class NarrowMultiheadAttention(AttentionForward):
    """torch.nn.MultiheadAttention of which only some heads are left: dense, smaller, with the same interface.

    torch's own module needs ``num_heads * head_dim == embed_dim``. Here the projections have ``num_heads * head_dim``
    rows of queries, of keys and of values, and ``out_proj`` as many columns. The outputs equal those of the module with
    all heads when ``out_proj`` has zeros for the absent ones.

    Args:
        module: the attention with all heads; not changed.
        heads: numbers of the heads that stay, in their new order.
    Raises:
        PatternError: ``module`` is no torch.nn.MultiheadAttention.
        ValueError: no heads, one twice, or one that the module lacks.
    """

    def __init__(self, module: nn.MultiheadAttention, heads: Sequence[int]) -> None:
        if type(module) is not nn.MultiheadAttention:
            raise PatternError(
                f"NarrowMultiheadAttention: expected a torch.nn.MultiheadAttention, got {type(module).__name__}"
            )
        stay = list(heads)
        if not stay or len(set(stay)) != len(stay) or not all(0 <= head < module.num_heads for head in stay):
            raise ValueError(f"heads: expected some of 0..{module.num_heads - 1}, each once, got {stay}")
        projections = ["in_proj_weight"] if module.in_proj_weight is not None else [
            "q_proj_weight", "k_proj_weight", "v_proj_weight",
        ]  # fmt: skip
        super().__init__()
        whole = SparseMultiheadAttentionCSR(module, dense=[*projections, "out_proj.weight"])  # the same, in children
        self.called, self.packed, self.num_heads = "NarrowMultiheadAttention", whole.packed, len(stay)
        self.embed_dim, self.kdim, self.vdim = whole.embed_dim, whole.kdim, whole.vdim
        self.head_dim, self.dropout = whole.head_dim, whole.dropout
        self.batch_first, self.add_zero_attn = whole.batch_first, whole.add_zero_attn
        for name, child in whole.named_children():
            self.add_module(name, child)
        self.in_proj_bias = None  # read by torch's Transformer layers; each projection holds its own
        rows = head_rows(stay, self.head_dim)
        for name in projections:
            child = self.get_submodule(name)
            assert isinstance(child, nn.Linear)
            thirds = 3 if self.packed else 1
            _keep_rows(child, torch.cat([rows + third * self.embed_dim for third in range(thirds)]))
        out = self.get_submodule("out_proj")
        assert isinstance(out, nn.Linear)
        out.weight = nn.Parameter(out.weight.detach()[:, rows].clone(), out.weight.requires_grad)
        out.in_features = len(rows)
        self.bias_k, self.bias_v = _narrowed(whole.bias_k, rows), _narrowed(whole.bias_v, rows)
        self.train(module.training)

    def extra_repr(self) -> str:
        return f"{self.embed_dim}, {self.num_heads} heads of {self.head_dim}, batch_first={self.batch_first}"


def head_rows(heads: Sequence[int], head_dim: int) -> Tensor:
    """int64 [heads * head_dim]: rows of a projection that belong to the heads, in their order."""
    return torch.tensor([head * head_dim + row for head in heads for row in range(head_dim)], dtype=torch.int64)


def _keep_rows(layer: nn.Linear, rows: Tensor) -> None:
    layer.weight = nn.Parameter(layer.weight.detach()[rows].clone(), layer.weight.requires_grad)
    if layer.bias is not None:
        layer.bias = nn.Parameter(layer.bias.detach()[rows].clone(), layer.bias.requires_grad)
    layer.out_features = len(rows)


def _narrowed(bias: nn.Parameter | None, rows: Tensor) -> nn.Parameter | None:
    return None if bias is None else owned(nn.Parameter(bias.detach()[..., rows], bias.requires_grad))
