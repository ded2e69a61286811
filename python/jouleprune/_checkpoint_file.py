"""The file below ``jp.save`` and ``jp.load``: tensors and metadata, written and read as a whole."""

from __future__ import annotations

import json
import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

__all__ = ["MASK", "SCHEMA", "json_of", "path_of", "read_whole", "write_whole"]

SCHEMA = 1
#: Before the names of weights: their masks as bits.
MASK = "mask:"


def path_of(path: object, op: str) -> Path:
    """A path from what users pass."""
    if isinstance(path, str | os.PathLike):
        text = os.fspath(path)
        if isinstance(text, str) and "\0" not in text:
            return Path(text)
    raise ValueError(f"{op}: path: expected the path of a file, got {path!r}")


def write_whole(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    """Writes beside ``path`` and renames: a crash leaves the old file whole."""
    beside = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        beside.touch(exist_ok=False)
        permissions = stat.S_IMODE(beside.stat().st_mode)  # as the user's other files; safetensors makes it private
    except OSError as error:
        raise ValueError(f"save: path: cannot write into {path.parent}: {error}") from error
    try:
        save_file(tensors, beside, metadata=metadata)
        beside.chmod(permissions)
        os.replace(beside, path)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"save: path: cannot write {path}: {error}") from error
    finally:
        beside.unlink(missing_ok=True)


def read_whole(path: Path) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    """(metadata, tensors) of a jouleprune checkpoint."""
    if not path.is_file():
        raise ValueError(f"load: path: no such file: {path}")
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise ValueError(f"load: path: {path} is not a whole safetensors file: {error}") from error
    if metadata.get("format") != "jouleprune" or metadata.get("schema") != str(SCHEMA):
        raise ValueError(
            f"load: path: expected a jouleprune checkpoint of schema {SCHEMA}, got format {metadata.get('format')!r}, "
            f"schema {metadata.get('schema')!r} in {path}"
        )
    return metadata, tensors


def json_of(metadata: Mapping[str, str], key: str, missing: str, where: str) -> Any:
    """What the JSON in this field says; ``missing`` is its text in a file without the field."""
    try:
        return json.loads(metadata.get(key, missing))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where}: {error}") from error
