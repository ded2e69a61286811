"""Drives the CMake build for pip; every build decision lives in CMakeLists.txt."""

import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent.resolve()


class CMakeBuild(build_ext):
    """Configures, builds and installs into the package folder: the wheel is the install prefix."""

    def build_extension(self, ext: Extension) -> None:
        torch = importlib.util.find_spec("torch")
        if torch is None or not torch.submodule_search_locations:
            sys.exit(
                "jouleprune must be compiled against the torch you use: pip install torch, "
                "then pip install --no-build-isolation ."
            )
        # pip's cmake and ninja live beside the interpreter, which need not be on PATH.
        os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)])
        for tool, package in (("cmake", "cmake"), ("ninja", "ninja-build")):
            if shutil.which(tool) is None:
                sys.exit(f"jouleprune is built by {tool}: apt-get install {package}, or pip install {tool}")
        # One folder per Python and torch, shared by wheel, editable install and C++ tests: nothing is compiled twice.
        build = ROOT / "build" / f"{sys.implementation.cache_tag}-torch-{version('torch')}"
        arguments = [
            "-G", "Ninja",
            "-DCMAKE_BUILD_TYPE=Release",
            "-DJOULEPRUNE_PYTHON=ON",
            f"-DCMAKE_INSTALL_PREFIX={self.package_folder()}",
            f"-DPython_EXECUTABLE={sys.executable}",
            f"-DJOULEPRUNE_TORCH_DIR={torch.submodule_search_locations[0]}",
            "-DCMAKE_UNITY_BUILD=ON",  # torch's headers are read once for eight files: a build in half the time
            "-DJOULEPRUNE_CUDA=AUTO",  # else an earlier choice would stick in CMake's cache
            *shlex.split(os.getenv("CMAKE_ARGS", "")),
        ]  # fmt: skip
        jobs = os.getenv("MAX_JOBS") or str(os.cpu_count() or 1)
        subprocess.run(["cmake", "-S", str(ROOT), "-B", str(build), *arguments], check=True)
        subprocess.run(["cmake", "--build", str(build), "-j", jobs, "--target", "jouleprune", "_C"], check=True)
        subprocess.run(["cmake", "--install", str(build), "--strip"], check=True)

    def package_folder(self) -> Path:
        """Where the build installs: the sources' own package folder when editable, else the wheel's."""
        if self.editable_mode:
            return ROOT / "python" / "jouleprune"
        return Path(self.build_lib, "jouleprune").resolve()

    def copy_extensions_to_source(self) -> None:
        """Nothing to copy: an editable build has installed there already."""


setup(ext_modules=[Extension("jouleprune._C", [])], cmdclass={"build_ext": CMakeBuild})
