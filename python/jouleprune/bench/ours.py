"""jouleprune's own candidates: the modules as a user gets them, whatever kernels they run."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..clock import seconds
from ..convert import convert
from ..nn import SparseConv2d, SparseConv2dInt8, SparseLinear
from ..ops import unpack_csr
from .candidate import Candidate, Unavailable
from .problem import Problem
from .suites import Case, LinearShape

__all__ = ["ALWAYS_SPARSE", "NAME", "choice", "ours", "why_not_offered"]

NAME = "jouleprune"
#: Beside what convert chose: the sparse module in any case.
ALWAYS_SPARSE = "jouleprune csr"


def ours(problem: Problem) -> Candidate:
    """The sparse module of the case's layout and dtype."""
    case = problem.case
    if case.step != "forward":
        return _gradient(problem)
    x = problem.x.bfloat16() if case.dtype == "bfloat16" else problem.x
    # A value and at least a byte of index: too low an estimate only makes more copies.
    size = problem.nnz * ({"float32": 4, "bfloat16": 2, "int8": 1}[case.dtype] + 1)
    calls = []
    for layer in problem.layers(size):
        module = _module(layer, case.layout, case.dtype)
        if isinstance(module, SparseConv2dInt8):  # as calibrated: its rival, torch's, has a fixed scale, too
            module.fix_input_scale(float(x.abs().max()) / 127)
        calls.append(lambda module=module: module(x))
    return Candidate(NAME, calls, case.dtype, problem.kept_work, dense=Tensor.float)


def choice(problem: Problem) -> list[tuple[str, Callable[[Problem], Candidate]]]:
    """What ``convert`` makes of the layer, and what it had to choose from, all as a network of one layer."""
    return [
        (NAME, lambda problem: _network(NAME, problem, _chosen(problem))),
        (ALWAYS_SPARSE, lambda problem: _network(ALWAYS_SPARSE, problem, _module(problem.layer, "csr", "float32"))),
        (problem.case.baseline, lambda problem: _network(problem.case.baseline, problem, problem.layer)),
    ]


def _chosen(problem: Problem) -> nn.Module:
    """Measuring afresh: a timer of one's own neither reads nor writes the file of times."""
    return convert(nn.Sequential(problem.layer).eval(), problem.x, timer=seconds).get_submodule("0")


def _network(name: str, problem: Problem, layer: nn.Module) -> Candidate:
    network, dense = nn.Sequential(layer), layer is problem.layer or not isinstance(layer, SparseLinear | SparseConv2d)
    work = problem.dense_work if dense else problem.kept_work
    note = ("dense" if dense else "csr") if name == NAME else ""
    return Candidate(name, [lambda: network(problem.x)], "float32", work, note=note)


def why_not_offered(case: Case) -> str:
    """Empty, or why jouleprune.nn has no module for the case: found by asking it for a small one."""
    if isinstance(case.shape, str):
        return ""
    return _why_not_offered(isinstance(case.shape, LinearShape), case.layout, case.dtype)


@functools.cache
def _why_not_offered(linear: bool, layout: str, dtype: str) -> str:
    tiny = nn.Linear(64, 64) if linear else nn.Conv2d(64, 64, 1)
    try:
        _module(tiny, layout, dtype)
    except Unavailable as error:
        return str(error)
    except (TypeError, ValueError, NotImplementedError) as error:
        return f"jouleprune.nn offers no layout {layout} in {dtype}: {error}"
    return ""


def _module(layer: nn.Linear | nn.Conv2d, layout: str, dtype: str) -> nn.Module:
    kind: Any = SparseLinear if isinstance(layer, nn.Linear) else SparseConv2d
    options: dict[str, Any] = {} if layout == "csr" else {"layout": layout}  # else what from_dense does by itself
    if dtype == "int8":
        if "dtype" not in inspect.signature(kind.from_dense).parameters:
            raise Unavailable(f"jouleprune.nn.{kind.__name__} has no int8")
        options["dtype"] = "int8"
    elif dtype == "bfloat16":
        layer = copy.deepcopy(layer).bfloat16()
    module: nn.Module = kind.from_dense(layer, **options)
    return module.eval()


def _gradient(problem: Problem) -> Candidate:
    assert isinstance(problem.layer, nn.Linear)
    module: Any = _module(problem.layer, problem.case.layout, problem.case.dtype)
    x = problem.x.clone()
    wanted = (module.values if problem.case.step == "dW" else x).requires_grad_()
    with torch.enable_grad():
        output = module(x)

    def dense(gradient: Tensor) -> Tensor:
        if problem.case.step == "dX":
            return gradient
        return unpack_csr(gradient, module.col_indices, module.row_offsets, problem.layer.weight.shape[1])

    return Candidate(
        NAME,
        [lambda: torch.autograd.grad(output, wanted, problem.grad, retain_graph=True)[0]],
        "float32",
        problem.kept_work,
        dense=dense,
    )
