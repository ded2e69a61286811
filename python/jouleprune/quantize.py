"""int8 for ``jp.convert(model, x, dtype="int8")``: which pruned layers gain by it, and the scales of their inputs."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .layers import Int8Twin, int8_twin, layer_of
from .nn import SparseConv2d, SparseLinear
from .nn._checks import numeric_padding
from .race import Timer, race
from .record import record

__all__ = ["Int8Layer", "calibrate", "int8_layers"]

#: As in a race of two: below this the difference drowns in noise.
_MARGIN = 1.03


@dataclass(frozen=True)
class Int8Layer:
    """A pruned Linear or Conv2d in int8: what takes its place, and what the alternatives take (seconds per forward
    pass)."""

    module: Int8Twin
    wanted: bool
    reason: str
    dense_s: float | None
    sparse_s: float | None


def int8_layers(
    model: nn.Module,
    example_inputs: Any,
    weights: Iterable[str],
    *,
    calibration: Iterable[Any] | None,
    force: bool,
    timer: Timer | None,
) -> dict[str, Int8Layer]:
    """The int8 twins of the named weights of Linear and Conv2d layers, with the decision for each.

    int8 wins a layer when it is 3 % faster than both dense and csr in the layer's own dtype; what torch's dense int8
    would take (from float to float, as ours) is told beside it. ``force``: int8 whatever its speed, nothing is timed.
    """
    dense = {weight: _layer(model, weight) for weight in weights}
    twins = {weight: int8_twin(layer) for weight, layer in dense.items()}
    if calibration is not None:
        for weight, largest in calibrate(
            model, calibration, [weight.removesuffix(".weight") for weight in dense]
        ).items():
            if largest > 0:
                twins[f"{weight}.weight"].fix_input_scale(largest / 127)
    errors = _errors(model, example_inputs, twins)
    if force:
        return {
            weight: Int8Layer(twin, True, f"bsr int8: forced; {errors[weight]}", None, None)
            for weight, twin in twins.items()
        }
    csr_twins = {weight: _csr(layer) for weight, layer in dense.items()}
    torch_twins = {weight: _torch_int8(layer) for weight, layer in dense.items()}
    int8, csr, torch_int8 = (
        race(
            model, example_inputs, {layer_of(weight): stand_in for weight, stand_in in stand_ins.items()}, timer, kernel
        )
        for kernel, stand_ins in (("bsr-int8", twins), ("csr", csr_twins), ("torch-int8", torch_twins))
    )
    layers = {}
    for weight, twin in twins.items():
        name = layer_of(weight)
        timed = int8[name]
        # Each race has timed dense once more: times are brought to the dense time of the int8 race.
        csr_s, torch_s = (timed.dense_s * other.sparse_s / other.dense_s for other in (csr[name], torch_int8[name]))
        wanted = timed.sparse_s * _MARGIN < min(timed.dense_s, csr_s)
        label = next((other.label for other in (csr[name], torch_int8[name]) if other.noisy), timed.label)
        times = (
            f"bsr int8 {timed.sparse_s * 1e6:.1f} us, csr {csr_s * 1e6:.1f} us, dense {timed.dense_s * 1e6:.1f} us, "
            f"torch dense int8 {torch_s * 1e6:.1f} us per pass ({label})"
        )
        sentence = f"bsr int8: {times}; {errors[weight]}" if wanted else f"int8 does not win: {times}"
        layers[weight] = Int8Layer(twin, wanted, sentence, timed.dense_s, timed.sparse_s)
    return layers


def calibrate(model: nn.Module, batches: Iterable[Any], layers: Iterable[str]) -> dict[str, float]:
    """The largest magnitude that each named layer sees as its input over ``batches``. ``model`` is not changed.

    Args:
        batches: each is what ``example_inputs`` may be (a tensor, a tuple of positional arguments, a dict of keyword
            arguments), or a list, as a DataLoader of (input, target) pairs gives, whose first element is the input.
    Raises:
        ValueError: no batch, or a layer saw NaN or infinity.
    """
    largest = dict.fromkeys(layers, 0.0)
    twin = copy.deepcopy(model).eval()

    def watch(layer: str) -> Any:
        def hook(_: nn.Module, args: tuple[Any, ...]) -> None:
            if args and isinstance(args[0], Tensor) and args[0].numel():
                seen = float(args[0].detach().abs().max())
                if not seen < float("inf"):
                    raise ValueError(f"calibration: {layer} saw NaN or infinity in its input")
                largest[layer] = max(largest[layer], seen)

        return hook

    for layer in largest:
        twin.get_submodule(layer).register_forward_pre_hook(watch(layer))
    count = 0
    with torch.no_grad():
        for batch in batches:
            count += 1
            inputs = batch[0] if isinstance(batch, list) else batch
            if isinstance(inputs, Mapping):
                twin(**inputs)
            else:
                twin(*(inputs if isinstance(inputs, tuple) else (inputs,)))
    if count == 0:
        raise ValueError("calibration: expected at least one batch, got none")
    return largest


def _layer(model: nn.Module, weight: str) -> nn.Linear | nn.Conv2d:
    layer = model.get_submodule(weight.removesuffix(".weight"))
    assert isinstance(layer, nn.Linear | nn.Conv2d)
    return layer


def _csr(layer: nn.Linear | nn.Conv2d) -> nn.Module:
    return SparseLinear.from_dense(layer) if isinstance(layer, nn.Linear) else SparseConv2d.from_dense(layer)


def _torch_int8(layer: nn.Linear | nn.Conv2d) -> nn.Module:
    """torch's int8 of the dense layer, on the engine that torch has chosen for this machine: dynamic, or of a
    convolution, for which there is no such thing, static between a quantisation and its inverse."""
    if isinstance(layer, nn.Conv2d):
        return _InFloat32(_TorchInt8Conv(layer))
    twin = nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None)
    with torch.no_grad():
        twin.weight.copy_(layer.weight)
        if layer.bias is not None:
            twin.bias.copy_(layer.bias)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.ao.quantization is deprecated in favour of a package of its own
        quantized = torch.ao.quantization.quantize_dynamic(nn.Sequential(twin), {nn.Linear}, dtype=torch.qint8)
    return _InFloat32(quantized)


class _InFloat32(nn.Module):
    """torch's int8 takes float32 alone."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, input: Tensor) -> Tensor:
        out: Tensor = self.inner(input.float())
        return out.to(input.dtype)


class _TorchInt8Conv(nn.Module):
    """For its time alone: the scales are those of inputs between 0 and 1, which the race has."""

    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__()
        weight = layer.weight.detach().float()
        scales = (weight.flatten(1).abs().amax(1) / 127).clamp(min=1e-8)
        zeros = torch.zeros(len(scales), dtype=torch.long)
        bias = None if layer.bias is None else layer.bias.detach().float()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch deprecates quantised tensors; they are what its users run today
            quantised = torch.quantize_per_channel(weight, scales, zeros, 0, torch.qint8)
            padding = list(numeric_padding("torch int8", layer))
            self.packed = torch.ops.quantized.conv2d_prepack(
                quantised, bias, list(layer.stride), padding, list(layer.dilation), layer.groups
            )

    def forward(self, input: Tensor) -> Tensor:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            quantised = torch.quantize_per_tensor(input, 1 / 127, 128, torch.quint8)
            out: Tensor = torch.ops.quantized.conv2d(quantised, self.packed, 1 / 127, 128).dequantize()
        return out


def _errors(model: nn.Module, example_inputs: Any, twins: Mapping[str, Int8Twin]) -> dict[str, str]:
    """How far each twin's outputs are from the layer's on its own inputs in one forward pass."""
    wrong: dict[str, list[float]] = {weight: [0.0, 0.0] for weight in twins}

    def watch(weight: str) -> Any:
        def hook(_: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            if args and isinstance(args[0], Tensor):
                with torch.no_grad():
                    off = twins[weight](args[0].detach()).double() - output.detach().double()
                wrong[weight][0] += float(off.square().sum())
                wrong[weight][1] += float(output.detach().double().square().sum())

        return hook

    handles = [_layer(model, weight).register_forward_hook(watch(weight)) for weight in twins]
    try:
        record(model, example_inputs)
    finally:
        for handle in handles:
            handle.remove()
    return {
        weight: f"relative error {(off / max(size, 1e-300)) ** 0.5:.2%} on the example inputs"
        for weight, (off, size) in wrong.items()
    }
