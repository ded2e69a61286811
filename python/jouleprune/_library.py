"""Finds and loads libjouleprune.so."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch

_spec = importlib.util.find_spec("jouleprune._C")
if _spec is None or _spec.origin is None:
    raise ImportError("jouleprune: the compiled module jouleprune._C is missing")
package_dir: Path = Path(_spec.origin).parent
torch.ops.load_library(str(package_dir / "lib" / "libjouleprune.so"))
version: str = "0.1.0"
