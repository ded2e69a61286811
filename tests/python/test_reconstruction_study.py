"""The benchmark of reconstruction compares equals: every method removes the same share of each layer, from one data."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "benchmarks"))

from reconstruction import METHODS, pruned, table, uniform_plan
from reconstruction_cases import Case, neighbours


def case() -> Case:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(96, 20), nn.ReLU(), nn.Linear(20, 5))
    data, held_out = [torch.randn(64, 2, 6, 6) for _ in range(3)], torch.randn(50, 2, 6, 6)
    with torch.no_grad():
        wanted = model(held_out).argmax(1)

    @torch.no_grad()
    def outputs(network: nn.Module) -> torch.Tensor:
        return network(held_out)

    return Case("t", "t", model.eval(), data, outputs, lambda found: float((found.argmax(1) == wanted).float().mean()))


@pytest.mark.parametrize("zeros", [0.5, 0.9])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_removes_the_same_share_of_each_layer(method, zeros):
    it = case()
    before = [parameter.clone() for parameter in it.model.parameters()]
    network = pruned(it, zeros, method)
    for place in (0, 3, 5):
        weight = network[place].weight
        assert int((weight == 0).sum()) == pytest.approx(zeros * weight.numel(), abs=1), place
    assert all(torch.equal(a, b) for a, b in zip(before, it.model.parameters(), strict=True))


def test_masks_alone_keep_weights_and_the_plan_is_at_its_floor():
    it = case()
    plan = uniform_plan(it.model, it.calibration, 0.7, "wanda")
    assert plan.energy_j == plan.minimum_j == plan.budget_j and plan.importance == "wanda"
    network = pruned(it, 0.7, "wanda")
    for place in (0, 3, 5):
        kept = network[place].weight != 0
        assert torch.equal(network[place].weight[kept], it.model[place].weight[kept])


def test_reconstruction_has_the_smaller_error():
    lines = table(case(), list(METHODS), [50, 80])
    cells = {line.split("|")[1].strip(): line.split("|")[2:4] for line in lines[2:]}
    errors = {method: [float(cell.split("/")[0]) for cell in row] for method, row in cells.items()}
    assert list(errors) == list(METHODS)
    for place in (0, 1):
        masks_alone = min(errors["magnitude"][place], errors["wanda"][place])
        assert max(errors[method][place] for method in ("wanda + refit", "sparsegpt", "alps")) < masks_alone


def test_neighbours_are_others_by_cosine():
    points = torch.cat([torch.eye(3), 5 * torch.eye(3) + 0.1, -torch.eye(3), torch.randn(5, 3) * 0.01 - 3])
    near = neighbours(points)
    assert near[0][0] == 3 and near[4][0] == 1 and all(i not in row for i, row in enumerate(near))
