"""Marginals and break-even densities of recorded networks."""

from __future__ import annotations

import json

import pytest
import torch
from networks import mlp

import jouleprune as jp
from jouleprune.record import record


def workload() -> str:
    model, inputs = mlp()
    return record(model, inputs)


def test_marginals_are_differences():
    text = workload()
    profile = jp.energy.load_profile("systolic-12x14")
    before = jp.energy.price_workload(text, profile)
    first = jp.energy.marginals(text, profile)[0]
    fewer = json.loads(text)
    entry = next(entry for entry in fewer["entries"] if entry["name"] == first.name)
    assert first.units == entry["nnz"]
    entry["nnz"] -= 1
    after = jp.energy.price_workload(json.dumps(fewer), profile)
    saved = (before.layers[0].energy_j - after.layers[0].energy_j) * before.count
    assert saved == pytest.approx(first.exact_j, rel=1e-6)
    assert first.exact_j > 0 and first.step_j >= first.step * first.relaxed_j * (1 - 1e-9)


@pytest.mark.parametrize("unit", ["weight", "output", "input"])
def test_units(unit):
    rows = jp.energy.marginals(workload(), jp.energy.load_profile("generic-cpu"), unit)
    assert len(rows) == sum(isinstance(layer, torch.nn.Linear) for layer in mlp()[0].modules())
    # A masked weight of a dense layer saves nothing on a CPU.
    assert all((row.exact_j == 0) == (unit == "weight") for row in rows)


def test_an_unknown_unit():
    with pytest.raises(ValueError, match="unit: expected one of weight, output, input, got 'channel'"):
        jp.energy.marginals(workload(), jp.energy.load_profile("generic-cpu"), "channel")


def test_break_evens():
    rows = jp.energy.break_evens(workload(), jp.energy.load_profile("generic-cpu"))
    csr = [row for row in rows if row.kernel == "csr"]
    assert csr and all(row.density is not None and 0.5 < row.density < 1 for row in csr)
    assert jp.energy.break_evens(workload(), jp.energy.load_profile("eyeriss-65nm")) == ()
