"""MNN with its sparse kernels, which its converter chooses by the zeros of a weight."""

from __future__ import annotations

from .mnn_peer import Mnn

__all__ = ["make"]


class SparseMnn(Mnn):
    keeps_zeros = False
    conversion = ("--detectSparseSpeedUp",)


def make(threads: int) -> SparseMnn:
    """Raises ImportError where MNN or onnx is not installed."""
    return SparseMnn(threads)
