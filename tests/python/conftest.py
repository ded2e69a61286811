"""No test reads or writes the user's file of measured times, and none sees what tests of other files measured."""

from __future__ import annotations

import os

import pytest


def pytest_configure(config):
    """JOULEPRUNE_EMULATED_LIBRARY: tests/emulated's library, whose ops run the CUDA kernels' bodies in the emulator."""
    if library := os.environ.get("JOULEPRUNE_EMULATED_LIBRARY"):
        import torch

        import jouleprune  # noqa: F401  # registers the ops that the library replaces

        torch.ops.load_library(library)


@pytest.fixture(scope="module", autouse=True)
def tuning_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("tuning") / "tuning.json"
    before = os.environ.get("JOULEPRUNE_TUNE")
    os.environ["JOULEPRUNE_TUNE"] = str(path)
    yield path
    if before is None:
        del os.environ["JOULEPRUNE_TUNE"]
    else:
        os.environ["JOULEPRUNE_TUNE"] = before
