"""The proximal step: its definition, joules in it, and training that leaves exact zeros."""

from __future__ import annotations

import pytest
import torch
from networks import lenet, mlp
from torch import nn

import jouleprune as jp

EYERISS = "eyeriss-65nm"


def test_single_weights_are_soft_thresholded():
    weight = torch.tensor([[1.0, -0.2, 0.0], [-3.0, 0.5, 0.4]])
    jp.ops.shrink_units_(weight, torch.full((2, 3), 0.5))
    torch.testing.assert_close(weight, torch.tensor([[0.5, 0.0, 0.0], [-2.5, 0.0, 0.0]]))


@pytest.mark.parametrize("shape", [(7, 10), (5, 2, 3, 2), (0, 4)])
def test_units_minimise_their_problem(shape):
    """Against |v - u|^2 / 2 + amount |v|: v = u max(0, 1 - amount / |u|), block by block, also at the edges."""
    torch.manual_seed(1)
    weight = torch.randn(shape, dtype=torch.float64)
    matrix = weight.flatten(1)
    down, across = -(-shape[0] // 3), -(-matrix.shape[1] // 4)
    amounts = torch.rand(down, across, dtype=torch.float64) * 4
    expected = matrix.clone()
    for i in range(down):
        for j in range(across):
            unit = matrix[3 * i : 3 * i + 3, 4 * j : 4 * j + 4]
            factor = max(0.0, 1 - float(amounts[i, j]) / float(unit.norm()))
            expected[3 * i : 3 * i + 3, 4 * j : 4 * j + 4] = unit * factor
    changed = weight.clone()
    jp.ops.shrink_units_(changed, amounts, block_size=(3, 4))
    torch.testing.assert_close(changed.flatten(1), expected)
    if changed.numel():
        assert (changed == 0).any() and (changed != 0).any()


def test_the_penalty_is_scaled_by_joules():
    model, x = lenet()
    proximal = jp.Proximal(model, x, profile=EYERISS, strength=0.1)
    plan = jp.plan(model, x, energy="100%", profile=EYERISS)
    per_weight = {layer.weight: layer.dense_j / model.get_parameter(layer.weight).numel() for layer in plan.layers}
    names = list(per_weight)
    for name in names:
        ratio = proximal.scales[name] / proximal.scales[names[0]]
        assert ratio == pytest.approx(per_weight[name] / per_weight[names[0]], rel=1e-12)
    mean = sum(proximal.scales[name] * model.get_parameter(name).numel() for name in names)
    assert mean == pytest.approx(sum(model.get_parameter(name).numel() for name in names), rel=1e-9)
    assert proximal.scales["0.weight"] > 10 * proximal.scales["9.weight"]  # a convolution's weights work at each pixel
    before = {name: model.get_parameter(name).detach().clone() for name in names}
    proximal.step(0.01)
    for name in names:
        amount = 0.01 * 0.1 * proximal.scales[name]
        expected = before[name].sign() * (before[name].abs() - amount).clamp_min(0)
        torch.testing.assert_close(model.get_parameter(name).detach(), expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("pattern", ["unstructured", "4x1", "1x8"])
def test_training_reaches_the_lasso_solution(pattern):
    """Proximal gradient descent on least squares stops where the optimality conditions of the (group) lasso hold."""
    torch.manual_seed(2)
    model = nn.Sequential(nn.Linear(16, 8, bias=False)).double()
    x, wanted = torch.randn(200, 16).double(), torch.randn(8, 16).double() * (torch.rand(8, 16) < 0.3)
    y = x @ wanted.t()
    proximal = jp.Proximal(model, x[:1], profile=EYERISS, strength=0.15, pattern=pattern)
    weight, lr = model[0].weight, 0.1
    for _ in range(1500):
        loss = (model(x) - y).square().sum() / 200
        (grad,) = torch.autograd.grad(loss, weight)
        with torch.no_grad():
            weight -= lr * grad
        proximal.step(lr)
    (grad,) = torch.autograd.grad((model(x) - y).square().sum() / 200, weight)
    r, c = {"unstructured": (1, 1), "4x1": (4, 1), "1x8": (1, 8)}[pattern]
    zeros = 0
    for i in range(0, 8, r):
        for j in range(0, 16, c):
            u, g = weight[i : i + r, j : j + c].detach(), grad[i : i + r, j : j + c]
            bound = 0.15 * (r * c) ** 0.5
            if torch.all(u == 0):
                zeros += 1
                assert float(g.norm()) <= bound * (1 + 1e-6)
            else:
                torch.testing.assert_close(g, -bound * u / u.norm(), rtol=1e-4, atol=1e-6)
    assert zeros > 0


@pytest.mark.parametrize(
    ("match", "options"),
    [
        ("strength: expected a finite number", {"strength": -1.0}),
        ("pattern: expected 'unstructured' or blocks", {"pattern": "2:4"}),
        ("pattern", {"pattern": "0x4"}),
        ("ignored_layers", {"ignored_layers": ["nowhere"]}),
    ],
)
def test_bad_inputs(match, options):
    model, x = mlp()
    with pytest.raises(ValueError, match=match):
        jp.Proximal(model, x, **{"profile": EYERISS, "strength": 0.1, **options})
    with pytest.raises(ValueError, match="lr: expected a finite number"):
        jp.Proximal(model, x, profile=EYERISS, strength=0.1).step(float("nan"))
