"""``SparseMultiheadAttention``: torch.nn.MultiheadAttention with pruned projections."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import torch
from torch import nn

from ._checks import check_dense
from ._matrices import DenseMatrix, Masks, all_weights, check_names, dense_matrices, give, kept, matrix, owned
from .attention_forward import AttentionForward, additive
from .in_projection import DenseInProjection, SparseInProjectionCSR
from .linear import SparseLinearCSR

__all__ = ["SparseMultiheadAttention", "SparseMultiheadAttentionCSR", "additive"]


class SparseMultiheadAttention(nn.Module):
    """torch.nn.MultiheadAttention with pruned projections: the same interface and options.

    The projections are children: ``in_proj_weight`` (or ``q_proj_weight``, ``k_proj_weight`` and ``v_proj_weight`` when
    their widths differ) and ``out_proj``, each with its bias: ``in_proj_weight.values``, ``in_proj_weight.bias``.
    Queries, keys and values of self-attention are one product. Nested tensors are refused.
    """

    __jit_unused_properties__ = ("nnz", "density")

    if TYPE_CHECKING:  # TorchScript would read these strings as types at run time
        embed_dim: int
        kdim: int
        vdim: int
        num_heads: int
        head_dim: int
        dropout: float
        batch_first: bool
        add_zero_attn: bool
        bias_k: nn.Parameter | None
        bias_v: nn.Parameter | None
        in_proj_weight: DenseInProjection | SparseInProjectionCSR
        q_proj_weight: nn.Linear | SparseLinearCSR
        k_proj_weight: nn.Linear | SparseLinearCSR
        v_proj_weight: nn.Linear | SparseLinearCSR
        out_proj: nn.Linear | SparseLinearCSR

    @staticmethod
    def from_dense(
        module: nn.MultiheadAttention, layout: str = "csr", *, mask: Masks | None = None, dense: Collection[str] = ()
    ) -> SparseMultiheadAttention:
        """The sparse twin of ``module``, which is not changed.

        Args:
            module: its zeros are the mask; dtype, device, mode and ``requires_grad`` are kept.
            layout: "csr".
            mask: instead of the zeros: bool tensors by name ("in_proj_weight", "out_proj.weight", ...), True = kept.
            dense: names of weights that stay dense: those that are not pruned run faster so.
        Raises:
            PatternError: another kind of module, or an unknown layout.
            ValueError: a mask of another shape or dtype, names that the module lacks, or weights on the meta device.
            TypeError: weights that are not float32, float64, bfloat16 or float16.
        """
        check_dense("SparseMultiheadAttention", module, nn.MultiheadAttention, layout)
        return SparseMultiheadAttentionCSR(module, mask, dense)

    def to_dense(self) -> nn.MultiheadAttention:
        """A torch.nn.MultiheadAttention with equal outputs; what was pruned is zero in its weights. Nothing is
        shared."""
        layers = dense_matrices(self)
        out = layers.pop("out_proj")
        biases = [layer.bias for layer in layers.values() if layer.bias is not None]
        dense = nn.MultiheadAttention(
            self.embed_dim, self.num_heads, dropout=self.dropout, bias=bool(biases),
            add_bias_kv=self.bias_k is not None, add_zero_attn=self.add_zero_attn, kdim=self.kdim, vdim=self.vdim,
            batch_first=self.batch_first, device=out.weight.device, dtype=out.weight.dtype,
        )  # fmt: skip
        for name, layer in layers.items():
            give(layer.weight, dense.get_parameter(name))
        give(out.weight, dense.out_proj.weight)
        if biases:
            give(torch.cat(tuple(biases)), dense.in_proj_bias)
            give(out.bias, dense.out_proj.bias)
        if self.bias_k is not None and self.bias_v is not None:
            give(self.bias_k, dense.get_parameter("bias_k"))
            give(self.bias_v, dense.get_parameter("bias_v"))
        return dense.train(self.training)

    @property
    def nnz(self) -> int:
        """Kept weights of all projections."""
        return kept(self)

    @property
    def density(self) -> float:
        """Share of kept weights, 0 to 1."""
        return self.nnz / max(1, all_weights(self))

    def extra_repr(self) -> str:
        return (
            f"{self.embed_dim}, {self.num_heads}, dropout={self.dropout}, kdim={self.kdim}, vdim={self.vdim}, "
            f"batch_first={self.batch_first}, nnz={self.nnz}, density={self.density:.4f}"
        )


class SparseMultiheadAttentionCSR(AttentionForward, SparseMultiheadAttention):
    """SparseMultiheadAttention in layout csr; made by :meth:`SparseMultiheadAttention.from_dense`."""

    def __init__(self, module: nn.MultiheadAttention, mask: Masks | None = None, dense: Collection[str] = ()) -> None:
        super().__init__()
        self.called = "SparseMultiheadAttention"
        self.embed_dim, self.kdim, self.vdim = module.embed_dim, module.kdim, module.vdim
        self.num_heads, self.head_dim, self.dropout = module.num_heads, module.head_dim, float(module.dropout)
        self.batch_first, self.add_zero_attn = module.batch_first, module.add_zero_attn
        self.packed = module.in_proj_weight is not None
        projections = ["in_proj_weight"] if self.packed else ["q_proj_weight", "k_proj_weight", "v_proj_weight"]
        check_names("SparseMultiheadAttention", [*projections, "out_proj.weight"], mask, dense)
        masks = mask or {}
        bias = module.in_proj_bias
        for i, name in enumerate(projections):
            third = slice(i * self.embed_dim, (i + 1) * self.embed_dim)
            part = bias if bias is None or self.packed else nn.Parameter(bias.detach()[third], bias.requires_grad)
            child = matrix(
                module.get_parameter(name), part, masks.get(name), dense=name in dense,
                sparse_kind=SparseInProjectionCSR if self.packed else SparseLinearCSR,
                dense_kind=DenseInProjection if self.packed else DenseMatrix,
            )  # fmt: skip
            self.add_module(name, child)
        out = module.out_proj
        self.add_module(
            "out_proj",
            matrix(out.weight, out.bias, masks.get("out_proj.weight"), dense="out_proj.weight" in dense),
        )
        self.bias_k, self.bias_v = owned(module.bias_k), owned(module.bias_v)
        self.in_proj_bias = None  # read by torch's Transformer layers; each projection holds its own
        self.train(module.training)
