"""``jp.convert``: swaps pruned dense layers for sparse ones where that wins; ``jp.explain`` says why."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from .alternatives import alternatives
from .energy import Profile, price_workload
from .errors import BudgetError, ProfileError
from .estimate import as_profile
from .fuse import fused
from .layers import Unit, layer_of, replace_module, sparse_twin, unit_of, why_not_convertible
from .nn import SparseLinear
from .ops import unpack_mask
from .patterns import block_size
from .plan import LayerPlan, Plan
from .quantize import Int8Layer, int8_layers
from .race import Race, Timer, race, race_by_cost
from .record import record
from .selection import check_plan, plain_module

__all__ = ["Decision", "convert", "decisions", "explain"]

_ATTRIBUTE = "_jouleprune_decisions"
_INT8_KERNEL = "bsr-int8"
_SPARSE_OPS = ("linear", "conv1d", "conv2d", "lstm", "gru")


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
    plan: Plan | None = None,
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
    entries of ``generic-cpu`` decide, and nothing is timed).

    Args:
        model: a pruned network: zeros in its weights. Of a DDP-wrapped or compiled one the module inside is converted.
        example_inputs: a tensor, a tuple of positional arguments, or a dict of keyword arguments.
        plan: the pruner's plan, replayed with its masks. Without one every layer with zeros is a candidate.
        profile: without a plan: the device that prices the candidates; without either the clock decides.
        force: convert every pruned layer whatever its speed.
        fuse: fold batch norms into the layers before them, and let sparse layers apply the ReLU, GELU (exact) or SiLU
            module that follows, and add what is added to their output; int8 layers round an input that they share
            once, and hand bytes to each other where ``calibration`` fixed the scale of the reader (a module whose code
            adds or passes bytes becomes a :class:`torch.fx.GraphModule`). Only for a model in eval mode, and kept only
            if the outputs on ``example_inputs`` stay the same, up to roundings. Off unless asked for: a fused network
            takes fewer joules than planned.
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
    if plan is not None:
        check_plan("plan", plan)
    _check_dtype(dtype, calibration, plan, profile)
    device = _profile_for(plan, profile)
    candidates = _planned(model, plan) if plan is not None else _with_zeros(model, device, example_inputs)
    int8 = {} if dtype is None else _in_int8(model, example_inputs, candidates, calibration, force, timer)
    taken = {weight: layer for weight, layer in int8.items() if layer.wanted}
    others = [layer for layer in candidates if layer.weight not in taken]
    timed = _races(model, example_inputs, others, plan, device, force, timer)
    made = [
        _int8_decision(model, layer, taken[layer.weight])
        if layer.weight in taken
        else _told(_decided(model, layer, timed.get(layer.weight), force), int8.get(layer.weight))
        for layer in candidates
    ]
    converted = _with_sparse_modules(model, [decision.weight for decision in made if decision.layout == "csr"], plan)
    blocks = {decision.weight for decision in made if decision.layout == "bsr"} - set(taken)
    for planned in candidates:
        if planned.weight in blocks:
            replace_module(converted, layer_of(planned.weight), _block_module(converted, planned, plan))
    for weight, layer in taken.items():
        replace_module(converted, layer_of(weight), layer.module)
    if fuse:
        converted, fusions = fused(converted, example_inputs)
        made = [replace(decision, reason=decision.reason + fusions.get(decision.name, "")) for decision in made]
    told = tuple(made) if force else _with_candidates(model, example_inputs, candidates, made, device)
    setattr(converted, _ATTRIBUTE, told)
    if plan is not None and device is not None:
        _check_budget(converted, example_inputs, plan, device, allow_over_budget)
    return converted


def decisions(model: torch.nn.Module) -> tuple[Decision, ...]:
    """The decisions that :func:`convert` left on a model; empty when it was not converted."""
    found: tuple[Decision, ...] = getattr(model, _ATTRIBUTE, ())
    return found


def explain(model: torch.nn.Module) -> str:
    """One line per pruned layer: what it runs now and why; below it the ways to run it, torch's dense products in
    bfloat16 and int8 among them, each with the time that cost entries predict and the one that was measured here."""
    if not isinstance(model, torch.nn.Module):
        raise ValueError(f"model: expected a torch.nn.Module, got {type(model).__name__}")
    made = decisions(model)
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
    example_inputs: Any,
    candidates: list[_Candidate],
    made: list[Decision],
    device: Profile | None,
) -> tuple[Decision, ...]:
    """The decisions, each with what else could have run its layer."""
    name, found = alternatives(model, example_inputs, {one.weight: one.pattern for one in candidates}, device)
    return tuple(
        replace(decision, candidates="\n".join([*map(str, found[decision.weight]), f"(predicted for {name})"]))
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
    candidates: list[_Candidate],
    calibration: Iterable[Any] | None,
    force: bool,
    timer: Timer | None,
) -> dict[str, Int8Layer]:
    """The int8 twins of the candidates that are Linear or Conv2d layers on the CPU."""
    weights = [
        layer.weight
        for layer in candidates
        if not why_not_convertible(model, layer.weight)
        and isinstance(_known_unit(model, layer.weight).module, torch.nn.Linear | torch.nn.Conv2d)
        and model.get_parameter(layer.weight).device.type == "cpu"
        and model.get_parameter(layer.weight).dtype != torch.float64
    ]
    return int8_layers(model, example_inputs, weights, calibration=calibration, force=force, timer=timer)


def _int8_decision(model: torch.nn.Module, layer: _Candidate, chosen: Int8Layer) -> Decision:
    density = _density(model, layer.weight)
    times: dict[str, Any] = {"dense_s": chosen.dense_s, "sparse_s": chosen.sparse_s}
    return Decision(layer.name, layer.weight, "bsr", _INT8_KERNEL, density, chosen.reason, **times)


def _density(model: torch.nn.Module, name: str) -> float:
    weight = model.get_parameter(name)
    return float((weight != 0).sum()) / max(1, weight.numel())


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


#: Of an entry of a workload: how the call is run, whatever its sizes.
_RUNS = ("weight", "pattern", "layout", "kernel", "nnz")


@dataclass(frozen=True)
class _Candidate:
    name: str
    weight: str
    kernel: str
    wanted: bool  # whether joules already decided for the sparse kernel
    reason: str
    layout: str = "csr"
    pattern: str = "unstructured"

    @property
    def mask_is_full(self) -> bool:
        """Whether the plan keeps all weights and changes how they run."""
        return self.pattern == "dense"


def _planned(model: torch.nn.Module, plan: Plan) -> list[_Candidate]:
    parameters = dict(model.named_parameters())
    for layer in plan.layers:
        if layer.weight not in parameters:
            raise ValueError(f"plan: names the weight {layer.weight!r}, which the model lacks")
        _check_zeros(parameters[layer.weight], layer, plan)
    return [_candidate(layer) for layer in plan.layers if layer.pattern != "dense" or layer.layout != "dense"]


def _candidate(layer: LayerPlan) -> _Candidate:
    wanted = layer.layout not in ("dense", "compressed")
    layout = layer.layout if wanted else "csr"
    return _Candidate(layer.name, layer.weight, layer.kernel, wanted, layer.reason, layout, layer.pattern)


def _check_zeros(weight: torch.Tensor, layer: LayerPlan, plan: Plan) -> None:
    bits = plan.masks.get(layer.weight)
    if bits is None:
        return
    expected = (weight.numel() + 7) // 8
    if bits.numel() != expected:
        raise ValueError(f"plan: mask of {layer.weight!r}: expected {expected} bytes, got {bits.numel()}")
    kept = unpack_mask(bits.to(weight.device), list(weight.shape))
    revived = int((weight.detach()[~kept] != 0).sum())
    if revived:
        raise ValueError(
            f"model: {revived} weights of {layer.weight!r} are not zero where the plan removed them: "
            "call pruner.step() after the last optimizer.step(), or pruner.prune_now()"
        )


def _with_zeros(model: torch.nn.Module, device: Profile | None, example_inputs: Any) -> list[_Candidate]:
    """Layers that hold zeros; with a profile, only those whose sparse kernel costs fewer joules there."""
    wanted = _cheaper_sparse(model, device, example_inputs) if device is not None and device.kind != "asic" else None
    found = []
    for name, parameter in model.named_parameters():
        if unit_of(model, name) is None or not bool((parameter == 0).any()):
            continue
        if wanted is None:
            found.append(_Candidate(layer_of(name), name, "csr", False, ""))
        elif name in wanted:
            found.append(_Candidate(layer_of(name), name, "csr", True, wanted[name]))
    return found


def _cheaper_sparse(model: torch.nn.Module, device: Profile, example_inputs: Any) -> dict[str, str]:
    from .estimate import price_entry

    workload = json.loads(record(model, example_inputs))
    joules: dict[str, list[float]] = {}
    for entry in workload["entries"]:
        if entry["weight"] and entry["op"] in _SPARSE_OPS and entry["layout"] == "dense":
            sparse = {**entry, "pattern": "unstructured", "layout": "csr", "kernel": "csr"}
            both = joules.setdefault(entry["weight"], [0.0, 0.0])
            both[0] += price_entry(entry, device, workload["count"]).energy_j
            both[1] += price_entry(sparse, device, workload["count"]).energy_j
    return {
        weight: f"csr: {sparse:.3g} J instead of {dense:.3g} J on {device.name}"
        for weight, (dense, sparse) in joules.items()
        if sparse < dense
    }


def _races(
    model: torch.nn.Module,
    example_inputs: Any,
    candidates: list[_Candidate],
    plan: Plan | None,
    device: Profile | None,
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
        results = race_by_cost(model, example_inputs, modules)
    else:
        stand_ins = {name: _sparse_module(model, weights, plan) for name, weights in modules.items()}
        results = race(model, example_inputs, stand_ins, timer)
    return {weight: results[name] for name, weights in modules.items() for weight in weights}


def _sparse_module(model: torch.nn.Module, weights: list[str], plan: Plan | None) -> torch.nn.Module:
    """The stand-in for the module that holds these weights."""
    masks: dict[str, torch.Tensor] = {}
    units = [_known_unit(model, weight) for weight in weights]
    for weight, unit in zip(weights, units, strict=True):
        mask = _planned_mask(model.get_parameter(weight), weight, plan)
        if mask is not None:
            masks[unit.weight] = mask
    return sparse_twin(units[0].module, masks, {unit.weight for unit in units})


def _block_module(model: torch.nn.Module, layer: _Candidate, plan: Plan | None) -> torch.nn.Module:
    """The stand-in for a Linear that the plan runs in blocks: of its pattern, or of int8."""
    module = _known_unit(model, layer.weight).module
    assert isinstance(module, torch.nn.Linear)
    full = torch.ones_like(module.weight, dtype=torch.bool) if layer.mask_is_full else None
    mask = _planned_mask(module.weight, layer.weight, plan) if full is None else full
    if layer.kernel == _INT8_KERNEL:
        return SparseLinear.from_dense(module, dtype="int8", mask=mask)
    return SparseLinear.from_dense(module, layout="bsr", block_size=block_size(layer.pattern), mask=mask)


def _planned_mask(parameter: torch.Tensor, weight: str, plan: Plan | None) -> torch.Tensor | None:
    """Of the plan, or None: then the zeros say what is pruned."""
    bits = None if plan is None else plan.masks.get(weight)
    return None if bits is None else unpack_mask(bits.to(parameter.device), list(parameter.shape))


def _known_unit(model: torch.nn.Module, weight: str) -> Unit:
    unit = unit_of(model, weight)
    if unit is None:
        raise ValueError(f"convert: no sparse module knows the weight {weight!r}")
    return unit


def _decided(model: torch.nn.Module, layer: _Candidate, timed: Race | None, force: bool) -> Decision:
    density = _density(model, layer.weight)
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


def _with_sparse_modules(model: torch.nn.Module, weights: list[str], plan: Plan | None) -> torch.nn.Module:
    """A copy in which these weights run sparse."""
    converted = copy.deepcopy(model)
    modules: dict[str, list[str]] = {}
    for weight in weights:
        modules.setdefault(_known_unit(model, weight).name, []).append(weight)
    for name, held in modules.items():
        replace_module(converted, name, _sparse_module(converted, held, plan))
    return converted


def _check_budget(
    converted: torch.nn.Module, example_inputs: Any, plan: Plan, device: Profile, allow_over_budget: bool
) -> None:
    """The converted model must cost what the plan says; where a layer had to deviate, at most the budget."""
    energy_j = price_workload(_as_planned(converted, example_inputs, plan), device).energy_j
    if energy_j > plan.budget_j and not allow_over_budget:
        dense = [decision.name for decision in decisions(converted) if decision.layout == "dense"]
        raise BudgetError(
            f"convert: the converted network takes {energy_j:.6g} J, above the budget of {plan.budget_j:.6g} J: "
            f"{', '.join(dense) or 'layers'} could not follow the plan ({explain(converted)}). "
            "Pass allow_over_budget=True to keep it, or plan again for these shapes.",
            energy_j,
        )


def _as_planned(converted: torch.nn.Module, example_inputs: Any, plan: Plan) -> str:
    """What the converted model runs, on inputs of the sizes that the budget was made for: joules of another batch are
    not comparable with it. Activation densities are frozen in the plan."""
    recorded = json.loads(record(converted, example_inputs, batch=plan.batch, per=plan.per, count=plan.count))
    planned = json.loads(plan.workload)
    if [_call(entry) for entry in recorded["entries"]] == [_call(entry) for entry in planned["entries"]]:
        for mine, theirs in zip(recorded["entries"], planned["entries"], strict=True):
            mine.update({name: value for name, value in theirs.items() if name not in _RUNS})
        return json.dumps(recorded)
    densities = {entry["name"]: entry["input_density"] for entry in planned["entries"] if entry["weight"]}
    for entry in recorded["entries"]:
        entry["input_density"] = densities.get(entry["name"], entry["input_density"])
    return json.dumps(recorded)


def _call(entry: Mapping[str, Any]) -> tuple[Any, ...]:
    """What is the same for inputs of any size. A sparse module calls its weight otherwise: layers have one name."""
    return entry["op"], entry["name"], entry["rows"], entry["cols"], entry["groups"], entry["dtype"]
