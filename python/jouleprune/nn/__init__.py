"""Modules that run pruned weights sparse: ``SparseLinear`` and ``SparseConv2d``, one scriptable class per layout.

``SparseLinear.from_dense(linear)`` gives the class of the layout (``SparseLinearCSR``). Weights are named plain
tensors: the parameter ``values`` (trainable at the kept entries), int32 buffers ``col_indices`` and ``row_offsets``,
the int64 buffer ``key``, the parameter ``bias`` (``docs/formats.md``). There is no ``weight``: read
``to_dense().weight``.

``SparseLinear.from_dense(linear, dtype="int8")`` gives a ``SparseLinearInt8``: an int8 weight in blocks of 1 x 4, for
inference.

``load_state_dict`` accepts another number of kept weights: ``values`` stays the same Parameter with another size, so
make an optimizer with state (momentum) anew. A module takes a state as a whole or not at all; of a model, torch loads
the modules before the refused one (``jouleprune.load`` checks all first).
"""

from .conv2d import SparseConv2d, SparseConv2dCSR
from .int8 import SparseLinearInt8
from .linear import SparseLinear, SparseLinearCSR

__all__ = ["SparseConv2d", "SparseConv2dCSR", "SparseLinear", "SparseLinearCSR", "SparseLinearInt8"]
