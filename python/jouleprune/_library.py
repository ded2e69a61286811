"""Finds and loads libjouleprune.so, after checking that it was compiled against the torch that runs."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import torch

__all__ = ["build", "package_dir", "version"]

_REBUILD = "pip install --no-build-isolation --force-reinstall --no-deps <folder of the jouleprune sources>"


def find_package_dir() -> Path:
    """Folder of the compiled module: every path of the install is derived from it, in an editable install too."""
    spec = importlib.util.find_spec("jouleprune._C")
    if spec is None or spec.origin is None:
        here = Path(__file__).parent
        others = ", ".join(sorted(path.name for path in here.glob("_C.*.so"))) or "none"
        raise ImportError(
            f"jouleprune: the compiled part is missing: no jouleprune._C for this Python beside {__file__} "
            f"(found: {others}): build it: {_REBUILD}"
        )
    return Path(spec.origin).parent


def read_build(folder: Path) -> dict[str, Any]:
    """What the library in ``folder`` was compiled against: a text file, read before anything is loaded."""
    path = folder / "share" / "jouleprune-build.json"
    try:
        build: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ImportError(
            f"jouleprune: the installation is incomplete ({path}: {error}): rebuild it: {_REBUILD}"
        ) from error
    return build


def check_torch(build: dict[str, Any], torch_version: str, torch_cuda: str | None) -> None:
    """Raises ImportError when the library was compiled against another torch: its symbols would not resolve.

    Only major and minor count, and the CUDA major when our CUDA kernels are in.
    """
    built, running = build["torch_version"], torch_version.split("+")[0]
    if built.split(".")[:2] != running.split(".")[:2]:
        raise ImportError(
            f"jouleprune was compiled against torch {built}, but torch {running} runs: rebuild it: {_REBUILD}"
        )
    if build["with_cuda"] and (torch_cuda or "none").split(".")[0] != build["torch_cuda"].split(".")[0]:
        raise ImportError(
            f"jouleprune was compiled for CUDA {build['torch_cuda']}, but torch is built for CUDA "
            f"{torch_cuda or 'none'}: rebuild it: {_REBUILD}"
        )


def load(path: Path) -> None:
    """Loads the library, which registers the ops."""
    if not path.is_file():
        raise ImportError(f"jouleprune: the library is missing: {path}: rebuild it: {_REBUILD}")
    try:
        torch.ops.load_library(str(path))
    except OSError as error:
        raise ImportError(f"jouleprune: the library could not be loaded: {error}: rebuild it: {_REBUILD}") from error


package_dir: Path = find_package_dir()
build: dict[str, Any] = read_build(package_dir)
check_torch(build, torch.__version__, torch.version.cuda)
load(package_dir / "lib" / "libjouleprune.so")
version: str = build["version"]
