"""One matrix, equal outputs: eager, script, trace, compile(fullgraph), export, AOTInductor, on layers of awkward kinds.

C++ reproduces the scripted and the AOTInductor model in tests/consumer.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import nn

import jouleprune as jp


def pruned(layer: nn.Module, density: float = 0.3) -> nn.Module:
    torch.manual_seed(0)
    with torch.no_grad():
        layer.weight.mul_(torch.rand_like(layer.weight) < density)
        if layer.weight.shape[0] > 1:
            layer.weight[0] = 0  # an empty row
    return layer


def turned(n: int) -> torch.Tensor:
    return torch.randn(13, n).t()


LAYERS: dict[str, tuple[Callable[[], nn.Module], Callable[[], torch.Tensor]]] = {
    "linear": (lambda: pruned(nn.Linear(13, 7)), lambda: torch.randn(5, 13)),
    "linear without bias": (lambda: pruned(nn.Linear(13, 7, bias=False)), lambda: torch.randn(5, 13)),
    "linear, one row": (lambda: pruned(nn.Linear(13, 1)), lambda: torch.randn(5, 13)),
    "linear, all zero": (lambda: pruned(nn.Linear(13, 7), 0.0), lambda: torch.randn(5, 13)),
    "linear, batch 0": (lambda: pruned(nn.Linear(13, 7)), lambda: torch.randn(0, 13)),
    "linear, strided input": (lambda: pruned(nn.Linear(13, 7)), lambda: turned(5)),
    "linear, 3-d input": (lambda: pruned(nn.Linear(13, 7)), lambda: torch.randn(2, 3, 13)),
    "linear bf16": (lambda: pruned(nn.Linear(13, 7).bfloat16()), lambda: torch.randn(5, 13).bfloat16()),
    "conv": (lambda: pruned(nn.Conv2d(3, 5, 3, padding=1)), lambda: torch.randn(2, 3, 9, 7)),
    "conv without bias": (lambda: pruned(nn.Conv2d(3, 5, (3, 2), bias=False)), lambda: torch.randn(2, 3, 9, 7)),
    "conv, odd": (
        lambda: pruned(nn.Conv2d(4, 6, 3, stride=(2, 1), padding=(0, 2), dilation=(1, 2), groups=2)),
        lambda: torch.randn(3, 4, 11, 9),
    ),
    "conv, all zero": (lambda: pruned(nn.Conv2d(3, 5, 3), 0.0), lambda: torch.randn(2, 3, 9, 7)),
    "conv, batch 0": (lambda: pruned(nn.Conv2d(3, 5, 3)), lambda: torch.randn(0, 3, 9, 7)),
    "conv channels_last": (
        lambda: pruned(nn.Conv2d(3, 5, 3)),
        lambda: torch.randn(2, 3, 9, 7).to(memory_format=torch.channels_last),
    ),
    "conv bf16": (lambda: pruned(nn.Conv2d(3, 5, 3).bfloat16()), lambda: torch.randn(2, 3, 9, 7).bfloat16()),
}


def sparse(layer: nn.Module) -> nn.Module:
    kind = jp.nn.SparseLinear if isinstance(layer, nn.Linear) else jp.nn.SparseConv2d
    return kind.from_dense(layer).eval()


def script(module: nn.Module, x: torch.Tensor, folder) -> Callable[[torch.Tensor], torch.Tensor]:
    torch.jit.script(module).save(str(folder / "m.pt"))
    return torch.jit.load(str(folder / "m.pt"))


def trace(module: nn.Module, x: torch.Tensor, folder) -> Callable[[torch.Tensor], torch.Tensor]:
    torch.jit.trace(module, x).save(str(folder / "m.pt"))
    return torch.jit.load(str(folder / "m.pt"))


def compiled(module: nn.Module, x: torch.Tensor, folder) -> Callable[[torch.Tensor], torch.Tensor]:
    return torch.compile(module, backend="aot_eager", fullgraph=True)


def exported(module: nn.Module, x: torch.Tensor, folder) -> Callable[[torch.Tensor], torch.Tensor]:
    return torch.export.export(module, (x,)).module()


FRONT_ENDS = {"script": script, "trace": trace, "compile": compiled, "export": exported}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_equal_outputs(front_end, layer, tmp_path):
    make, make_input = LAYERS[layer]
    dense = make().eval()
    x, module = make_input(), sparse(dense)
    with torch.no_grad():
        expected = module(x)
        exact = copy.deepcopy(dense).double()(x.double())
        tolerance = 2e-2 if x.dtype == torch.bfloat16 else 1e-5  # one rounding of the result to 8 bits; float32 sums
        torch.testing.assert_close(expected.double(), exact, rtol=tolerance, atol=tolerance)
        assert torch.equal(FRONT_ENDS[front_end](module, x, tmp_path)(x), expected)


def network() -> tuple[nn.Module, torch.Tensor]:
    """A small converted network of both kinds of layer."""
    torch.manual_seed(1)
    dense = nn.Sequential(
        pruned(nn.Conv2d(1, 6, 3, padding=1)), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), pruned(nn.Linear(6 * 49, 33))
    )
    dense.append(pruned(nn.Linear(33, 10)))
    x = torch.randn(4, 1, 14, 14)
    return jp.convert(dense.eval(), x, force=True), x


def test_export_with_a_dynamic_batch():
    module, x = network()
    program = torch.export.export(module, (x,), dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=64)},))
    with torch.no_grad():
        for n in (1, 4, 9):
            other = torch.randn(n, 1, 14, 14)
            torch.testing.assert_close(program.module()(other), module(other))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_inductor_and_aotinductor(tmp_path):
    module, x = network()
    with torch.no_grad():
        expected = module(x)
        torch.testing.assert_close(torch.compile(module, fullgraph=True)(x), expected)
        package = torch._inductor.aoti_compile_and_package(
            torch.export.export(module, (x,)), package_path=str(tmp_path / "m.pt2")
        )
        torch.testing.assert_close(torch._inductor.aoti_load_package(package)(x), expected)


def test_compiled_training_step_equals_eager():
    gradients = []
    for wrap in (lambda module: module, lambda module: torch.compile(module, backend="aot_eager", fullgraph=True)):
        module, x = network()
        wrap(module.train())(x).square().sum().backward()
        gradients.append([parameter.grad.clone() for parameter in module.parameters()])
    assert len(gradients[0]) == 6
    for eager, compiled_grad in zip(*gradients, strict=True):
        torch.testing.assert_close(eager, compiled_grad)


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam])
def test_a_converted_network_fine_tunes(optimizer):
    module, _ = network()
    structure = {name: buffer.clone() for name, buffer in module.named_buffers()}
    x, y = torch.randn(64, 1, 14, 14), torch.randint(10, (64,))
    options = {"lr": 0.05, "momentum": 0.9} if optimizer is torch.optim.SGD else {"lr": 1e-2}
    optimize = optimizer(module.parameters(), **options)
    losses = []
    for _ in range(60):
        loss = nn.functional.cross_entropy(module(x), y)
        optimize.zero_grad()
        loss.backward()
        optimize.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    assert all(torch.equal(structure[name], buffer) for name, buffer in module.named_buffers())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.testing.assert_close(torch.jit.script(module)(x), module(x))
