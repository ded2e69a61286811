"""Checks a build against a CUDA wheel of torch, on a machine that need not have a GPU.

--with-nvcc: the installed package holds CUDA kernels, imports, and its CPU ops are right.
--without-nvcc: configures with nvcc hidden: CPU only with the reason in words, and JOULEPRUNE_CUDA=ON refuses with
the same reason; then builds that and imports it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SMOKE = """
import json, torch, jouleprune as jp
torch.manual_seed(0)
dense = torch.nn.Linear(37, 29)
with torch.no_grad():
    dense.weight.mul_(torch.rand_like(dense.weight) > 0.8)
sparse, x = jp.nn.SparseLinear.from_dense(dense), torch.randn(5, 37)
torch.testing.assert_close(sparse(x), dense(x))
sparse(x).sum().backward()
print(json.dumps(jp._C.build_info()))
"""


def smoke(python_path: str | None = None) -> dict[str, str]:
    """Imports jouleprune in a fresh interpreter, runs a CPU op forward and backward, returns its build info."""
    environment = {**os.environ, **({"PYTHONPATH": python_path} if python_path else {})}
    done = subprocess.run(
        [sys.executable, "-c", SMOKE], capture_output=True, text=True, env=environment, cwd=tempfile.gettempdir()
    )
    if done.returncode != 0:
        raise SystemExit(f"import or CPU op failed:\n{done.stderr}")
    info: dict[str, str] = json.loads(done.stdout.strip().splitlines()[-1])
    print(info)
    return info


def with_nvcc() -> None:
    info = smoke()
    if info["with_cuda"] != "ON":
        raise SystemExit(f"expected CUDA kernels in the build, got: {info['cuda_reason']}")


def without_nvcc() -> None:
    import importlib.util

    torch = importlib.util.find_spec("torch")
    assert torch is not None and torch.submodule_search_locations
    hidden = {name: value for name, value in os.environ.items() if name not in ("CUDACXX", "CUDA_HOME", "CUDA_PATH")}
    tools = ROOT / "build" / "tools-but-nvcc"  # a lasting place: the build folder remembers the tools' paths
    shutil.rmtree(tools, ignore_errors=True)
    tools.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as folder:
        for directory in os.environ["PATH"].split(os.pathsep):  # every tool but nvcc
            if Path(directory).is_dir():
                for tool in Path(directory).iterdir():
                    if tool.name != "nvcc" and not (tools / tool.name).exists():
                        (tools / tool.name).symlink_to(tool)
        hidden["PATH"] = str(tools)
        package = Path(folder, "site", "jouleprune")
        configure = [
            "cmake", "-G", "Ninja", "-S", str(ROOT), f"-DPython_EXECUTABLE={sys.executable}", "-DJOULEPRUNE_PYTHON=ON",
            f"-DJOULEPRUNE_TORCH_DIR={torch.submodule_search_locations[0]}", f"-DCMAKE_INSTALL_PREFIX={package}",
        ]  # fmt: skip
        refused = subprocess.run(
            [*configure, "-B", f"{folder}/on", "-DJOULEPRUNE_CUDA=ON"], capture_output=True, text=True, env=hidden
        )
        if refused.returncode == 0 or "nvcc was not found" not in " ".join(refused.stderr.split()):
            raise SystemExit(
                f"JOULEPRUNE_CUDA=ON without nvcc: expected a refusal that names nvcc, got:\n{refused.stderr}"
            )
        build = str(ROOT / "build" / "without-nvcc")
        automatic = subprocess.run([*configure, "-B", build], capture_output=True, text=True, env=hidden)
        if automatic.returncode != 0 or "nvcc was not found" not in " ".join(automatic.stdout.split()):
            raise SystemExit(
                f"without nvcc: expected a CPU build with the reason:\n{automatic.stdout}{automatic.stderr}"
            )
        subprocess.run(["cmake", "--build", build], check=True, env=hidden, stdout=subprocess.DEVNULL)
        subprocess.run(["cmake", "--install", build], check=True, env=hidden, stdout=subprocess.DEVNULL)
        compiled = shutil.ignore_patterns("lib", "include", "share", "_C*.so", "__pycache__")
        shutil.copytree(ROOT / "python" / "jouleprune", package, ignore=compiled, dirs_exist_ok=True)
        # The library looks for torch beside the package; here torch is elsewhere, and already loaded when we import.
        info = smoke(str(package.parent))
    if info["with_cuda"] != "OFF" or "nvcc was not found" not in info["cuda_reason"]:
        raise SystemExit(f"expected the reason in build_info, got {info}")


if __name__ == "__main__":
    {"--with-nvcc": with_nvcc, "--without-nvcc": without_nvcc}[sys.argv[1]]()
