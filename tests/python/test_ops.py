"""Every op: opcheck, gradcheck in double, gradients at kept entries against masked dense, odd shapes and dtypes."""

from __future__ import annotations

import pytest
import torch
import torch.autograd.forward_ad as forward_ad
import torch.nn.functional as F
from tolerance import assert_as_good

import jouleprune as jp

ops = torch.ops.jouleprune


def masked(rows: int, cols: int, density: float = 0.4, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """A weight with zeros; its second row is empty."""
    weight = torch.randn(rows, cols, dtype=torch.float64) * (torch.rand(rows, cols) < density)
    if rows > 1:
        weight[1] = 0
    return weight.to(dtype)


def linear_arguments(n=3, rows=5, cols=7, bias=True, activation="none", grad=True, dtype=torch.float32):
    values, *structure = jp.ops.pack_csr(masked(rows, cols, dtype=dtype))
    x = torch.randn(n, cols, dtype=dtype)
    b = torch.randn(rows, dtype=dtype) if bias else None
    for tensor in (x, values, b):
        if tensor is not None:
            tensor.requires_grad_(grad)
    return (x, values, *structure, None, b, cols, activation)


def bsr_arguments(
    n=3, rows=10, cols=7, block_size=(4, 2), bias=True, activation="none", grad=True, dtype=torch.float32, density=0.1
):
    """Blocks that reach beyond the weight, unless the sizes are multiples."""
    blocks, *structure = jp.ops.pack_bsr(masked(rows, cols, density, dtype=dtype), block_size=block_size)
    x = torch.randn(n, cols, dtype=dtype)
    b = torch.randn(rows, dtype=dtype) if bias else None
    for tensor in (x, blocks, b):
        if tensor is not None:
            tensor.requires_grad_(grad)
    return (x, blocks, *structure, None, b, rows, cols, activation)


def backward_bsr(which: str):
    x, blocks, block_columns, block_row_offsets, key, _, _, *sizes, _ = bsr_arguments(grad=False)
    grad = torch.randn(3, 10)
    if which == "input":
        return (grad, blocks, block_columns, block_row_offsets, key, *sizes)
    return (grad, x, block_columns, block_row_offsets, key, [4, 2], *sizes)


def conv_bsr_arguments(block_size=(4, 3), bias=True, density=0.3, grad=True, dtype=torch.float32, **options):
    """As conv_arguments; blocks that reach beyond the channels."""
    x, _, _, _, _, _, _, channels, kernel, *rest = conv_arguments(grad=False, dtype=dtype, **options)
    groups, rows = rest[3], options.get("rows", 6)
    weight = masked(rows, channels // groups * kernel[0] * kernel[1], density, dtype=dtype)
    matrix = weight.view(rows, *kernel, -1)
    matrix = F.pad(matrix, (0, -matrix.shape[3] % block_size[1])).flatten(1)
    blocks, *structure = jp.ops.pack_bsr(matrix, block_size=block_size)
    b = torch.randn(rows, dtype=dtype) if bias else None
    for tensor in (x, blocks, b):
        if tensor is not None:
            tensor.requires_grad_(grad)
    return (x, blocks, *structure, None, b, rows, channels, kernel, *rest)


def backward_conv_bsr(which: str):
    arguments = conv_bsr_arguments(grad=False)
    x, blocks, *structure = arguments[:5]
    grad = torch.randn_like(ops.conv2d_bsr(*arguments))
    if which == "input":
        return (grad, blocks, *structure, list(x.shape), *arguments[9:14])
    return (grad, x, *structure, [4, 3], *arguments[9:14])


def unpack_bsr_arguments(rows=10, cols=7, block_size=(4, 2), grad=False, dtype=torch.float32, density=0.3):
    blocks, columns, offsets, _ = jp.ops.pack_bsr(masked(rows, cols, density, dtype=dtype), block_size=block_size)
    return (blocks.requires_grad_(grad), columns, offsets, rows, cols)


def conv_arguments(
    groups=1,
    stride=(1, 1),
    padding=(1, 0),
    dilation=(1, 1),
    kernel=(3, 2),
    bias=True,
    activation="none",
    grad=True,
    dtype=torch.float32,
    channels=4,
    rows=6,
    size=(7, 6),
    n=2,
):
    weight = masked(rows, channels // groups * kernel[0] * kernel[1], dtype=dtype)
    values, *structure = jp.ops.pack_csr(weight)
    x = torch.randn(n, channels, *size, dtype=dtype)
    b = torch.randn(rows, dtype=dtype) if bias else None
    for tensor in (x, values, b):
        if tensor is not None:
            tensor.requires_grad_(grad)
    lists = [list(pair) for pair in (kernel, stride, padding, dilation)]
    return (x, values, *structure, None, b, channels, *lists, groups, activation)


def chain_arguments(n=12, bias=True, grad=True, dtype=torch.float32):
    """Layers from 7 features to 5 to 9."""
    weights, counts = [], []
    for rows, cols in ((5, 7), (9, 5)):
        parts = list(jp.ops.pack_csr(masked(rows, cols, dtype=dtype)))
        parts[0].requires_grad_(grad)
        weights += [*parts, torch.randn(rows, dtype=dtype, requires_grad=grad)] if bias else parts
        counts.append(len(parts) + bias)
    return (torch.randn(n, 7, dtype=dtype, requires_grad=grad), weights, counts, 7, "silu,relu")


def recurrent_arguments(gates: int, dense=False, bias=True, layers=1, bidirectional=False, grad=True):
    """3 features, 4 hidden values, 2 sequences of 5 steps; an LSTM has 4 gates, a GRU 3."""
    matrices, counts = [], []
    for layer in range(layers):
        for _ in range(2 if bidirectional else 1):
            for cols in (3 if layer == 0 else 4 * (2 if bidirectional else 1), 4):
                weight = masked(4 * gates, cols)
                parts = [weight] if dense else list(jp.ops.pack_csr(weight))
                parts[0].requires_grad_(grad)
                matrices += [*parts, torch.randn(4 * gates, requires_grad=grad)] if bias else parts
                counts.append(len(parts) + bias)
    x = torch.randn(5, 2, 3, requires_grad=grad)
    states = [torch.randn(layers * (2 if bidirectional else 1), 2, 4) for _ in range(2 if gates == 4 else 1)]
    return (x, None, *states, matrices, counts, layers, bidirectional, 0.0, False)


def backward_linear(which: str):
    x, values, col_indices, row_offsets, key, _, _, cols, _ = linear_arguments(grad=False)
    grad = torch.randn(3, 5)
    if which == "input":
        return (grad, values, col_indices, row_offsets, key, cols)
    return (grad, x, col_indices, row_offsets, key, cols)


def backward_conv(which: str):
    arguments = conv_arguments(grad=False)
    x, values, col_indices, row_offsets, key = arguments[:5]
    grad = torch.randn_like(ops.conv2d_csr(*arguments))
    if which == "input":
        return (grad, values, col_indices, row_offsets, key, list(x.shape), *arguments[8:13])
    return (grad, x, col_indices, row_offsets, key, *arguments[8:13])


def unpack_arguments(weight=None, grad=False):
    values, col_indices, row_offsets, _ = jp.ops.pack_csr(masked(5, 7) if weight is None else weight)
    return (values.requires_grad_(grad), col_indices, row_offsets, 7)


def obeying(rows: int, cols: int, n: int, m: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """A weight with at most n of each m inputs kept, in some groups fewer."""
    groups = -(-cols // m)
    scores = torch.rand(rows, groups, m)
    kept = (scores.argsort(-1).argsort(-1) < n) & (torch.rand(rows, groups, m) < 0.9)
    weight = torch.randn(rows, groups, m, dtype=torch.float64) * kept
    return weight.view(rows, groups * m)[:, :cols].contiguous().to(dtype)


def nm_arguments(batch=3, rows=5, cols=11, n=2, m=4, bias=True, activation="none", grad=True, dtype=torch.float32):
    values, indices, key = jp.ops.pack_nm(obeying(rows, cols, n, m, dtype), n=n, m=m)
    x = torch.randn(batch, cols, dtype=dtype)
    b = torch.randn(rows, dtype=dtype) if bias else None
    for tensor in (x, values, b):
        if tensor is not None:
            tensor.requires_grad_(grad)
    return (x, values, indices, key, None, b, cols, n, m, activation)


def backward_nm(which: str):
    x, values, indices, key, _, _, *sizes, _ = nm_arguments(grad=False)
    return (torch.randn(3, 5), values if which == "input" else x, indices, key, *sizes)


def unpack_nm_arguments(rows=5, cols=11, n=2, m=4, grad=False, dtype=torch.float32):
    values, indices, _ = jp.ops.pack_nm(obeying(rows, cols, n, m, dtype), n=n, m=m)
    return (values.requires_grad_(grad), indices, cols, n, m)


def int8_arguments(n=3, rows=5, cols=7, bias=True, activation="none", scale=None, dtype=torch.float32, weight=None):
    packed = jp.ops.pack_bsr_int8(masked(rows, cols) if weight is None else weight)
    b = torch.randn(rows) if bias else None
    given = None if scale is None else torch.tensor([scale])
    return (torch.randn(n, cols, dtype=dtype), *packed, given, None, b, cols, activation)


def int8_conv_arguments(
    n=2, channels=6, rows=4, kernel=(3, 2), stride=(1, 1), dilation=(1, 1), groups=1, size=(5, 6), scale=None,
    bias=True, activation="none", dtype=torch.float32, density=0.5,
):  # fmt: skip
    weight = torch.randn(rows, *kernel, -(-channels // groups // 4) * 4)
    packed = jp.ops.pack_bsr_int8(weight * (torch.rand(weight.shape) < density))
    given, b = None if scale is None else torch.tensor([scale]), torch.randn(rows) if bias else None
    x = torch.randn(n, channels, *size, dtype=dtype)
    return (x, *packed, given, None, b, channels, kernel, stride, (1, 1), dilation, groups, activation)


def in_bytes(arguments, shared_dims=1):
    """The same call with its input as bytes."""
    x, *rest = arguments
    values, scales = jp.ops.quantize_bytes(x, rest[5], shared_dims=shared_dims)
    return (values, *rest[:5], scales, *rest[6:])


def to_bytes(arguments):
    return (*arguments, torch.tensor([0.05]))


def int8_packed(weight):
    blocks, block_columns, block_row_offsets, _, scales = jp.ops.pack_bsr_int8(weight)
    return (blocks, block_columns, block_row_offsets, scales, weight.shape[1])


def laid_out(arguments, transform):
    """The same call with its input in another memory layout."""
    x, *rest = arguments
    return (transform(x.detach()).requires_grad_(x.requires_grad), *rest)


def strided(x: torch.Tensor) -> torch.Tensor:
    return torch.stack([x, x], -1)[..., 0]


def channels_last(x: torch.Tensor) -> torch.Tensor:
    return x.to(memory_format=torch.channels_last)


def nothing_kept(arguments):
    """The same call with a weight that is all zero."""
    x, values, _, row_offsets, _, *rest = arguments
    cols = rest[2] if len(rest) == 4 else rest[2] // rest[7] * rest[3][0] * rest[3][1]
    empty = jp.ops.pack_csr(torch.zeros(row_offsets.numel() - 1, cols, dtype=values.dtype))
    return (x, empty[0].requires_grad_(values.requires_grad), *empty[1:], *rest)


def prepacked(arguments):
    return (*arguments[:5], torch.empty(0, dtype=torch.int32), *arguments[6:])


def odd_mask() -> torch.Tensor:
    return torch.rand(5, 7) < 0.5


#: Argument tuples of each op: shapes with 0 and 1, memory layouts, dtypes, with and without what is optional.
CASES = {
    "linear_csr": lambda: [
        linear_arguments(),
        linear_arguments(bias=False, activation="relu"),
        linear_arguments(activation="gelu"),
        linear_arguments(n=0),
        linear_arguments(rows=1, cols=1),
        linear_arguments(cols=1),
        linear_arguments(n=40, rows=33, grad=False),
        linear_arguments(dtype=torch.bfloat16),
        linear_arguments(dtype=torch.float16, grad=False),
        laid_out(linear_arguments(), strided),
        laid_out(linear_arguments(), lambda x: x.t().contiguous().t()),
        laid_out(linear_arguments(), lambda x: x.repeat(2, 2, 1, 1)),
        laid_out(linear_arguments(grad=False), lambda x: x[0]),
        nothing_kept(linear_arguments()),
        prepacked(linear_arguments(grad=False)),
    ],
    "conv2d_csr": lambda: [
        conv_arguments(),
        conv_arguments(groups=2, stride=(2, 1), dilation=(1, 2)),
        conv_arguments(bias=False, grad=False),
        conv_arguments(activation="silu"),
        conv_arguments(n=0),
        conv_arguments(kernel=(1, 1), padding=(0, 0), channels=1, rows=1, size=(1, 1)),
        conv_arguments(dtype=torch.bfloat16),
        laid_out(conv_arguments(), channels_last),
        laid_out(conv_arguments(activation="relu", grad=False), channels_last),
        laid_out(conv_arguments(kernel=(1, 1), padding=(0, 0), size=(1, 1)), channels_last),
        laid_out(conv_arguments(channels=1), channels_last),
        laid_out(conv_arguments(), strided),
        nothing_kept(conv_arguments()),
        prepacked(conv_arguments(grad=False)),
    ],
    **{
        op: lambda gates=gates: [
            recurrent_arguments(gates),
            recurrent_arguments(gates, dense=True, bias=False),
            recurrent_arguments(gates, layers=2, bidirectional=True),
            recurrent_arguments(gates, bias=False, grad=False),
        ]
        for op, gates in (("lstm_csr", 4), ("gru_csr", 3))
    },
    "linear_csr_chain": lambda: [
        chain_arguments(),
        chain_arguments(bias=False, grad=False),
        chain_arguments(n=40, grad=False),
        chain_arguments(dtype=torch.bfloat16, grad=False),
    ],
    "linear_bsr": lambda: [
        bsr_arguments(),
        bsr_arguments(bias=False, activation="relu"),
        bsr_arguments(activation="gelu"),
        bsr_arguments(n=0),
        bsr_arguments(rows=1, cols=1),
        bsr_arguments(n=40, rows=33, cols=40, block_size=(16, 1), grad=False),
        bsr_arguments(n=5, rows=32, cols=32, block_size=(16, 16), dtype=torch.bfloat16),
        bsr_arguments(block_size=(1, 4), dtype=torch.float16, grad=False),
        bsr_arguments(density=0),
        laid_out(bsr_arguments(), strided),
        laid_out(bsr_arguments(), lambda x: x.repeat(2, 2, 1, 1)),
        laid_out(bsr_arguments(grad=False), lambda x: x[0]),
        (*bsr_arguments(grad=False)[:5], torch.empty(0, dtype=torch.int32), *bsr_arguments(grad=False)[6:]),
    ],
    "linear_bsr_backward_input": lambda: [backward_bsr("input")],
    "linear_bsr_backward_values": lambda: [backward_bsr("values"), laid_out(backward_bsr("values"), strided)],
    "conv2d_bsr": lambda: [
        conv_bsr_arguments(),
        conv_bsr_arguments(groups=2, stride=(2, 1), dilation=(1, 2), block_size=(3, 2)),
        conv_bsr_arguments(block_size=(16, 1), bias=False, grad=False),
        conv_bsr_arguments(activation="silu"),
        conv_bsr_arguments(n=0),
        conv_bsr_arguments(kernel=(1, 1), padding=(0, 0), channels=1, rows=1, size=(1, 1)),
        conv_bsr_arguments(dtype=torch.bfloat16),
        laid_out(conv_bsr_arguments(), channels_last),
        laid_out(conv_bsr_arguments(), strided),
        conv_bsr_arguments(density=0),
    ],
    "conv2d_bsr_backward_input": lambda: [
        backward_conv_bsr("input"),
        laid_out(backward_conv_bsr("input"), channels_last),
    ],
    "conv2d_bsr_backward_values": lambda: [backward_conv_bsr("values"), laid_out(backward_conv_bsr("values"), strided)],
    "pack_bsr": lambda: [
        (masked(5, 7), None, [4, 2]),
        (masked(4, 6), torch.rand(4, 6) < 0.5, [16, 1]),
        (masked(6, 36).view(6, 4, 3, 3), None, [2, 9]),
        (masked(4, 6).t(), None, [1, 1]),
        (torch.zeros(3, 4, dtype=torch.bfloat16), None, [2, 2]),
        (torch.zeros(0, 4), None, [2, 2]),
    ],
    "unpack_bsr": lambda: [
        unpack_bsr_arguments(),
        unpack_bsr_arguments(grad=True),
        unpack_bsr_arguments(rows=8, cols=8, grad=True),
        unpack_bsr_arguments(density=0, grad=True),
    ],
    "prepack_bsr": lambda: [unpack_bsr_arguments()],
    "linear_nm": lambda: [
        nm_arguments(),
        nm_arguments(bias=False, activation="relu"),
        nm_arguments(activation="gelu", n=1, m=2),
        nm_arguments(batch=0),
        nm_arguments(rows=1, cols=1),
        nm_arguments(batch=40, rows=33, cols=40, n=4, m=16, grad=False),
        nm_arguments(cols=37, n=31, m=32),
        nm_arguments(dtype=torch.bfloat16),
        nm_arguments(dtype=torch.float16, grad=False),
        laid_out(nm_arguments(), strided),
        laid_out(nm_arguments(), lambda x: x.repeat(2, 2, 1, 1)),
        laid_out(nm_arguments(grad=False), lambda x: x[0]),
    ],
    "linear_nm_backward_input": lambda: [backward_nm("input")],
    "linear_nm_backward_values": lambda: [backward_nm("values"), laid_out(backward_nm("values"), strided)],
    "pack_nm": lambda: [
        (obeying(5, 7, 2, 4), None, 2, 4),
        (torch.randn(4, 6), obeying(4, 6, 1, 3) != 0, 1, 3),
        (obeying(6, 36, 2, 4).view(6, 4, 3, 3), None, 2, 4),
        (torch.zeros(3, 4, dtype=torch.bfloat16), None, 1, 2),
        (torch.zeros(0, 4), None, 2, 4),
    ],
    "unpack_nm": lambda: [
        unpack_nm_arguments(),
        unpack_nm_arguments(grad=True),
        unpack_nm_arguments(cols=3, grad=True),
    ],
    "linear_csr_backward_input": lambda: [backward_linear("input")],
    "linear_csr_backward_values": lambda: [backward_linear("values"), laid_out(backward_linear("values"), strided)],
    "conv2d_csr_backward_input": lambda: [backward_conv("input"), laid_out(backward_conv("input"), channels_last)],
    "conv2d_csr_backward_values": lambda: [backward_conv("values"), laid_out(backward_conv("values"), strided)],
    "pack_csr": lambda: [
        (masked(5, 7), None),
        (masked(4, 6), torch.rand(4, 6) < 0.5),
        (masked(6, 36).view(6, 4, 3, 3), None),
        (masked(4, 6).t(), None),
        (torch.zeros(3, 4, dtype=torch.bfloat16), None),
        (torch.zeros(0, 4), None),
    ],
    "unpack_csr": lambda: [unpack_arguments(), unpack_arguments(grad=True), unpack_arguments(torch.zeros(3, 7))],
    "prepack_csr": lambda: [unpack_arguments()],
    "pack_bsr_int8": lambda: [
        (masked(5, 7), None),
        (masked(4, 6), torch.rand(4, 6) < 0.5),
        (masked(6, 36).view(6, 4, 3, 3), None),
        (masked(4, 6).t(), None),
        (torch.zeros(3, 4, dtype=torch.bfloat16), None),
        (torch.zeros(0, 4), None),
    ],
    "unpack_bsr_int8": lambda: [int8_packed(masked(5, 7)), int8_packed(torch.zeros(3, 7))],
    "linear_bsr_int8": lambda: [
        int8_arguments(),
        int8_arguments(bias=False, activation="relu"),
        int8_arguments(activation="gelu", scale=0.02),
        int8_arguments(n=0),
        int8_arguments(rows=1, cols=1),
        int8_arguments(n=40, rows=33, cols=70),
        int8_arguments(dtype=torch.bfloat16),
        int8_arguments(dtype=torch.float16),
        int8_arguments(weight=torch.zeros(5, 7)),
        laid_out(int8_arguments(), strided),
        laid_out(int8_arguments(), lambda x: x[0]),
        laid_out(int8_arguments(), lambda x: x.repeat(2, 2, 1, 1)),
        in_bytes(int8_arguments(activation="gelu")),
        in_bytes(laid_out(int8_arguments(scale=0.02), lambda x: x.repeat(2, 2, 1, 1))),
        in_bytes(int8_arguments(n=0)),
    ],
    "linear_bsr_int8_to_bytes": lambda: [
        to_bytes(int8_arguments(activation="relu")),
        to_bytes(int8_arguments(bias=False, scale=0.02)),
        to_bytes(int8_arguments(n=0)),
        to_bytes(int8_arguments(n=40, rows=70, cols=33)),
        to_bytes(int8_arguments(dtype=torch.bfloat16)),
        to_bytes(laid_out(int8_arguments(), lambda x: x[0])),
        to_bytes(in_bytes(laid_out(int8_arguments(), lambda x: x.repeat(2, 2, 1, 1)))),
    ],
    "quantize_bytes": lambda: [
        (torch.randn(3, 7), None, 1),
        (torch.randn(2, 3, 5, 6), torch.tensor([0.02]), 3),
        (channels_last(torch.randn(2, 3, 5, 6)), torch.zeros(1), 3),
        (strided(torch.randn(4, 7)), None, 1),
        (torch.randn(2, 5, 7).bfloat16(), None, 2),
        (torch.randn(7).half(), None, 1),
        (torch.randn(0, 7), None, 1),
    ],
    "conv2d_bsr_int8_to_bytes": lambda: [
        to_bytes(int8_conv_arguments(activation="relu")),
        to_bytes(int8_conv_arguments(groups=2, stride=(2, 1), dilation=(1, 2), scale=0.02)),
        to_bytes(int8_conv_arguments(n=0)),
        to_bytes(int8_conv_arguments(dtype=torch.float16)),
        to_bytes(laid_out(int8_conv_arguments(), channels_last)),
        to_bytes(in_bytes(int8_conv_arguments(), shared_dims=3)),
    ],
    "conv2d_bsr_int8": lambda: [
        int8_conv_arguments(),
        int8_conv_arguments(groups=2, stride=(2, 1), dilation=(1, 2)),
        int8_conv_arguments(bias=False, activation="relu", scale=0.02),
        int8_conv_arguments(activation="silu"),
        int8_conv_arguments(n=0),
        int8_conv_arguments(kernel=(1, 1), channels=1, rows=1, size=(1, 1)),
        int8_conv_arguments(dtype=torch.bfloat16),
        int8_conv_arguments(dtype=torch.float16),
        int8_conv_arguments(density=0),
        laid_out(int8_conv_arguments(), channels_last),
        laid_out(int8_conv_arguments(channels=1), channels_last),
        laid_out(int8_conv_arguments(), strided),
        in_bytes(int8_conv_arguments(activation="silu"), shared_dims=3),
        in_bytes(laid_out(int8_conv_arguments(scale=0.02), channels_last), shared_dims=3),
    ],
    "pack_mask": lambda: [(odd_mask(),), (odd_mask().t(),), (torch.zeros(0, dtype=torch.bool),)],
    "unpack_mask": lambda: [(jp.ops.pack_mask(odd_mask()), [5, 7]), (torch.zeros(0, dtype=torch.uint8), [0, 7])],
    "apply_mask_": lambda: [
        (torch.randn(5, 7), jp.ops.pack_mask(odd_mask())),
        (torch.randn(7, 5).t(), jp.ops.pack_mask(odd_mask())),
        (torch.ones(35, dtype=torch.int64), jp.ops.pack_mask(odd_mask())),
    ],
    "mask_smallest": lambda: [
        ([torch.randn(5, 7), torch.randn(3, 2).t()], [odd_mask(), torch.rand(2, 3) < 2], 9),
        ([torch.randn(5, 7).bfloat16(), torch.randn(4).double()], [], 3),
        ([torch.randint(-3, 4, (5, 7))], [], 0),
        ([], [], 0),
    ],
    "mask_n_of_m": lambda: [
        (torch.randn(5, 7), odd_mask(), 2, 4, 1),
        (torch.randn(3, 9, 2, 2).half(), None, 1, 3, -3),
        (torch.randint(-3, 4, (5, 7)), None, 0, 1, 0),
    ],
    "unit_norms": lambda: [
        (torch.randn(5, 7), odd_mask(), [2, 3], 1.0),
        (torch.randn(9, 3, 2, 2).bfloat16(), None, [16, 1], 2.0),
        (torch.randn(7, 5).t(), None, [1, 4], float("inf")),
        (torch.zeros(0, 5), None, [4, 4], 1.0),
    ],
    "spread_units": lambda: [
        (torch.rand(3, 3) < 0.5, odd_mask(), [5, 7], [2, 3]),
        (torch.rand(1, 12) < 0.5, None, [9, 3, 2, 2], [16, 1]),
    ],
    "importance": lambda: [
        *((torch.randn(5, 7), torch.randn(5, 7), name) for name in ("lamp", "taylor", "magnitude", "gradient")),
        (torch.randn(5, 7).bfloat16(), None, "lamp"),
        (torch.randn(7, 5).t(), None, "magnitude"),
    ],
    "norm_importance": lambda: [(torch.randn(5, 7), [2, 3], 1.0), (torch.randn(7, 5).t().bfloat16(), [1, 1], 2.0)],
    "random_importance": lambda: [(torch.randn(5, 7), [2, 3], 1, 0), (torch.randn(4, 3, 2, 2), [16, 1], -1, 3)],
    "fpgm_importance": lambda: [(torch.randn(5, 7),), (torch.randn(4, 3, 2, 2).half(),), (torch.zeros(0, 3),)],
    "input_importance": lambda: [
        (torch.randn(5, 7), torch.rand(1, 7), 1.0),
        (torch.randn(6, 2, 3, 3).double(), torch.rand(3, 2).double(), 2.5),
    ],
    "mask_threshold": lambda: [
        *((torch.randn(5, 7), 0.5, rule) for rule in ("absolute", "quantile", "std", "max")),
        (torch.zeros(0, 7), 0.5, "quantile"),
    ],
    "t_test": lambda: [(torch.randn(5, 7).double(), torch.rand(5, 7).double() + 9, 4)],
    "f_test": lambda: [(torch.randn(5, 7).double(), torch.rand(5, 7).double() + 9, 4)],
    "benjamini_hochberg": lambda: [(torch.rand(5, 7).double(), 0.3), (torch.zeros(0).double(), 0.3)],
    "shrink_units_": lambda: [
        (torch.randn(5, 7), torch.rand(3, 3), [2, 3]),
        (torch.randn(4, 3, 2, 2), torch.rand(1, 12), [16, 1]),
    ],
    "add_hessian_": lambda: [(torch.zeros(2, 3, 3).double(), torch.randn(2, 5, 3))],
    "refit": lambda: [(torch.randn(5, 7), hessian(7), odd_mask(), 0.01)],
    "sparsegpt": lambda: [
        (torch.randn(5, 7), hessian(7), odd_mask(), 0.0, [1, 1], [], 0.01),
        (torch.randn(5, 7), hessian(7), None, 0.5, [2, 3], [], 0.01),
        (torch.randn(5, 7).half(), hessian(7), None, 0.0, [1, 1], [2, 4], 0.01),
    ],
    "alps": lambda: [(torch.randn(5, 7), hessian(7), 0.5, [1, 1], [], 0.01, 30)],
}


def hessian(cols: int) -> torch.Tensor:
    x = torch.randn(1, 3 * cols, cols, dtype=torch.float64)
    return x.transpose(1, 2) @ x


#: JSON in, JSON out, or thread-local state: nothing to trace. Their tests are test_contract.py and test_record.py.
NOT_TRACED = {"select_masks", "record_begin", "record_end"}


def schemas() -> set[str]:
    names = (schema.name for schema in torch._C._jit_get_all_schemas())
    return {name.removeprefix("jouleprune::") for name in names if name.startswith("jouleprune::")}


def test_every_op_has_a_row():
    assert schemas() == set(CASES) | NOT_TRACED


# From torch 2.14 on, opcheck hands AOTAutograd clones of the arguments, which are no leaves, and AOTAutograd reads
# their .grad. torch hides its own warning about that by replacing warnings.showwarning, which is never called when a
# filter makes an error of it first.
@pytest.mark.filterwarnings(
    r"ignore:The \.grad attribute of a Tensor that is not a leaf:UserWarning:torch\._subclasses\.meta_utils"
)
@pytest.mark.filterwarnings("ignore:The .grad attribute")  # of what an op made of others computes on its way
@pytest.mark.parametrize("op", CASES)
def test_opcheck(op):
    torch.manual_seed(0)
    for arguments in CASES[op]():
        torch.library.opcheck(getattr(ops, op).default, arguments)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", ["none", "relu", "gelu", "silu"])
def test_linear_gradcheck(bias, activation):
    torch.manual_seed(1)
    x, values, *rest = linear_arguments(bias=bias, activation=activation, dtype=torch.float64)
    b = rest[4]
    inputs = (x, values) if b is None else (x, values, b)

    def call(x, values, b=None):
        return ops.linear_csr(x, values, *rest[:4], b, *rest[5:])

    assert torch.autograd.gradcheck(call, inputs)


CONVS = {
    "plain": {},
    "grouped": {"groups": 2},
    "depthwise": {"groups": 4, "rows": 8},
    "strided": {"stride": (2, 3)},
    "dilated": {"dilation": (2, 1), "padding": (2, 1)},
    "pointwise": {"kernel": (1, 1), "padding": (0, 0)},
    "wide padding": {"padding": (3, 2)},
}


@pytest.mark.parametrize("case", CONVS)
def test_conv_gradcheck(case):
    torch.manual_seed(2)
    x, values, *rest = conv_arguments(dtype=torch.float64, **CONVS[case])
    b = rest[4]

    def call(x, values, b):
        return ops.conv2d_csr(x, values, *rest[:4], b, *rest[5:])

    assert torch.autograd.gradcheck(call, (x, values, b))


@pytest.mark.parametrize("case", CONVS)
def test_conv_gradients_equal_masked_dense(case):
    torch.manual_seed(3)
    options = CONVS[case]
    arguments = conv_arguments(**options)
    x, values, col_indices, row_offsets, _, _, b, channels, kernel, stride, padding, dilation, groups, _ = arguments
    grads = {}
    for dtype in (torch.float64, torch.float32):
        weight = jp.ops.unpack_csr(
            values.detach(), col_indices, row_offsets, channels // groups * kernel[0] * kernel[1]
        )
        weight = weight.view(-1, channels // groups, *kernel).to(dtype).requires_grad_()
        dense_x, dense_b = (tensor.detach().to(dtype).requires_grad_() for tensor in (x, b))
        y = F.conv2d(dense_x, weight, dense_b, stride, padding, dilation, groups)
        seed = torch.ones_like(y) + torch.arange(y.numel(), dtype=dtype).view_as(y) % 3
        y.backward(seed)
        packed = weight.grad.flatten(1)[weight.detach().flatten(1) != 0]
        grads[dtype] = (y.detach(), dense_x.grad, packed, dense_b.grad)
    y = ops.conv2d_csr(*arguments)
    y.backward(torch.ones_like(y) + torch.arange(y.numel(), dtype=y.dtype).view_as(y) % 3)
    actual = (y.detach(), x.grad, values.grad, b.grad)
    for ours, exact, reordered in zip(actual, grads[torch.float64], grads[torch.float32], strict=True):
        assert_as_good(ours, exact, reordered)


@pytest.mark.parametrize("case", CONVS)
def test_conv_bsr_gradients_equal_dense(case):
    torch.manual_seed(3)
    options = CONVS[case]
    x, blocks, *rest = conv_bsr_arguments(dtype=torch.float64, **options)
    columns, offsets, _, _, b, rows, channels, kernel, stride, padding, dilation, groups, _ = rest
    padded = kernel[0] * kernel[1] * -(-channels // groups // 3) * 3

    def dense(x, blocks, b):
        weight = ops.unpack_bsr(blocks, columns, offsets, rows, padded).view(rows, *kernel, -1)
        weight = weight[..., : channels // groups].permute(0, 3, 1, 2)
        return F.conv2d(x, weight, b, stride, padding, dilation, groups)

    y, expected = ops.conv2d_bsr(x, blocks, *rest), dense(x, blocks, b)
    torch.testing.assert_close(y, expected)
    seed = torch.arange(y.numel(), dtype=y.dtype).view_as(y) % 3
    ours, wanted = (torch.autograd.grad(out, (x, blocks, b), seed) for out in (y, expected))
    torch.testing.assert_close(ours, wanted)


@pytest.mark.parametrize("n", [0, 1, 3, 8, 65, 200])
@pytest.mark.parametrize("rows,cols", [(1, 1), (5, 7), (33, 65), (64, 1), (10, 300)])
def test_linear_gradients_equal_masked_dense(n, rows, cols):
    torch.manual_seed(n + rows)
    arguments = linear_arguments(n=n, rows=rows, cols=cols)
    x, values, col_indices, row_offsets, _, _, b, _, _ = arguments
    results = {}
    for dtype in (torch.float64, torch.float32):
        weight = jp.ops.unpack_csr(values.detach(), col_indices, row_offsets, cols).to(dtype).requires_grad_()
        dense_x, dense_b = (tensor.detach().to(dtype).requires_grad_() for tensor in (x, b))
        y = F.linear(dense_x, weight, dense_b)
        y.backward(torch.ones_like(y))
        results[dtype] = (y.detach(), dense_x.grad, weight.grad[weight.detach() != 0], dense_b.grad)
    y = ops.linear_csr(*arguments)
    y.backward(torch.ones_like(y))
    for ours, exact, reordered in zip((y.detach(), x.grad, values.grad, b.grad), *results.values(), strict=True):
        assert_as_good(ours, exact, reordered)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("n", [1, 5, 64])
def test_dtypes(dtype, n):
    torch.manual_seed(4)
    weight, x, b = masked(19, 45, dtype=dtype), torch.randn(n, 45).to(dtype), torch.randn(19).to(dtype)
    packed = jp.ops.pack_csr(weight)
    ours = jp.ops.linear_csr(x, *packed, b, in_features=45)
    assert_as_good(ours, F.linear(x.double(), weight.double(), b.double()), F.linear(x, weight, b))
    images, kernel = torch.randn(2, 5, 9, 8).to(dtype), masked(19, 45, dtype=dtype)
    ours = jp.ops.conv2d_csr(images, *jp.ops.pack_csr(kernel), b, in_channels=5, kernel_size=(3, 3))
    dense = kernel.view(19, 5, 3, 3)
    assert_as_good(ours, F.conv2d(images.double(), dense.double(), b.double()), F.conv2d(images, dense, b))


def test_strides_and_leading_dims():
    torch.manual_seed(5)
    weight = masked(6, 10)
    packed = jp.ops.pack_csr(weight)
    for x in (
        torch.randn(10, 4).t(),
        torch.randn(4, 20)[:, ::2],
        torch.randn(2, 3, 4, 10),
        torch.randn(10),
        torch.randn(1, 10).expand(5, 10),
        torch.randn(0, 3, 10),
    ):
        ours = jp.ops.linear_csr(x, *packed, in_features=10)
        assert_as_good(ours, F.linear(x.double(), weight.double()), F.linear(x, weight))


def test_channels_last_stays_channels_last():
    x = torch.randn(2, 4, 9, 8).to(memory_format=torch.channels_last)
    packed = jp.ops.pack_csr(masked(6, 36))
    ours = jp.ops.conv2d_csr(x, *packed, in_channels=4, kernel_size=(3, 3))
    assert ours.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(ours, jp.ops.conv2d_csr(x.contiguous(), *packed, in_channels=4, kernel_size=(3, 3)))


def test_nothing_kept():
    packed = jp.ops.pack_csr(torch.zeros(4, 6))
    b = torch.randn(4)
    assert packed[0].numel() == 0
    assert torch.equal(jp.ops.linear_csr(torch.randn(3, 6), *packed, b, in_features=6), b.expand(3, 4))
    x = torch.randn(3, 6, requires_grad=True)
    jp.ops.linear_csr(x, *packed, b, in_features=6).sum().backward()
    assert not x.grad.any()


def test_minus_zero_is_a_zero_and_nan_is_kept():
    values, col_indices, _, _ = jp.ops.pack_csr(torch.tensor([[-0.0, float("nan"), 2.0]]))
    assert col_indices.tolist() == [1, 2] and values[1] == 2.0


def test_autocast():
    x, packed, b = torch.randn(4, 10), jp.ops.pack_csr(masked(6, 10)), torch.randn(6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert jp.ops.linear_csr(x, *packed, b, in_features=10).dtype == torch.bfloat16
        assert jp.ops.linear_csr(x.bfloat16(), *packed, b, in_features=10).dtype == torch.bfloat16
        images = torch.randn(1, 2, 5, 5)
        out = jp.ops.conv2d_csr(images, *jp.ops.pack_csr(masked(6, 18)), b, in_channels=2, kernel_size=(3, 3))
        assert out.dtype == torch.bfloat16


@pytest.mark.parametrize(
    "op,make",
    [
        ("linear_csr", linear_arguments),
        ("conv2d_csr", conv_arguments),
        ("linear_bsr", bsr_arguments),
        ("conv2d_bsr", conv_bsr_arguments),
        ("linear_nm", nm_arguments),
    ],
)
@pytest.mark.parametrize("activation", ["none", "relu"])
@pytest.mark.parametrize("wanted", [0, 1])
def test_double_backward_is_refused(op, make, activation, wanted):
    arguments = make(dtype=torch.float64, activation=activation)
    with pytest.raises(RuntimeError, match=r"double backward through layout (csr|bsr|nm).*not supported"):
        loss = (getattr(ops, op)(*arguments) ** 2).sum()
        torch.autograd.grad(loss, arguments[wanted], create_graph=True)


@pytest.mark.parametrize("wanted", [0, 1])
@pytest.mark.parametrize("trainable", [True, False])
@pytest.mark.parametrize(
    "op,make",
    [
        ("linear_csr", linear_arguments),
        ("conv2d_csr", conv_arguments),
        ("linear_bsr", bsr_arguments),
        ("conv2d_bsr", conv_bsr_arguments),
        ("linear_nm", nm_arguments),
    ],
)
def test_forward_mode_is_refused(op, make, trainable, wanted):
    """A tangent that is dropped would be a derivative of zero."""
    arguments = make(grad=trainable)

    def call(one):
        return getattr(ops, op)(*(one if index == wanted else other for index, other in enumerate(arguments)))

    with pytest.raises(RuntimeError, match=rf"{op}: forward-mode derivatives .* are not supported"):
        torch.func.jvp(call, (arguments[wanted],), (torch.ones_like(arguments[wanted]),))
    with forward_ad.dual_level(), pytest.raises(RuntimeError, match="forward-mode derivatives"), torch.no_grad():
        call(forward_ad.make_dual(arguments[wanted].detach(), torch.ones_like(arguments[wanted])))


def test_gradients_under_autocast_have_the_parameters_dtype():
    x, values, *rest = linear_arguments()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = ops.linear_csr(x, values, *rest)
    out.float().sum().backward()
    assert out.dtype == torch.bfloat16 and x.grad.dtype == values.grad.dtype == rest[4].grad.dtype == torch.float32
    assert x.grad.any() and values.grad.any()


def test_unpack_is_differentiable_in_values():
    values, *structure = unpack_arguments(masked(5, 7, dtype=torch.float64), grad=True)
    assert torch.autograd.gradcheck(lambda v: ops.unpack_csr(v, *structure), (values,))


def test_one_compilation_serves_every_number_of_kept_weights():
    """The number of kept weights depends on the data, so it is a symbolic size, as the batch is."""
    compilations = []

    def count(graph, inputs):
        compilations.append(graph)
        return graph.forward

    def pack_and_run(weight, x):
        packed = ops.pack_csr(weight, None)
        return ops.linear_csr(x, *packed, None, None, weight.shape[1], "none"), packed[0]

    torch._dynamo.reset()
    compiled = torch.compile(pack_and_run, backend=count, fullgraph=True, dynamic=True)
    for n, density in [(3, 0.2), (4, 0.9), (9, 0.0)]:
        weight, x = masked(5, 7, density), torch.randn(n, 7)
        out, values = compiled(weight, x)
        assert torch.equal(out, pack_and_run(weight, x)[0]) and values.numel() == weight.count_nonzero()
    assert len(compilations) == 1


@pytest.mark.parametrize("in_dim", [0, 1])
def test_vmap_over_the_input(in_dim):
    torch.manual_seed(6)
    packed, b = jp.ops.pack_csr(masked(6, 10)), torch.randn(6, requires_grad=True)
    x = torch.randn(3, 4, 10).transpose(0, in_dim)
    mapped = torch.vmap(lambda one: jp.ops.linear_csr(one, *packed, b, in_features=10), in_dims=in_dim)(x)
    assert torch.equal(mapped, jp.ops.linear_csr(x.transpose(0, in_dim), *packed, b, in_features=10))
    mapped.sum().backward()
    assert torch.equal(b.grad, torch.full((6,), 12.0))
    packed = jp.ops.pack_csr(masked(6, 18))
    images = torch.randn(3, 4, 2, 5, 5)
    mapped = torch.vmap(lambda one: jp.ops.conv2d_csr(one, *packed, in_channels=2, kernel_size=(3, 3)))(images)
    looped = [jp.ops.conv2d_csr(one, *packed, in_channels=2, kernel_size=(3, 3)) for one in images]
    torch.testing.assert_close(mapped, torch.stack(looped))


def test_vmap_of_linear_bsr():
    packed = jp.ops.pack_bsr(masked(6, 10), block_size=(2, 2))
    x = torch.randn(3, 4, 10)
    sizes = {"out_features": 6, "in_features": 10}
    mapped = torch.vmap(lambda one: jp.ops.linear_bsr(one, *packed, **sizes))(x)
    torch.testing.assert_close(mapped, jp.ops.linear_bsr(x, *packed, **sizes))


def test_vmap_over_weights_is_refused():
    values, *structure = jp.ops.pack_csr(masked(6, 10))
    x = torch.randn(4, 10)
    with pytest.raises(NotImplementedError, match=r"linear_csr: torch\.vmap maps the input alone"):
        torch.vmap(lambda v: jp.ops.linear_csr(x, v, *structure, in_features=10))(torch.stack([values, values]))


def test_masks_round_trip():
    for shape in [(), (1,), (7,), (8,), (3, 5), (0,), (2, 3, 4, 5)]:
        mask = torch.rand(shape) < 0.5
        assert torch.equal(jp.ops.unpack_mask(jp.ops.pack_mask(mask), list(shape)), mask)
        for tensor in (torch.randn(shape), torch.randn(shape).double(), torch.randint(5, shape)):
            expected = torch.where(mask, tensor, torch.zeros_like(tensor))
            version = tensor._version
            jp.ops.apply_mask_(tensor, jp.ops.pack_mask(mask))
            assert torch.equal(tensor, expected) and tensor._version > version
    turned = torch.randn(4, 6).t()
    mask = torch.rand(6, 4) < 0.5
    expected = turned * mask
    jp.ops.apply_mask_(turned, jp.ops.pack_mask(mask))
    assert torch.equal(turned, expected)


def test_importance_worked_examples():
    weight, grad = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[0.5, -0.5], [1.5, -1.5]])
    assert torch.equal(jp.ops.importance(weight, grad, "gradient"), grad.abs())
    assert torch.equal(jp.ops.importance(weight, grad, "taylor"), (weight * grad).abs())
    assert torch.equal(jp.ops.importance(weight, None, "magnitude"), weight**2)
    lamp = jp.ops.importance(weight, None, "lamp")
    torch.testing.assert_close(lamp, torch.tensor([[1 / 30, 4 / 29], [9 / 25, 1.0]]))
