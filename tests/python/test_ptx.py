"""Simple CUDA kernels as nvcc translates them, run by an interpreter of PTX, against the ops of the CPU."""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import jouleprune as jp

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))
from ptx_interpreter import Kernel, Memory, PtxError, kernels_of, launch  # noqa: E402

SCALE = """
.visible .entry scale(
	.param .u64 scale_param_0
)
{
	ld.param.u64 %rd1, [scale_param_0];
	mov.u32 %r1, %tid.x;
	mul.wide.u32 %rd2, %r1, 4;
	add.s64 %rd3, %rd1, %rd2;
	ld.global.s32 %r2, [%rd3];
	setp.lt.s32 %p1, %r2, 0;
	@%p1 bra $NEGATIVE;
	shl.b32 %r2, %r2, 1;
$NEGATIVE:
	vote.sync.ballot.b32 %r3, %p1, -1;
	add.s32 %r2, %r2, %r3;
	st.global.u32 [%rd3], %r2;
	ret;
}
"""


def test_branches_and_ballots():
    numbers = np.arange(-16, 16, dtype=np.int32)
    memory = Memory()
    at = memory.add(numbers.tobytes())
    launch(kernels_of(SCALE)["scale"], 1, 32, struct.pack("<Q", at), memory)
    doubled = np.where(numbers < 0, numbers, 2 * numbers) + np.int32(0xFFFF)
    assert np.array_equal(np.frombuffer(memory.content(at), np.int32), doubled)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("mul.wide.u32 %rd2, %r1, 4;", ("mul.wide.u32 %rd2, %r1, 5;", "not aligned to 4")),
        ("mov.u32 %r1, %tid.x;", ("add.s32 %r1, %r9, 1;", "register %r9 was never written")),
        ("shl.b32 %r2, %r2, 1;", ("sin.approx.f32 %r2, %r2;", "instruction not known here: sin")),
        ("shl.b32 %r2, %r2, 1;", ("ret;", "lanes of warp 0 do not meet")),
        ("add.s64 %rd3, %rd1, %rd2;", ("add.s64 %rd3, %rd1, 4096;", "outside of every array")),
    ],
)
def test_mistakes_are_found(wrong, message):
    replacement, text = message
    memory = Memory()
    at = memory.add(np.arange(-16, 16, dtype=np.int32).tobytes())
    kernel = kernels_of(SCALE.replace(wrong, replacement))["scale"]
    with pytest.raises(PtxError, match=text):
        launch(kernel, 1, 32, struct.pack("<Q", at), memory)


def compiled(source: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Kernel]:
    if shutil.which("nvcc") is None:
        pytest.skip("nvcc is not installed")
    target = tmp_path_factory.mktemp("ptx") / "kernels.ptx"
    command = ["nvcc", "-std=c++20", "-arch=compute_80", "-ptx", "-I", "cuda", "-o", str(target), source]
    subprocess.run(command, check=True, cwd=ROOT)
    return kernels_of(target.read_text())


@pytest.fixture(scope="module")
def packing(tmp_path_factory):
    return compiled("cuda/pack/pack_device.cu", tmp_path_factory)


@pytest.fixture(scope="module")
def masking(tmp_path_factory):
    return compiled("cuda/masks/units_device.cu", tmp_path_factory)


def named(kernels: dict[str, Kernel], name: str) -> Kernel:
    (found,) = (kernel for mangled, kernel in kernels.items() if name in mangled)
    return found


def on(memory: Memory, tensor: torch.Tensor) -> int:
    return memory.add(tensor.contiguous().numpy().tobytes())


def read(memory: Memory, at: int, like: torch.Tensor) -> torch.Tensor:
    return torch.frombuffer(bytearray(memory.content(at)), dtype=like.dtype).view(like.shape)


def blocks(count: int, threads: int) -> int:
    return -(-count // threads)


def test_pack_csr(packing):
    rows, cols = 19, 70
    weight, mask = torch.randn(rows, cols), torch.rand(rows, cols) < 0.3
    values, columns, offsets, _ = jp.ops.pack_csr(weight, mask)
    memory = Memory()
    kept, dense = on(memory, mask), on(memory, weight)
    counts, to_offsets, total = (memory.add(bytes(size)) for size in (4 * rows, 4 * (rows + 1), 8))
    parameters = struct.pack("<QqqQQQ", kept, rows, cols, counts, to_offsets, total)
    launch(named(packing, "9CountRowsE"), blocks(rows, 8), 256, parameters, memory)
    launch(named(packing, "9AddUpRowsE"), 1, 256, parameters, memory, shared=2048)
    assert torch.equal(read(memory, to_offsets, offsets), offsets)
    assert struct.unpack("<q", memory.content(total)) == (values.numel(),)
    to_columns, to_values = memory.add(bytes(4 * values.numel())), memory.add(bytes(4 * values.numel()))
    parameters = struct.pack("<QQQqqqQQ", kept, dense, to_offsets, rows, cols, values.numel(), to_columns, to_values)
    launch(named(packing, "12WriteEntriesIjE"), blocks(rows, 8), 256, parameters, memory)
    assert torch.equal(read(memory, to_columns, columns), columns)
    assert torch.equal(read(memory, to_values, values), values)


@pytest.mark.parametrize(("n", "m"), [(2, 4), (3, 7)])
def test_pack_nm(packing, n, m):
    rows, cols = 9, 33
    weight = torch.randn(rows, cols)
    mask = (torch.rand(rows, cols) < 0.7) & (torch.arange(cols) % m < n)
    values, indices, _ = jp.ops.pack_nm(weight, mask, n=n, m=m)
    groups = -(-cols // m)
    memory = Memory()
    to_indices, to_values, over = (
        memory.add(bytes(size)) for size in (indices.numel(), 4 * values.numel(), rows * groups)
    )
    parameters = struct.pack(
        "<QQqqqqQQQ", on(memory, mask), on(memory, weight), rows, cols, n, m, to_indices, to_values, over
    )
    launch(named(packing, "13ChooseEntriesIjE"), blocks(rows * groups, 256), 256, parameters, memory)
    assert torch.equal(read(memory, to_indices, indices), indices)
    assert torch.equal(read(memory, to_values, values), values)
    assert memory.content(over) == bytes(rows * groups)


def test_spread_units(masking):
    rows, cols, r, c = 20, 17, 16, 3
    units, left = torch.rand(2, 6) < 0.5, torch.rand(rows, cols) < 0.8
    expected = jp.ops.spread_units(units, (rows, cols), block_size=(r, c), left=left)
    memory = Memory()
    mask = memory.add(bytes(rows * cols))
    parameters = struct.pack("<qqqqQQQ", rows, cols, r, c, on(memory, left), on(memory, units), mask)
    launch(named(masking, "11SpreadUnitsE"), blocks(rows * cols, 256), 256, parameters, memory)
    assert torch.equal(read(memory, mask, expected), expected)


def test_n_of_m(masking):
    outer, length, inner, n, m = 3, 10, 2, 2, 4
    scores = (torch.randn(outer, length, inner) * 2).round()  # ties
    left = torch.rand(scores.shape) < 0.8
    expected = jp.ops.mask_n_of_m(scores, n, m, dim=1, left=left)
    memory = Memory()
    kept = memory.add(bytes(scores.numel()))
    parameters = struct.pack("<QQqqqqqQ", on(memory, scores), on(memory, left), outer, length, inner, n, m, kept)
    launch(named(masking, "8KeepNOfMIfE"), blocks(scores.numel(), 256), 256, parameters, memory)
    assert torch.equal(read(memory, kept, expected), expected)
