"""The seam to the C++ planner: a recorded workload, a profile and importance scores in; masks and a plan out."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch

from ._already_sparse import refuse_sparse
from ._layer_options import floors_of, ignored_weights
from ._prunable import prunable_weights
from ._ranks import Ranks, unsharded, whole_weights
from ._shard_scores import Shards
from .criteria import Context, Loss
from .currency import PruneFor, Reach, bytes_beside, checked_prune_for, copies_of
from .energy import Profile
from .errors import BudgetError, PatternError, ProfileError
from .estimate import ActivationDensity
from .importance import Importance, check_given, importance_name, scores_of
from .patterns import Freedom, check_pattern, checked_dtypes, freedom_of
from .record import check_batch, record, unwrapped
from .tuning import measured_limits

if TYPE_CHECKING:
    from .plan import Plan

__all__ = ["Selector", "check_plan", "plain_module"]

#: Of an entry of a workload: what a plan decides. All else tells which network it is, on which inputs.
_PLANNED = ("pattern", "layout", "kernel", "nnz", "input_density")
#: Of several differences the one that tells people most.
_TOLD_FIRST = ("op", "name", "rows", "cols", "n")


@dataclass(frozen=True)
class Selector:
    """What selection needs besides the weights: recorded once, then asked at every update of a schedule."""

    workload: Mapping[str, Any]
    profile: Profile
    pattern: str
    importance: Importance
    weights: tuple[str, ...]
    floors: tuple[float, ...]
    freedoms: tuple[Freedom, ...]
    measured: str
    """Of the tuning table of this machine, as JSON: looked up once, so that every step of a schedule sees the same."""
    unable: tuple[str, ...]
    """Sentences: layers with weights that cannot be pruned, and why."""
    example_inputs: Any = field(default=None, repr=False)
    data: Iterable[Any] | None = field(default=None, repr=False)
    loss: Loss | Sequence[Loss] | Mapping[str, Loss] | None = field(default=None, repr=False)
    """The last three are for criteria that look at more than weights."""
    ranks: Ranks | None = field(default=None, repr=False)
    """Of a network that several processes train: they select together."""
    prune_for: PruneFor = "joules"
    copies: tuple[int, ...] = ()
    """Names that each weight is stored under."""
    other_bytes: int = 0
    """Of the network's state beside these weights."""

    @classmethod
    def record(
        cls,
        model: torch.nn.Module,
        example_inputs: Any,
        *,
        profile: Profile,
        pattern: str,
        importance: Importance,
        data: Iterable[Any] | None = None,
        loss: Loss | Sequence[Loss] | Mapping[str, Loss] | None = None,
        ignored_layers: Sequence[torch.nn.Module | str],
        min_density: float | Mapping[str, float],
        activation_density: ActivationDensity,
        dtype: str | Sequence[str] | None = None,
        prune_for: PruneFor = "joules",
        batch: int | None,
        per: str,
        count: int | None,
        ranks: Ranks | None = None,
    ) -> Selector:
        """Runs the model once, without a trace, and finds what can be pruned in it."""
        _check_eager(model)
        checked_prune_for(prune_for)
        check_pattern(pattern)
        dtypes = checked_dtypes(dtype, profile)
        check_given(importance, data, loss)
        ignored = ignored_weights(model, ignored_layers)
        recorded = _recorded(
            ranks, model, example_inputs, batch=batch, activation_density=activation_density, per=per, count=count
        )
        workload = json.loads(recorded)
        weights, unable = prunable_weights(model, workload, profile, ignored, prune_for)
        freedoms = tuple(freedom_of(model, weight, dtypes) for weight in weights)
        floors = floors_of(weights, min_density)
        measured = measured_limits(recorded, weights, profile)
        if ranks is not None:  # their machines may have measured other times
            measured = ranks.of_the_first(measured)
        copies = copies_of(model, weights)
        return cls(
            workload, profile, pattern, importance, weights, floors, freedoms, measured, unable,
            example_inputs, data, loss, ranks, prune_for, tuple(copies.values()), bytes_beside(model, copies),
        )  # fmt: skip

    @classmethod
    def of_plan(
        cls,
        model: torch.nn.Module,
        example_inputs: Any,
        plan: Plan,
        profile: Profile,
        importance: Importance,
        data: Iterable[Any] | None = None,
        loss: Loss | Sequence[Loss] | Mapping[str, Loss] | None = None,
        ranks: Ranks | None = None,
    ) -> Selector:
        """What made the plan, for the same model on inputs of the same sizes.

        Raises:
            ValueError: the plan belongs to another model, to other inputs, or to a criterion that was not given.
        """
        _check_eager(model)
        check_given(importance, data, loss)
        for layer in plan.layers:
            refuse_sparse(model, layer.name, layer.weight)
        planned = json.loads(plan.workload)
        if ranks is not None:
            ranks.check_equal("plan", plan.to_json().encode())
        workload = json.loads(_recorded(ranks, model, example_inputs, batch=plan.batch, per=plan.per, count=plan.count))
        if len(planned["entries"]) != len(workload["entries"]):
            raise ValueError(
                f"plan: belongs to another model: it has {len(planned['entries'])} calls in a forward pass, "
                f"this one {len(workload['entries'])}"
            )
        for mine, theirs in zip(workload["entries"], planned["entries"], strict=True):
            told = dict.fromkeys([*_TOLD_FIRST, *mine])
            planned_too = {"dtype"} if theirs.get("layout") != "dense" else set()
            other = [key for key in told if key not in {*_PLANNED, *planned_too} and mine[key] != theirs.get(key)]
            if other:
                raise ValueError(
                    f"plan: belongs to another model or to inputs of other sizes: {mine['name']!r}: expected "
                    f"{other[0]} {theirs.get(other[0])!r}, got {mine[other[0]]!r}"
                )
            mine["input_density"] = theirs.get("input_density", 1.0)
        if importance_name(importance) != plan.importance:
            raise ValueError(
                f"importance: expected the plan's, {plan.importance!r}, got {importance_name(importance)!r}"
            )
        weights = tuple(layer.weight for layer in plan.layers)
        absent = set(weights) - set(dict(model.named_parameters()))
        if absent:
            raise ValueError(f"plan: names the weight {min(absent)!r}, which the model lacks")
        floors = tuple(layer.min_density for layer in plan.layers)
        own = {entry["weight"]: entry["dtype"] for entry in workload["entries"]}
        dtypes = sorted({layer.dtype for layer in plan.layers if layer.dtype != own.get(layer.weight)})
        freedoms = tuple(freedom_of(model, weight, dtypes) for weight in weights)
        copies = copies_of(model, weights)
        selector = cls(
            workload, profile, plan.pattern, importance, weights, floors, freedoms, plan.measured, (),
            example_inputs, data, loss, ranks,
            checked_prune_for(plan.prune_for), tuple(copies.values()), bytes_beside(model, copies),
        )  # fmt: skip
        return selector.settled(plan)

    def settled(self, plan: Plan) -> Selector:
        """The same, but the weights that the plan prunes keep its patterns: "auto" chooses them once."""
        if self.pattern != "auto":
            return self
        freedoms = tuple(
            freedom if layer.pattern == "dense" else replace(freedom, pattern=layer.pattern)
            for freedom, layer in zip(self.freedoms, plan.layers, strict=True)
        )
        return replace(self, freedoms=freedoms)

    def probe(self, energy: str | float) -> Reach:
        """How far the network can go. Raises BudgetError when the budget cannot be met."""
        _, text = self._ask([], {"probe": True, **_budget(energy, self.prune_for)})
        data = json.loads(text)
        amounts = data["amounts"]
        if amounts is not None:
            return Reach(amounts["dense"], amounts["minimum"], amounts["budget"], data["dense_j"])
        return Reach(data["dense_j"], data["minimum_j"], data["budget_j"], data["dense_j"])

    def select(
        self,
        model: torch.nn.Module,
        *,
        energy: str | float,
        relaxed_j: float | None = None,
        frozen: Sequence[bool] | None = None,
    ) -> Plan:
        """Masks of least importance lost within the budget; ``relaxed_j`` and ``frozen`` serve the steps of a
        schedule."""
        request: dict[str, Any] = _budget(energy, self.prune_for)
        if relaxed_j is not None:
            request["relaxed_j"] = relaxed_j
        if frozen is not None:
            request["frozen"] = list(frozen)
        return self._planned(self._scores_now(model), request)

    def planned_now(self, model: torch.nn.Module) -> Callable[[str | float], Plan]:
        """Plans for several budgets, of scores that are taken once."""
        scores = self._scores_now(model)
        return lambda energy: self._planned(scores, _budget(energy, self.prune_for))

    def _scores_now(self, model: torch.nn.Module) -> _Scored:
        if self.ranks is not None:
            shards = Shards.of(model, self.weights, self.importance, self.pattern, self.data)
            if shards is not None:
                return _Scored(self.ranks.together("importance", lambda: shards.scores(self.importance)), shards)
        patterns = {
            name: freedom.pattern or self.pattern for name, freedom in zip(self.weights, self.freedoms, strict=True)
        }
        whole = whole_weights(model, self.weights) if self.ranks is not None else {}
        context = Context(
            model, self.weights, patterns, self.workload, self.example_inputs, self.data, self.loss, whole
        )
        return _Scored(self._scores(context), None)

    def _planned(self, scored: _Scored, request: dict[str, Any]) -> Plan:
        from .plan import Plan

        together = {} if scored.shards is None else {"together": scored.shards.request()}
        masks, text = self._ask(scored.scores, request | together)
        if scored.shards is not None:
            masks = scored.shards.joined(masks, json.loads(text)["decided"])
        kept = {name: mask for name, mask in zip(self.weights, masks, strict=True) if mask.numel() > 0}
        if self.ranks is not None:
            self.ranks.check_equal("masks", b"".join(bytes(mask.numpy()) for mask in masks) + text.encode())
        return Plan.from_json(text, kept)

    def _scores(self, context: Context) -> list[torch.Tensor]:
        """Of each weight; of several ranks the same in all."""
        if self.ranks is None:
            return scores_of(self.importance, context)
        scores = self.ranks.together("importance", lambda: scores_of(self.importance, context))
        # Without data scores follow from weights and gradients, which replicas share: a mean would only round them.
        return scores if self.data is None else self.ranks.averaged(scores)

    def _ask(self, scores: list[torch.Tensor], request: dict[str, Any]) -> tuple[list[torch.Tensor], str]:
        request |= {
            "schema": 1,
            "workload": self.workload,
            "profile": json.loads(self.profile.to_json()),
            "pattern": self.pattern,
            "importance": importance_name(self.importance),
            "measured": json.loads(self.measured),
            "prune_for": self.prune_for,
            "other_bytes": self.other_bytes,
            "weights": [
                {
                    "name": name,
                    "min_density": floor,
                    "copies": copies,
                    **{key: value for key, value in vars(freedom).items() if value},
                }
                for name, floor, copies, freedom in zip(
                    self.weights, self.floors, self.copies, self.freedoms, strict=True
                )
            ],
        }
        masks, text = torch.ops.jouleprune.select_masks(scores, json.dumps(request))
        _raise_named(text, "".join(f"; not prunable: {sentence}" for sentence in self.unable))
        return masks, text


@dataclass(frozen=True)
class _Scored:
    """Scores of whole weights, or of the shards of them that lie here."""

    scores: list[torch.Tensor]
    shards: Shards | None


def _recorded(ranks: Ranks | None, model: torch.nn.Module, example_inputs: Any, **options: Any) -> str:
    """As :func:`record`; of several ranks the same in all, and an error of one is one of all."""
    if ranks is None:
        check_batch(example_inputs, options.get("batch"))
        return record(model, example_inputs, **options)
    with unsharded(model):
        recorded = ranks.together("example_inputs", lambda: record(model, example_inputs, **options))
    ranks.check_equal("example_inputs: the recorded forward pass", recorded.encode())
    return recorded


def _budget(energy: str | float, prune_for: PruneFor) -> dict[str, Any]:
    if isinstance(energy, str):
        return {"budget": energy}
    of = "multiply-adds" if prune_for == "macs" else prune_for
    if isinstance(energy, bool) or not isinstance(energy, int | float):
        raise BudgetError(f'energy: expected "N%" or {of}, got {energy!r}', float("nan"))
    try:
        amount = float(energy)
    except OverflowError:
        amount = math.inf
    if not math.isfinite(amount):
        raise BudgetError(f"energy: expected a finite number of {of}, got {energy!r}", float("nan"))
    if amount <= 0 and prune_for != "joules":  # of joules the library says it
        raise BudgetError(f"energy: expected a positive number of {of}, got {energy!r}", float("nan"))
    return {"budget_j": amount}


def plain_module(model: object) -> torch.nn.Module:
    """The module inside DDP, DataParallel and torch.compile: its parameters have the names that recordings use."""
    if not isinstance(model, torch.nn.Module):
        raise ValueError(f"model: expected a torch.nn.Module, got {type(model).__name__}")
    inner = unwrapped(model)
    assert isinstance(inner, torch.nn.Module)
    return inner


def _check_eager(model: torch.nn.Module) -> None:
    """TorchScript gives no parameters by name, nor modules to put others in place of."""
    if isinstance(model, torch.jit.ScriptModule):
        raise ValueError("model: expected an eager module, got TorchScript: prune the module that it was made of")


def check_plan(argument: str, plan: object) -> None:
    """Refuses what is no plan."""
    from .plan import Plan

    if not isinstance(plan, Plan):
        raise ValueError(
            f"{argument}: expected a Plan (from jouleprune.plan or Pruner.plan), got {type(plan).__name__}"
        )


def _raise_named(text: str, unable: str) -> None:
    if not text.startswith('{"error"'):
        return
    error = json.loads(text)["error"]
    if error["type"] == "BudgetError":
        minimum = error.get("minimum_j")
        if minimum is None:
            raise BudgetError(error["message"], float("nan"))
        raise BudgetError(error["message"] + unable, minimum)
    kinds: dict[str, type[ValueError]] = {"PatternError": PatternError, "ProfileError": ProfileError}
    raise kinds.get(error["type"], ValueError)(error["message"])
