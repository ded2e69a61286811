"""Checkpoint files that tests take apart."""

from __future__ import annotations

from safetensors import safe_open
from safetensors.torch import load_file, save_file


def metadata_in(path):
    with safe_open(str(path), framework="pt") as file:
        return dict(file.metadata())


def rewrite(path, *, metadata=None, tensors=None, without=()):
    kept = {name: tensor for name, tensor in load_file(path).items() if name not in without}
    save_file({**kept, **(tensors or {})}, path, metadata={**metadata_in(path), **(metadata or {})})
