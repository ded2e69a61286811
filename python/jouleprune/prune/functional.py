"""The functions of ``torch.nn.utils.prune``: they change the module in place and return it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import prune as torch_prune

from .hooks import PruningContainer, bake, chooses_in_place, hook_on
from .methods import CustomFromMask, Identity, L1Unstructured, LnStructured, RandomStructured, RandomUnstructured
from .rows import prune_bias_of_rows, remove_bias_of_rows

__all__ = [
    "custom_from_mask",
    "global_unstructured",
    "identity",
    "is_pruned",
    "l1_unstructured",
    "ln_structured",
    "pairs_of",
    "random_structured",
    "random_unstructured",
    "remove",
]

#: (module, name of a parameter in it)
Pair = tuple[nn.Module, str]


def identity(module: nn.Module, name: str) -> nn.Module:
    """Makes the reparametrization of ``module.name`` without pruning anything.

    Args:
        module: holds the parameter.
        name: of the parameter.
    Returns:
        The module: ``name_orig`` is the parameter, ``name_mask`` a buffer of its dtype, ``name`` their product.
    Raises:
        AttributeError, ValueError: ``name`` is no parameter of the module.
    """
    Identity.apply(module, name)
    return module


def random_unstructured(module: nn.Module, name: str, amount: float) -> nn.Module:
    """Removes entries of ``module.name`` at random, by torch's generator.

    Args:
        module, name: as of :func:`identity`.
        amount: share in [0.0, 1.0] or count of the entries that earlier pruning left.
    Returns:
        The module.
    Raises:
        TypeError, ValueError: ``amount``; and as :func:`identity`.
    """
    RandomUnstructured.apply(module, name, amount)
    return module


def l1_unstructured(module: nn.Module, name: str, amount: float, importance_scores: Tensor | None = None) -> nn.Module:
    """Removes the entries of ``module.name`` of least magnitude; of equal ones the first stay.

    Args:
        module, name, amount: as of :func:`random_unstructured`.
        importance_scores: shape of the parameter; its magnitudes are compared in place of the parameter's.
    Returns:
        The module.
    Raises:
        TypeError, ValueError: ``amount``, or scores of another shape; and as :func:`identity`.
    """
    L1Unstructured.apply(module, name, amount=amount, importance_scores=importance_scores)
    return module


def random_structured(module: nn.Module, name: str, amount: float, dim: int, *, prune_bias: bool = True) -> nn.Module:
    """Removes slices of ``module.name`` along ``dim`` at random, exactly as many as asked for.

    Args:
        module, name: as of :func:`identity`; the parameter has at least two dimensions.
        amount: share in [0.0, 1.0] or count of the slices that are left.
        dim: along which slices are cut; 0 cuts the outputs of Linear and Conv.
        prune_bias: where slices are outputs of a Linear, Bilinear or convolution, their bias goes with them and comes
            back as a parameter with the weight on :func:`remove`; False leaves it, as torch does.
    Returns:
        The module.
    Raises:
        TypeError, ValueError, IndexError: ``amount``, fewer than two dimensions, ``dim``; and as :func:`identity`.
    """
    RandomStructured.apply(module, name, amount, dim)
    if prune_bias:
        prune_bias_of_rows(module, name, dim)
    return module


def ln_structured(
    module: nn.Module,
    name: str,
    amount: float,
    n: float | str,
    dim: int,
    importance_scores: Tensor | None = None,
    *,
    prune_bias: bool = True,
) -> nn.Module:
    """Removes the slices of ``module.name`` along ``dim`` of least L_n norm; of equal ones the first stay.

    Args:
        module, name, amount, dim, prune_bias: as of :func:`random_structured`.
        n: as ``p`` of :func:`torch.norm`: a number, inf, -inf, "fro" or "nuc".
        importance_scores: shape of the parameter; norms are taken of it.
    Returns:
        The module.
    Raises:
        TypeError, ValueError, IndexError: as :func:`random_structured`.
    """
    LnStructured.apply(module, name, amount, n, dim, importance_scores=importance_scores)
    if prune_bias:
        prune_bias_of_rows(module, name, dim)
    return module


def custom_from_mask(module: nn.Module, name: str, mask: Tensor) -> nn.Module:
    """Removes what ``mask`` says, on top of what is pruned already.

    Args:
        module, name: as of :func:`identity`.
        mask: shape of the parameter, any dtype and device; 0 removes.
    Returns:
        The module.
    Raises:
        TypeError, ValueError: no tensor, or another shape; and as :func:`identity`.
    """
    CustomFromMask.apply(module, name, mask)
    return module


def global_unstructured(
    parameters: Iterable[Pair],
    pruning_method: type[torch_prune.BasePruningMethod],
    importance_scores: Mapping[Pair, Tensor] | None = None,
    **kwargs: Any,
) -> None:
    """Prunes several parameters as if they were one: what is least among all of them goes.

    ``L1Unstructured`` and ``RandomUnstructured`` of this library join nothing and sort nothing, and the parameters may
    be of several dtypes and devices; other methods get one vector of all that is left, as in torch.

    Args:
        parameters: (module, name) pairs; may be a generator. A pair that is named twice counts once.
        pruning_method: class of ``PRUNING_TYPE`` "unstructured".
        importance_scores: by pair, of the parameter's shape; pairs without go by the parameter.
        kwargs: of ``pruning_method``, such as ``amount``: share or count of all entries that are left.
    Raises:
        TypeError: no iterable, no mapping, or another ``PRUNING_TYPE``.
        ValueError, AttributeError: as :func:`identity`, and scores of another shape; nothing has changed.
    """
    pairs = pairs_of("global_unstructured", parameters)
    if importance_scores is not None and not isinstance(importance_scores, Mapping):
        raise TypeError(f"importance_scores: expected a dict by (module, name), got {type(importance_scores).__name__}")
    method = pruning_method(**kwargs)
    if method.PRUNING_TYPE != "unstructured":  # type: ignore[attr-defined]
        raise TypeError(
            f'pruning_method: expected PRUNING_TYPE "unstructured", got {method.PRUNING_TYPE!r} of '  # type: ignore[attr-defined]
            f"{pruning_method.__name__}"
        )
    scores = [_scores_of(pair, importance_scores) for pair in pairs]
    left = [_left(pair) for pair in pairs]
    if not pairs:
        return
    if chooses_in_place(method, "_kept_of_all"):
        masks = method._kept_of_all(scores, left)  # type: ignore[attr-defined]
    else:
        masks = _masks_of_joined(method, scores, left)
    for (module, name), mask in zip(pairs, masks, strict=True):
        custom_from_mask(module, name, mask)


def remove(module: nn.Module, name: str) -> nn.Module:
    """Makes ``module.name`` a parameter again, pruned for good: hook and mask go, zeros stay but are free to train.

    The parameter is the one that an optimizer already knows; its memory stays where it is. A bias that was pruned with
    the rows of this weight becomes a parameter again too.

    Args:
        module, name: pruned by this library or by torch.
    Returns:
        The module.
    Raises:
        ValueError: ``name`` is not pruned.
    """
    key, hook = hook_on(module, name)
    if key is None or hook is None:
        raise ValueError(f"name: {name!r} of {type(module).__name__} has to be pruned before pruning can be removed")
    bake(module, hook)
    del module._forward_pre_hooks[key]
    remove_bias_of_rows(module, name)
    return module


def is_pruned(module: nn.Module) -> bool:
    """Whether the module or one inside it has a pruning hook, of this library or of torch."""
    return torch_prune.is_pruned(module)


def pairs_of(function: str, parameters: Iterable[Pair]) -> list[Pair]:
    """The pairs, each once, in order. Raises TypeError for what is no iterable of (module, name)."""
    if not isinstance(parameters, Iterable) or isinstance(parameters, str | Tensor):
        raise TypeError(f"{function}: parameters: expected (module, name) pairs, got {type(parameters).__name__}")
    pairs: list[Pair] = []
    for pair in parameters:
        if not (isinstance(pair, tuple | list) and len(pair) == 2 and isinstance(pair[0], nn.Module)):
            raise TypeError(f"{function}: parameters: expected (module, name) pairs, got {pair!r}")
        pairs.append((pair[0], pair[1]))
    return list(dict.fromkeys(pairs))


def _scores_of(pair: Pair, importance_scores: Mapping[Pair, Tensor] | None) -> Tensor:
    module, name = pair
    _, hook = hook_on(module, name)
    stored = module._parameters.get(name if hook is None else name + "_orig")
    value: Tensor = getattr(module, name)
    if stored is None:
        raise ValueError(f"parameters: {name!r} of {type(module).__name__} is no parameter")
    scores = value if importance_scores is None else importance_scores.get(pair, value)
    if scores.shape != value.shape:
        raise ValueError(
            f"importance_scores: expected the shape of {name!r} of {type(module).__name__}, {list(value.shape)}, got "
            f"{list(scores.shape)}"
        )
    return scores.detach().to(value.device)


def _left(pair: Pair) -> Tensor:
    module, name = pair
    mask = module._buffers.get(name + "_mask")
    value: Tensor = getattr(module, name)
    return torch.ones(value.shape, dtype=torch.bool, device=value.device) if mask is None else mask != 0


def _masks_of_joined(method: torch_prune.BasePruningMethod, scores: list[Tensor], left: list[Tensor]) -> list[Tensor]:
    method._tensor_name = "all"
    joined = torch.cat([each.reshape(-1) for each in scores])
    mask = torch.cat([each.reshape(-1) for each in left])
    final = PruningContainer(method).compute_mask(joined, mask.to(joined.dtype))
    sizes = [each.numel() for each in scores]
    return [part.clone().view(each.shape) for part, each in zip(final.split(sizes), scores, strict=True)]
