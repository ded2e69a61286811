"""Prune PyTorch networks to a joule budget, then really run them faster.

``estimate`` tells the joules of a forward pass on a device profile, ``plan`` and ``Pruner`` choose what to remove under
a budget, ``convert`` swaps dense layers for sparse ones where that wins, ``explain`` says why, ``save`` and ``load``
keep it.
"""

from . import (
    _library,  # loads the compiled ops; must come first
    energy,
    nn,
    ops,
    prune,
)
from .checkpoint import load, save
from .compare import Comparison, ComparisonRow, compare
from .convert import convert, explain
from .errors import BudgetError, MeterError, PatternError, ProfileError
from .estimate import estimate
from .metrics import Metrics, metrics
from .network_report import NetworkReport, report
from .plan import LayerPlan, Plan, plan
from .pruner import Pruner, PruneReport
from .savings import Savings, assert_saves
from .schedule import Constant, PolynomialDecay
from .sweep import Sweep, SweepPoint, sweep
from .utils import cmake_prefix_path, get_include, get_library

__version__: str = _library.version

__all__ = [
    "BudgetError",
    "Comparison",
    "ComparisonRow",
    "Constant",
    "LayerPlan",
    "MeterError",
    "Metrics",
    "NetworkReport",
    "PatternError",
    "Plan",
    "PolynomialDecay",
    "ProfileError",
    "PruneReport",
    "Pruner",
    "Savings",
    "Sweep",
    "SweepPoint",
    "__version__",
    "assert_saves",
    "cmake_prefix_path",
    "compare",
    "convert",
    "energy",
    "estimate",
    "explain",
    "get_include",
    "get_library",
    "load",
    "metrics",
    "nn",
    "ops",
    "plan",
    "prune",
    "report",
    "save",
    "sweep",
]
