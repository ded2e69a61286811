"""``jouleprune bench --peer``: the protocol, and peers that are not there."""

from __future__ import annotations

import os
import sys
import threading

import numpy as np
import pytest
from bench_tools import FakeClock, tiny_options, use_tiny

from jouleprune.bench import command
from jouleprune.bench.candidate import Unavailable
from jouleprune.bench.peer_client import Peer
from jouleprune.bench.peers.wire import receive, send
from jouleprune.bench.peers.worker import serve


class Doubling:
    """A peer that multiplies densely, and refuses convolutions."""

    version, keeps_zeros, arithmetic = "1.0", True, "float32"

    def prepare(self, layer):
        if layer.is_conv:
            raise ValueError("no convolutions")
        return lambda: layer.x @ layer.weight.T + layer.bias


def test_the_protocol_of_peers():
    (to_peer_out, to_peer_in), (to_us_out, to_us_in) = os.pipe(), os.pipe()
    with (
        os.fdopen(to_peer_out, "rb") as requests, os.fdopen(to_peer_in, "wb") as ask,
        os.fdopen(to_us_out, "rb") as hear, os.fdopen(to_us_in, "wb") as answers,
    ):  # fmt: skip
        peer = threading.Thread(target=serve, args=(requests, answers, "doubling", Doubling()))
        peer.start()
        send(ask, {"ask": "hello"})
        assert receive(hear)[0] == {"name": "doubling", "version": "1.0", "keeps_zeros": True, "arithmetic": "float32"}
        weight, bias, x = (np.random.default_rng(0).normal(size=s).astype(np.float32) for s in ((3, 5), (3,), (2, 5)))
        given = {"weight": weight, "bias": bias, "x": x}
        send(ask, {"ask": "prepare", "id": 1, "copies": 2, "padding": 0}, given)
        np.testing.assert_allclose(receive(hear)[1]["y"], x @ weight.T + bias, rtol=1e-6)
        send(ask, {"ask": "sample", "id": 1, "repeats": 3})
        answer, _ = receive(hear)
        assert answer["wall_s"] > 0 and answer["cpu_s"] >= 0
        send(ask, {"ask": "prepare", "id": 2, "copies": 1, "padding": 1}, {**given, "weight": weight[..., None, None]})
        assert receive(hear)[0] == {"error": "ValueError: no convolutions"}
        send(ask, {"ask": "dance"})
        assert "expected hello, prepare" in receive(hear)[0]["error"]
        send(ask, {"ask": "quit"})
        peer.join(timeout=5)
        assert not peer.is_alive()


@pytest.mark.slow
def test_a_peer_that_is_not_installed_is_said_to_be_so():
    for python, reason in ((sys.executable, "not installed: "), ("/nowhere/python", "not installed: /nowhere/python")):
        with pytest.raises(Unavailable, match=reason):
            Peer("deepsparse", python, 1)


@pytest.fixture
def ending_peer(tmp_path, monkeypatch):
    """An interpreter whose onnxruntime answers the first preparation and then, asked for a sample, ends or hangs."""
    folder = tmp_path / "modules"
    for name in ("onnx", "onnxruntime"):
        (folder / name).mkdir(parents=True)
    (folder / "onnx" / "__init__.py").write_text(FAKE_ONNX)
    (folder / "onnxruntime" / "__init__.py").write_text(FAKE_RUNTIME)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return sys.executable


FAKE_ONNX = """
from types import SimpleNamespace
kept = {}
class Model:
    def SerializeToString(self):
        return b"model"
def from_array(array, name):
    kept[name] = array
numpy_helper = SimpleNamespace(from_array=from_array)
TensorProto = SimpleNamespace(FLOAT=1)
helper = SimpleNamespace(
    make_node=lambda *a, **k: None, make_graph=lambda *a: None, make_tensor_value_info=lambda *a: None,
    make_opsetid=lambda *a: None, make_model=lambda *a, **k: Model(),
)
"""
FAKE_RUNTIME = """
import os, time, onnx
__version__ = "0.0"
class SessionOptions:
    def add_session_config_entry(self, name, value):
        pass
class InferenceSession:
    def __init__(self, model, options, providers):
        self.calls = 0
    def run(self, outputs, feed):
        self.calls += 1
        if self.calls > 3:
            time.sleep(60) if os.environ.get("PEER_HANGS") else os._exit(3)
        return [feed["x"] @ onnx.kept["weight"].T + onnx.kept["bias"]]
"""


@pytest.mark.slow
@pytest.mark.parametrize("hangs, reason", [(False, "the pipe ended"), (True, "no answer to 'sample' in 8 s")])
def test_a_peer_that_ends_is_reported_and_started_again(ending_peer, hangs, reason, monkeypatch):
    if hangs:
        monkeypatch.setenv("PEER_HANGS", "1")
    monkeypatch.setattr(Peer, "most_s", 8.0)
    use_tiny(monkeypatch)
    report = command.report_of(tiny_options(peers=(("onnxruntime", ending_peer),)), clock=FakeClock())
    assert report.peers["onnxruntime"] == "version 0.0" and len(report.cells) == 2
    for cell in report.cells:
        found = cell.result("onnxruntime")
        assert found is not None and found.status == "failed" and reason in found.reason
        assert cell.speed("jouleprune", "torch") is not None
