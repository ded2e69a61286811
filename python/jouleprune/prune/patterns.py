"""Patterns that kernels exploit, with torch's hooks: n:m, blocks, vectors. Selection: ``csrc/select``."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn

from ..ops import mask_n_of_m, mask_smallest, spread_units, unit_norms
from .amounts import _validate_pruning_amount_init, _validate_structured_pruning, amount_of
from .hooks import BasePruningMethod
from .methods import Hook

__all__ = [
    "BlockStructured",
    "NMStructured",
    "VectorStructured",
    "block_structured",
    "n_m_structured",
    "vector_structured",
]


class NMStructured(BasePruningMethod):
    """Of every m consecutive entries along ``dim`` keeps the n largest of those left; see :func:`n_m_structured`."""

    PRUNING_TYPE = "global"  # sees the whole tensor and its mask

    def __init__(self, n: int, m: int, dim: int | None = None) -> None:
        for name, number in (("n", n), ("m", m), ("dim", 0 if dim is None else dim)):
            if isinstance(number, bool) or not isinstance(number, int):
                raise TypeError(f"{name}: expected a whole number, got {number!r}")
        if m < 1 or not 0 <= n <= m:
            raise ValueError(f"n, m: expected 0 <= n <= m and m of at least 1, got {n}:{m}")
        self.n, self.m, self.dim = n, m, dim

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        # Rows as the planner and the layout nm have them: inputs, of a convolution with their taps.
        rows = t.flatten(1) if self.dim is None and t.dim() > 1 else t
        dim = 1 if self.dim is None else self.dim
        if -rows.dim() <= dim < rows.dim() and self.n < self.m and rows.shape[dim] <= self.n:
            along = "its rows" if self.dim is None else f"dim {self.dim}"
            told = f"keeps {self.n} of each {self.m} along {along} of a tensor of shape {tuple(t.shape)}"
            warnings.warn(f"n_m_structured {told}: nothing goes", UserWarning, stacklevel=2)
        left = (default_mask != 0).view(rows.shape)
        return default_mask * mask_n_of_m(rows, self.n, self.m, dim=dim, left=left).view(t.shape)

    @classmethod
    def apply(  # type: ignore[override]
        cls,
        module: nn.Module,
        name: str,
        n: int,
        m: int,
        dim: int | None = None,
        importance_scores: Tensor | None = None,
    ) -> Hook:
        return super().apply(module, name, n, m, dim, importance_scores=importance_scores)


class BlockStructured(BasePruningMethod):
    """Removes the blocks of least norm; see :func:`block_structured`."""

    PRUNING_TYPE = "global"

    def __init__(self, amount: float, block_size: tuple[int, int], n: float = 1) -> None:
        _validate_pruning_amount_init(amount)
        sizes = tuple(block_size) if isinstance(block_size, list | tuple) else ()
        if len(sizes) != 2 or any(isinstance(size, bool) or not isinstance(size, int) or size < 1 for size in sizes):
            raise ValueError(f"block_size: expected two whole numbers of at least 1, got {block_size!r}")
        if isinstance(n, bool) or not isinstance(n, int | float) or not n > 0:
            raise ValueError(f"n: expected a norm above 0, got {n!r}")
        self.amount, self.block_size, self.n = amount, sizes, n

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        _validate_structured_pruning(t)
        left = default_mask != 0
        found = [
            unit_norms(scores, block_size=self.block_size, norm=self.n, left=there)
            for scores, there in zip(_taps(t), _taps(left), strict=True)
        ]
        # [blocks down, blocks across, taps]: equal blocks stay in the order in which the planner counts them.
        norms, units = (torch.stack(each, -1) for each in zip(*found, strict=True))
        kept = mask_smallest([norms], amount_of(self.amount, int(units.sum())), left=[units])[0]
        masks = [spread_units(tap, t.shape[:2], block_size=self.block_size) for tap in kept.unbind(-1)]
        return default_mask * torch.stack(masks, -1).view(t.shape)

    @classmethod
    def apply(  # type: ignore[override]
        cls,
        module: nn.Module,
        name: str,
        amount: float,
        block_size: tuple[int, int],
        n: float = 1,
        importance_scores: Tensor | None = None,
    ) -> Hook:
        return super().apply(module, name, amount, block_size, n, importance_scores=importance_scores)


def _taps(tensor: Tensor) -> tuple[Tensor, ...]:
    """The matrix [rows, channels] of each tap of a kernel; of a Linear the one that there is."""
    return tensor.reshape(*tensor.shape[:2], -1).unbind(-1)


class VectorStructured(BlockStructured):
    """Removes the vectors of least norm; see :func:`vector_structured`."""

    def __init__(self, amount: float, length: int = 16, n: float = 1) -> None:
        if isinstance(length, bool) or not isinstance(length, int) or length < 1:
            raise ValueError(f"length: expected a whole number of at least 1, got {length!r}")
        super().__init__(amount, (length, 1), n)

    @classmethod
    def apply(  # type: ignore[override]
        cls,
        module: nn.Module,
        name: str,
        amount: float,
        length: int = 16,
        n: float = 1,
        importance_scores: Tensor | None = None,
    ) -> Hook:
        return super(BlockStructured, cls).apply(module, name, amount, length, n, importance_scores=importance_scores)


def n_m_structured(
    module: nn.Module, name: str, n: int, m: int, *, dim: int | None = None, importance_scores: Tensor | None = None
) -> nn.Module:
    """Keeps at most n of every m consecutive entries of ``module.name`` along its rows: the pattern n:m, such as 2:4.

    Args:
        module: holds the parameter.
        name: of the parameter.
        n, m: how many stay of how many, 0 <= n <= m. A last group that is shorter keeps n too.
        dim: along which groups run; unless given along the rows of the weight matrix, as in ``jp.plan`` and the layout
            ``nm``: the inputs of a Linear, of a convolution (grouped or not) the columns of a kernel, then its rows,
            then channels. 1 is the input channels of a convolution.
        importance_scores: shape of the parameter; its magnitudes are compared in place of the parameter's.
    Returns:
        The module, with ``name_orig`` and ``name_mask`` as of :func:`jouleprune.prune.identity`. What earlier pruning
        removed counts as removed: a group loses only what is above n of those left.
    Raises:
        TypeError, ValueError: the pattern, the parameter, or scores of another shape.
        IndexError: a dimension that the parameter lacks.
    """
    NMStructured.apply(module, name, n, m, dim, importance_scores=importance_scores)
    return module


def block_structured(
    module: nn.Module,
    name: str,
    amount: float,
    *,
    block_size: tuple[int, int],
    n: float = 1,
    importance_scores: Tensor | None = None,
) -> nn.Module:
    """Removes whole blocks of ``module.name``, those of least mean L_n norm; of equal ones the first stay.

    Args:
        module, name, importance_scores: as of :func:`n_m_structured`; a parameter of more than two dimensions, the
            weight of a convolution, is seen as a matrix [rows, channels] for each tap of its kernel.
        amount: share in [0.0, 1.0] or count of the blocks of which something is left.
        block_size: (rows, cols) of a block, of a convolution (rows, channels at one tap): the blocks of the pattern
            "RxC" of :func:`jouleprune.plan`, which int8 layers run. Blocks at the edge may be smaller; their norm is a
            mean, so they compare.
        n: norm of a block: (sum |w|^n / entries)^(1/n), or the largest |w| for inf. Above 0.
    Returns:
        The module.
    Raises:
        TypeError, ValueError: ``amount``, ``block_size``, ``n``, a parameter of fewer than two dimensions, scores of
            another shape.
    """
    BlockStructured.apply(module, name, amount, block_size, n, importance_scores=importance_scores)
    return module


def vector_structured(
    module: nn.Module,
    name: str,
    amount: float,
    *,
    length: int = 16,
    n: float = 1,
    importance_scores: Tensor | None = None,
) -> nn.Module:
    """Removes vectors of ``module.name``: ``length`` consecutive outputs that share an input, the blocks (length, 1).

    Args:
        module, name, amount, n, importance_scores: as of :func:`block_structured`.
        length: outputs of a vector.
    Returns:
        The module.
    Raises:
        TypeError, ValueError: as :func:`block_structured`.
    """
    VectorStructured.apply(module, name, amount, length, n, importance_scores=importance_scores)
    return module
