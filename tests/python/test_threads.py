"""Threads: many callers of one module, two kernel threads that are two, results that do not depend on their number."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import nn

import jouleprune as jp


def converted() -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    dense = nn.Sequential(
        nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 36, 64), nn.Linear(64, 10)
    ).eval()
    with torch.no_grad():
        for parameter in dense.parameters():
            if parameter.dim() > 1:
                parameter.mul_(torch.rand_like(parameter) < 0.2)
    x = torch.randn(8, 3, 8, 8)
    return jp.convert(dense, x, force=True), x


def test_sixteen_threads_call_one_module():
    module, x = converted()
    inputs = [torch.randn_like(x) for _ in range(16)]
    with torch.no_grad():
        expected = [module(one) for one in inputs]

        def call(index: int) -> bool:
            with torch.inference_mode():
                return all(torch.equal(module(inputs[index]), expected[index]) for _ in range(20))

        fresh, _ = converted()  # first sight of its structure happens in many threads at once
        with ThreadPoolExecutor(16) as pool:
            assert all(pool.map(call, range(16)))
            first = list(pool.map(lambda one: fresh(one), inputs))
    assert all(torch.equal(a, b) for a, b in zip(first, expected, strict=True))


def test_results_do_not_depend_on_the_number_of_threads():
    module, x = converted()
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            module.zero_grad()
            y = module(x)
            y.square().sum().backward()
            results.append([y.detach(), *(parameter.grad.clone() for parameter in module.parameters())])
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


# Only our op runs after the count begins, so the threads that gained CPU time are its own.
_COUNT = """
import sys, torch, jouleprune as jp
from pathlib import Path
torch.set_num_threads(int(sys.argv[1]))
weight = torch.randn(1024, 1024) * (torch.rand(1024, 1024) < 0.3)
packed, x = jp.ops.pack_csr(weight), torch.randn(512, 1024)

def ticks():
    found = {}
    for task in Path("/proc/self/task").iterdir():
        fields = (task / "stat").read_text().rsplit(")", 1)[1].split()
        found[task.name] = int(fields[11]) + int(fields[12])
    return found

jp.ops.linear_csr(x, *packed, in_features=1024)
before = ticks()
for _ in range(150):
    jp.ops.linear_csr(x, *packed, in_features=1024)
print(sum(count - before.get(task, 0) >= 5 for task, count in ticks().items()))
"""


def test_two_threads_are_two():
    counted = {}
    for threads in (1, 2):
        done = subprocess.run([sys.executable, "-c", _COUNT, str(threads)], capture_output=True, text=True, check=True)
        counted[threads] = int(done.stdout)
    assert counted == {1: 1, 2: 2}
