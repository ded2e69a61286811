"""The package as installed: one version, cheap import, the right torch, one OpenMP runtime."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import jouleprune as jp
from jouleprune._library import build, check_torch, package_dir

ROOT = Path(__file__).resolve().parents[2]


def test_one_version():
    cmake = re.search(r"project\(jouleprune VERSION ([\d.]+)", (ROOT / "CMakeLists.txt").read_text())
    pyproject = re.search(r'^version = "([\d.]+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert cmake and pyproject
    assert cmake[1] == pyproject[1] == jp.__version__ == jp._C.version() == build["version"]


def test_another_torch_is_refused_with_the_remedy():
    ours = torch.__version__.split("+")[0]
    check_torch(build, torch.__version__, torch.version.cuda)
    check_torch(
        {**build, "torch_version": ".".join([*ours.split(".")[:2], "99"])}, torch.__version__, torch.version.cuda
    )
    with pytest.raises(ImportError, match=rf"torch 2\.3\.1, but torch {re.escape(ours)} runs.*pip install"):
        check_torch({**build, "torch_version": "2.3.1"}, torch.__version__, torch.version.cuda)
    with pytest.raises(ImportError, match=r"CUDA 12\.6.*CUDA none.*pip install"):
        check_torch({**build, "with_cuda": True, "torch_cuda": "12.6"}, torch.__version__, None)


def test_import_is_light():
    """Nothing heavy comes along: tables, checkpoints' readers and compilers are loaded when they are used."""
    heavy = ("rich", "matplotlib", "torch._inductor", "torch._dynamo", "pandas", "sklearn", "torch_pruning")
    code = (
        "import sys, torch; before = set(sys.modules); import jouleprune; new = set(sys.modules) - before;"
        f"print([name for name in {heavy!r} if name in new])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_paths_of_the_install():
    assert (Path(jp.cmake_prefix_path) / "jouleprune" / "jouleprune-config.cmake").is_file()
    assert (Path(jp.get_include()) / "jouleprune" / "jouleprune.h").is_file()
    assert Path(jp.get_library()).is_file() and Path(jp.get_library()).parent.parent == package_dir


def test_one_openmp_runtime_is_mapped():
    """Ours would be a second one, with threads of its own."""
    layer = jp.nn.SparseLinear.from_dense(torch.nn.Linear(64, 64))
    layer(torch.randn(256, 64))
    mapped = {
        line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if "omp" in line.split()[-1]
    }
    others = "sklearn|scikit_learn"  # brings its own
    runtimes = {path for path in mapped if re.search(r"lib[gi]?omp[^/]*\.so", path) and not re.search(others, path)}
    assert len(runtimes) == 1, runtimes


def test_the_library_names_no_build_folder():
    """A wheel must not remember where it was built."""
    for file in (Path(jp.cmake_prefix_path) / "jouleprune").glob("*.cmake"):
        assert str(ROOT) not in file.read_text(), file
