"""``jp.save`` and ``jp.load``: a pruned or converted network as safetensors, never a pickle, never code.

Metadata: schema, version, model class, sparse layers with their class, what they took over, plan, profile name and
hash. Masks as bits under ``mask:<weight>``. Files are written beside and renamed, so a crash leaves the old file whole.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from . import _library
from ._checkpoint_file import MASK, SCHEMA, json_of, path_of, read_whole, write_whole
from ._checkpoint_fusions import check_fusions, check_nothing_untold, fusions_in, fusions_of
from ._checkpoint_layers import check_dense_state, folded_layer, sparse_layer, sparse_modules
from ._checkpoint_packed import pack_zeros, unpack_zeros, weights_of
from ._fields import array_of_objects, checked, fields_of, object_of
from ._plan_fit import check_fit, plan_in
from .convert import _ATTRIBUTE, Decision, decisions
from .fuse import stand_in
from .layers import names_of, replace_module
from .plan import Plan

__all__ = ["load", "packed_bytes", "read_plan", "save"]


def save(
    model: torch.nn.Module, path: str | os.PathLike[str], *, plan: Plan | None = None, packed: bool = False
) -> None:
    """Writes ``model`` (dense, masked or converted) to a safetensors file.

    Args:
        model: its ``state_dict`` is saved; sparse layers are named with their class, so that :func:`load` can rebuild
            them.
        path: the file; replaced as a whole or not at all.
        plan: kept in the metadata, its masks as bits.
        packed: of dense weights that hold zeros write the other values and a bit for each place, where that is smaller.
            The tensors of the file then take :func:`packed_bytes`, and :func:`load` gives the weights back.
    Raises:
        ValueError: ``path`` cannot be written, the state holds something other than tensors, the plan is one of another
            model, or the model is no eager module.
    """
    _check_model(model, "save")
    target = path_of(path, "save")
    if plan is not None:
        if not isinstance(plan, Plan):
            raise ValueError(f"save: plan: expected a Plan, got {type(plan).__name__}")
        check_fit(model, plan, "save: plan")
    tensors = _plain_tensors(model.state_dict())
    told: dict[str, str] = {}
    if packed:
        tensors, told = pack_zeros(tensors, weights_of(model))
    if plan is not None:
        tensors |= {MASK + name: bits.cpu().contiguous() for name, bits in plan.masks.items()}
    metadata = {
        "format": "jouleprune",
        "schema": str(SCHEMA),
        "version": _library.version,
        "model_class": _class_name(model),
        "layers": json.dumps({name: type(module).__name__ for name, module in sparse_modules(model)}),
        "fused": json.dumps({name: vars(fusion) for name, fusion in fusions_of(model).items()}),
        "decisions": json.dumps([vars(decision) for decision in decisions(model)]),
        **told,
    }
    if plan is not None:
        metadata |= {"plan": plan.to_json(), "profile": plan.profile, "profile_hash": plan.profile_hash}
    write_whole(target, tensors, metadata)


def load(model: torch.nn.Module, path: str | os.PathLike[str]) -> torch.nn.Module:
    """Fills a freshly built model from a file of :func:`save`; dense layers that were saved sparse become sparse.

    Args:
        model: an instance of the class that was saved, dense; changed in place, and only if the whole file fits.
        path: the file.
    Returns:
        ``model``.
    Raises:
        ValueError: no such file, not a jouleprune checkpoint, damaged, or made for another architecture; the message
            names the tensor or the field.
    """
    _check_model(model, "load")
    file = path_of(path, "load")
    metadata, state, masks = _read(file)
    _check_class(model, metadata, file)
    made = _decisions_in(metadata, file)
    plan = plan_in(metadata, masks, file)
    if plan is not None:
        check_fit(model, plan, f"load: metadata 'plan' of {file}")
    replacements = _replacements(model, metadata, state, file)
    check_dense_state(model, state, {each for name in replacements for each in names_of(model, name)}, file)

    for name, module in replacements.items():
        replace_module(model, name, module)
    with torch.no_grad():
        model.load_state_dict({**model.state_dict(), **state})
    if made:
        setattr(model, _ATTRIBUTE, made)
    elif hasattr(model, _ATTRIBUTE):
        delattr(model, _ATTRIBUTE)  # of a file loaded before
    return model


def read_plan(path: str | os.PathLike[str]) -> Plan | None:
    """The plan kept in a checkpoint, with its masks; None when it was saved without one.

    Raises:
        ValueError: no such file, not a jouleprune checkpoint, or a plan that is damaged.
    """
    file = path_of(path, "read_plan")
    metadata, _, masks = _read(file)
    return plan_in(metadata, masks, file)


def packed_bytes(model: torch.nn.Module) -> int:
    """Bytes of the tensors that ``save(model, path, packed=True)`` writes."""
    _check_model(model, "packed_bytes")
    tensors, _ = pack_zeros(_plain_tensors(model.state_dict()), weights_of(model))
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


def _check_model(model: object, op: str) -> None:
    if not isinstance(model, torch.nn.Module):
        raise ValueError(f"{op}: model: expected a torch.nn.Module, got {type(model).__name__}")
    if isinstance(model, torch.jit.ScriptModule):
        raise ValueError(
            f"{op}: model: expected an eager module, got TorchScript, which has torch.jit.save and torch.jit.load"
        )


def _plain_tensors(state: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Contiguous copies that share no storage: safetensors refuses tied tensors, so each name gets its own."""
    tensors = {}
    for name, value in state.items():
        if not isinstance(value, torch.Tensor):
            raise ValueError(f"save: expected tensors in the state_dict, got {type(value).__name__} for {name!r}")
        if torch.nn.parameter.is_lazy(value) or value.is_meta:
            raise ValueError(f"save: model: {name!r} has no data yet")
        tensors[name] = value.detach().to("cpu", copy=True).contiguous()
    return tensors


def _read(file: Path) -> tuple[dict[str, str], dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """(metadata, state of the model, masks by weight)."""
    metadata, tensors = read_whole(file)
    tensors = unpack_zeros(tensors, metadata, file)
    masks = {name.removeprefix(MASK): bits for name, bits in tensors.items() if name.startswith(MASK)}
    state = {name: tensor for name, tensor in tensors.items() if not name.startswith(MASK)}
    return metadata, state, masks


def _class_name(model: torch.nn.Module) -> str:
    """Of a module with rewritten code the name of the class that it was."""
    return type(model).__name__ if isinstance(model, torch.fx.GraphModule) else type(model).__qualname__


def _check_class(model: torch.nn.Module, metadata: Mapping[str, str], file: Path) -> None:
    """Where a class is defined may change, its name says what it is."""
    saved = metadata.get("model_class", "").rpartition(".")[2]
    if saved and saved != type(model).__name__:
        raise ValueError(f"load: metadata 'model_class' of {file}: expected {type(model).__name__}, got {saved!r}")


def _decisions_in(metadata: Mapping[str, str], file: Path) -> tuple[Decision, ...]:
    where = f"load: metadata 'decisions' of {file}"
    told = array_of_objects(json_of(metadata, "decisions", "[]", where), where)
    return tuple(fields_of(Decision, item, f"{where}: [{place}]") for place, item in enumerate(told))


def _replacements(
    model: torch.nn.Module, metadata: Mapping[str, str], state: dict[str, torch.Tensor], file: Path
) -> dict[str, torch.nn.Module]:
    """Modules to put into the model, by name; takes what they hold out of ``state``."""
    where = f"load: metadata 'layers' of {file}"
    told = object_of(json_of(metadata, "layers", "{}", where), where)
    layers = {name: str(checked(kind, str, f"{where}: {name!r}")) for name, kind in told.items()}
    fusions = fusions_in(metadata, file)
    with_norm = {fusion.layer for fusion in fusions.values() if fusion.of_norm}
    made = {}
    for name, kind in layers.items():
        own = _taken_out(state, name)
        made[name] = sparse_layer(model, name, kind, own, file, may_gain_bias=name in with_norm)
        for other in names_of(model, name):
            _taken_out(state, other)
    for name in sorted(with_norm - set(layers)):
        made[name] = folded_layer(model, name, _taken_out(state, name), file)
        for other in names_of(model, name):
            _taken_out(state, other)
    check_nothing_untold(model, metadata, file)
    for name, activation in check_fusions(model, fusions, layers, made, file).items():
        made[name].activation = activation  # type: ignore[assignment]
    identities = {name: stand_in(made[fusion.layer], fusion.was) for name, fusion in fusions.items()}
    return {**made, **identities}


def _taken_out(state: dict[str, torch.Tensor], layer: str) -> dict[str, torch.Tensor]:
    prefix = layer + "."
    return {key.removeprefix(prefix): state.pop(key) for key in list(state) if key.startswith(prefix)}
