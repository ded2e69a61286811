"""Out of sparse modules: equal outputs in torch's own layers, and in ONNX as onnxruntime computes it."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from networks import mlp, residual
from structured_networks import network
from tolerance import assert_as_good
from torch import nn

import jouleprune as jp
from jouleprune.layers import SPARSE

CPU, EYERISS = "generic-cpu", "eyeriss-65nm"


def converted(model: nn.Module, x: torch.Tensor, **options) -> nn.Module:
    jp.Pruner(model.eval(), x, energy="50%", profile=EYERISS).prune_now()
    return jp.convert(model, x, force=True, **options)


def line() -> tuple[nn.Module, torch.Tensor]:
    return nn.Sequential(nn.Conv1d(4, 8, 3, padding=1), nn.ReLU(), nn.Conv1d(8, 5, 3)), torch.randn(2, 4, 12)


def transformer() -> tuple[nn.Module, torch.Tensor]:
    """Its layers start as copies of each other, which ONNX would store once."""
    model, x = network("transformer")
    with torch.no_grad():
        for parameter in model.encoder.layers[1].parameters():
            parameter.mul_(1.1)
    return model, x


NETWORKS = {
    "mlp": mlp,
    "residual": residual,
    "lstm": lambda: network("lstm deep"),
    "gru": lambda: network("gru"),
    "transformer": transformer,
    "conv1d": line,
}


@pytest.mark.parametrize("name", NETWORKS)
def test_dense_again(name):
    dense, x = NETWORKS[name]()
    model = converted(dense, x)
    assert any(isinstance(each, SPARSE) for each in model.modules())
    before = copy.deepcopy(model.state_dict())
    back = jp.to_dense(model)
    assert not any(isinstance(each, SPARSE) for each in back.modules())
    assert back.state_dict().keys() == dense.state_dict().keys()
    assert all(torch.equal(value, dense.state_dict()[key]) for key, value in back.state_dict().items())
    assert [type(each) for each in back.modules()] == [type(each) for each in dense.modules()]
    with torch.no_grad():
        assert_as_good(back(x), copy.deepcopy(dense).double()(x.double()), dense(x))
        for parameter in back.parameters():  # nothing is shared
            parameter.zero_()
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_a_layer_under_two_names_stays_one():
    layer = nn.Linear(8, 8)
    with torch.no_grad():
        layer.weight[:, :5] = 0
    x = torch.randn(2, 8)
    model = jp.convert(nn.Sequential(layer, nn.ReLU(), layer).eval(), x, force=True)
    back = jp.to_dense(model)
    assert back[0] is back[2] and torch.equal(back[0].weight, layer.weight)
    alone = jp.to_dense(jp.nn.SparseLinear.from_dense(layer))
    assert type(alone) is nn.Linear and torch.equal(alone.weight, layer.weight)


def test_int8_layers_become_float_ones():
    model, x = mlp()
    int8 = jp.convert(model.eval(), x, dtype="int8", force=True)
    back = jp.to_dense(int8)
    assert not any(isinstance(each, SPARSE) for each in back.modules())
    torch.testing.assert_close(
        back[1].weight, model[1].weight, rtol=0, atol=float(model[1].weight.detach().abs().max()) / 127
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_onnxruntime_computes_the_same(name, tmp_path):
    pytest.importorskip("onnxscript")
    runtime, onnx = pytest.importorskip("onnxruntime"), pytest.importorskip("onnx")
    dense, x = NETWORKS[name]()
    model = converted(dense, x)
    written = jp.export_onnx(model, x, tmp_path / "net.onnx")
    session = runtime.InferenceSession(str(written.path), providers=["CPUExecutionProvider"])
    (given,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    with torch.no_grad():
        exact = copy.deepcopy(dense).double()(x.double())
        assert_as_good(torch.from_numpy(given), exact, model(x))
    proto = onnx.load(written.path)
    assert [(each.key, "zeros" in each.value) for each in proto.metadata_props if each.key == "jouleprune"] == [
        ("jouleprune", True)
    ]
    stored = [onnx.numpy_helper.to_array(each) for each in proto.graph.initializer]
    zeros = sum(int((each == 0).sum()) for each in stored if each.ndim >= 2 and each.dtype == np.float32)
    weights = [p for p in dense.parameters() if p.dim() >= 2]
    assert written.zeros == sum(int((p == 0).sum()) for p in weights) > 0
    assert zeros >= written.zeros and written.weights == sum(p.numel() for p in weights)
    assert written.bytes == written.path.stat().st_size >= 4 * written.weights  # zeros are stored
    assert "Time and joules are those of the dense network" in str(written)


def test_other_batches_and_keywords(tmp_path):
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    model, x = mlp()
    sizes = {"input": {0: "batch"}}
    written = jp.export_onnx(converted(model, x), {"input": x}, tmp_path / "net.onnx", dynamic_shapes=sizes)
    session = runtime.InferenceSession(str(written.path), providers=["CPUExecutionProvider"])
    more = torch.randn(7, 1, 28, 28)
    (given,) = session.run(None, {"input": more.numpy()})
    torch.testing.assert_close(torch.from_numpy(given), model(more).detach(), rtol=1e-4, atol=1e-5)
    assert model.training is False and str(written.path).endswith("net.onnx")


def test_what_cannot_be_exported(tmp_path):
    pytest.importorskip("onnxscript")
    model, x = mlp()
    fused = converted(model, x, fuse=True)
    for call in (lambda: jp.to_dense(fused), lambda: jp.export_onnx(fused, x, tmp_path / "a.onnx")):
        with pytest.raises(ValueError, match=r"model: .* has other ops fused into sparse ones"):
            call()
    with pytest.raises(ValueError, match="model: expected a torch"):
        jp.to_dense(3)
    with pytest.raises(ValueError, match="opset: expected None or a whole number"):
        jp.export_onnx(model, x, tmp_path / "a.onnx", opset="latest")
    with pytest.raises(ValueError, match=r"model: torch\.onnx cannot export it"):
        jp.export_onnx(model, torch.randn(3, 5), tmp_path / "a.onnx")
    with pytest.raises(OSError, match="nowhere"):
        jp.export_onnx(model, x, tmp_path / "nowhere" / "a.onnx")
    assert not list(tmp_path.iterdir())
