"""Structured pruning: channels, heads and layers go, and a smaller dense network is left.

``shrink`` to a joule budget, ``plan_structure`` to look first. Needs Torch-Pruning (extra ``structured``), which tells
what belongs together; see docs/structured.md.
"""

from __future__ import annotations

from .cascade import Cascade, cascade
from .channel_pruner import ChannelPruner
from .dead import Removed, remove_dead_units
from .hf_prices import TokenPrices
from .hf_shrink import ShrunkCheckpoint, shrink_checkpoint
from .make_plan import plan_structure
from .plan import ChoicePlan, NextStep, StructurePlan
from .reorder import Reordered, reorder
from .shrink import Shrunk, shrink
from .structure import Structure

__all__ = [
    "Cascade",
    "ChannelPruner",
    "ChoicePlan",
    "NextStep",
    "Removed",
    "Reordered",
    "Shrunk",
    "ShrunkCheckpoint",
    "Structure",
    "StructurePlan",
    "TokenPrices",
    "cascade",
    "plan_structure",
    "remove_dead_units",
    "reorder",
    "shrink",
    "shrink_checkpoint",
]
