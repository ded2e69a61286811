"""The recorder: one forward pass becomes a workload, and the model never notices."""

from __future__ import annotations

import inspect
import json
import sys
import types
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch.nn.utils.rnn import PackedSequence

from .untouched import copied, has_no_data, tensors_in, untouched

__all__ = ["LARGEST_COUNT", "arguments", "record", "unwrapped"]

_MEASURED = "measured"
#: That JSON holds exactly.
LARGEST_COUNT = 2**53
#: What torch raises on inputs that do not fit, without the name of an argument.
_UNNAMED = (RuntimeError, TypeError, ValueError, IndexError, AttributeError, NotImplementedError, torch.jit.Error)
_PER = ("inference", "token", "request")


def record(
    model: torch.nn.Module | Callable[..., Any],
    example_inputs: Any,
    *,
    batch: int | None = None,
    activation_density: float | str | Mapping[str, float] = 1.0,
    per: str = "inference",
    count: int | None = None,
) -> str:
    """Runs ``model`` once, in eval mode and without gradients, and tells what ran.

    Modules, scripted and traced modules, plain functions, fake and meta tensors are recorded alike; of a compiled or
    DDP-wrapped module the eager module inside is recorded. No trace is left: modes, buffers, gradients, attributes,
    generators and inputs are as before, also when the model raises.

    Args:
        model: module, or callable. Modules that a function closes over are treated like ``model`` itself.
        example_inputs: a tensor, a tuple of positional arguments, or a dict of keyword arguments.
        batch: inferences in the pass; dim 0 of the first tensor of the inputs unless given.
        activation_density: share of non-zero inputs of the layers with weights, in [0, 1]: one for all,
            ``{layer: share}``, or "measured" on these inputs.
        per: what ``count`` counts: "inference", "token" or "request"; the last two need ``count``.
        count: the pass's energy is divided by it; the batch unless given.
    Returns:
        The workload as JSON: ``{schema, entries, unknown_ops, batch, count, per}``.
    Raises:
        ValueError: an argument is out of range, or the model runs nothing that can be priced.
        RuntimeError, TypeError, IndexError, AttributeError: the model raised it on ``example_inputs``.
        RuntimeError: an op could not be read (symbolic or nested shapes), or this thread is recording already.
    """
    if not callable(model):
        raise ValueError(f"model: expected a torch.nn.Module or a callable, got {type(model).__name__}")
    _check_numbers(batch, per, count)
    _check_densities(activation_density)
    measure = isinstance(activation_density, str)
    if measure and any(has_no_data(tensor) for tensor in tensors_in(example_inputs)):
        raise ValueError('activation_density: "measured" needs inputs with data, got fake or meta tensors')

    model = unwrapped(model)
    roots = _roots(model)
    named = _named_tensors(roots)
    with untouched(list(roots.values())), _eager():
        args, kwargs = arguments(copied(example_inputs))
        torch.ops.jouleprune.record_begin(
            list(named), list(named.values()), _batch(example_inputs) if batch is None else batch, True, measure
        )
        try:
            model(*args, **kwargs)
        except BaseException as error:
            _stop()
            if type(error) not in _UNNAMED:  # a class of the model's own says enough
                raise
            kind = RuntimeError if type(error) is torch.jit.Error else type(error)
            told = f"example_inputs: the forward pass on them raised {type(error).__name__}: {error}"
            raise kind(told) from error
        workload = json.loads(torch.ops.jouleprune.record_end())

    if not workload["entries"]:
        unknown = f" (unknown ops: {', '.join(workload['unknown_ops'])})" if workload["unknown_ops"] else ""
        raise ValueError(f"model: ran no op that can be priced{unknown}")
    _set_densities(workload, activation_density)
    workload["per"] = per
    workload["count"] = max(workload["batch"], 1) if count is None else count
    return json.dumps(workload)


def _check_numbers(batch: int | None, per: str, count: int | None) -> None:
    for name, number in (("batch", batch), ("count", count)):
        if number is not None and (isinstance(number, bool) or not isinstance(number, int) or number < 1):
            raise ValueError(f"{name}: expected a whole number of at least 1, got {number!r}")
        if number is not None and number > LARGEST_COUNT:
            raise ValueError(f"{name}: expected a whole number of at most 2^53, got {number!r}")
    if per not in _PER:
        raise ValueError(f"per: expected one of {', '.join(_PER)}, got {per!r}")
    if per != "inference" and count is None:
        raise ValueError(f'count: per="{per}" needs the number of {per}s in the pass')


def _check_densities(density: float | str | Mapping[str, float]) -> None:
    if isinstance(density, str):
        if density != _MEASURED:
            raise ValueError(f'activation_density: expected a share, a dict of shares or "measured", got {density!r}')
        return
    for share in density.values() if isinstance(density, Mapping) else (density,):
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0.0 <= share <= 1.0:
            raise ValueError(f"activation_density: expected shares in [0, 1], got {share!r}")


def _set_densities(workload: dict[str, Any], density: float | str | Mapping[str, float]) -> None:
    """Into the entries that have weights and multiply by them."""
    layers = [entry for entry in workload["entries"] if entry["weight_elements"] > 0 and entry["macs"] > 0]
    if isinstance(density, Mapping):
        names = dict.fromkeys(entry["name"] for entry in layers)
        for name in density:
            if name not in names:
                raise ValueError(f"activation_density: expected layers of the model ({', '.join(names)}), got {name!r}")
    for entry in layers:
        if isinstance(density, Mapping):
            entry["input_density"] = float(density.get(entry["name"], 1.0))
        elif not isinstance(density, str):
            entry["input_density"] = float(density)


def check_batch(example_inputs: Any, batch: int | None) -> None:
    """Raises:
    ValueError: dim 0 of the first tensor, which tells the number of inferences, is 0."""
    first = _first(example_inputs)
    if batch is None and isinstance(first, torch.Tensor) and first.dim() > 0 and first.shape[0] == 0:
        told = f"got 0 of shape {tuple(first.shape)}"
        raise ValueError(f"example_inputs: expected at least 1 inference in dim 0 of the first tensor, {told}")


def _batch(example_inputs: Any) -> int:
    """Dim 0 of the first tensor, or sequences of a packed one; 0 when there is none (the recorder looks for itself)."""
    first = _first(example_inputs)
    if isinstance(first, PackedSequence):
        return int(first.batch_sizes[0])
    return int(first.shape[0]) if isinstance(first, torch.Tensor) and first.dim() > 0 else 0


def _first(example_inputs: Any) -> Any:
    """The first tensor or packed sequence."""
    first = example_inputs
    while isinstance(first, tuple | list | Mapping) and not isinstance(first, PackedSequence):
        values = list(first.values()) if isinstance(first, Mapping) else list(first)
        first = next((value for value in values if next(tensors_in(value), None) is not None), None)
    return first


def arguments(example_inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(example_inputs, Mapping):
        return (), dict(example_inputs)
    return (example_inputs if type(example_inputs) is tuple else (example_inputs,)), {}


def unwrapped(model: Callable[..., Any]) -> Callable[..., Any]:
    """Out of DDP (which would communicate) and torch.compile (whose tracing passes would be recorded too)."""
    while True:
        if isinstance(model, torch.nn.parallel.DistributedDataParallel | torch.nn.DataParallel):
            model = model.module
        elif isinstance(model, torch.nn.Module) and "_orig_mod" in model._modules:
            model = model._modules["_orig_mod"]  # type: ignore[assignment]
        else:
            return model


def _eager() -> AbstractContextManager[Any]:
    """Compiled functions and modules inside the model run eagerly; without dynamo imported there are none."""
    return torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext()


def _roots(model: Callable[..., Any]) -> dict[str, torch.nn.Module]:
    """The modules that ``model`` runs, by the prefix of their parameters' names."""
    if isinstance(model, torch.nn.Module):
        return {"": model}
    if isinstance(model, partial):
        return _roots(model.func)
    owner = getattr(model, "__self__", None)
    if isinstance(owner, torch.nn.Module):
        return {"": owner}
    if not isinstance(model, types.FunctionType):
        return {}
    try:
        variables = inspect.getclosurevars(model)
    except ValueError:  # a closure over a name that has no value yet
        return {}
    found = {
        name: unwrapped(value)
        for name, value in {**variables.globals, **variables.nonlocals}.items()
        if isinstance(value, torch.nn.Module)
    }
    modules = {name: module for name, module in found.items() if isinstance(module, torch.nn.Module)}
    return {"": next(iter(modules.values()))} if len(modules) == 1 else {f"{name}.": m for name, m in modules.items()}


def _named_tensors(roots: Mapping[str, torch.nn.Module]) -> dict[str, torch.Tensor]:
    """Parameters and buffers by the names people know; a tied weight has its first name."""
    named: dict[str, torch.Tensor] = {}
    for prefix, module in roots.items():
        for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
            if torch.nn.parameter.is_lazy(tensor):
                raise ValueError(f"model: {prefix}{name} has no shape yet; run the model once before it is recorded")
            named[prefix + name.replace("_orig_mod.", "")] = tensor
    return named


def _stop() -> None:
    """Ends a recording whose forward pass raised: that exception matters, not what the recorder may have to say."""
    try:
        torch.ops.jouleprune.record_end()
    except RuntimeError:
        return
