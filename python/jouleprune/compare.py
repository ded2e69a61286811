"""``jp.compare``: one table of a network across devices, or of several networks side by side (method E5)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from ._C import device_use as _device_use
from .energy import EnergyReport, Profile, price_workload
from .estimate import ActivationDensity, Model, as_profile
from .record import LARGEST_COUNT, _batch, record

__all__ = ["Comparison", "ComparisonRow", "LevelUse", "Models", "Profiles", "compare", "named_models", "profile_list"]

#: One network, several, or several by name.
Models = Model | Sequence[Model] | Mapping[str, Model]
#: One device or several.
Profiles = Profile | str | Mapping[str, Any] | Sequence[Profile | str | Mapping[str, Any]]


@dataclass(frozen=True)
class LevelUse:
    """One memory level over a forward pass; None where the profile says nothing about it.

    Attributes:
        bytes: read and written.
        fill: weights, inputs and outputs of the largest call over the capacity, at most 1.
        bandwidth_share: share of the time that this level alone would need for its bytes.
    """

    name: str
    bytes: float
    capacity_bytes: float | None
    fill: float | None
    bandwidth_share: float | None


@dataclass(frozen=True)
class ComparisonRow:
    """A network on a device at one batch. Joules per ``count`` (inference), the rest per forward pass; all modelled.

    Attributes:
        latency_s, low_s, high_s: None where the profile has no speed.
        macs: issued.
        multiplier_share: share of the time that the issued MACs would need at peak; None without a speed.
        levels: outermost first.
    """

    network: str
    profile: str
    kind: str
    batch: int
    label: str
    energy_j: float
    low_j: float
    high_j: float
    latency_s: float | None
    latency_low_s: float | None
    latency_high_s: float | None
    macs: float
    multiplier_share: float | None
    levels: tuple[LevelUse, ...]
    report: EnergyReport = field(repr=False, compare=False)

    @property
    def buffer(self) -> LevelUse | None:
        """The outermost level with a capacity: the buffer or last cache of the chip."""
        return next((level for level in self.levels if level.capacity_bytes is not None), None)

    @property
    def moves_in_no_time(self) -> bool:
        """The profile has a speed of arithmetic but no bandwidth: memory is taken to be as fast as arithmetic needs."""
        return self.latency_s is not None and all(level.bandwidth_share is None for level in self.levels)


@dataclass(frozen=True)
class Comparison:
    """Rows by network, then device, then batch."""

    rows: tuple[ComparisonRow, ...]

    def over_first(self, row: ComparisonRow) -> float | None:
        """Joules over those of the first row of the same batch; None where that is 0 J."""
        first = next((one for one in self.rows if one.batch == row.batch), self.rows[0])
        return row.energy_j / first.energy_j if first.energy_j > 0 else None

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What times rest on although a profile does not say it; a sentence each."""
        names = ", ".join(dict.fromkeys(row.profile for row in self.rows if row.moves_in_no_time))
        sentence = "assumed: memory is as fast as arithmetic needs, because the profile gives no bandwidth: "
        return (sentence + names,) if names else ()

    def to_json(self) -> str:
        """As JSON, schema 1."""
        names = [name for name in ComparisonRow.__dataclass_fields__ if name not in ("levels", "report")]
        rows = [
            {
                **{name: getattr(row, name) for name in names},
                "over_first": self.over_first(row),
                "levels": [vars(level) for level in row.levels],
                "report": json.loads(row.report.to_json()),
            }
            for row in self.rows
        ]
        return json.dumps({"schema": 1, "rows": rows, "assumptions": list(self.assumptions)})

    def __str__(self) -> str:
        from .report import comparison_table

        return comparison_table(self)


def compare(
    models: Models,
    example_inputs: Any,
    *,
    profiles: Profiles,
    batches: Sequence[int] | None = (1, 32),
    activation_density: ActivationDensity = 1.0,
) -> Comparison:
    """One table: each network on each device, at each batch. Everything in it is modelled.

    Args:
        models: a network, a sequence of them, or networks by name.
        example_inputs: as in :func:`jouleprune.estimate`, for every network; or, where ``models`` is a dict, a dict
            with the same names.
        profiles: devices: each a ``Profile``, a built-in name, a path, or a dict.
        batches: rows repeat or drop examples along dim 0 of every tensor of that length; None keeps the inputs as they
            are.
        activation_density: as in :func:`jouleprune.estimate`.
    Raises:
        ProfileError: a profile is unknown or malformed.
        ValueError: no network, no profile, or a batch that the inputs cannot have.
    """
    devices = profile_list(profiles)
    rows = []
    for name, model, inputs in named_models(models, example_inputs):
        workloads = [
            record(model, of_batch, activation_density=activation_density)
            for of_batch in ([inputs] if batches is None else [_resized(inputs, batch) for batch in _checked(batches)])
        ]
        rows += [_row(name, workload, device) for device in devices for workload in workloads]
    return Comparison(tuple(rows))


def named_models(models: Models, example_inputs: Any) -> list[tuple[str, Model, Any]]:
    """(name, network, its inputs) of what users pass; networks without a name are called by their class.

    Raises:
        ValueError: there is none, or a name is no text.
    """
    if isinstance(models, Mapping):
        own = isinstance(example_inputs, Mapping) and example_inputs.keys() == models.keys()
        found = [(name, model, example_inputs[name] if own else example_inputs) for name, model in models.items()]
    elif isinstance(models, Sequence):
        classes = [type(model).__name__ for model in models]
        found = [
            (name if classes.count(name) == 1 else f"{name} {classes[: place + 1].count(name)}", model, example_inputs)
            for place, (name, model) in enumerate(zip(classes, models, strict=True))
        ]
    else:
        name = type(models).__name__ if isinstance(models, torch.nn.Module) else getattr(models, "__name__", "network")
        found = [(name, models, example_inputs)]
    if not found:
        raise ValueError("models: expected at least one network, got none")
    for name, _, _ in found:
        if not isinstance(name, str):
            raise ValueError(f"models: expected names of networks, got {name!r}")
    return found


def profile_list(profiles: Profiles) -> list[Profile]:
    """The devices of what users pass.

    Raises:
        ValueError: there is none.
    """
    several = isinstance(profiles, Sequence) and not isinstance(profiles, str)
    found = [as_profile(one) for one in (profiles if several else [profiles])]  # type: ignore[arg-type,union-attr]
    if not found:
        raise ValueError("profiles: expected at least one device, got none")
    return found


def _row(network: str, workload: str, profile: Profile) -> ComparisonRow:
    report = price_workload(workload, profile)
    use = json.loads(_device_use(workload, profile))
    timed = use["latency_s"] > 0
    return ComparisonRow(
        network=network,
        profile=report.profile,
        kind=profile.kind,
        batch=report.batch,
        label=report.label,
        energy_j=report.energy_j,
        low_j=report.low_j,
        high_j=report.high_j,
        latency_s=use["latency_s"] if timed else None,
        latency_low_s=use["low_s"] if timed else None,
        latency_high_s=use["high_s"] if timed else None,
        macs=use["macs"],
        multiplier_share=use["multiplier_share"],
        levels=tuple(LevelUse(**level) for level in use["levels"]),
        report=report,
    )


def _checked(batches: Sequence[int]) -> list[int]:
    if isinstance(batches, str) or not isinstance(batches, Iterable):
        raise ValueError(f"batches: expected whole numbers of at least 1, as in (1, 32), or None, got {batches!r}")
    found = list(batches)
    if not found or any(isinstance(batch, bool) or not isinstance(batch, int) or batch < 1 for batch in found):
        raise ValueError(f"batches: expected whole numbers of at least 1, got {batches!r}")
    if max(found) > LARGEST_COUNT:
        raise ValueError(f"batches: expected whole numbers of at most 2^53, got {batches!r}")
    return found


def _resized(example_inputs: Any, batch: int) -> Any:
    """The same examples, repeated or dropped to ``batch``."""
    now = _batch(example_inputs)
    if now == batch:
        return example_inputs
    changed = 0

    def resize(value: Any) -> Any:
        nonlocal changed
        if type(value) in (tuple, list):
            return type(value)(resize(item) for item in value)
        if isinstance(value, Mapping):
            return {key: resize(item) for key, item in value.items()}
        if isinstance(value, torch.Tensor) and value.dim() > 0 and value.shape[0] == now and now > 0:
            changed += 1
            return value[torch.arange(batch, device=value.device) % now]
        return value

    resized = resize(example_inputs)
    if changed == 0:
        raise ValueError(
            f"batches: expected inputs with a batch along dim 0, to change it to {batch}; pass batches=None"
        )
    return resized
