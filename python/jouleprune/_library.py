"""Finds and loads libjouleprune.so, after checking that it was compiled against the torch that runs."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import torch

__all__ = ["build", "package_dir", "version"]

_REBUILD = "pip install --no-build-isolation --force-reinstall --no-deps <folder of the jouleprune sources>"


def _package_dir() -> Path:
    """Folder of the compiled module, which in an editable install is not found from this file's name alone."""
    spec = importlib.util.find_spec("jouleprune._C")
    if spec is None or spec.origin is None:
        raise ImportError(
            f"jouleprune: the compiled part is missing (no jouleprune._C beside {__file__}): build it with {_REBUILD}"
        )
    return Path(spec.origin).parent


def check_torch(build: dict[str, Any], torch_version: str, torch_cuda: str | None) -> None:
    """Raises ImportError when the library was compiled against another torch: loading it would fail with unknown
    symbols.

    Only major and minor count, and the CUDA major when our CUDA kernels are in.
    """
    built, running = build["torch_version"], torch_version.split("+")[0]
    if built.split(".")[:2] != running.split(".")[:2]:
        raise ImportError(
            f"jouleprune was compiled against torch {built}, but torch {running} runs: rebuild it: {_REBUILD}"
        )
    if build["with_cuda"] and (torch_cuda or "none").split(".")[0] != build["torch_cuda"].split(".")[0]:
        raise ImportError(
            f"jouleprune was compiled for CUDA {build['torch_cuda']}, "
            f"but torch is built for CUDA {torch_cuda or 'none'}: "
            f"rebuild it: {_REBUILD}"
        )


package_dir: Path = _package_dir()
#: What the library was compiled against; written by the build, so that it can be read before anything is loaded.
build: dict[str, Any] = json.loads((package_dir / "share" / "jouleprune-build.json").read_text())
check_torch(build, torch.__version__, torch.version.cuda)
torch.ops.load_library(str(package_dir / "lib" / "libjouleprune.so"))
version: str = build["version"]
