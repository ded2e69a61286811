"""``jouleprune bench --peer``: the protocol, and peers that are not there."""

from __future__ import annotations

import os
import sys
import threading

import numpy as np
import pytest

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
