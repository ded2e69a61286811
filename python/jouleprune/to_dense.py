"""Out of sparse modules again: a network of torch's own layers, in which what was pruned is zero."""

from __future__ import annotations

import copy

from torch import nn

from .fuse_rewrite import is_rewritten
from .layers import SPARSE, replace_module
from .nn.transformer import with_fused_path
from .selection import plain_module

__all__ = ["to_dense"]


def to_dense(model: nn.Module) -> nn.Module:
    """A copy in which every sparse module is the torch layer that it came from, with zeros where it was pruned.

    Outputs are equal up to rounding; int8 layers become float ones with the weights that int8 holds, and no longer
    round their inputs. Nothing is shared with ``model``, and layers that were one module stay one. For tools that know
    torch's layers alone; zeros take as much time and as many joules as other numbers there.

    Raises:
        ValueError: ``model`` is no module, or was converted with ``fuse=True``, whose sums and activations are in
            sparse ops: convert it without.
    """
    dense = copy.deepcopy(plain_module(model))
    done: list[str] = []
    for name, module in list(dense.named_modules()):
        if any(name.startswith(f"{each}.") for each in done):  # a part of what was replaced
            continue
        fused = isinstance(module, SPARSE) and getattr(module, "activation", "none") != "none"
        if fused or is_rewritten(module) or hasattr(module, "bytes_between"):
            raise ValueError(
                f"model: {name or type(module).__name__!r} has other ops fused into sparse ones: "
                "convert without fuse=True"
            )
        if isinstance(module, SPARSE):
            twin: nn.Module = module.to_dense().train(module.training)
            if not name:
                return twin
            replace_module(dense, name, twin)
            done.append(name)
    with_fused_path(dense)
    return dense
