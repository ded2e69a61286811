"""This side of the pipe: starts a peer's interpreter and times layers in it."""

from __future__ import annotations

import contextlib
import math
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from .candidate import Unavailable
from .peers.wire import Arrays, receive, send
from .problem import Problem
from .sampling import Sample

__all__ = ["Peer", "PeerLayer"]

# Loads the package `peers` from its folder alone: with the folder above it on the path, our modules would hide others
# of the peer's interpreter.
_START = """
import importlib.util, sys
folder, name, threads = sys.argv[1:]
spec = importlib.util.spec_from_file_location("peers", folder + "/__init__.py", submodule_search_locations=[folder])
sys.modules["peers"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules["peers"])
from peers.worker import main
main(name, int(threads))
"""
#: A thread of ours that just finished spins for some milliseconds; a peer must not wait for its core.
_SETTLE_S = 0.01
#: Each is made from the whole dense weight: 64 MB and a second or two at 4096x4096.
_MOST_COPIES = 12


class Peer:
    """A running peer; a context manager that ends it.

    Attributes:
        most_s: seconds after which a peer that does not answer is ended.

    Raises:
        Unavailable: the interpreter does not start, or it lacks the library.
    """

    most_s = 60.0

    def __init__(self, name: str, python: str, threads: int) -> None:
        self.name, self._python, self._threads, self._ids = name, python, threads, 0
        try:
            self._process = self._start()
        except OSError as error:
            raise Unavailable(f"not installed: {python}: {error.strerror}") from error
        try:
            hello, _ = self.ask({"ask": "hello"})
        except Unavailable as error:
            self.close()
            raise Unavailable(f"not installed: {error}") from error
        self.version, self.keeps_zeros = str(hello["version"]), bool(hello["keeps_zeros"])
        self.arithmetic = str(hello["arithmetic"])

    def ask(self, request: Mapping[str, Any], arrays: Arrays | None = None) -> tuple[dict[str, Any], Arrays]:
        """One request, one answer.

        Raises:
            Unavailable: the peer's own error, that it ended, or that it took too long and was ended.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        late = threading.Event()

        def end() -> None:
            late.set()
            self._process.kill()

        limit = threading.Timer(self.most_s, end)
        limit.start()
        try:
            send(self._process.stdin, request, arrays)
            answer, given = receive(self._process.stdout)
        except (EOFError, OSError) as error:
            reason = f"no answer to {request['ask']!r} in {self.most_s:g} s" if late.is_set() else str(error)
            raise Unavailable(f"{self.name} ended: {reason}") from error
        finally:
            limit.cancel()
        if "error" in answer:
            raise Unavailable(str(answer["error"]))
        return answer, given

    def prepare(self, problem: Problem) -> PeerLayer:
        """The case's layer in the peer, which is started again where it has ended."""
        layer = problem.layer
        if problem.case.step != "forward" or problem.case.dtype != "float32":
            raise Unavailable("peers are measured on float32 inference")
        assert layer.bias is not None
        if self._process.poll() is not None:
            self.close()
            self._process = self._start()
        self._ids += 1
        size = (layer.weight.numel() if self.keeps_zeros else problem.nnz) * 4
        copies = problem.copies(size)
        if copies > _MOST_COPIES:
            raise Unavailable(f"cold caches would take {copies} copies of its model, at most {_MOST_COPIES} are made")
        padding = int(layer.padding[0]) if isinstance(layer, nn.Conv2d) else 0
        request = {
            "ask": "prepare",
            "id": self._ids,
            "copies": copies,
            "padding": padding,
        }
        arrays = {"weight": layer.weight.numpy(), "bias": layer.bias.numpy(), "x": problem.x.numpy()}
        _, given = self.ask(request, arrays)
        return PeerLayer(self, self._ids, torch.from_numpy(given["y"].copy()), self._threads)

    def _start(self) -> subprocess.Popen[bytes]:
        folder = Path(__file__).parent / "peers"
        return subprocess.Popen(
            [self._python, "-c", _START, str(folder), self.name, str(self._threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def close(self) -> None:
        """Asks it to quit, and ends it where it does not."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            send(self._process.stdin, {"ask": "quit"})
            self._process.wait(timeout=5)
        except (OSError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):  # what an ended peer never read
                stream.close()

    def __enter__(self) -> Peer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class PeerLayer:
    """A layer prepared in a peer: its first output, and a sampler.

    Attributes:
        failed: empty, or why the peer stopped answering; its samples count as stolen then.
    """

    def __init__(self, peer: Peer, number: int, output: Tensor, threads: int) -> None:
        self._peer, self._number, self.output, self._threads = peer, number, output, threads
        self.failed = ""

    def sample(self, repeats: int) -> Sample:
        if self._threads > 1:
            time.sleep(_SETTLE_S)
        if not self.failed:
            try:
                answer, _ = self._peer.ask({"ask": "sample", "id": self._number, "repeats": repeats})
            except Unavailable as error:
                self.failed = str(error)
        if self.failed:
            return Sample(math.inf, 0.0)
        return Sample(float(answer["wall_s"]), float(answer["cpu_s"]))

    def drop(self) -> None:
        """Frees it in the peer."""
        if not self.failed:
            self._peer.ask({"ask": "drop", "id": self._number})
