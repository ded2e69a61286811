"""The GPU benchmark without a GPU: what it would run, measure and write."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import jouleprune as jp

BENCHMARKS = Path(__file__).resolve().parents[2] / "examples" / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
import gpu_linear  # noqa: E402
import gpu_times  # noqa: E402


def setting(seconds: float) -> gpu_times.Setting:
    return gpu_times.Setting("cpu", 64, (1, 8), 1, time.monotonic() + seconds, 0.0)


@pytest.mark.filterwarnings("ignore")  # of torch's sparse prototypes
def test_rows_have_a_time_or_a_reason():
    rows = gpu_times.all_rows(setting(60))
    assert {r.layout for r in rows} == set(gpu_linear.LAYOUTS)
    assert all((r.seconds is None) == bool(r.note) for r in rows)
    ours = [r for r in rows if r.way == "ours"]
    assert len(ours) == 2 * sum(len(gpu_times.densities(layout)) for layout in gpu_linear.LAYOUTS)
    assert all(r.seconds is not None for r in ours)
    assert {"dense", "cuSPARSE", "torch sparse", "cuSPARSELt", "dense int8"} <= {r.way for r in rows}


def test_without_time_left_all_is_left_out():
    late = setting(-1)
    assert gpu_times.all_rows(late) == []
    assert late.left_out[0] == "csr 0.5 n 1: ours"
    text = gpu_times.page([], "a GPU", late.left_out)
    assert text.endswith(f"Left out for want of time: {len(late.left_out)}, the first: csr 0.5 n 1: ours.\n")


def test_page_compares_with_dense_and_divides_joules_by_tokens():
    rows = [
        gpu_times.Row("csr", 64, 0.5, 8, "ours", 1e-5, 4e-3),
        gpu_times.Row("csr", 64, 0.5, 8, "dense", 2e-5, 8e-3),
        gpu_times.Row("csr", 64, 0.5, 8, "cuSPARSE", None, None, "not there"),
    ]
    lines = gpu_times.page(rows, "a GPU", []).splitlines()
    assert "| csr | 0.5 | 8 | ours | 10.0 | 2.00 | 0.004 | 0.0005 |  |" in lines
    assert "| csr | 0.5 | 8 | cuSPARSE | - | - | - | - | not there |" in lines


class Window:
    def __init__(self, totals):
        self.result = type("Result", (), {"totals": totals})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


def test_joules_are_those_of_the_board_per_call():
    calls = []
    meters = type("Meters", (), {"window": lambda self: Window({"board": 30.0}), "why_none": ""})()
    joules, note = gpu_times.joules_per_call(lambda: calls.append(1), 0.5, meters, 5.0)
    assert (joules, note, len(calls)) == (3.0, "", 10)
    none = type("Meters", (), {"window": lambda self: Window({}), "why_none": "no NVML"})()
    assert gpu_times.joules_per_call(lambda: None, 1.0, none, 1.0) == (None, "no NVML")


def test_forced_variables_go_again(monkeypatch):
    monkeypatch.setenv("JOULEPRUNE_CUDA_CSR", "dense")
    monkeypatch.delenv("JOULEPRUNE_CUDA_BSR", raising=False)
    with pytest.raises(RuntimeError), gpu_times.forced(JOULEPRUNE_CUDA_CSR="tiles", JOULEPRUNE_CUDA_BSR="dense"):
        assert os.environ["JOULEPRUNE_CUDA_CSR"] == "tiles"
        raise RuntimeError
    assert os.environ["JOULEPRUNE_CUDA_CSR"] == "dense"
    assert "JOULEPRUNE_CUDA_BSR" not in os.environ


def test_tuning_fills_the_file(tmp_path):
    path = str(tmp_path / "tuning.json")
    gpu_times.tune(setting(60), jp.gpu_choice.GpuTimes(jp.gpu_choice.A100, path))
    assert len(jp.gpu_choice.GpuTimes(jp.gpu_choice.A100, path)) == 2 * 3 * len(jp.gpu_choice.KERNELS)
    assert list(json.loads(Path(path).read_text())["machines"]) == [jp.gpu_choice.A100.identity]


def test_checks_of_layers_and_packing_run(capsys):
    torch.manual_seed(0)
    gpu_linear.check(True, "cpu")
    gpu_linear.check_packing("cpu")
    assert capsys.readouterr().out.count("right\n") == len(gpu_linear.LAYOUTS)


def test_without_a_gpu_it_says_so_before_it_builds(tmp_path):
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "nvidia-smi").write_text("#!/bin/sh\nexit 0\n")
    (tools / "nvidia-smi").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", str(BENCHMARKS / "gpu.sh"), str(tmp_path / "out")], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr == "no CUDA device: nvidia-smi lists none\n"
