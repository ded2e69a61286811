"""Prune PyTorch networks to a joule budget, then really run them faster.

``estimate`` tells the joules of a forward pass on a device profile, ``plan`` and ``Pruner`` choose what to remove under
a budget, ``convert`` swaps dense layers for sparse ones where that wins, ``explain`` says why, ``save`` and ``load``
keep it.
"""

from . import (
    _library,  # loads the compiled ops; must come first
    criteria,
    energy,
    nn,
    ops,
    prune,
)
from .checkpoint import load, save
from .convert import convert, explain
from .errors import BudgetError, MeterError, PatternError, ProfileError
from .estimate import estimate
from .plan import LayerPlan, Plan, plan
from .pruner import Pruner, PruneReport
from .reconstruct import Reconstruction, reconstruct
from .schedule import Constant, PolynomialDecay
from .sweep import SweepPoint, sweep
from .utils import cmake_prefix_path, get_include, get_library

__version__: str = _library.version

__all__ = [
    "BudgetError",
    "Constant",
    "LayerPlan",
    "MeterError",
    "PatternError",
    "Plan",
    "PolynomialDecay",
    "ProfileError",
    "PruneReport",
    "Pruner",
    "Reconstruction",
    "SweepPoint",
    "__version__",
    "cmake_prefix_path",
    "convert",
    "criteria",
    "energy",
    "estimate",
    "explain",
    "get_include",
    "get_library",
    "load",
    "nn",
    "ops",
    "plan",
    "prune",
    "reconstruct",
    "save",
    "sweep",
]
