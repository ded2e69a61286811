"""What goes over the pipe between the benchmark and a peer.

A message is 8 bytes of length (little-endian), that many bytes of JSON, then the raw bytes of the arrays that the JSON
lists under ``arrays`` as ``[name, dtype, shape]``, in that order, row-major.

Requests (``ask``) and answers: ``hello`` -> name, version, keeps_zeros, arithmetic; ``prepare`` (id, copies, padding;
arrays weight, bias, x) -> array y; ``sample`` (id, repeats) -> wall_s, cpu_s of one call; ``drop`` (id) -> nothing;
``quit``. An answer with ``error`` says why there is no other.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import IO, Any

import numpy as np
import numpy.typing as npt

__all__ = ["Arrays", "receive", "send"]

Arrays = dict[str, npt.NDArray[Any]]


def send(stream: IO[bytes], message: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]] | None = None) -> None:
    """Writes a message and its arrays."""
    whole = {name: np.ascontiguousarray(array) for name, array in (arrays or {}).items()}
    listed = [[name, array.dtype.str, list(array.shape)] for name, array in whole.items()]
    text = json.dumps({**message, "arrays": listed}).encode()
    stream.write(struct.pack("<Q", len(text)) + text)
    for array in whole.values():
        stream.write(array.tobytes())
    stream.flush()


def receive(stream: IO[bytes]) -> tuple[dict[str, Any], Arrays]:
    """Reads a message and its arrays.

    Raises:
        EOFError: the other side has ended.
    """
    (length,) = struct.unpack("<Q", _exactly(stream, 8))
    message: dict[str, Any] = json.loads(_exactly(stream, length))
    arrays: Arrays = {}
    for name, dtype, shape in message.pop("arrays"):
        kind = np.dtype(dtype)
        count = int(np.prod(shape, dtype=np.int64))
        arrays[name] = np.frombuffer(_exactly(stream, count * kind.itemsize), kind).reshape(shape)
    return message, arrays


def _exactly(stream: IO[bytes], count: int) -> bytes:
    data = stream.read(count)
    if len(data) != count:
        raise EOFError(f"the pipe ended after {len(data)} of {count} bytes")
    return data
