"""``jp.convert``: swaps pruned dense layers for sparse ones where that wins; ``jp.explain`` says why."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from ._already_sparse import kept_decisions
from ._convert_budget import check_budget
from ._convert_candidates import Candidate, Recording, density_of, planned_candidates, stays_dense, with_zeros
from ._convert_modules import INT8_KERNEL, block_module, known_unit, sparse_module, with_sparse_modules
from .alternatives import alternatives
from .energy import Profile
from .errors import ProfileError
from .estimate import as_profile
from .fuse import FUSABLE, fused
from .layers import layer_of, replace_module, unit_of, why_not_convertible
from .plan import Plan
from .quantize import Int8Layer, int8_layers
from .race import Race, Timer, race, race_by_cost
from .selection import check_plan, plain_module
from .structured.plan import StructurePlan
from .structured.structure import smaller_copy

__all__ = ["Decision", "convert", "decisions", "explain"]

_ATTRIBUTE = "_jouleprune_decisions"


@dataclass(frozen=True)
class Decision:
    """What convert did with one layer, and why. Times in seconds per call on this machine; None where nothing was
    timed. ``candidates``: a line for each way to run the layer, with its predicted and measured time."""

    name: str
    weight: str
    layout: str
    kernel: str
    density: float
    reason: str
    dense_s: float | None = None
    sparse_s: float | None = None
    candidates: str = ""


def convert(
    model: torch.nn.Module,
    example_inputs: Any,
    *,
    plan: Plan | StructurePlan | None = None,
    profile: Profile | str | Mapping[str, Any] | None = None,
    force: bool = False,
    fuse: bool = False,
    allow_over_budget: bool = False,
    timer: Timer | None = None,
    dtype: str | None = None,
    calibration: Iterable[Any] | None = None,
) -> torch.nn.Module:
    """A new model whose pruned layers run sparse where that wins; ``model`` is not changed.

    With a plan for a CPU or GPU the plan decides: its kernels were priced before the masks were chosen. On devices
    whose hardware skips zeros the joules do not depend on the host's layout, so the host's clock decides: dense and
    sparse are timed in turn on the recorded shapes, and sparse must win by 3 %; times are kept in a file and looked
    up next time (``docs/kernels.md``; ``JOULEPRUNE_TUNE=off``: the cost
    entries of ``generic-cpu`` decide, and nothing is timed). Layers that are sparse already stay as they are.

    Args:
        model: a pruned network: zeros in its weights. Of a DDP-wrapped or compiled one the module inside is converted.
        example_inputs: a tensor, a tuple of positional arguments, or a dict of keyword arguments.
        plan: the pruner's plan, replayed with its masks. Without one every layer with zeros is a candidate. A
            ``StructurePlan`` gives the smaller dense network of :func:`jouleprune.shrink`, by itself.
        profile: without a plan: the device that prices the candidates; without either the clock decides.
        force: convert every pruned layer whatever its speed.
        fuse: fold batch norms into the layers before them, and let sparse layers apply the ReLU, GELU (exact) or SiLU
            module that follows, and add what is added to their output; int8 layers round an input that they share
            once, and hand bytes to each other where ``calibration`` fixed the scale of the reader (a module whose code
            adds or passes bytes becomes a :class:`torch.fx.GraphModule`). Only in eval mode (a warning names
            layers in training mode), and kept only if the outputs on ``example_inputs`` stay the same, up to roundings.
            Off unless asked for: a fused network takes fewer joules than planned.
        allow_over_budget: keep a result above the plan's budget instead of raising.
        timer: seconds of one call of a callable; a monotonic clock unless given.
        dtype: "int8" lets pruned Linear and Conv2d layers run in int8 (:class:`jouleprune.nn.SparseLinearInt8`,
            :class:`jouleprune.nn.SparseConv2dInt8`, for inference) where the clock says that it beats dense and csr.
            The result is close, not equal: ``explain`` tells the error of each layer, and what torch's dense int8
            would take. Not together with ``plan`` or ``profile``.
        calibration: with ``dtype="int8"``: batches that fix one input scale per layer (the largest magnitude seen);
            without them each row (of a convolution: each image) gets its own at run time.
    Returns:
        The converted copy.
    Raises:
        BudgetError: a layer had to deviate from the plan and the joules exceed the budget.
        ValueError: the plan names layers that the model lacks, the weights do not hold the plan's zeros, or an
            argument that does not go with another.
    """
    model = plain_module(model)
    if isinstance(plan, StructurePlan):
        return smaller_copy(model, plan.structure)[0]
    if plan is not None:
        check_plan("plan", plan)
    _check_dtype(dtype, calibration, plan, profile)
    device = _profile_for(plan, profile)
    recording = Recording(model, example_inputs)
    candidates = planned_candidates(model, plan, force) if plan is not None else with_zeros(model, device, recording)
    int8 = {} if dtype is None else _in_int8(model, example_inputs, candidates, calibration, force, timer)
    taken = {weight: layer for weight, layer in int8.items() if layer.wanted}
    others = [layer for layer in candidates if layer.weight not in taken]
    timed = _races(model, example_inputs, recording, others, plan, force, timer)
    made = [
        _int8_decision(model, layer, taken[layer.weight])
        if layer.weight in taken
        else _told(_decided(model, layer, timed.get(layer.weight), force), int8.get(layer.weight))
        for layer in candidates
    ]
    made += [] if force else _stored_packed(model, plan)
    converted = with_sparse_modules(model, [decision.weight for decision in made if decision.layout == "csr"], plan)
    blocks = {decision.weight for decision in made if decision.layout == "bsr"} - set(taken)
    for planned in candidates:
        if planned.weight in blocks:
            replace_module(converted, layer_of(planned.weight), block_module(converted, planned, plan))
    for weight, layer in taken.items():
        replace_module(converted, layer_of(weight), layer.module)
    if fuse:
        converted, fusions = fused(converted, example_inputs)
        fusions = {**_told_training(converted), **fusions}
        made = [replace(decision, reason=decision.reason + fusions.get(decision.name, "")) for decision in made]
    told = tuple(made) if force else _with_candidates(model, recording, candidates, made, device)
    told = (*kept_decisions(model, decisions(model)), *told)
    setattr(converted, _ATTRIBUTE, told)
    if plan is not None and device is not None and not allow_over_budget:
        dense = [decision.name for decision in told if decision.layout == "dense"]
        check_budget(converted, example_inputs, plan, device, ", ".join(dense) or "layers", explain(converted))
    return converted


def _stored_packed(model: torch.nn.Module, plan: Plan | None) -> list[Decision]:
    """Layers that were pruned to be stored smaller: they run dense."""
    return [
        Decision(
            layer.name, layer.weight, "dense", "dense", density_of(model, layer.weight),
            f"dense: {layer.reason}; save(packed=True) writes what is kept",
        )
        for layer in (() if plan is None else plan.layers)
        if stays_dense(layer)
    ]  # fmt: skip


def _told_training(model: torch.nn.Module) -> dict[str, str]:
    """By layer in training mode that could be fused in eval mode, what to tell; and a warning that names them."""
    found = [name for name, module in model.named_modules() if type(module) in FUSABLE and module.training]
    if found:
        warnings.warn(
            f"convert: fuse=True: {', '.join(found)}: in training mode, where nothing is fused: call eval() first",
            stacklevel=3,
        )
    return dict.fromkeys(found, "; not fused: in training mode")


def decisions(model: torch.nn.Module) -> tuple[Decision, ...]:
    """The decisions that :func:`convert` left on a model; empty when it was not converted."""
    found: tuple[Decision, ...] = getattr(model, _ATTRIBUTE, ())
    return found


def explain(model: torch.nn.Module) -> str:
    """One line per pruned or sparse layer: what it runs now and why; below it the ways to run it, torch's dense
    products in bfloat16 and int8 among them, each with the time that cost entries predict and the one that was measured
    here."""
    if not isinstance(model, torch.nn.Module):
        raise ValueError(f"model: expected a torch.nn.Module, got {type(model).__name__}")
    made = decisions(model) or tuple(kept_decisions(model, ()))
    if not made and hasattr(model, _ATTRIBUTE):
        return "converted, but no layer holds zeros: every layer runs dense"
    if not made:
        return "not converted: every layer runs dense (jouleprune.convert makes the converted copy)"
    width = max(len(decision.name) for decision in made)
    return "\n".join(
        f"{decision.name:<{width}}  {decision.layout:<6} density {decision.density:.3f}  {decision.reason}"
        + "".join(f"\n    {line}" for line in decision.candidates.splitlines())
        for decision in made
    )


def _with_candidates(
    model: torch.nn.Module,
    recording: Recording,
    candidates: list[Candidate],
    made: list[Decision],
    device: Profile | None,
) -> tuple[Decision, ...]:
    """The decisions, each with what else could have run its layer."""
    if not candidates:
        return tuple(made)
    entries = recording.workload["entries"]
    name, found = alternatives(model, entries, {one.weight: one.pattern for one in candidates}, device)
    return tuple(
        replace(decision, candidates="\n".join([*found[decision.weight], f"(predicted for {name})"]))
        if decision.weight in found
        else decision
        for decision in made
    )


def _check_dtype(dtype: str | None, calibration: object, plan: object, profile: object) -> None:
    if dtype not in (None, "int8"):
        raise ValueError(f"dtype: expected None or 'int8', got {dtype!r}")
    if dtype is None and calibration is not None:
        raise ValueError("calibration: only for dtype='int8'")
    if dtype is not None and (plan is not None or profile is not None):
        raise ValueError(
            "dtype: 'int8' is decided by the clock alone: leave out plan and profile (the weights hold the zeros)"
        )


def _in_int8(
    model: torch.nn.Module,
    example_inputs: Any,
    candidates: list[Candidate],
    calibration: Iterable[Any] | None,
    force: bool,
    timer: Timer | None,
) -> dict[str, Int8Layer]:
    """The int8 twins of the candidates that are Linear or Conv2d layers on the CPU."""
    weights = [
        layer.weight
        for layer in candidates
        if not why_not_convertible(model, layer.weight)
        and isinstance(known_unit(model, layer.weight).module, torch.nn.Linear | torch.nn.Conv2d)
        and model.get_parameter(layer.weight).device.type == "cpu"
        and model.get_parameter(layer.weight).dtype != torch.float64
    ]
    return int8_layers(model, example_inputs, weights, calibration=calibration, force=force, timer=timer)


def _int8_decision(model: torch.nn.Module, layer: Candidate, chosen: Int8Layer) -> Decision:
    density = density_of(model, layer.weight)
    times: dict[str, Any] = {"dense_s": chosen.dense_s, "sparse_s": chosen.sparse_s}
    return Decision(layer.name, layer.weight, "bsr", INT8_KERNEL, density, chosen.reason, **times)


def _told(decision: Decision, refused: Int8Layer | None) -> Decision:
    """The decision, and why int8 does not run the layer."""
    return decision if refused is None else replace(decision, reason=f"{decision.reason}; {refused.reason}")


def _profile_for(plan: Plan | None, profile: Profile | str | Mapping[str, Any] | None) -> Profile | None:
    if profile is not None:
        given = as_profile(profile)
        if plan is not None and given.hash != plan.profile_hash:
            raise ProfileError(f"profile: expected {plan.profile!r} of the plan, got {given.name!r}")
        return given
    if plan is None:
        return None
    try:
        built_in = as_profile(plan.profile)
    except ProfileError:
        return None  # a profile of the user's own: the plan's kernels are replayed without pricing the result again
    return built_in if built_in.hash == plan.profile_hash else None


def _races(
    model: torch.nn.Module,
    example_inputs: Any,
    recording: Recording,
    candidates: list[Candidate],
    plan: Plan | None,
    force: bool,
    timer: Timer | None,
) -> dict[str, Race]:
    """Times dense against sparse for the modules with weights that no joules have decided; by weight."""
    open_weights = [] if force else [layer.weight for layer in candidates if not layer.wanted]
    modules: dict[str, list[str]] = {}
    for weight in open_weights:
        unit = unit_of(model, weight)
        if unit is not None and not why_not_convertible(model, weight):
            modules.setdefault(unit.name, []).append(weight)
    if not modules:
        return {}
    if os.environ.get("JOULEPRUNE_TUNE") == "off":
        results = race_by_cost(recording.workload["entries"], modules)
    else:
        stand_ins = {name: sparse_module(model, weights, plan) for name, weights in modules.items()}
        results = race(model, example_inputs, stand_ins, timer)
    return {weight: results[name] for name, weights in modules.items() for weight in weights}


def _decided(model: torch.nn.Module, layer: Candidate, timed: Race | None, force: bool) -> Decision:
    density = density_of(model, layer.weight)
    times: dict[str, Any] = {} if timed is None else {"dense_s": timed.dense_s, "sparse_s": timed.sparse_s}
    obstacle = why_not_convertible(model, layer.weight)
    if obstacle:
        return Decision(layer.name, layer.weight, "dense", "dense", density, f"dense: {obstacle}")
    if not (force or layer.wanted or (timed is not None and timed.sparse_wins)):
        reason = "dense" if timed is None else f"dense: {timed.sentence}"
        return Decision(layer.name, layer.weight, "dense", "dense", density, reason, **times)
    reason = "csr: forced" if timed is None else f"csr: {timed.sentence}"
    if layer.wanted:
        return Decision(layer.name, layer.weight, layer.layout, layer.kernel, density, layer.reason, **times)
    return Decision(layer.name, layer.weight, "csr", "csr", density, reason, **times)
