"""Prune PyTorch networks to a joule budget, then really run them faster.

``estimate`` tells the joules of a forward pass on a device profile, ``plan`` and ``Pruner`` choose what to remove under
a budget, ``convert`` swaps dense layers for sparse ones where that wins, ``explain`` says why, ``save`` and ``load``
keep it.
"""

from . import (
    _library,  # loads the compiled ops; must come first
    criteria,
    energy,
    gpu_choice,
    nn,
    ops,
    prune,
)
from .adaptive import AdaptiveSchedule
from .admm import Admm
from .checkpoint import load, save
from .compare import Comparison, ComparisonRow, compare
from .convert import convert, explain
from .distil import distillation_loss
from .eap import EapResult, eap
from .errors import BudgetError, EmptyLayerWarning, MeterError, PatternError, ProfileError
from .estimate import estimate
from .evolve import Evolution, Individual, evolve
from .export_onnx import OnnxExport, export_onnx
from .metrics import Metrics, metrics
from .network_report import NetworkReport, report
from .plan import LayerPlan, Plan, plan
from .proximal import Proximal
from .pruner import Pruner, PruneReport
from .reconstruct import Reconstruction, reconstruct
from .regrow import Regrow
from .rewind import Rewind
from .rounds import FloorResult, Round, iterative, prune_to_floor
from .savings import Savings, assert_saves
from .schedule import Constant, CosineDecay, ExponentialDecay, LinearDecay, MultiStep, OneShot, PolynomialDecay
from .structured import (
    Cascade,
    ChannelPruner,
    Removed,
    Reordered,
    Shrunk,
    ShrunkCheckpoint,
    StructurePlan,
    TokenPrices,
    cascade,
    plan_structure,
    remove_dead_units,
    reorder,
    shrink,
    shrink_checkpoint,
)
from .sweep import Sweep, SweepPoint, sweep
from .to_dense import to_dense
from .utils import cmake_prefix_path, get_include, get_library

__version__: str = _library.version

__all__ = [
    "AdaptiveSchedule",
    "Admm",
    "BudgetError",
    "Cascade",
    "ChannelPruner",
    "Comparison",
    "ComparisonRow",
    "Constant",
    "CosineDecay",
    "EapResult",
    "EmptyLayerWarning",
    "Evolution",
    "ExponentialDecay",
    "FloorResult",
    "Individual",
    "LayerPlan",
    "LinearDecay",
    "MeterError",
    "Metrics",
    "MultiStep",
    "NetworkReport",
    "OneShot",
    "OnnxExport",
    "PatternError",
    "Plan",
    "PolynomialDecay",
    "ProfileError",
    "Proximal",
    "PruneReport",
    "Pruner",
    "Reconstruction",
    "Regrow",
    "Removed",
    "Reordered",
    "Rewind",
    "Round",
    "Savings",
    "Shrunk",
    "ShrunkCheckpoint",
    "StructurePlan",
    "Sweep",
    "SweepPoint",
    "TokenPrices",
    "__version__",
    "assert_saves",
    "cascade",
    "cmake_prefix_path",
    "compare",
    "convert",
    "criteria",
    "distillation_loss",
    "eap",
    "energy",
    "estimate",
    "evolve",
    "explain",
    "export_onnx",
    "get_include",
    "get_library",
    "gpu_choice",
    "iterative",
    "load",
    "metrics",
    "nn",
    "ops",
    "plan",
    "plan_structure",
    "prune",
    "prune_to_floor",
    "reconstruct",
    "remove_dead_units",
    "reorder",
    "report",
    "save",
    "shrink",
    "shrink_checkpoint",
    "sweep",
    "to_dense",
]
