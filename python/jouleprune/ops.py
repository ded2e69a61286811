"""Typed wrappers of the ops, and their fakes for ``torch.compile``, ``torch.export`` and shape propagation.

The ops themselves are ``torch.ops.jouleprune.<name>``: functional, registered in C++ with autograd and autocast, so
they run from eager code, TorchScript, exported programs and LibTorch alike. Layout csr of a weight ``[rows, cols]`` (a
convolution's weight is seen as ``[out_channels, in_channels / groups * kh * kw]``) travels as named plain tensors:

- ``values`` [nnz]: float32, float64, bfloat16 or float16, rows ascending, columns ascending in a row
- ``col_indices`` [nnz]: int32, in [0, cols)
- ``row_offsets`` [rows + 1]: int32, first 0, last nnz
- ``key`` [2]: int64, content key of the structure

The structure is checked when a storage is first seen. ``vmap`` is not supported: fold the extra dimension into the
batch.

Errors: ``ValueError`` for shapes, sizes, names, devices and unsound structures, ``TypeError`` for dtypes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = [
    "apply_mask_",
    "conv2d_csr",
    "importance",
    "linear_csr",
    "pack_csr",
    "pack_mask",
    "prepack_csr",
    "unpack_csr",
    "unpack_mask",
]

_ops = torch.ops.jouleprune


def pack_csr(weight: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Packs a weight [rows, ...] (flattened to [rows, cols]) into (values, col_indices, row_offsets, key).

    Args:
        weight: at least 2-d; float32, float64, bfloat16 or float16.
        mask: bool of the weight's shape, True = kept; without one every non-zero is kept (-0.0 is a zero, NaN is kept).
    Not differentiable.
    """
    packed: tuple[Tensor, Tensor, Tensor, Tensor] = _ops.pack_csr(weight, mask)
    return packed


def unpack_csr(values: Tensor, col_indices: Tensor, row_offsets: Tensor, cols: int) -> Tensor:
    """The dense weight [rows, cols]."""
    dense: Tensor = _ops.unpack_csr(values, col_indices, row_offsets, cols)
    return dense


def prepack_csr(values: Tensor, col_indices: Tensor, row_offsets: Tensor, cols: int) -> Tensor:
    """An order of the structure that suits this machine's kernels, int32; empty where nothing helps."""
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
) -> Tensor:
    """``activation(input @ W.T + bias)``: [..., in_features] -> [..., rows], for a weight in layout csr.

    Args:
        input: any leading dims and strides; shares dtype and device with ``values`` and ``bias``.
        bias: [rows].
        in_features: columns of the weight.
        prepacked: from :func:`prepack_csr`.
        activation: "none", "relu", "gelu" or "silu".
    Differentiable once in input, values (kept entries only) and bias; 16-bit dtypes are summed in float32. Unlike in
    a dense
    product, a removed weight never multiplies: NaN and infinity of the inputs it would have met do not appear.
    """
    out: Tensor = _ops.linear_csr(
        input, values, col_indices, row_offsets, key, prepacked, bias, in_features, activation
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
) -> Tensor:
    """``activation(conv2d(input, W) + bias)``, zero padding: [n, in_channels, h, w] -> [n, rows, out_h, out_w].

    The output has the input's memory format (contiguous or channels_last). Otherwise as :func:`linear_csr`.
    """
    out: Tensor = _ops.conv2d_csr(
        input, values, col_indices, row_offsets, key, prepacked, bias, in_channels,
        list(kernel_size), list(stride), list(padding), list(dilation), groups, activation,
    )  # fmt: skip
    return out


def pack_mask(mask: Tensor) -> Tensor:
    """Bits of a bool mask: uint8 [ceil(numel / 8)], element i at byte i // 8, bit i % 8."""
    bits: Tensor = _ops.pack_mask(mask)
    return bits


def unpack_mask(bits: Tensor, size: Sequence[int]) -> Tensor:
    """The bool mask of shape ``size`` that :func:`pack_mask` packed."""
    mask: Tensor = _ops.unpack_mask(bits, list(size))
    return mask


def apply_mask_(tensor: Tensor, bits: Tensor) -> None:
    """Zeroes ``tensor`` in place where its bit is 0; any dtype, device and strides."""
    _ops.apply_mask_(tensor, bits)


def importance(weight: Tensor, grad: Tensor | None, criterion: str) -> Tensor:
    """Scores of the weight's shape, float32, higher = keep.

    "magnitude": w^2; "gradient": |g|; "taylor": |w g| (first order); "lamp": w^2 over the sum of squares that are not
    smaller (Lee et al., "Layer-adaptive sparsity for the magnitude-based pruning", ICLR 2021, eq. 2).

    Raises:
        ValueError: NaN or infinity in weight or gradient, a missing gradient, an unknown criterion.
    """
    scores: Tensor = _ops.importance(weight, grad, criterion)
    return scores


def _check_devices(op: str, input: Tensor, *others: Tensor | None) -> None:
    for other in others:
        torch._check_value(
            other is None or other.device == input.device,
            lambda: f"{op}: expected all tensors on the device of input, {input.device}, got one on {other.device}",  # type: ignore[union-attr]  # noqa: B023
        )


@torch.library.register_fake("jouleprune::pack_csr")
def _pack_csr(weight: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    torch._check_value(weight.dim() >= 2, lambda: f"pack_csr: weight: expected at least 2 dims, got {weight.dim()}")
    nnz = torch.library.get_ctx().new_dynamic_size(min=0)
    return (
        weight.new_empty(nnz),
        weight.new_empty(nnz, dtype=torch.int32),
        weight.new_empty(weight.shape[0] + 1, dtype=torch.int32),
        weight.new_empty(2, dtype=torch.int64),
    )


@torch.library.register_fake("jouleprune::unpack_csr")
def _unpack_csr(values: Tensor, col_indices: Tensor, row_offsets: Tensor, cols: int) -> Tensor:
    return values.new_empty(row_offsets.shape[0] - 1, cols)


@torch.library.register_fake("jouleprune::prepack_csr")
def _prepack_csr(values: Tensor, col_indices: Tensor, row_offsets: Tensor, cols: int) -> Tensor:
    return col_indices.new_empty(0)


@torch.library.register_fake("jouleprune::linear_csr")
def _linear_csr(
    input: Tensor,
    values: Tensor,
    col_indices: Tensor,
    row_offsets: Tensor,
    key: Tensor,
    prepacked: Tensor | None,
    bias: Tensor | None,
    in_features: int,
    activation: str,
) -> Tensor:
    _check_devices("linear_csr", input, values, col_indices, row_offsets, bias)
    torch._check_value(
        input.dim() >= 1 and input.shape[-1] == in_features,
        lambda: f"linear_csr: input: expected [..., in_features={in_features}], got {list(input.shape)}",
    )
    return input.new_empty(*input.shape[:-1], row_offsets.shape[0] - 1)


@torch.library.register_fake("jouleprune::linear_csr_backward_input")
def _linear_csr_backward_input(
    grad_output: Tensor, values: Tensor, col_indices: Tensor, row_offsets: Tensor, key: Tensor, in_features: int
) -> Tensor:
    return grad_output.new_empty(*grad_output.shape[:-1], in_features)


@torch.library.register_fake("jouleprune::linear_csr_backward_values")
def _linear_csr_backward_values(
    grad_output: Tensor, input: Tensor, col_indices: Tensor, row_offsets: Tensor, key: Tensor, in_features: int
) -> Tensor:
    return grad_output.new_empty(col_indices.shape[0])


@torch.library.register_fake("jouleprune::conv2d_csr")
def _conv2d_csr(
    input: Tensor,
    values: Tensor,
    col_indices: Tensor,
    row_offsets: Tensor,
    key: Tensor,
    prepacked: Tensor | None,
    bias: Tensor | None,
    in_channels: int,
    kernel_size: list[int],
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
    activation: str,
) -> Tensor:
    _check_devices("conv2d_csr", input, values, col_indices, row_offsets, bias)
    torch._check_value(
        input.dim() == 4 and input.shape[1] == in_channels,
        lambda: f"conv2d_csr: input: expected [n, in_channels={in_channels}, h, w], got {list(input.shape)}",
    )
    spatial = [
        (size + 2 * pad - reach * (taps - 1) - 1) // step + 1
        for size, taps, step, pad, reach in zip(input.shape[2:], kernel_size, stride, padding, dilation, strict=True)
    ]
    out = input.new_empty(input.shape[0], row_offsets.shape[0] - 1, *spatial)
    return out.to(memory_format=torch._prims_common.suggest_memory_format(input))


@torch.library.register_fake("jouleprune::conv2d_csr_backward_input")
def _conv2d_csr_backward_input(
    grad_output: Tensor,
    values: Tensor,
    col_indices: Tensor,
    row_offsets: Tensor,
    key: Tensor,
    input_size: list[int],
    kernel_size: list[int],
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
) -> Tensor:
    return grad_output.new_empty(input_size)


@torch.library.register_fake("jouleprune::conv2d_csr_backward_values")
def _conv2d_csr_backward_values(
    grad_output: Tensor,
    input: Tensor,
    col_indices: Tensor,
    row_offsets: Tensor,
    key: Tensor,
    kernel_size: list[int],
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
) -> Tensor:
    return grad_output.new_empty(col_indices.shape[0])


@torch.library.register_fake("jouleprune::pack_mask")
def _pack_mask(mask: Tensor) -> Tensor:
    return mask.new_empty((mask.numel() + 7) // 8, dtype=torch.uint8)


@torch.library.register_fake("jouleprune::unpack_mask")
def _unpack_mask(bits: Tensor, size: list[int]) -> Tensor:
    return bits.new_empty(size, dtype=torch.bool)


@torch.library.register_fake("jouleprune::apply_mask_")
def _apply_mask_(self: Tensor, bits: Tensor) -> None:
    return None


@torch.library.register_fake("jouleprune::importance")
def _importance(weight: Tensor, grad: Tensor | None, criterion: str) -> Tensor:
    return weight.new_empty(weight.shape, dtype=torch.float32)
