"""``jp.save`` and ``jp.load``: a pruned or converted network as safetensors, never a pickle, never code.

Metadata: schema, version, model class, sparse layers with their class, plan, profile name and hash. Masks as bits under
``mask:<weight>``. Files are written beside and renamed, so a crash leaves the old file whole.
"""

from __future__ import annotations

import json
import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from . import _library
from .convert import _ATTRIBUTE, Decision, decisions
from .fuse import give_bias
from .layers import SPARSE, replace_module, sparse_twin, unit_weights
from .nn import SparseLinear
from .plan import Plan

__all__ = ["load", "read_plan", "save"]

_SCHEMA = 1
_MASK = "mask:"
_ACTIVATIONS = ("none", "relu", "gelu", "silu")


def save(model: torch.nn.Module, path: str | os.PathLike[str], *, plan: Plan | None = None) -> None:
    """Writes ``model`` (dense, masked or converted) to a safetensors file.

    Args:
        model: its ``state_dict`` is saved; sparse layers are named with their class, so that :func:`load` can rebuild
            them.
        path: the file; replaced as a whole or not at all.
        plan: kept in the metadata, its masks as bits.
    Raises:
        ValueError: ``path`` cannot be written, or the state holds something other than tensors.
    """
    tensors = _plain_tensors(model.state_dict())
    if plan is not None:
        tensors |= {_MASK + name: bits.cpu().contiguous() for name, bits in plan.masks.items()}
    metadata = {
        "format": "jouleprune",
        "schema": str(_SCHEMA),
        "version": _library.version,
        "model_class": type(model).__qualname__,
        "layers": json.dumps({name: type(module).__name__ for name, module in _sparse_modules(model)}),
        "activations": json.dumps(
            {name: module.activation for name, module in _sparse_modules(model) if hasattr(module, "activation")}
        ),
        "identities": json.dumps(
            {name: "Identity" for name, module in model.named_modules() if type(module) is torch.nn.Identity}
        ),
        "decisions": json.dumps([vars(decision) for decision in decisions(model)]),
    }
    if plan is not None:
        metadata |= {"plan": plan.to_json(), "profile": plan.profile, "profile_hash": plan.profile_hash}
    _write_whole(Path(path), tensors, metadata)


def load(model: torch.nn.Module, path: str | os.PathLike[str]) -> torch.nn.Module:
    """Fills a freshly built model from a file of :func:`save`; dense layers that were saved sparse become sparse.

    Args:
        model: an instance of the class that was saved, dense; changed in place, and only if the whole file fits.
        path: the file.
    Returns:
        ``model``.
    Raises:
        ValueError: no such file, not a jouleprune checkpoint, damaged, or made for another architecture.
    """
    metadata, tensors = _read(Path(path))
    state = {name: tensor for name, tensor in tensors.items() if not name.startswith(_MASK)}
    replacements = {}
    for name, class_name in _json_object(metadata, "layers", path).items():
        prefix = name + "."
        own = {key.removeprefix(prefix): state.pop(key) for key in list(state) if key.startswith(prefix)}
        replacements[name] = _sparse_layer(model, name, class_name, own, path)
    for name, activation in _json_object(metadata, "activations", path).items():
        if name not in replacements or activation not in _ACTIVATIONS:
            raise ValueError(
                f"load: metadata 'activations' of {path}: {activation!r} of {name!r} is none of a sparse layer"
            )
        replacements[name].activation = activation  # type: ignore[assignment]
    replacements |= _identities(model, _json_object(metadata, "identities", path), path)
    _check_fits(model, state, set(replacements), path)

    for name, module in replacements.items():
        replace_module(model, name, module)
    with torch.no_grad():
        model.load_state_dict({**model.state_dict(), **state})
    made = _decisions_of(metadata, path)
    if made:
        setattr(model, _ATTRIBUTE, made)
    return model


def read_plan(path: str | os.PathLike[str]) -> Plan | None:
    """The plan kept in a checkpoint, with its masks; None when it was saved without one."""
    metadata, tensors = _read(Path(path))
    if "plan" not in metadata:
        return None
    masks = {name.removeprefix(_MASK): bits for name, bits in tensors.items() if name.startswith(_MASK)}
    return Plan.from_json(metadata["plan"], masks)


def _sparse_modules(model: torch.nn.Module) -> list[tuple[str, torch.nn.Module]]:
    """Sparse modules, without those inside another one."""
    found: list[tuple[str, torch.nn.Module]] = []
    for name, module in model.named_modules():  # parents first
        if isinstance(module, SPARSE) and not any(name.startswith(f"{outer}.") for outer, _ in found):
            found.append((name, module))
    return found


def _plain_tensors(state: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Contiguous copies that share no storage: safetensors refuses tied tensors, so each name gets its own."""
    tensors = {}
    for name, value in state.items():
        if not isinstance(value, torch.Tensor):
            raise ValueError(f"save: expected tensors in the state_dict, got {type(value).__name__} for {name!r}")
        tensors[name] = value.detach().to("cpu", copy=True).contiguous()
    return tensors


def _write_whole(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    beside = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        beside.touch(exist_ok=False)
        permissions = stat.S_IMODE(beside.stat().st_mode)  # as the user's other files; safetensors makes it private
    except OSError as error:
        raise ValueError(f"save: path: cannot write into {path.parent}: {error}") from error
    try:
        save_file(tensors, beside, metadata=metadata)
        beside.chmod(permissions)
        os.replace(beside, path)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"save: path: cannot write {path}: {error}") from error
    finally:
        beside.unlink(missing_ok=True)


def _read(path: Path) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    if not path.is_file():
        raise ValueError(f"load: path: no such file: {path}")
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise ValueError(f"load: path: {path} is not a whole safetensors file: {error}") from error
    if metadata.get("format") != "jouleprune" or metadata.get("schema") != str(_SCHEMA):
        raise ValueError(
            f"load: path: expected a jouleprune checkpoint of schema {_SCHEMA}, got format {metadata.get('format')!r}, "
            f"schema {metadata.get('schema')!r} in {path}"
        )
    return metadata, tensors


def _json_object(metadata: Mapping[str, str], key: str, path: str | os.PathLike[str]) -> dict[str, str]:
    try:
        value = json.loads(metadata.get(key, "{}"))
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"load: metadata {key!r} of {path}: {error}") from error
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise ValueError(f"load: metadata {key!r} of {path}: expected an object of strings")
    return value


def _decisions_of(metadata: Mapping[str, str], path: str | os.PathLike[str]) -> tuple[Decision, ...]:
    try:
        return tuple(Decision(**item) for item in json.loads(metadata.get("decisions", "[]")))
    except (json.JSONDecodeError, RecursionError, TypeError) as error:
        raise ValueError(f"load: metadata 'decisions' of {path}: {error}") from error


def _sparse_layer(
    model: torch.nn.Module, name: str, class_name: str, own: dict[str, torch.Tensor], path: str | os.PathLike[str]
) -> torch.nn.Module:
    """A sparse module with the state of the file, in the shape of the model's own dense (or sparse) layer of that
    name."""
    try:
        here = model.get_submodule(name)
    except AttributeError as error:
        raise ValueError(f"load: {path} holds the layer {name!r}, which {type(model).__name__} lacks") from error
    dense = here.to_dense() if isinstance(here, SPARSE) else here
    sparse = _empty_twin(dense, own, class_name)
    if sparse is None or type(sparse).__name__ != class_name:
        raise ValueError(f"load: layer {name!r} of {path}: no {class_name} can take the place of {type(here).__name__}")
    for key, value in own.items():
        mine = sparse.state_dict().get(key)
        if mine is not None and mine.dtype != value.dtype:
            raise ValueError(f"load: '{name}.{key}' of {path}: expected {mine.dtype}, got {value.dtype}")
    try:
        sparse.load_state_dict(own)
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"load: layer {name!r} of {path}: {error}") from error
    return sparse.train(here.training)


def _empty_twin(dense: torch.nn.Module, own: Mapping[str, torch.Tensor], class_name: str) -> torch.nn.Module | None:
    """A sparse module that keeps nothing yet; of several weights those are sparse that are so in the file."""
    if class_name == "SparseLinearInt8":
        if not isinstance(dense, torch.nn.Linear):
            return None
        none_kept = torch.zeros(dense.weight.shape, dtype=torch.bool, device=dense.weight.device)
        return SparseLinear.from_dense(dense, dtype="int8", mask=none_kept)
    if class_name == "SparseLinearBSR":
        blocks = own.get("blocks")
        if not isinstance(dense, torch.nn.Linear) or blocks is None or blocks.dim() != 3 or 0 in blocks.shape[1:]:
            return None
        none_kept = torch.zeros(dense.weight.shape, dtype=torch.bool, device=dense.weight.device)
        size = (int(blocks.shape[1]), int(blocks.shape[2]))
        return SparseLinear.from_dense(dense, layout="bsr", block_size=size, mask=none_kept)
    weights = unit_weights(dense)
    sparse = {weight for weight in weights if f"{weight.removesuffix('.weight')}.values" in own}
    nothing = {
        weight: torch.zeros(parameter.shape, dtype=torch.bool, device=parameter.device)
        for weight, parameter in dense.named_parameters()
        if weight in weights
    }
    try:
        twin = sparse_twin(dense, nothing, sparse)
    except (TypeError, ValueError):  # PatternError too: such a module was never sparse
        return None
    if "bias" in own and hasattr(twin, "activation"):  # of a batch norm that was folded into it
        give_bias(twin)
    return twin


def _identities(
    model: torch.nn.Module, names: Mapping[str, str], path: str | os.PathLike[str]
) -> dict[str, torch.nn.Module]:
    """Modules that a sparse layer has taken over: batch norms and activations."""
    found: dict[str, torch.nn.Module] = {}
    for name in names:
        try:
            here = model.get_submodule(name)
        except AttributeError as error:
            raise ValueError(f"load: {path} holds the layer {name!r}, which {type(model).__name__} lacks") from error
        if type(here) is not torch.nn.Identity:
            found[name] = torch.nn.Identity()
    return found


def _check_fits(
    model: torch.nn.Module, state: Mapping[str, torch.Tensor], replaced: set[str], path: str | os.PathLike[str]
) -> None:
    expected = {
        key: value
        for key, value in model.state_dict().items()
        if not any(key.startswith(name + ".") for name in replaced)
    }
    missing, unexpected = sorted(set(expected) - set(state)), sorted(set(state) - set(expected))
    if missing or unexpected:
        raise ValueError(
            f"load: {path} does not fit {type(model).__name__}: missing {missing[:5]}, unexpected {unexpected[:5]}"
        )
    for key, value in expected.items():
        if state[key].shape != value.shape:
            raise ValueError(
                f"load: {key!r} of {path}: expected shape {list(value.shape)}, got {list(state[key].shape)}"
            )
        if state[key].dtype != value.dtype:
            raise ValueError(f"load: {key!r} of {path}: expected {value.dtype}, got {state[key].dtype}")
