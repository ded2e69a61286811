"""The choice among kernels for GPUs, without a GPU."""

from __future__ import annotations

import pytest
import torch

from jouleprune import gpu_choice
from jouleprune.gpu_choice import A100, H100, GpuTimes, explain


def test_predictions_are_explained():
    text = explain(A100, 4096, 4096, 0.5, 1)
    assert text.splitlines()[-1].startswith("-> tiles: predicted to take ")
    for name in (*gpu_choice.KERNELS, "dense int8", "dense fp8"):
        assert any(line.startswith(name) for line in text.splitlines())
    assert "this GPU has no such product" in text
    assert explain(A100, 4096, 4096, 0.5, 4096, torch.bfloat16).endswith(
        "-> dense: no sparse kernel is predicted to be quicker"
    )


def test_times_decide_and_are_kept_by_gpu(tmp_path):
    path = str(tmp_path / "tuning.json")
    times = GpuTimes(A100, path)
    assert len(times) == 0
    assert f"no times of {A100.identity}" in explain(A100, 4096, 4096, 0.5, 16, times=times)
    for kernel, seconds in (("dense", 20e-6), ("tiles", 30e-6), ("cusparse", 5e-6)):
        times.put(4096, 4096, 0.5, 16, "float16", kernel, seconds)
    times.save()
    again = GpuTimes(A100, path)
    assert len(again) == 3
    assert again.hash == times.hash
    assert explain(A100, 4096, 4096, 0.5, 16, times=again).splitlines()[-1] == (
        "-> dense: no sparse kernel is measured to be quicker"
    )
    assert "-> cusparse: measured to take 5.0 us" in explain(A100, 4096, 4096, 0.5, 16, times=again, cusparse=True)
    assert len(GpuTimes(H100, path)) == 0
    assert GpuTimes(H100, path).hash != again.hash


def test_damaged_files_and_bad_numbers_are_refused(tmp_path):
    path = tmp_path / "tuning.json"
    path.write_text("{")
    with pytest.raises(ValueError, match=r"tuning file '.*tuning\.json'"):
        GpuTimes(A100, str(path))
    times = GpuTimes(A100, str(tmp_path / "none.json"))
    with pytest.raises(ValueError, match=r"kernel: expected one of dense, .*, got 'fastest'"):
        times.put(8, 8, 0.5, 1, "float16", "fastest", 1e-6)
    with pytest.raises(ValueError, match="seconds: expected a finite number above 0"):
        times.put(8, 8, 0.5, 1, "float16", "dense", 0.0)
    with pytest.raises(ValueError, match=r"density: expected a share in \[0, 1\], got 2"):
        explain(A100, 8, 8, 2, 1)
    with pytest.raises(ValueError, match=r"rows: expected a whole number of at least 1 .*, got 0"):
        explain(A100, 0, 8, 0.5, 1)
    with pytest.raises(ValueError, match="dtype: expected float16, bfloat16, float32 or float64, got 'int8'"):
        explain(A100, 8, 8, 0.5, 1, "int8")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"gpu": "A100"}, "gpu: expected a Gpu, .*, got 'A100'"),
        ({"rows": True}, "rows: expected a whole number of at least 1 .*, got True"),
        ({"cols": 8.0}, "cols: expected a whole number"),
        ({"n": 2**70}, "n: expected a whole number"),
        ({"density": True}, "density: expected a share"),
        ({"density": float("nan")}, "density: expected a share"),
        ({"density": "0.5"}, "density: expected a share"),
        ({"dtype": None}, "dtype: expected a torch.dtype or its name, got None"),
        ({"times": {}}, "times: expected GpuTimes or None, got {}"),
        ({"cusparse": "yes"}, "cusparse: expected True or False, got 'yes'"),
    ],
)
def test_arguments_of_other_types_are_named(changes, told):
    with pytest.raises(ValueError, match=f"^{told}"):
        explain(**{"gpu": A100, "rows": 8, "cols": 8, "density": 0.5, "n": 1, **changes})


def test_without_a_gpu_the_device_is_not_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RuntimeError, match="no CUDA device"):
        gpu_choice.Gpu.of_device()
