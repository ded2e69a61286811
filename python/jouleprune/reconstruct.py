"""``jp.reconstruct``: layer by layer, what is kept is changed so that outputs on calibration data change least."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from . import _C, ops
from ._hessians import calls_of, check_alike, hessian_of, refuse_ranks, sharing_layers, warn_uncalled
from ._restoring import output_energy
from .criteria import Context
from .criteria.context import block_of
from .errors import PatternError
from .plan import Plan
from .selection import check_plan, plain_module

__all__ = ["Reconstruction", "reconstruct"]

_METHODS = ("sparsegpt", "alps", "refit")
_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d)


@dataclass(frozen=True)
class Reconstruction:
    """One layer. Errors are relative: squared output difference on the calibration data over the squared output, both
    without the bias; ``masked`` with the mask alone, ``error`` as reconstructed. ``mask`` bool of the weight's
    shape."""

    weight: str
    density: float
    masked: float
    error: float
    mask: Tensor


def reconstruct(
    model: nn.Module,
    data: Iterable[Any],
    *,
    plan: Plan | None = None,
    sparsity: float | None = None,
    pattern: str = "unstructured",
    method: str = "sparsegpt",
    ignored_layers: Sequence[str] = (),
    damp: float = 0.01,
) -> list[Reconstruction]:
    """Prunes Linear, Conv1d and Conv2d layers in place, in the order of their calls, and makes up for it.

    Each layer sees the data as the layers before it, already pruned, leave them; its Hessian, the sum of x x^T over its
    inputs (patches of a convolution), is streamed batch by batch, one layer at a time: one pass over the data per
    layer, and one matrix [inputs, inputs] in float64 of memory. A weight that a module of another kind holds too (an
    output layer tied to an embedding) stays as it is.

    Args:
        data: calibration batches, as of :func:`jouleprune.plan`; iterated once per layer, so no generator.
        plan: its masks are applied and the kept weights refit: the joules are the plan's. Or:
        sparsity: share to remove from each layer, in units of ``pattern``; left out for "N:M", which says it itself.
        pattern: "unstructured", "RxC" or "N:M".
        method: "sparsegpt" (one sweep over the columns), "alps" (masks by ADMM, then exact; not with a plan), or
            "refit" (exact least squares for given masks; only with a plan).
        ignored_layers: names of layers that stay as they are.
        damp: share of the mean of the Hessian's diagonal that is added to it.
    Returns:
        One :class:`Reconstruction` per layer.
    Raises:
        ValueError, PatternError: the message names the argument; the model is unchanged.
    Warns:
        UserWarning: layers that are not called as modules (``out_proj`` of attention) and stay as they are, by name.
    """
    refuse_ranks(model, "reconstruct")
    model = plain_module(model)
    masks = _masks_of(model, plan)
    chosen = _Wish.checked(plan, sparsity, pattern, method, damp)
    layers = _layers(model, masks, ignored_layers, plan)
    if not layers:
        raise ValueError("model: expected Linear, Conv1d or Conv2d layers to change, got none")
    if plan is not None and all(_applied(model, name, masks[name]) for name in layers):
        raise ValueError(
            "model: the plan's masks are applied already, and what they took is gone: give the dense model"
        )
    before = {name: model.get_parameter(name).detach().clone() for name in layers}
    context = Context(model, tuple(layers), dict.fromkeys(layers, pattern), {}, data=data)
    try:
        calls = calls_of(context, layers)
        for name in layers:
            if name not in calls and plan is not None:
                raise ValueError(f"plan: prunes {name!r}, whose layer is not called as a module on the data")
        if not calls:
            raise ValueError("model: expected Linear, Conv1d or Conv2d layers that are called as modules, got none")
        warn_uncalled(layers, calls)
        return [_one(context, name, layers[name], calls[name], chosen, masks.get(name)) for name in calls]
    except BaseException:
        with torch.no_grad():
            for name, weight in before.items():
                model.get_parameter(name).copy_(weight)
        raise


@dataclass(frozen=True)
class _Wish:
    method: str
    sparsity: float
    block_size: tuple[int, int]
    n_of_m: tuple[int, ...]
    damp: float

    @classmethod
    def checked(cls, plan: Plan | None, sparsity: float | None, pattern: str, method: str, damp: float) -> _Wish:
        if method not in _METHODS:
            raise ValueError(f"method: expected one of {', '.join(_METHODS)}, got {method!r}")
        _C.check_pattern(pattern)
        n, mark, m = pattern.partition(":")
        n_of_m = (int(n), int(m)) if mark else ()
        if plan is not None:
            if sparsity is not None or pattern != "unstructured":
                raise ValueError("plan: its masks are applied: leave sparsity and pattern out")
            if method == "alps":
                raise ValueError("method: 'alps' chooses masks itself: with a plan take 'sparsegpt' or 'refit'")
            return cls(method, 0.0, (1, 1), (), damp)
        if method == "refit":
            raise ValueError("method: 'refit' needs masks: give a plan, or take 'sparsegpt' or 'alps'")
        if (sparsity is None) != bool(n_of_m):
            raise ValueError(
                f"sparsity: expected a share, or none with a pattern N:M, got {sparsity!r} for {pattern!r}"
            )
        share = 0.0 if sparsity is None else sparsity
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
            raise ValueError(f"sparsity: expected a share in [0, 1], got {sparsity!r}")
        return cls(method, float(share), block_of(pattern) if not n_of_m else (1, 1), n_of_m, damp)


def _masks_of(model: nn.Module, plan: Plan | None) -> dict[str, Tensor]:
    if plan is None:
        return {}
    check_plan("plan", plan)
    parameters = dict(model.named_parameters())
    masks = {}
    for name, bits in plan.masks.items():
        if name not in parameters or -(-parameters[name].numel() // 8) != bits.numel():
            raise ValueError(f"plan: belongs to another model: its mask of {name!r} fits no parameter")
        masks[name] = ops.unpack_mask(bits.to(parameters[name].device), parameters[name].shape)
    return masks


def _layers(
    model: nn.Module, masks: Mapping[str, Tensor], ignored_layers: Sequence[str], plan: Plan | None
) -> dict[str, list[nn.Module]]:
    """The layers to change, by the name of their weight; those that share one weight (tied) together, by its first
    name."""
    modules = dict(model.named_modules())
    for name in ignored_layers:
        if name not in modules:
            raise ValueError(f"ignored_layers: expected names of modules of the model, got {name!r}")
    found = {
        next((weight for weight in each if weight in masks), next(iter(each))): list(each.values())
        for each in sharing_layers(model, _LAYERS)
        if not any(f"{weight}.".startswith(f"{name}.") for weight in each for name in ignored_layers)
    }
    for weight, layers in found.items():
        check_alike(weight, layers)
    if plan is None:
        return found
    for name in masks:
        if name not in found:
            raise PatternError(f"plan: prunes {name!r}: expected weights of Linear, Conv1d and Conv2d alone")
    return {name: layers for name, layers in found.items() if name in masks}


def _applied(model: nn.Module, name: str, mask: Tensor) -> bool:
    return not mask.all() and not model.get_parameter(name).detach()[~mask].any()


def _one(
    context: Context, name: str, layers: Sequence[nn.Module], calls: int, wish: _Wish, mask: Tensor | None
) -> Reconstruction:
    weight, hessian = context.weight(name).clone(), hessian_of(context, name, layers, calls)
    try:
        if wish.method == "refit":
            assert mask is not None
            changed, kept = ops.refit(weight, hessian, mask, damp=wish.damp), mask
        elif wish.method == "alps":
            changed, kept = ops.alps(
                weight, hessian, sparsity=wish.sparsity, block_size=wish.block_size, n_of_m=wish.n_of_m, damp=wish.damp
            )
        else:
            changed, kept = ops.sparsegpt(
                weight,
                hessian,
                mask=mask,
                sparsity=wish.sparsity,
                block_size=wish.block_size,
                n_of_m=wish.n_of_m,
                damp=wish.damp,
            )
    except ValueError as error:
        raise type(error)(f"reconstruct: {name!r}: {error}") from error
    with torch.no_grad():
        context.model.get_parameter(name).copy_(changed)
    dense = output_energy(weight, hessian)
    masked, error_left = (
        output_energy(weight * ~kept, hessian),
        output_energy(weight.double() - changed.double(), hessian),
    )
    share = float(kept.double().mean()) if kept.numel() else 1.0
    return Reconstruction(name, share, _ratio(masked, dense), _ratio(error_left, dense), kept)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 0.0
