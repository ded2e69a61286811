"""libxsmm 1.17, ``spmdm``: unstructured zeros in blocks of 128 x 128, transposes of input and output inside the call.

Reads the shared library that ``LIBXSMM`` names (default: ``libxsmm.so`` where the system looks).
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from .layer import Layer

__all__ = ["make"]


class _Handle(ctypes.Structure):
    """``libxsmm_spmdm_handle``."""

    _fields_ = [
        *((name, ctypes.c_int) for name in ("m", "n", "k", "bm", "bn", "bk", "mb", "nb", "kb", "datatype")),
        ("scratch_a", ctypes.c_void_p),
        ("scratch_bc", ctypes.c_void_p),
        ("scratch_per_thread", ctypes.c_int),
    ]


class Libxsmm:
    keeps_zeros = False
    arithmetic = "float32"

    def __init__(self, threads: int) -> None:
        if threads != 1:
            raise ImportError("libxsmm's threads are its caller's: measured on one thread only")
        try:
            self._library = ctypes.CDLL(os.environ.get("LIBXSMM", "libxsmm.so"))
        except OSError as error:
            raise ImportError(str(error)) from error
        self._library.libxsmm_init()
        self.version = "1.17"  # the last with this interface; the library does not tell

    def prepare(self, layer: Layer) -> Callable[[], Any]:
        if layer.is_conv:
            raise ValueError("spmdm multiplies matrices")
        library, weight = self._library, np.ascontiguousarray(layer.weight)
        (rows, cols), batch = weight.shape, len(layer.x)
        handle, slices = _Handle(), ctypes.c_void_p()
        library.libxsmm_spmdm_init(rows, batch, cols, 1, ctypes.byref(handle), ctypes.byref(slices))
        one = ctypes.c_int(1)
        for block in range(library.libxsmm_spmdm_get_num_createSparseSlice_blocks(ctypes.byref(handle))):
            library.libxsmm_spmdm_createSparseSlice_fp32_thread(
                ctypes.byref(handle), ctypes.c_char(b"N"), _address(weight), slices, block, 0, one
            )
        blocks = library.libxsmm_spmdm_get_num_compute_blocks(ctypes.byref(handle))
        x, y = np.ascontiguousarray(layer.x), np.zeros((batch, rows), np.float32)
        alpha, beta = ctypes.c_float(1), ctypes.c_float(0)

        def call() -> Any:
            for block in range(blocks):
                library.libxsmm_spmdm_compute_fp32_thread(
                    ctypes.byref(handle), ctypes.c_char(b"N"), ctypes.c_char(b"T"), ctypes.byref(alpha), slices,
                    _address(x), ctypes.c_char(b"T"), ctypes.byref(beta), _address(y), block, 0, one,
                )  # fmt: skip
            np.add(y, layer.bias, out=y)
            return y

        return call


def _address(array: Any) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def make(threads: int) -> Libxsmm:
    """Raises ImportError where the library is not found."""
    return Libxsmm(threads)
