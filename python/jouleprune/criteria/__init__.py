"""What to remove: criteria of importance beside those that look at a weight and its gradient alone.

``plan``, ``Pruner`` and ``sweep`` take a name (``importance="wanda"``), or an instance where a criterion has settings
(``importance=criteria.Norm(p=1)``). Those that look at data need ``data=`` too, those that look at gradients ``loss=``.
Scores of most criteria do not compare between layers: ``"l1/sum"`` and ``"l1/lamp"``, or ``criteria.PerLayer``,
normalise them within each. A criterion of your own is a class with ``name`` and ``scores(context)``. docs/methods.md
lists them all.
"""

from __future__ import annotations

from collections.abc import Callable

from .activations import Apoz, ConnectionEnergy, MeanActivation, Wanda
from .context import Context, Criterion, Loss
from .gradients import Fisher, FScore, Gradient, Movement, MultiTask, TScore
from .paths import RandomPaths
from .per_layer import NORMALISATIONS, PerLayer
from .significance import Significance, significance
from .thresholds import threshold
from .weights import BatchNormScale, GeometricMedian, Norm, Random

__all__ = [
    "NAMED",
    "NEEDS_DATA",
    "NEEDS_LOSS",
    "NORMALISATIONS",
    "Apoz",
    "BatchNormScale",
    "ConnectionEnergy",
    "Context",
    "Criterion",
    "FScore",
    "Fisher",
    "GeometricMedian",
    "Gradient",
    "Loss",
    "MeanActivation",
    "Movement",
    "MultiTask",
    "Norm",
    "PerLayer",
    "Random",
    "RandomPaths",
    "Significance",
    "TScore",
    "Wanda",
    "significance",
    "threshold",
]

#: Criteria by the names that ``importance=`` takes.
NAMED: dict[str, Callable[[], Criterion]] = {
    "random": Random,
    "random_path": RandomPaths,
    "l1": lambda: Norm(p=1),
    "l2": lambda: Norm(p=2),
    "linf": lambda: Norm(p=float("inf")),
    "fpgm": GeometricMedian,
    "bn_scale": BatchNormScale,
    "wanda": Wanda,
    "apoz": Apoz,
    "mean_activation": MeanActivation,
    "connection_low": lambda: ConnectionEnergy(order="low"),
    "connection_high": lambda: ConnectionEnergy(order="high"),
    "fisher": Fisher,
    "movement": Movement,
    "t_test": TScore,
    "f_test": FScore,
    "multi_task": MultiTask,
}

#: Of those, the ones that need ``loss=`` and ``data=``, and the ones that need ``data=``.
NEEDS_LOSS = frozenset({"fisher", "movement", "t_test", "f_test", "multi_task"})
NEEDS_DATA = NEEDS_LOSS | {"wanda", "apoz", "mean_activation", "connection_low", "connection_high"}
