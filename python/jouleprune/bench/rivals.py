"""What torch offers for the same layer: the dense kernels that sparsity must beat, and torch's own CSR."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..clock import seconds
from .candidate import Candidate, Unavailable
from .problem import Problem

__all__ = ["rivals"]

Maker = Callable[[Problem], Candidate]
_FROM_FLOAT = "torch int8 static from float32"


def rivals(problem: Problem) -> list[tuple[str, Maker]]:
    """Names and makers, the case's baseline among them. A maker raises Unavailable where torch lacks the kernel."""
    case, linear = problem.case, isinstance(problem.layer, nn.Linear)
    if case.step != "forward":
        return [("torch", _gradient), ("torch mm", _gradient_by_mm)]
    plain: list[tuple[str, Maker]] = [
        ("torch", _dense),
        ("torch pre-packed", _prepacked_linear if linear else _prepacked_conv),
    ]
    int8: tuple[str, Maker] = ("torch int8 dynamic", _int8_linear) if linear else ("torch int8 static", _int8_conv)
    csr: tuple[str, Maker] = ("torch csr", _csr_linear if linear else _csr_conv)
    found: dict[str, list[tuple[str, Maker]]] = {
        "float32": [*plain, ("torch bf16", _bfloat16), int8, csr],
        "bfloat16": [("torch bf16", _bfloat16), ("torch bf16 pre-packed", _prepacked_bfloat16), *plain],
        "int8": [*plain, ("torch bf16", _bfloat16), int8] + ([] if linear else [(_FROM_FLOAT, _int8_conv_from_float)]),
    }
    return found[case.dtype]


def _run(layer: nn.Linear | nn.Conv2d, x: Tensor, weight: Tensor, bias: Tensor | None) -> Callable[[], Tensor]:
    """The plain functional call."""
    if isinstance(layer, nn.Linear):
        return lambda: F.linear(x, weight, bias)
    padding = layer.padding
    return lambda: F.conv2d(x, weight, bias, padding=padding)


def _dense(problem: Problem) -> Candidate:
    size = problem.layer.weight.numel() * 4
    calls = [_run(layer, problem.x, layer.weight, layer.bias) for layer in problem.layers(size)]
    return Candidate("torch", calls, "float32", problem.dense_work)


def _bfloat16(problem: Problem) -> Candidate:
    x, calls = problem.x.bfloat16(), []
    for layer in problem.layers(problem.layer.weight.numel() * 2):
        assert layer.bias is not None
        calls.append(_run(layer, x, layer.weight.bfloat16(), layer.bias.bfloat16()))
    return Candidate(
        "torch bf16", calls, "bfloat16", problem.dense_work, dense=Tensor.float, note="bfloat16 activations in and out"
    )


def _packed_linear(problem: Problem, dtype: torch.dtype) -> list[Callable[[], Tensor]]:
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise") or not torch.backends.mkldnn.is_available():
        raise Unavailable("this torch has no oneDNN")
    x, calls = problem.x.to(dtype), list[Callable[[], Tensor]]()
    size = problem.layer.weight.numel() * dtype.itemsize
    for layer in problem.layers(size):
        assert layer.bias is not None
        packed = torch.ops.mkldnn._reorder_linear_weight(layer.weight.to(dtype), x.shape[0])
        bias = layer.bias.to(dtype)
        calls.append(functools.partial(torch.ops.mkldnn._linear_pointwise, x, packed, bias, "none", [], ""))
    return calls


def _prepacked_linear(problem: Problem) -> Candidate:
    calls = _packed_linear(problem, torch.float32)
    return Candidate("torch pre-packed", calls, "float32", problem.dense_work, note="oneDNN, as torch.compile freezes")


def _prepacked_bfloat16(problem: Problem) -> Candidate:
    if not isinstance(problem.layer, nn.Linear):
        raise Unavailable("measured for linear layers only")
    calls = _packed_linear(problem, torch.bfloat16)
    return Candidate("torch bf16 pre-packed", calls, "bfloat16", problem.dense_work, dense=Tensor.float)


def _prepacked_conv(problem: Problem) -> Candidate:
    if not hasattr(torch.ops.mkldnn, "_convolution_pointwise") or not torch.backends.mkldnn.is_available():
        raise Unavailable("this torch has no oneDNN")
    layer, x = problem.layer, problem.x
    assert isinstance(layer, nn.Conv2d)
    padding, ones = list(_padding(layer)), [1, 1]
    reorder: Any = torch._C._nn.mkldnn_reorder_conv2d_weight  # torch's annotation lacks the last argument
    packed = reorder(layer.weight.to_mkldnn(), padding, ones, ones, 1, list(x.shape))
    bias = layer.bias

    def call() -> Any:
        return torch.ops.mkldnn._convolution_pointwise(x, packed, bias, padding, ones, ones, 1, "none", [], "")

    note = "oneDNN, as torch.compile freezes; leaves its output channels-last"
    return Candidate("torch pre-packed", [call], "float32", problem.dense_work, note=note)


def _int8_linear(problem: Problem) -> Candidate:
    """Weights per row, activations per tensor and call; the engine that is faster on this shape."""
    fastest: tuple[float, str, Callable[[], Any]] | None = None
    for engine in ("x86", "onednn", "fbgemm"):
        if engine not in torch.backends.quantized.supported_engines:
            continue
        call = _int8_call(problem.layer, problem.x, engine)
        call()
        once = min(seconds(call) for _ in range(5))
        if fastest is None or once < fastest[0]:
            fastest = (once, engine, call)
    if fastest is None:
        raise Unavailable("this torch has no int8 engine for x86")
    engine = fastest[1]
    size = problem.layer.weight.numel()
    calls = [_int8_call(layer, problem.x, engine) for layer in problem.layers(size)]
    note = f"engine {engine}, the fastest here; weights per row, activations per tensor"
    return Candidate("torch int8 dynamic", calls, "int8", problem.dense_work, note=note)


def _int8_call(layer: nn.Linear | nn.Conv2d, x: Tensor, engine: str) -> Callable[[], Any]:
    assert layer.bias is not None
    with _quantized_engine(engine):
        packed = torch.ops.quantized.linear_prepack(_rows_in_int8(layer.weight), layer.bias)
    return lambda: torch.ops.quantized.linear_dynamic(x, packed, reduce_range=False)


def _int8_conv(problem: Problem) -> Candidate:
    quantised, conv = _packed_int8_conv(problem)
    return Candidate(
        "torch int8 static",
        [lambda: conv(quantised)],
        "int8",
        problem.dense_work,
        dense=lambda output: output.dequantize(),
        note="uint8 channels-last in and out: neither quantising nor dequantising is in its time",
    )


def _int8_conv_from_float(problem: Problem) -> Candidate:
    """What jouleprune's layer does: float32 in, float32 out."""
    quantised, conv = _packed_int8_conv(problem)
    scale, x = quantised.q_scale(), problem.x
    return Candidate(
        _FROM_FLOAT,
        [lambda: conv(torch.quantize_per_tensor(x, scale, 128, torch.quint8)).dequantize()],
        "int8",
        problem.dense_work,
        note="quantise, convolve, dequantise",
    )


def _packed_int8_conv(problem: Problem) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """The input quantised, channels last, and the layer that takes it."""
    layer, x = problem.layer, problem.x
    assert isinstance(layer, nn.Conv2d) and layer.bias is not None
    out_scale = float(layer(x).abs().max()) / 127
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch deprecates quantised tensors; they are what its users run today
        quantised = torch.quantize_per_tensor(x, float(x.abs().max()) / 127, 128, torch.quint8)
    with _quantized_engine("x86"):
        packed = torch.ops.quantized.conv2d_prepack(
            _rows_in_int8(layer.weight), layer.bias, [1, 1], list(_padding(layer)), [1, 1], 1
        )
    return (
        quantised.contiguous(memory_format=torch.channels_last),
        lambda q: torch.ops.quantized.conv2d(q, packed, out_scale, 128),
    )


def _rows_in_int8(weight: Tensor) -> Tensor:
    scales = weight.flatten(1).abs().amax(1).clamp(min=1e-8) / 127
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.quantize_per_channel(weight, scales, torch.zeros(len(scales), dtype=torch.long), 0, torch.qint8)


class _quantized_engine:
    """torch's int8 engine while weights are packed; the packed weight remembers it."""

    def __init__(self, name: str) -> None:
        self._name = name
        if name not in torch.backends.quantized.supported_engines:
            raise Unavailable(f"this torch has no int8 engine {name}")

    def __enter__(self) -> None:
        self._before = torch.backends.quantized.engine
        torch.backends.quantized.engine = self._name

    def __exit__(self, *_: object) -> None:
        torch.backends.quantized.engine = self._before


def _csr_linear(problem: Problem) -> Candidate:
    """By addmm: F.linear of a CSR weight takes five times as long (torch 2.13)."""
    x, calls = problem.x, list[Callable[[], Tensor]]()
    for layer in problem.layers(problem.nnz * 8):
        assert layer.bias is not None
        calls.append(functools.partial(_csr_product, layer.bias, _torch_csr(layer.weight), x))
    return Candidate("torch csr", calls, "float32", problem.kept_work)


def _csr_product(bias: Tensor, weight: Tensor, x: Tensor) -> Tensor:
    if len(x) == 1:
        return torch.addmv(bias, weight, x[0]).unsqueeze(0)
    return torch.addmm(bias.unsqueeze(1), weight, x.t()).t().contiguous()


def _csr_conv(problem: Problem) -> Candidate:
    layer, x = problem.layer, problem.x
    assert isinstance(layer, nn.Conv2d) and layer.bias is not None
    weight, bias, padding = _torch_csr(layer.weight.flatten(1)), layer.bias.view(1, -1, 1, 1), _padding(layer)
    kernel, size = layer.kernel_size[0], x.shape[-2:]

    def call() -> Tensor:
        columns = x.flatten(2) if kernel == 1 else F.unfold(x, kernel, padding=padding)
        images = [torch.sparse.mm(weight, image).view(-1, *size) for image in columns]
        return torch.stack(images).add_(bias)

    return Candidate("torch csr", [call], "float32", problem.kept_work, note="unfold, then torch.sparse.mm")


def _torch_csr(weight: Tensor) -> Tensor:
    """With int32 columns: MKL takes no others without copying them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "in beta state"
        wide = weight.to_sparse_csr()
        rows, columns = wide.crow_indices().int(), wide.col_indices().int()
        return torch.sparse_csr_tensor(rows, columns, wide.values(), wide.shape)


def _padding(layer: nn.Conv2d) -> tuple[int, int]:
    assert not isinstance(layer.padding, str)
    return (layer.padding[0], layer.padding[1])


def _gradient(problem: Problem) -> Candidate:
    """Through autograd, as jouleprune's: both pay for it."""
    weight, x = problem.layer.weight.clone(), problem.x.clone()
    wanted = (weight if problem.case.step == "dW" else x).requires_grad_()
    with torch.enable_grad():
        output = F.linear(x, weight, problem.layer.bias)
    return Candidate(
        "torch",
        [lambda: torch.autograd.grad(output, wanted, problem.grad, retain_graph=True)[0]],
        "float32",
        problem.dense_work,
        dense=_masked(problem),
    )


def _gradient_by_mm(problem: Problem) -> Candidate:
    weight, x, grad = problem.layer.weight, problem.x, problem.grad
    by_weight = problem.case.step == "dW"
    call: Callable[[], Tensor] = (lambda: torch.mm(grad.t(), x)) if by_weight else (lambda: torch.mm(grad, weight))
    note = "the product alone, without autograd"
    return Candidate("torch mm", [call], "float32", problem.dense_work, dense=_masked(problem), note=note)


def _masked(problem: Problem) -> Callable[[Tensor], Tensor]:
    """A dense gradient has entries where the mask has none: those are not compared."""
    if problem.case.step == "dW":
        return lambda output: output * (problem.layer.weight != 0)
    return lambda output: output
