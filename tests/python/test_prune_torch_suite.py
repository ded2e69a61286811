"""PyTorch's own tests of ``torch.nn.utils.prune``, run with ``jouleprune.prune`` in its place.

They are no part of this repository. ``JOULEPRUNE_PYTORCH_TESTS=<checkout of PyTorch>/test`` names them; they need the
package ``expecttest``.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

_RUN = """
import sys
import torch.nn.utils
import jouleprune.prune

torch.nn.utils.prune = sys.modules["torch.nn.utils.prune"] = jouleprune.prune  # for mock.patch by name too
import unittest

sys.path.insert(0, sys.argv[1])
import test_pruning

assert test_pruning.prune is jouleprune.prune
result = unittest.TextTestRunner().run(unittest.defaultTestLoader.loadTestsFromModule(test_pruning))
print("ran", result.testsRun, "skipped", len(result.skipped))
sys.exit(not result.wasSuccessful())
"""


@pytest.mark.slow
@pytest.mark.skipif("JOULEPRUNE_PYTORCH_TESTS" not in os.environ, reason="needs a checkout of PyTorch")
def test_pytorchs_own_tests_pass():
    folder = Path(os.environ["JOULEPRUNE_PYTORCH_TESTS"], "nn")
    assert (folder / "test_pruning.py").is_file(), folder
    run = subprocess.run([sys.executable, "-c", _RUN, str(folder)], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    ran = re.search(r"^ran (\d+) skipped 0$", run.stdout, re.MULTILINE)
    assert ran is not None and int(ran[1]) >= 34, run.stdout  # as many as torch 2.13 has
