"""One matrix, equal outputs: eager, script, trace, compile(fullgraph), export, AOTInductor, on layers of awkward kinds.

C++ reproduces the scripted and the AOTInductor model in tests/consumer.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from tolerance import assert_as_good
from torch import nn

import jouleprune as jp

Runs = Callable[[torch.Tensor], torch.Tensor]


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
    "linear, one column": (lambda: pruned(nn.Linear(1, 7)), lambda: torch.randn(5, 1)),
    "linear, all zero": (lambda: pruned(nn.Linear(13, 7), 0.0), lambda: torch.randn(5, 13)),
    "linear, batch 0": (lambda: pruned(nn.Linear(13, 7)), lambda: torch.randn(0, 13)),
    "linear, one vector": (lambda: pruned(nn.Linear(13, 7)), lambda: torch.randn(13)),
    "linear, strided input": (lambda: pruned(nn.Linear(13, 7)), lambda: turned(5)),
    "linear, 3-d input": (lambda: pruned(nn.Linear(13, 7)), lambda: torch.randn(2, 3, 13)),
    "linear bf16": (lambda: pruned(nn.Linear(13, 7).bfloat16()), lambda: torch.randn(5, 13).bfloat16()),
    "linear fp16": (lambda: pruned(nn.Linear(13, 7).half()), lambda: torch.randn(5, 13).half()),
    "conv": (lambda: pruned(nn.Conv2d(3, 5, 3, padding=1)), lambda: torch.randn(2, 3, 9, 7)),
    "conv without bias": (lambda: pruned(nn.Conv2d(3, 5, (3, 2), bias=False)), lambda: torch.randn(2, 3, 9, 7)),
    "conv, odd": (
        lambda: pruned(nn.Conv2d(4, 6, 3, stride=(2, 1), padding=(0, 2), dilation=(1, 2), groups=2)),
        lambda: torch.randn(3, 4, 11, 9),
    ),
    "conv, pointwise": (lambda: pruned(nn.Conv2d(3, 5, 1)), lambda: torch.randn(2, 3, 1, 1)),
    "conv, all zero": (lambda: pruned(nn.Conv2d(3, 5, 3), 0.0), lambda: torch.randn(2, 3, 9, 7)),
    "conv, batch 0": (lambda: pruned(nn.Conv2d(3, 5, 3)), lambda: torch.randn(0, 3, 9, 7)),
    "conv, one image": (lambda: pruned(nn.Conv2d(3, 5, 3)), lambda: torch.randn(3, 9, 7)),
    "conv channels_last": (
        lambda: pruned(nn.Conv2d(3, 5, 3)),
        lambda: torch.randn(2, 3, 9, 7).to(memory_format=torch.channels_last),
    ),
    "conv, strided input": (lambda: pruned(nn.Conv2d(3, 5, 3)), lambda: torch.randn(2, 3, 9, 14)[..., ::2]),
    "conv bf16": (lambda: pruned(nn.Conv2d(3, 5, 3).bfloat16()), lambda: torch.randn(2, 3, 9, 7).bfloat16()),
}


def sparse(layer: nn.Module) -> nn.Module:
    kind = jp.nn.SparseLinear if isinstance(layer, nn.Linear) else jp.nn.SparseConv2d
    return kind.from_dense(layer).eval()


def script(module: nn.Module, x: torch.Tensor, folder) -> Runs:
    torch.jit.script(module).save(str(folder / "m.pt"))
    return torch.jit.load(str(folder / "m.pt"))


def trace(module: nn.Module, x: torch.Tensor, folder) -> Runs:
    torch.jit.trace(module, x).save(str(folder / "m.pt"))
    return torch.jit.load(str(folder / "m.pt"))


def compiled(module: nn.Module, x: torch.Tensor, folder) -> Runs:
    return torch.compile(module, backend="eager", fullgraph=True)


def compiled_ahead(module: nn.Module, x: torch.Tensor, folder) -> Runs:
    return torch.compile(module, backend="aot_eager", fullgraph=True, dynamic=True)


def exported(module: nn.Module, x: torch.Tensor, folder) -> Runs:
    torch.export.save(torch.export.export(module, (x,)), folder / "m.pt2")
    return torch.export.load(folder / "m.pt2").module()


FRONT_ENDS = {
    "script": script, "trace": trace, "compile": compiled, "compile aot dynamic": compiled_ahead, "export": exported,
}  # fmt: skip


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_equal_outputs(front_end, layer, tmp_path):
    torch._dynamo.reset()  # else its limit on recompilations counts the layers together
    make, make_input = LAYERS[layer]
    dense = make().eval()
    x, module = make_input(), sparse(dense)
    with torch.no_grad():
        expected = module(x)
        assert_as_good(expected, copy.deepcopy(dense).double()(x.double()), dense(x))
        out = FRONT_ENDS[front_end](module, x, tmp_path)(x)
    assert torch.equal(out, expected) and out.stride() == expected.stride()


def network() -> tuple[nn.Module, torch.Tensor]:
    """A small converted network of both kinds of layer."""
    torch.manual_seed(1)
    dense = nn.Sequential(
        pruned(nn.Conv2d(1, 6, 3, padding=1)), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), pruned(nn.Linear(6 * 49, 33))
    )
    dense.append(pruned(nn.Linear(33, 10)))
    x = torch.randn(4, 1, 14, 14)
    return jp.convert(dense.eval(), x, force=True), x


def exported_with_a_dynamic_batch(module: nn.Module, x: torch.Tensor) -> torch.export.ExportedProgram:
    return torch.export.export(module, (x,), dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=64)},))


def test_export_with_a_dynamic_batch():
    module, x = network()
    program = exported_with_a_dynamic_batch(module, x)
    with torch.no_grad():
        for n in (1, 4, 9):
            other = torch.randn(n, *x.shape[1:])
            assert torch.equal(program.module()(other), module(other))


# torch copies its own, deprecated LeafSpec.
@pytest.mark.filterwarnings(r"ignore:`isinstance\(treespec, LeafSpec\)` is deprecated:FutureWarning")
def test_decomposed_export_keeps_the_ops_whole():
    """Passes over exported programs find our ops by name."""
    module, x = network()
    program = exported_with_a_dynamic_batch(module, x).run_decompositions()
    called = [str(node.target) for node in program.graph.nodes if "jouleprune" in str(node.target)]
    assert called == ["jouleprune.conv2d_csr.default", "jouleprune.linear_csr.default", "jouleprune.linear_csr.default"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_inductor(dtype):
    module, x = network()
    module, x = module.to(dtype), x.to(dtype)
    torch._dynamo.reset()
    compiled = torch.compile(module, fullgraph=True)
    with torch.no_grad():
        for n, memory_format in [(4, torch.contiguous_format), (3, torch.channels_last), (0, torch.contiguous_format)]:
            images = torch.randn(n, *x.shape[1:], dtype=dtype).to(memory_format=memory_format)
            torch.testing.assert_close(compiled(images), module(images))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_inductor_trains():
    losses = []
    for wrap in (lambda module: module, lambda module: torch.compile(module, fullgraph=True)):
        module, x = network()
        torch._dynamo.reset()
        optimizer, run = torch.optim.SGD(module.parameters(), lr=0.05, momentum=0.9), wrap(module.train())
        losses.append([])
        for _ in range(4):
            loss = run(x).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses[-1].append(loss.item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-4) and losses[0][-1] < losses[0][0]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_aotinductor_package(tmp_path):
    module, x = network()
    with torch.no_grad():
        program = exported_with_a_dynamic_batch(module, x)
        package = torch._inductor.aoti_compile_and_package(program, package_path=str(tmp_path / "m.pt2"))
        run = torch._inductor.aoti_load_package(package)
        for n in (4, 1, 9):
            other = torch.randn(n, *x.shape[1:])
            torch.testing.assert_close(run(other), module(other))


def test_compiled_training_step_equals_eager():
    gradients = []
    for wrap in (lambda module: module, lambda module: torch.compile(module, backend="aot_eager", fullgraph=True)):
        module, x = network()
        wrap(module.train())(x).square().sum().backward()
        gradients.append([parameter.grad.clone() for parameter in module.parameters()])
    assert len(gradients[0]) == 6
    for eager, compiled_grad in zip(*gradients, strict=True):
        torch.testing.assert_close(eager, compiled_grad)


def zeros_of(module: nn.Module) -> list[torch.Tensor]:
    return [layer.to_dense().weight == 0 for layer in module if hasattr(layer, "to_dense")]


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam])
def test_a_converted_network_fine_tunes(optimizer):
    module, _ = network()
    structure = {name: buffer.clone() for name, buffer in module.named_buffers()}
    kept = {name: parameter.detach().clone() for name, parameter in module.named_parameters()}
    zeros = zeros_of(module)
    x, y = torch.randn(64, 1, 14, 14), torch.randint(10, (64,))
    options = {"lr": 0.05, "momentum": 0.9, "weight_decay": 1e-3} if optimizer is torch.optim.SGD else {"lr": 1e-2}
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
    assert all(not torch.equal(kept[name], parameter) for name, parameter in module.named_parameters())
    assert all(not (before & ~after).any() for before, after in zip(zeros, zeros_of(module), strict=True))
    torch._dynamo.reset()
    with torch.no_grad():
        assert torch.equal(torch.jit.script(module)(x), module(x))
        assert torch.equal(torch.compile(module, backend="aot_eager", fullgraph=True)(x), module(x))
