"""Drop-in for ``torch.nn.utils.prune``: change the import, keep the code.

The names, the hooks, ``name_orig`` and ``name_mask`` are torch's, and the classes are subclasses of torch's, so that
``is_pruned`` of either and Lightning's ``ModelPruning`` know them. What differs, and what is added
(``n_m_structured``, ``block_structured``, ``vector_structured``, ``energy_unstructured``), stands in
``docs/pruning_hooks.md``.
"""

from .amounts import (
    _compute_norm,
    _compute_nparams_toprune,
    _validate_pruning_amount,
    _validate_pruning_amount_init,
    _validate_pruning_dim,
    _validate_structured_pruning,
)
from .energy import energy_unstructured
from .functional import (
    custom_from_mask,
    global_unstructured,
    identity,
    is_pruned,
    l1_unstructured,
    ln_structured,
    random_structured,
    random_unstructured,
    remove,
)
from .hooks import BasePruningMethod, PruningContainer
from .methods import (
    CustomFromMask,
    Identity,
    L1Unstructured,
    LnStructured,
    RandomStructured,
    RandomUnstructured,
)
from .patterns import (
    BlockStructured,
    NMStructured,
    VectorStructured,
    block_structured,
    n_m_structured,
    vector_structured,
)

__all__ = [
    "BasePruningMethod",
    "BlockStructured",
    "CustomFromMask",
    "Identity",
    "L1Unstructured",
    "LnStructured",
    "NMStructured",
    "PruningContainer",
    "RandomStructured",
    "RandomUnstructured",
    "VectorStructured",
    "_compute_norm",
    "_compute_nparams_toprune",
    "_validate_pruning_amount",
    "_validate_pruning_amount_init",
    "_validate_pruning_dim",
    "_validate_structured_pruning",
    "block_structured",
    "custom_from_mask",
    "energy_unstructured",
    "global_unstructured",
    "identity",
    "is_pruned",
    "l1_unstructured",
    "ln_structured",
    "n_m_structured",
    "random_structured",
    "random_unstructured",
    "remove",
    "vector_structured",
]
