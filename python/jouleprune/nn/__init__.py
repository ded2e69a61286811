"""Modules that run pruned weights sparse, one scriptable class per layout: ``SparseLinear``, ``SparseConv1d``,
``SparseConv2d``, ``SparseLSTM``, ``SparseGRU``, ``SparseMultiheadAttention``.

``SparseLinear.from_dense(linear)`` gives the class of the layout (``SparseLinearCSR``). Weights are named plain
tensors: the parameter ``values`` (trainable at the kept entries), int32 buffers ``col_indices`` and ``row_offsets``,
the int64 buffer ``key``, the parameter ``bias`` (``docs/formats.md``). There is no ``weight``: read
``to_dense().weight``. Modules of several weights hold each as a child under torch's name of the weight:
``weight_ih_l0.values``.

``SparseLinear.from_dense(linear, dtype="int8")`` gives a ``SparseLinearInt8``: an int8 weight in blocks of 1 x 4, for
inference; ``SparseConv2d.from_dense(conv, dtype="int8")`` a ``SparseConv2dInt8``.

``SparseLinear.from_dense(linear, layout="bsr")`` and ``layout="vector"`` give a ``SparseLinearBSR``: a weight in
blocks, with the parameter ``blocks`` in place of ``values``.

``SparseLinear.from_dense(linear, layout="nm", pattern="2:4")`` gives a ``SparseLinearNM``: n of each m neighbouring
inputs are kept, with uint8 ``indices`` in place of columns.

``NarrowMultiheadAttention`` is dense: attention that has lost heads (``jouleprune.shrink``).

``load_state_dict`` accepts another number of kept weights: ``values`` stays the same Parameter with another size, so
make an optimizer with state (momentum) anew. A module takes a state as a whole or not at all; of a model, torch loads
the modules before the refused one (``jouleprune.load`` checks all first).
"""

from .attention import SparseMultiheadAttention, SparseMultiheadAttentionCSR
from .bsr import SparseLinearBSR
from .conv1d import SparseConv1d, SparseConv1dCSR
from .conv2d import SparseConv2d, SparseConv2dCSR
from .gru import SparseGRU, SparseGRUCSR
from .int8 import SparseLinearInt8
from .int8_conv2d import SparseConv2dInt8
from .linear import SparseLinear, SparseLinearCSR
from .lstm import SparseLSTM, SparseLSTMCSR
from .narrow_attention import NarrowMultiheadAttention
from .nm import SparseLinearNM

__all__ = [
    "NarrowMultiheadAttention",
    "SparseConv1d",
    "SparseConv1dCSR",
    "SparseConv2d",
    "SparseConv2dCSR",
    "SparseConv2dInt8",
    "SparseGRU",
    "SparseGRUCSR",
    "SparseLSTM",
    "SparseLSTMCSR",
    "SparseLinear",
    "SparseLinearBSR",
    "SparseLinearCSR",
    "SparseLinearInt8",
    "SparseLinearNM",
    "SparseMultiheadAttention",
    "SparseMultiheadAttentionCSR",
]
