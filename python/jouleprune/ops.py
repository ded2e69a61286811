"""Typed wrappers of the ops.

The ops themselves are ``torch.ops.jouleprune.<name>``: functional, registered in C++ with autograd and autocast, so
they run from eager code, TorchScript, exported programs and LibTorch alike; their fakes are in ``_fakes.py``. A
scripted function calls ``torch.ops.jouleprune.linear_csr(...)`` with every argument given, as the modules in
``jouleprune.nn`` do.

Layout csr of a weight ``[rows, cols]`` (a convolution's weight is seen as ``[out_channels, in_channels / groups * kh *
kw]``) travels as named plain tensors, drawn in ``docs/formats.md``:

- ``values`` [nnz]: float32, float64, bfloat16 or float16; rows ascending, columns ascending in a row
- ``col_indices`` [nnz]: int32, in [0, cols)
- ``row_offsets`` [rows + 1]: int32, first 0, last nnz
- ``key`` [2]: int64, content key of the structure; it covers ``cols`` too, and may stay on the CPU

Layout bsr of a weight ``[rows, cols]`` keeps blocks of r x c entries ("vector": c = 1):

- ``blocks`` [blocks, r, c]: the same dtypes; block rows ascending, block columns ascending in a block row. What reaches
  beyond the weight, where r or c does not divide it, is padding that is not looked at
- ``block_columns`` [blocks]: int32, in [0, ceil(cols / c))
- ``block_row_offsets`` [ceil(rows / r) + 1]: int32, first 0, last ``blocks``
- ``key`` [2]: int64, content key of the structure; it covers rows, cols, r and c

Layout bsr in int8 keeps blocks of four neighbouring inputs ("1x4") of a row, with one scale per row:

- ``blocks`` [nb, 1, 4]: int8; rows ascending, columns ascending in a row; weight = block * scale of its row
- ``block_columns`` [nb]: int32, in [0, ceil(cols / 4)); what a block holds beyond the last column counts as zero
- ``block_row_offsets`` [rows + 1]: int32, first 0, last nb
- ``key`` [2]: int64, content key of that structure
- ``scales`` [rows]: float32

A convolution's weight [out_channels, channels, kh, kw] (channels = in_channels / groups) is seen as [out_channels, kh *
kw * channels], channels filled up with zeros to a multiple of four: a block is four neighbouring channels at one tap.
``weight.permute(0, 2, 3, 1)``, padded, is what :func:`pack_bsr_int8` takes.

Layout nm of a weight ``[rows, cols]`` keeps n of each m neighbouring inputs of a row (``docs/formats.md``):

- ``values`` [rows, kept]: as of csr, groups ascending; kept = cols // m * n + min(n, cols % m)
- ``indices`` [rows, kept]: uint8, the place within the group, ascending in a group
- ``key`` [2]: int64, content key of the structure; it covers rows, cols, n and m

The structure is checked in full when its storage is first seen (and again after a change in place), not on each call.

Errors: ``ValueError`` for shapes, sizes, names, devices and unsound structures, ``TypeError`` for dtypes. Each names
the op, the argument, what was expected and what came.

``torch.vmap``: the ``linear_*`` and ``conv2d_*`` ops over the input alone (the mapped dimension joins the batch); over
weights it is refused, and so are forward-mode derivatives. ``torch.func.grad`` and its relatives refuse C++ autograd;
use ``torch.autograd``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ._criteria_ops import (
    add_hessian_,
    alps,
    benjamini_hochberg,
    f_test,
    fpgm_importance,
    input_importance,
    mask_threshold,
    norm_importance,
    random_importance,
    refit,
    shrink_units_,
    sparsegpt,
    t_test,
)
from ._fakes import FAKES, VMAPS
from ._ops_bytes import conv2d_bsr_int8_to_bytes, linear_bsr_int8_to_bytes, quantize_bytes
from ._ops_chain import linear_csr_chain
from ._ops_conv_bsr import conv2d_bsr
from ._ops_nm import linear_nm, pack_nm, unpack_nm
from ._unit_ops import mask_n_of_m, mask_smallest, spread_units, unit_norms

__all__ = [
    "add_hessian_",
    "alps",
    "apply_mask_",
    "benjamini_hochberg",
    "conv2d_bsr",
    "conv2d_bsr_int8",
    "conv2d_bsr_int8_to_bytes",
    "conv2d_csr",
    "f_test",
    "fpgm_importance",
    "importance",
    "input_importance",
    "linear_bsr",
    "linear_bsr_int8",
    "linear_bsr_int8_to_bytes",
    "linear_csr",
    "linear_csr_chain",
    "linear_nm",
    "mask_n_of_m",
    "mask_smallest",
    "mask_threshold",
    "norm_importance",
    "pack_bsr",
    "pack_bsr_int8",
    "pack_csr",
    "pack_mask",
    "pack_nm",
    "prepack_bsr",
    "prepack_csr",
    "quantize_bytes",
    "random_importance",
    "refit",
    "shrink_units_",
    "sparsegpt",
    "spread_units",
    "t_test",
    "unit_norms",
    "unpack_bsr",
    "unpack_bsr_int8",
    "unpack_csr",
    "unpack_mask",
    "unpack_nm",
]

_ops = torch.ops.jouleprune

for _name, _fake in FAKES.items():
    torch.library.register_fake(f"jouleprune::{_name}", _fake)
for _name, _rule in VMAPS.items():
    torch.library.register_vmap(f"jouleprune::{_name}", _rule)


def pack_csr(weight: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Packs a dense weight into layout csr.

    Args:
        weight: [rows, ...], at least 2-d, flattened to [rows, cols]; float32, float64, bfloat16 or float16. At most
            2^31 - 1 rows, columns and kept entries.
        mask: bool of the weight's shape and device, True = kept. Without one every non-zero is kept: -0.0 is a zero,
            NaN is kept. With one, kept entries may hold zeros.
    Returns:
        (values, col_indices, row_offsets, key) in canonical order, on the weight's device.
    Raises:
        TypeError: dtype of weight or mask.
        ValueError: shapes or devices disagree, or there are too many entries.
    Not differentiable. The number of kept entries depends on the data: in a compiled or exported program it is a new
    symbolic size.
    """
    packed: tuple[Tensor, Tensor, Tensor, Tensor] = _ops.pack_csr(weight, mask)
    return packed


def unpack_csr(values: Tensor, col_indices: Tensor, row_offsets: Tensor, cols: int) -> Tensor:
    """The dense weight [rows, cols] of ``values`` [nnz], ``col_indices`` [nnz] and ``row_offsets`` [rows + 1].

    Args:
        cols: columns of the weight, at least 0.
    Returns:
        [rows, cols], dtype and device of ``values``; removed entries are 0.
    Raises:
        TypeError: a dtype.
        ValueError: shapes or devices disagree, or the structure is unsound (checked on each call).
    Differentiable in ``values``.
    """
    dense: Tensor = _ops.unpack_csr(values, col_indices, row_offsets, cols)
    return dense


def prepack_csr(values: Tensor, col_indices: Tensor, row_offsets: Tensor, cols: int) -> Tensor:
    """An order of the structure that suits the kernels of this machine. Never saved: made anew where it is loaded.

    Returns:
        int32, on the structure's device; [0] where the canonical order serves as well.
    Raises:
        As :func:`unpack_csr`.
    """
    order: Tensor = _ops.prepack_csr(values, col_indices, row_offsets, cols)
    return order


def linear_csr(
    input: Tensor,
    values: Tensor,
    col_indices: Tensor,
    row_offsets: Tensor,
    key: Tensor,
    bias: Tensor | None = None,
    *,
    in_features: int,
    prepacked: Tensor | None = None,
    activation: str = "none",
    residual: Tensor | None = None,
) -> Tensor:
    """``activation(input @ W.T + bias + residual)`` for a weight W [rows, in_features] in layout csr.

    Args:
        input: [..., in_features]; any leading dimensions (none, or of size 0) and strides.
        values: [nnz], dtype and device of ``input``.
        col_indices: [nnz], int32.
        row_offsets: [rows + 1], int32.
        key: [2], int64, as :func:`pack_csr` made it.
        bias: [rows], dtype and device of ``input``.
        in_features: columns of the weight.
        prepacked: from :func:`prepack_csr`.
        activation: "none", "relu", "gelu" or "silu".
        residual: [..., rows], the sizes, dtype and device of the result; added to the sums once these are rounded.
    Returns:
        [..., rows], contiguous. 16-bit dtypes are summed in float32; results are bit-equal for any number of threads.
    Raises:
        TypeError: a dtype.
        ValueError: shapes or devices disagree, the structure is unsound, or the key belongs to another one.
    Differentiable once in ``input``, ``values`` (kept entries only), ``bias`` and ``residual``. Unlike in a dense
    product, a removed weight never multiplies: NaN and infinity in the inputs it would have met do not show. Under
    autocast it runs in the lower precision, as ``torch.nn.functional.linear`` does.
    """
    out: Tensor = _ops.linear_csr(
        input, values, col_indices, row_offsets, key, prepacked, bias, in_features, activation, residual
    )
    return out


def conv2d_csr(
    input: Tensor,
    values: Tensor,
    col_indices: Tensor,
    row_offsets: Tensor,
    key: Tensor,
    bias: Tensor | None = None,
    *,
    in_channels: int,
    kernel_size: Sequence[int],
    stride: Sequence[int] = (1, 1),
    padding: Sequence[int] = (0, 0),
    dilation: Sequence[int] = (1, 1),
    groups: int = 1,
    prepacked: Tensor | None = None,
    activation: str = "none",
    residual: Tensor | None = None,
) -> Tensor:
    """``activation(conv2d(input, W) + bias + residual)``, zero-padded, W [rows, in_channels / groups * kh * kw] in csr.

    Args:
        input: [n, in_channels, h, w], contiguous, channels_last or any other strides.
        values, col_indices, row_offsets, key, bias, prepacked, activation, residual: as in :func:`linear_csr`; the
            columns of the weight are its [in_channels / groups, kh, kw], flattened.
        in_channels: a multiple of ``groups``.
        kernel_size: (kh, kw).
        stride, padding, dilation: (vertical, horizontal), at least (1, 1), (0, 0), (1, 1).
        groups: divides ``in_channels`` and ``rows``.
    Returns:
        [n, rows, out_h, out_w] with out = (size + 2 padding - dilation (k - 1) - 1) // stride + 1; channels_last when
        the input is, else contiguous.
    Raises:
        TypeError, ValueError: as :func:`linear_csr`; also when the padded input is smaller than the dilated kernel.
    Differentiable as :func:`linear_csr`.
    """
    out: Tensor = _ops.conv2d_csr(
        input, values, col_indices, row_offsets, key, prepacked, bias, in_channels,
        list(kernel_size), list(stride), list(padding), list(dilation), groups, activation, residual,
    )  # fmt: skip
    return out


def pack_bsr_int8(weight: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Quantises a dense weight to int8 with one scale per row, and packs it into blocks of 1 x 4.

    Args:
        weight: [rows, ...], at least 2-d, flattened to [rows, cols]; float32, float64, bfloat16 or float16.
        mask: bool of the weight's shape and device, True = kept; without one every non-zero is kept. A block is kept
            if any of its four weights is; the others in it are zeros.
    Returns:
        (blocks, block_columns, block_row_offsets, key, scales). The scale of a row is its largest kept magnitude / 127
        (1 for a row without any); values are rounded to nearest, ties to even.
    Raises:
        TypeError: dtype of weight or mask.
        ValueError: shapes or devices disagree, or a kept weight is NaN or infinite.
    Not differentiable. CPU only.
    """
    packed: tuple[Tensor, Tensor, Tensor, Tensor, Tensor] = _ops.pack_bsr_int8(weight, mask)
    return packed


def unpack_bsr_int8(
    blocks: Tensor, block_columns: Tensor, block_row_offsets: Tensor, scales: Tensor, cols: int
) -> Tensor:
    """The dense weight [rows, cols], float32, that :func:`pack_bsr_int8` made these tensors of, as int8 could hold it.

    Raises:
        TypeError: a dtype.
        ValueError: shapes or devices disagree, or the structure is unsound (checked on each call).
    Not differentiable. CPU only.
    """
    dense: Tensor = _ops.unpack_bsr_int8(blocks, block_columns, block_row_offsets, scales, cols)
    return dense


def linear_bsr_int8(
    input: Tensor,
    blocks: Tensor,
    block_columns: Tensor,
    block_row_offsets: Tensor,
    key: Tensor,
    scales: Tensor,
    bias: Tensor | None = None,
    *,
    in_features: int,
    input_scale: Tensor | None = None,
    prepacked: Tensor | None = None,
    activation: str = "none",
) -> Tensor:
    """``activation(input @ W.T + bias)`` in int8 for a weight W [rows, in_features] in layout bsr.

    Args:
        input: [..., in_features], float32, bfloat16 or float16, any leading dimensions and strides; or uint8 as
            :func:`quantize_bytes` makes them.
        blocks, block_columns, block_row_offsets, key, scales: as :func:`pack_bsr_int8` made them.
        bias: [rows], float32 or the dtype of ``input``, if that is no uint8.
        in_features: columns of the weight, at most 131072 (sums of products are kept in int32).
        input_scale: one positive float32: inputs are rounded to its multiples, from -127 to 127 of them. None or 0:
            each row of the input has a scale of its own, its largest magnitude / 127. Of bytes: their scales, one for
            each row.
        prepacked: None, or int32 [0].
        activation: "none", "relu", "gelu" or "silu".
    Returns:
        [..., rows], contiguous, dtype of ``input`` (float32 for bytes). Sums are exact; scaling and bias are float32
        operations in one order: results are bit-equal for any number of threads and any instruction set.
    Raises:
        TypeError: a dtype.
        ValueError: shapes or devices disagree, the structure is unsound, or the key belongs to another one.
        RuntimeError (in a backward pass through it): it has no derivative; int8 layers are for inference.
    A row of the input with a NaN gives NaN in all its outputs; so does one with an infinity unless ``input_scale`` is
    given, when it counts as 127 steps. CPU only.
    """
    out: Tensor = _ops.linear_bsr_int8(
        input, blocks, block_columns, block_row_offsets, key, scales, input_scale, prepacked, bias, in_features,
        activation,
    )  # fmt: skip
    return out


def conv2d_bsr_int8(
    input: Tensor,
    blocks: Tensor,
    block_columns: Tensor,
    block_row_offsets: Tensor,
    key: Tensor,
    scales: Tensor,
    bias: Tensor | None = None,
    *,
    in_channels: int,
    kernel_size: Sequence[int],
    stride: Sequence[int] = (1, 1),
    padding: Sequence[int] = (0, 0),
    dilation: Sequence[int] = (1, 1),
    groups: int = 1,
    input_scale: Tensor | None = None,
    prepacked: Tensor | None = None,
    activation: str = "none",
) -> Tensor:
    """``activation(conv2d(input, W) + bias)`` in int8 for a pruned W in layout bsr, zero padding.

    Args:
        input: [n, in_channels, h, w], float32, bfloat16 or float16, or uint8 as :func:`quantize_bytes` makes them;
            contiguous or channels_last without a copy.
        blocks, block_columns, block_row_offsets, key, scales: the weight in the order above, rows = out_channels.
        bias: [out_channels], float32 or the dtype of ``input``, if that is no uint8.
        in_channels: of all groups. in_channels / groups * kh * kw is at most 131072 (sums are kept in int32).
        kernel_size, stride, padding, dilation: (vertical, horizontal).
        groups: divides in_channels and out_channels.
        input_scale: as of :func:`linear_bsr_int8`; None or 0: each image of the batch has a scale of its own. Of bytes:
            their scales, one for each image.
        prepacked, activation: as of :func:`linear_bsr_int8`.
    Returns:
        [n, out_channels, out_h, out_w], dtype of ``input`` (float32 for bytes), channels_last if that is the format of
        ``input``. Bit-equal for any number of threads, any instruction set and either memory format.
    Raises:
        TypeError, ValueError, RuntimeError: as :func:`linear_bsr_int8`; also for sizes that do not fit.
    An image with a NaN gives NaN in all its outputs; so does one with an infinity unless ``input_scale`` is given, when
    it counts as 127 steps. CPU only.
    """
    out: Tensor = _ops.conv2d_bsr_int8(
        input, blocks, block_columns, block_row_offsets, key, scales, input_scale, prepacked, bias, in_channels,
        list(kernel_size), list(stride), list(padding), list(dilation), groups, activation,
    )  # fmt: skip
    return out


def pack_bsr(
    weight: Tensor, mask: Tensor | None = None, *, block_size: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Packs a dense weight into layout bsr.

    Args:
        weight: as of :func:`pack_csr`.
        mask: as of :func:`pack_csr`. A block is kept when any of its entries is.
        block_size: (r, c), each at least 1; c = 1 is layout "vector".
    Returns:
        (blocks, block_columns, block_row_offsets, key). Entries of a kept block that the mask removes are stored as 0.
    Raises:
        TypeError, ValueError: as :func:`pack_csr`; also for a block size below 1.
    Not differentiable. The number of blocks depends on the data, as the kept entries of :func:`pack_csr` do.
    """
    packed: tuple[Tensor, Tensor, Tensor, Tensor] = _ops.pack_bsr(weight, mask, list(block_size))
    return packed


def unpack_bsr(blocks: Tensor, block_columns: Tensor, block_row_offsets: Tensor, rows: int, cols: int) -> Tensor:
    """The dense weight [rows, cols] of a weight in layout bsr.

    Args:
        rows, cols: sizes of the weight, at least 0.
    Returns:
        [rows, cols], dtype and device of ``blocks``; removed blocks are 0.
    Raises:
        TypeError: a dtype.
        ValueError: shapes or devices disagree, or the structure is unsound (checked on each call).
    Differentiable in ``blocks``.
    """
    dense: Tensor = _ops.unpack_bsr(blocks, block_columns, block_row_offsets, rows, cols)
    return dense


def prepack_bsr(blocks: Tensor, block_columns: Tensor, block_row_offsets: Tensor, rows: int, cols: int) -> Tensor:
    """As :func:`prepack_csr`, for layout bsr."""
    order: Tensor = _ops.prepack_bsr(blocks, block_columns, block_row_offsets, rows, cols)
    return order


def linear_bsr(
    input: Tensor,
    blocks: Tensor,
    block_columns: Tensor,
    block_row_offsets: Tensor,
    key: Tensor,
    bias: Tensor | None = None,
    *,
    out_features: int,
    in_features: int,
    prepacked: Tensor | None = None,
    activation: str = "none",
) -> Tensor:
    """``activation(input @ W.T + bias)`` for a weight W [out_features, in_features] in layout bsr.

    Args:
        input: [..., in_features]; any leading dimensions (none, or of size 0) and strides.
        blocks: [blocks, r, c], dtype and device of ``input``.
        block_columns: [blocks], int32.
        block_row_offsets: [ceil(out_features / r) + 1], int32.
        key: [2], int64, as :func:`pack_bsr` made it.
        bias, prepacked, activation: as of :func:`linear_csr`.
    Returns:
        [..., out_features], contiguous. 16-bit dtypes are summed in float32; results are bit-equal for any number of
        threads.
    Raises:
        TypeError, ValueError: as :func:`linear_csr`.
    Differentiable once in ``input``, ``blocks`` (kept blocks only) and ``bias``. Every entry of a kept block
    multiplies, those that are zero included; a removed block never does. Under autocast as :func:`linear_csr`.
    """
    out: Tensor = _ops.linear_bsr(
        input, blocks, block_columns, block_row_offsets, key, prepacked, bias, out_features, in_features, activation
    )
    return out


def pack_mask(mask: Tensor) -> Tensor:
    """Bits of a mask.

    Args:
        mask: bool, any shape; elements count in row-major order whatever the strides.
    Returns:
        uint8 [ceil(numel / 8)]: element i at byte i // 8, bit i % 8 (bit 0 is the lowest); unused bits are 0.
    Raises:
        TypeError: another dtype.
    """
    bits: Tensor = _ops.pack_mask(mask)
    return bits


def unpack_mask(bits: Tensor, size: Sequence[int]) -> Tensor:
    """The mask that :func:`pack_mask` packed.

    Args:
        bits: uint8 [ceil(numel / 8)].
        size: shape of the mask.
    Returns:
        bool of shape ``size``, contiguous, on the device of ``bits``.
    Raises:
        TypeError: another dtype.
        ValueError: the number of bytes does not belong to ``size``, or ``size`` is negative.
    """
    mask: Tensor = _ops.unpack_mask(bits, list(size))
    return mask


def apply_mask_(tensor: Tensor, bits: Tensor) -> None:
    """Zeroes ``tensor`` in place where its bit is 0; a NaN there becomes 0 too.

    Args:
        tensor: any dtype, shape and strides. When it requires grad, call under ``torch.no_grad()``.
        bits: uint8 [ceil(tensor.numel() / 8)] as of :func:`pack_mask`, on the device of ``tensor``.
    Raises:
        TypeError: ``bits`` of another dtype.
        ValueError: another number of bytes, or another device.
        RuntimeError: ``tensor`` requires grad and grad mode is on.
    """
    _ops.apply_mask_(tensor, bits)


def importance(weight: Tensor, grad: Tensor | None, criterion: str) -> Tensor:
    """Importance of each weight, higher = keep.

    Args:
        weight: any shape, floating point.
        grad: shape and device of ``weight``; needed by "gradient" and "taylor".
        criterion: "magnitude": w^2; "gradient": |g|; "taylor": |w g|, the first-order change of the loss (Molchanov et
            al., "Importance Estimation for Neural Network Pruning", CVPR 2019); "lamp": w^2 over the sum of the squares
            that come no earlier in ascending order (Lee et al., "Layer-adaptive Sparsity for the Magnitude-based
            Pruning", ICLR 2021, eq. 2).
    Returns:
        float32 of the weight's shape, contiguous, without a unit; computed in float64.
    Raises:
        TypeError: a dtype that is not floating point.
        ValueError: NaN or infinity in weight or gradient, a missing gradient, an unknown criterion.
    Not differentiable.
    """
    scores: Tensor = _ops.importance(weight, grad, criterion)
    return scores
