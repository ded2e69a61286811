"""Drives the CMake build for pip; every build decision lives in CMakeLists.txt."""

import importlib.util
import os
import shlex
import subprocess
import sys
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
        package = ROOT / "python" / "jouleprune" if self.editable_mode else Path(self.build_lib, "jouleprune").resolve()
        arguments = [
            "-G", "Ninja",
            "-DCMAKE_BUILD_TYPE=Release",
            "-DJOULEPRUNE_PYTHON=ON",
            f"-DCMAKE_INSTALL_PREFIX={package}",
            f"-DPython_EXECUTABLE={sys.executable}",
            f"-DJOULEPRUNE_TORCH_DIR={torch.submodule_search_locations[0]}",
            *shlex.split(os.getenv("CMAKE_ARGS", "")),
        ]  # fmt: skip
        jobs = os.getenv("MAX_JOBS") or str(os.cpu_count() or 1)
        build = str(Path(self.build_temp).resolve())
        subprocess.run(["cmake", "-S", str(ROOT), "-B", build, *arguments], check=True)
        subprocess.run(["cmake", "--build", build, "-j", jobs], check=True)
        subprocess.run(["cmake", "--install", build, "--strip"], check=True)


setup(ext_modules=[Extension("jouleprune._C", [])], cmdclass={"build_ext": CMakeBuild})
