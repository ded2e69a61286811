"""Which sparse layer of a checkpoint took over which batch norm or activation: told by ``jp.save``, and believed by
``jp.load`` only where the model has such a module to give up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from ._checkpoint_file import json_of
from ._fields import fields_of, object_of
from .fuse import FOLDABLE, FUSABLE, NORMS, rows_of, taken_over
from .fuse_trace import activation_of

__all__ = ["Fusion", "check_fusions", "check_nothing_untold", "fusions_in", "fusions_of"]

_FUSABLE = tuple(kind.__name__ for kind in FUSABLE)
_NORMS = tuple(kind.__name__ for kind in NORMS)


@dataclass(frozen=True)
class Fusion:
    """One module that gave its work to a sparse layer: names of the layer and of its own class."""

    layer: str
    was: str

    @property
    def of_norm(self) -> bool:
        return self.was in _NORMS


def fusions_of(model: nn.Module) -> dict[str, Fusion]:
    """By the name of the module that was given up.

    Raises:
        ValueError: a layer does the work of a module that is not in the model, or the other way round: a fresh model
            could not be made like this one.
    """
    names = {id(module): name for name, module in model.named_modules()}
    found = {}
    for name, module in model.named_modules():
        past = taken_over(module)
        if past is None:
            continue
        if id(past.layer) not in names:
            raise ValueError(f"save: model: {name!r} was a {past.was} that a sparse layer outside the model took over")
        found[name] = Fusion(names[id(past.layer)], past.was)
    told = {fusion.layer for fusion in found.values() if not fusion.of_norm}
    for name, module in model.named_modules():
        if type(module) in FUSABLE and module.activation != "none" and name not in told:
            raise ValueError(
                f"save: model: layer {name!r} applies {module.activation}, "
                "but the model holds no Identity in the place of the module that it took over"
            )
    return found


def fusions_in(metadata: Mapping[str, str], path: Path) -> dict[str, Fusion]:
    """What the file says, not yet compared with a model."""
    where = f"load: metadata 'fused' of {path}"
    told = object_of(json_of(metadata, "fused", "{}", where), where)
    return {
        name: fields_of(Fusion, object_of(item, f"{where}: {name!r}"), f"{where}: {name!r}")
        for name, item in told.items()
    }


def check_fusions(
    model: nn.Module,
    fusions: Mapping[str, Fusion],
    layers: Mapping[str, str],
    taking: Mapping[str, nn.Module],
    path: Path,
) -> dict[str, str]:
    """Compares with a model what the file says.

    Args:
        fusions: by the name of the module to give up.
        layers: class names of the sparse layers of the file.
        taking: these layers, and the dense ones that took over a norm, with the state of the file.
    Returns:
        By layer, the activation that it applies.
    Raises:
        ValueError: the model has no such module to give up, or has given up one that the file does not name.
    """
    activations: dict[str, str] = {}
    norms: set[str] = set()
    for name, fusion in fusions.items():
        where = f"load: metadata 'fused' of {path}: {name!r}"
        taker = taking.get(fusion.layer)
        if taker is None or not (isinstance(taker, FUSABLE) or (type(taker) in FOLDABLE and fusion.of_norm)):
            raise ValueError(f"{where}: expected a layer among {', '.join(_FUSABLE)} of the file, got {fusion.layer!r}")
        if _inside(name, layers):
            raise ValueError(f"{where}: is (in) a sparse layer itself, which nothing can take over")
        activation = _given_up(model, name, fusion, taker, where)
        if fusion.layer in (activations if activation else norms):
            raise ValueError(f"{where}: {fusion.layer!r} took over another {'activation' if activation else 'norm'}")
        if activation:
            activations[fusion.layer] = activation
        else:
            norms.add(fusion.layer)
    for name, module in model.named_modules():
        past = taken_over(module)
        if past is not None and name not in fusions:
            raise ValueError(
                f"load: model: its {past.was} {name!r} was fused, which {path} does not know: build the model anew"
            )
    return activations


def check_nothing_untold(model: nn.Module, metadata: Mapping[str, str], path: Path) -> None:
    """Files of schema 1 once told fusions in two fields that do not say which layer took over what: such a file is
    read only if nothing in it is fused."""
    for field, plain in (("activations", "none"), ("identities", None)):
        where = f"load: metadata {field!r} of {path}"
        for name, value in object_of(json_of(metadata, field, "{}", where), where).items():
            try:
                fused = value != plain if plain else type(model.get_submodule(name)) is not nn.Identity
            except AttributeError:
                fused = True
            if fused:
                raise ValueError(
                    f"{where}: {value!r} of {name!r} does not say which layer took over what: convert and save again"
                )


def _given_up(model: nn.Module, name: str, fusion: Fusion, taker: nn.Module, where: str) -> str:
    """The activation that the module is, or "" for a norm."""
    try:
        here = model.get_submodule(name)
    except AttributeError as error:
        raise ValueError(f"{where}: {type(model).__name__} has no such module") from error
    past = taken_over(here)
    if past is not None:  # a model that was loaded or fused before
        if (past.was, past.layer) != (fusion.was, model.get_submodule(fusion.layer)):
            raise ValueError(f"{where}: expected {fusion.was}, got a {past.was} that another layer took over")
        return "" if fusion.of_norm else str(past.layer.activation)
    fits = type(here) in NORMS and here.running_mean is not None and here.num_features == rows_of(taker)
    if type(here).__name__ != fusion.was or not (fits or activation_of(here)):
        raise ValueError(f"{where}: {fusion.layer!r} cannot have taken over a {fusion.was} in the place of {here}")
    return activation_of(here)


def _inside(name: str, layers: Iterable[str]) -> bool:
    return any(name == layer or name.startswith(f"{layer}.") for layer in layers)
