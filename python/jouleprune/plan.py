"""The plan: what happens to each layer under a budget, as plain data; and ``jp.plan``, which makes one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from ._fields import array_of_objects, checked, fields_of, object_of, text_of
from ._plan_notes import emptied_layers, sparse_before, warn_emptied
from ._ranks import Ranks
from .bounds import Bounds, most_within
from .criteria import Loss
from .currency import Amounts, PruneFor, currency_of
from .energy import Profile
from .estimate import ActivationDensity, as_profile
from .importance import Importance
from .selection import Selector, plain_module

__all__ = ["LayerPlan", "NextUnit", "Plan", "plan"]


@dataclass(frozen=True)
class LayerPlan:
    """What happens to one prunable weight. Energies in joules per count; ``density`` is of weights, ``units`` and
    ``kept`` count what the pattern removes at once: weights, or blocks."""

    name: str
    weight: str
    pattern: str
    layout: str
    dtype: str
    kernel: str
    units: int
    kept: int
    density: float
    energy_j: float
    dense_j: float
    importance_lost: float
    min_density: float
    reason: str


@dataclass(frozen=True)
class NextUnit:
    """The removed unit that would come back first, and what that would add in joules per count. ``index``: flat index
    in the weight, or the number of the block, row by row of blocks."""

    weight: str
    index: int
    energy_j: float


@dataclass(frozen=True)
class Plan:
    """Decision per layer under a joule budget, with everything it was made for. Energies in joules per count.

    ``duality_gap``: importance lost beyond a bound below which no choice of patterns can be; None where there was one
    pattern to choose from.

    ``prune_for``: what the budget counts. Where it is not "joules", ``amounts`` holds the budget and what is used of
    it, ``budget_j`` and ``minimum_j`` equal ``energy_j``, and ``slack_j`` is 0: joules are told, not bounded.
    ``stored_bytes``: tensors of the file that ``save(convert(model, x, plan=plan), path, packed=True)`` writes.

    ``masks`` (uint8 bits by weight name; see docs/formats.md) travel with the plan in memory and in checkpoints, not
    in its JSON.
    """

    profile: str
    profile_hash: str
    per: str
    batch: int
    count: int
    pattern: str
    importance: str
    budget: str
    budget_j: float
    energy_j: float
    dense_j: float
    minimum_j: float
    tuning: str
    maximal: bool
    slack_j: float
    next_unit: NextUnit | None
    layers: tuple[LayerPlan, ...]
    workload: str = field(repr=False)
    decided: tuple[bool, ...] = field(default=(), repr=False)
    masks: Mapping[str, torch.Tensor] = field(default_factory=dict, repr=False, compare=False)
    text: str = field(default="", repr=False, compare=False)
    duality_gap: float | None = None
    measured: str = field(default="[]", repr=False)
    prune_for: str = "joules"
    amounts: Amounts | None = None
    stored_bytes: float | None = None

    @classmethod
    def from_json(cls, text: str | bytes, masks: Mapping[str, torch.Tensor] | None = None) -> Plan:
        """Parses what :meth:`to_json` wrote.

        Args:
            text: the JSON.
            masks: bits by weight name, which the JSON does not hold.
        Raises:
            ValueError: not a plan of schema 1; the message names the field.
        """
        where = "Plan.from_json"
        text = text_of(text, where)
        try:
            data = json.loads(text)
        except (RecursionError, ValueError) as error:  # also a number of more digits than Python reads
            raise ValueError(f"{where}: expected a plan of schema 1: {error}") from error
        if not isinstance(data, dict) or data.get("schema") != 1:
            raise ValueError(f'{where}: expected a plan of schema 1: no object with "schema": 1 in {text[:60]!r}')
        plain = {name: _member(data, name, kind) for name, kind in _PLAIN.items()}
        layers = array_of_objects(_member(data, "layers"), f"{where}: layers")
        decided = checked(data.get("decided", []), list, f"{where}: decided")
        workload = object_of(_member(data, "workload"), f"{where}: workload")
        gap, measured = data.get("duality_gap"), data.get("measured", [])
        stored = data.get("stored_bytes")
        array_of_objects(measured, f"{where}: measured")
        array_of_objects(workload.get("entries"), f"{where}: workload.entries")
        return cls(
            **plain,
            next_unit=_next_unit(_member(data, "next_unit")),
            layers=tuple(
                fields_of(LayerPlan, layer, f"{where}: layers[{place}]") for place, layer in enumerate(layers)
            ),
            workload=json.dumps(workload),
            decided=tuple(checked(one, bool, f"{where}: decided[{place}]") for place, one in enumerate(decided)),
            masks=_checked_masks(masks),
            text=text,
            measured=json.dumps(measured),
            duality_gap=None if gap is None else checked(gap, float, f"{where}: duality_gap"),
            **currency_of(data, where),
            stored_bytes=None if stored is None else checked(stored, float, f"{where}: stored_bytes"),
        )

    def to_json(self) -> str:
        """The plan as JSON (``"schema": 1``), without masks."""
        return self.text

    @property
    def limits(self) -> Amounts:
        """The budget and what is used of it, in the currency of the budget."""
        if self.amounts is not None:
            return self.amounts
        following = None if self.next_unit is None else self.next_unit.energy_j
        return Amounts(self.budget_j, self.energy_j, self.dense_j, self.minimum_j, self.slack_j, following)

    @property
    def emptied(self) -> tuple[str, ...]:
        """Layers that keep no weight, or fewer than one for ten outputs: nothing passes through them any more."""
        return emptied_layers(self)

    @property
    def sparse_before(self) -> tuple[str, ...]:
        """Layers that ran sparse already when the plan was made: it leaves them as they are."""
        return sparse_before(self)

    def __str__(self) -> str:
        from .report import plan_table

        return plan_table(self)


#: Fields of a plan that its JSON holds as they are.
_PLAIN: Mapping[str, type] = {
    **dict.fromkeys(("profile", "profile_hash", "per", "pattern", "importance", "budget", "tuning"), str),
    **dict.fromkeys(("batch", "count"), int),
    **dict.fromkeys(("budget_j", "energy_j", "dense_j", "minimum_j", "slack_j"), float),
    "maximal": bool,
}


def _member(data: Mapping[str, Any], name: str, kind: type | None = None) -> Any:
    if name not in data:
        raise ValueError(f"Plan.from_json: {name}: missing")
    return data[name] if kind is None else checked(data[name], kind, f"Plan.from_json: {name}")


def _next_unit(unit: Any) -> NextUnit | None:
    where = "Plan.from_json: next_unit"
    return None if unit is None else fields_of(NextUnit, object_of(unit, where), where)


def _checked_masks(masks: Mapping[str, torch.Tensor] | None) -> dict[str, torch.Tensor]:
    if masks is not None and not isinstance(masks, Mapping):
        raise ValueError(f"Plan.from_json: masks: expected bits by weight name, got {type(masks).__name__}")
    for name, bits in (masks or {}).items():
        if not isinstance(bits, torch.Tensor) or bits.dtype != torch.uint8 or bits.dim() != 1:
            what = f"{bits.dtype} {list(bits.shape)}" if isinstance(bits, torch.Tensor) else type(bits).__name__
            raise ValueError(f"Plan.from_json: masks: {name!r}: expected uint8 [bytes], got {what}")
    return dict(masks or {})


def plan(
    model: torch.nn.Module,
    example_inputs: Any,
    *,
    energy: str | float,
    profile: Profile | str | Mapping[str, Any],
    pattern: str = "unstructured",
    importance: Importance = "lamp",
    data: Iterable[Any] | None = None,
    loss: Loss | Sequence[Loss] | Mapping[str, Loss] | None = None,
    ignored_layers: Sequence[torch.nn.Module | str] = (),
    min_density: float | Mapping[str, float] = 0.0,
    activation_density: ActivationDensity = 1.0,
    dtype: str | Sequence[str] | None = None,
    batch: int | None = None,
    per: str = "inference",
    count: int | None = None,
    prune_for: PruneFor = "joules",
    latency_s: float | None = None,
    dram_bytes: float | None = None,
    macs: float | None = None,
    stored_bytes: float | None = None,
) -> Plan:
    """Chooses what to remove so that one inference takes at most ``energy``, and changes nothing.

    Args:
        model: the network, also inside DDP or torch.compile; layers whose weights the kernels can run sparse are
            prunable: Linear, Conv1d, Conv2d, LSTM, GRU, MultiheadAttention; where zeros save by themselves (devices
            that skip them, bytes, multiply-adds) also Conv3d, transposed convolutions and RNN.
        example_inputs: a tensor, a tuple of positional arguments, or a dict of keyword arguments.
        energy: "N%" of the unmasked dense network, or joules per inference.
        profile: device profile: a ``Profile``, a built-in name, a path, or a dict.
        pattern: "unstructured"; "RxC", whole blocks of R outputs x C inputs ("16x1", "1x4", "16x16"; of a convolution
            C channels at one tap of its kernel); "N:M", at most N of M neighbouring inputs ("2:4"; of a convolution in
            the order channel, row, column); "auto", for each layer the one of unstructured, 1x4, 16x1, 16x4, 16x16 (of
            bfloat16 also 32x32) and dense that loses least importance within the budget.
        importance: "lamp" (default), "magnitude" (w^2), "gradient" (|g|), "taylor" (|w g|), one of
            ``jouleprune.criteria`` by name ("wanda", "fisher", "l1/sum", ...) or as an instance, or a callable
            ``(name, weight, grad) -> scores``; higher scores are kept. docs/methods.md lists them.
        data: calibration batches, for criteria that look at activations or at gradients of a loss: tensors,
            ``(inputs, target)``, or dicts of keyword arguments; iterated once per selection, so no generator. With it
            "gradient" and "taylor" are means over the batches; without it they take the present ``.grad``.
        loss: ``(outputs, target) -> scalar``, for criteria that look at gradients; several of them, in a list or by
            name, for "multi_task".
        ignored_layers: modules, or names of modules or weights, that stay dense.
        min_density: least share of weights to keep, for all layers or by layer name.
        dtype: number types that layers may run in beside their own: "int8", for Linear and Conv2d layers on the CPU in
            patterns of quads ("1x4", "16x4", ...) or whole, with the profile of a CPU. Outputs are then close, not
            equal: see ``convert(dtype="int8")``.
        activation_density, batch, per, count: as in :func:`jouleprune.estimate`.
        prune_for: what ``energy`` counts: "joules"; "bytes" of the stored network (``plan.stored_bytes``); "macs",
            multiply-adds with kept weights of a forward pass, whatever runs them. "N%" and numbers are then of these,
            and joules are reported, not bounded. Layers that nothing runs sparse, or without gain, are pruned too.
        latency_s, dram_bytes, macs: upper bounds beside the budget, of one forward pass, modelled: seconds, bytes read
            from and written to the outermost memory, multiply-adds with kept weights. ``budget_j`` of the plan is then
            the largest up to ``energy`` at which all hold, as bisection finds it ("100%": only the bounds decide): a
            thousandth more breaks one.
        stored_bytes: likewise of ``plan.stored_bytes``, which can rise a little as joules fall, where a layer takes a
            form with indices: a budget further up may hold too then.
    Returns:
        Plan with ``energy_j <= budget_j``, and above 99 % of it or maximal.
    Raises:
        BudgetError: the budget is malformed, above the dense energy, or below the least that can be reached
            (``minimum_j`` of the error); a bound that the network of the least joules does not keep.
        PatternError: unknown pattern or importance.
        ValueError: other arguments; the message names them.
    Warns:
        EmptyLayerWarning: layers that keep nothing, by name. Scores are compared between layers as they are: see
            "Comparing layers" in docs/methods.md.
    Layers that run sparse already stay as they are, and percentages refer to the network with them in it.
    """
    bounds = Bounds(latency_s, dram_bytes, macs, stored_bytes).checked()
    ranks = Ranks.of(plain_module(model))  # replicas may be planned by one process alone, shards may not
    model, device = plain_module(model), as_profile(profile)
    selector = Selector.record(
        model,
        example_inputs,
        profile=device,
        pattern=pattern,
        importance=importance,
        data=data,
        loss=loss,
        ignored_layers=ignored_layers,
        min_density=min_density,
        activation_density=activation_density,
        dtype=dtype,
        prune_for=prune_for,
        batch=batch,
        per=per,
        count=count,
        ranks=ranks,
    )
    if bounds.given():
        made = most_within(selector.planned_now(model), bounds, device, energy)
    else:
        made = selector.select(model, energy=energy)
    warn_emptied(made, stacklevel=2)
    return made
