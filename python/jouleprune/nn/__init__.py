"""Modules that run pruned weights sparse: ``SparseLinear`` and ``SparseConv2d``, one scriptable class per layout.

``SparseLinear.from_dense(linear)`` gives the class of the layout (``SparseLinearCSR``). Weights are named plain
tensors: the parameter ``values`` (trainable at the kept entries), int32 buffers ``col_indices`` and ``row_offsets``,
the int64 buffer ``key``, the parameter ``bias`` (``docs/formats.md``). There is no ``weight``: read
``to_dense().weight``.

``SparseLinear.from_dense(linear, layout="bsr")`` and ``layout="vector"`` give a ``SparseLinearBSR``: a weight in
blocks, with the parameter ``blocks`` in place of ``values``.

``load_state_dict`` accepts another number of kept weights: ``values`` stays the same Parameter with another size, so
make an optimizer with state (momentum) anew. A module takes a state as a whole or not at all; of a model, torch loads
the modules before the refused one (``jouleprune.load`` checks all first).
"""

from .bsr import SparseLinearBSR
from .conv2d import SparseConv2d, SparseConv2dCSR
from .linear import SparseLinear, SparseLinearCSR

__all__ = ["SparseConv2d", "SparseConv2dCSR", "SparseLinear", "SparseLinearBSR", "SparseLinearCSR"]
