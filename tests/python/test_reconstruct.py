"""``jp.reconstruct`` on networks: optimal for the outputs that the layers really give, under a plan and by itself."""

from __future__ import annotations

import copy

import pytest
import torch
from networks import lenet, mlp, residual
from torch import nn

import jouleprune as jp

EYERISS = "eyeriss-65nm"


def data_for(x: torch.Tensor, count: int = 5, batch: int = 8) -> list[torch.Tensor]:
    torch.manual_seed(11)
    return [torch.randn(batch, *x.shape[1:]) for _ in range(count)]


def weights_of(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


LAYERS = {
    "linear": (lambda: nn.Linear(12, 7), (12,)),
    "sequence": (lambda: nn.Linear(12, 7), (5, 12)),
    "conv2d": (lambda: nn.Conv2d(4, 6, 3, padding=1), (4, 9, 8)),
    "strided": (lambda: nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(0, 1), dilation=(1, 2)), (4, 9, 8)),
    "grouped": (lambda: nn.Conv2d(6, 9, 3, groups=3, padding="same"), (6, 7, 7)),
    "depthwise": (lambda: nn.Conv2d(6, 6, 3, groups=6), (6, 8, 8)),
    "reflect": (lambda: nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), (3, 8, 8)),
    "conv1d": (lambda: nn.Conv1d(5, 4, 3, stride=2, padding=2), (5, 20)),
}


@pytest.mark.parametrize("layer", LAYERS)
def test_outputs_cannot_come_closer(layer):
    """At the least squared difference of the real outputs, its gradient by the kept weights is zero."""
    torch.manual_seed(3)
    make, shape = LAYERS[layer]
    model = nn.Sequential(make()).double()
    dense = copy.deepcopy(model)
    data = [torch.randn(6, *shape).double() for _ in range(4)]
    (alps,) = jp.reconstruct(model, data, sparsity=0.5, method="alps", damp=1e-10)
    x = torch.cat(data)
    with torch.no_grad():
        wanted, bias = dense(x), dense[0].bias
        plain = wanted - (bias if isinstance(dense[0], nn.Linear) else bias.view(-1, *[1] * (len(shape) - 1)))
    loss = (model(x) - wanted).square().sum()
    (gradient,) = torch.autograd.grad(loss, model[0].weight)
    energy = float(plain.square().sum())
    assert float(gradient[alps.mask].abs().max()) < 1e-6 * energy
    assert torch.all(model[0].weight[~alps.mask] == 0) and alps.density == pytest.approx(0.5, abs=0.06)
    assert alps.error == pytest.approx(float(loss.detach()) / energy, rel=1e-6)
    assert alps.error < alps.masked


@pytest.mark.parametrize("method", ["sparsegpt", "refit"])
@pytest.mark.parametrize("network", [mlp, lenet])
@pytest.mark.parametrize("energy", ["50%", "20%"])
def test_under_a_plan_the_joules_are_the_plans(network, method, energy):
    model, x = network()
    plan = jp.plan(model, x, energy=energy, profile=EYERISS)
    dense, masked = copy.deepcopy(model), copy.deepcopy(model)
    jp.Pruner(masked, x, plan=plan).prune_now()
    data = data_for(x)
    found = jp.reconstruct(model, data, plan=plan, method=method)
    assert [each.weight for each in found] == [layer.weight for layer in plan.layers if layer.weight in plan.masks]
    for each in found:
        weight = model.get_parameter(each.weight)
        assert torch.equal(jp.ops.pack_mask(each.mask), plan.masks[each.weight])
        assert torch.all(weight[~each.mask] == 0) and 0 < each.error < each.masked
    assert jp.estimate(jp.convert(model, x, plan=plan), x, profile=EYERISS).energy_j == plan.energy_j <= plan.budget_j
    inputs = torch.cat(data)
    with torch.no_grad():
        ours, theirs = (float((each(inputs) - dense(inputs)).square().sum()) for each in (model, masked))
    assert ours < theirs


@pytest.mark.parametrize("method", ["sparsegpt", "alps"])
@pytest.mark.parametrize(("pattern", "sparsity"), [("unstructured", 0.6), ("2:4", None), ("4x1", 0.5), ("2x3", 0.75)])
def test_masks_of_its_own(method, pattern, sparsity):
    model, x = residual()
    found = jp.reconstruct(
        model, data_for(x), sparsity=sparsity, pattern=pattern, method=method, ignored_layers=["head"]
    )
    assert [each.weight for each in found] == ["stem.weight", "grouped.weight", "down.weight"]  # as they are called
    for each in found:
        weight = model.get_parameter(each.weight)
        assert torch.all(weight[~each.mask] == 0)
        assert each.error < each.masked
        if pattern == "2:4":
            jp.ops.pack_nm(weight.detach(), each.mask, n=2, m=4)  # raises where more than 2 are kept
        else:
            assert each.density == pytest.approx(1 - sparsity, abs=0.08)  # units at the edges are smaller


def test_layers_see_what_the_layers_before_leave():
    """The second layer's weights make up for the first: fitted to the inputs that it gets, not to those it got."""
    model, x = mlp()
    data = data_for(x)
    found = jp.reconstruct(model, data, sparsity=0.7)
    hidden = torch.cat([torch.relu(model[1](each.flatten(1))) for each in data]).double().detach()
    hessian = (hidden.t() @ hidden)[None]
    fresh, _ = mlp()
    expected, mask = jp.ops.sparsegpt(fresh[3].weight.detach(), hessian, sparsity=0.7)
    assert torch.equal(mask, found[1].mask)
    torch.testing.assert_close(model[3].weight.detach(), expected, rtol=1e-4, atol=1e-5)


def test_a_layer_called_twice_is_fitted_to_both_calls():
    torch.manual_seed(4)
    layer = nn.Linear(10, 10)
    model = nn.Sequential(layer, nn.ReLU(), layer).double()
    dense = copy.deepcopy(layer)
    data = [torch.randn(30, 10).double()]
    found = jp.reconstruct(model, data, sparsity=0.0)
    assert len(found) == 1 and found[0].density == 1 and found[0].error < 1e-20
    torch.testing.assert_close(layer.weight, dense.weight)


BAD = {
    "neither": (ValueError, "sparsity: expected a share", {}),
    "both": (ValueError, "plan: its masks are applied", {"plan": True, "sparsity": 0.5}),
    "a share and n:m": (ValueError, "sparsity: expected a share, or none", {"sparsity": 0.5, "pattern": "2:4"}),
    "a share above 1": (ValueError, "sparsity: expected a share in", {"sparsity": 1.5}),
    "a method": (ValueError, "method: expected one of", {"sparsity": 0.5, "method": "obs"}),
    "alps under a plan": (ValueError, "method: 'alps' chooses masks", {"plan": True, "method": "alps"}),
    "refit without": (ValueError, "method: 'refit' needs masks", {"sparsity": 0.5, "method": "refit"}),
    "a pattern": (jp.PatternError, "pattern", {"sparsity": 0.5, "pattern": "5:4"}),
    "a layer": (ValueError, "ignored_layers: expected names", {"sparsity": 0.5, "ignored_layers": ["nowhere"]}),
    "damp": (ValueError, "damp: expected", {"sparsity": 0.5, "damp": 0.0}),
    "no plan": (ValueError, "plan: expected a Plan", {"plan": 3}),
    "no data": (ValueError, "used up", {"sparsity": 0.5, "data": iter(())}),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_inputs(case):
    error, match, options = BAD[case]
    model, x = mlp()
    if options.get("plan") is True:
        options = {**options, "plan": jp.plan(model, x, energy="50%", profile=EYERISS)}
    before = weights_of(model)
    with pytest.raises(error, match=match):
        jp.reconstruct(model, **{"data": data_for(x), **options})
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_what_fails_halfway_changes_nothing():
    model, x = mlp()
    with torch.no_grad():
        model[1].bias[3] = float("nan")  # the second layer's inputs are broken, the first one's are not
    before = weights_of(model)
    with pytest.raises(ValueError, match="inputs: expected finite numbers"):
        jp.reconstruct(model, data_for(x), sparsity=0.5)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items() if "bias" not in name)


def test_networks_that_cannot_change_are_refused():
    model, x = mlp()
    pruner = jp.Pruner(model, x, energy="50%", profile="eyeriss-65nm")
    pruner.prune_now()
    with pytest.raises(ValueError, match="model: the plan's masks are applied already"):
        jp.reconstruct(model, [x], plan=pruner.plan)
    with pytest.raises(ValueError, match="model: expected Linear, Conv1d or Conv2d layers to change, got none"):
        jp.reconstruct(nn.Sequential(nn.ReLU()), [x], sparsity=0.5)


def test_plans_of_other_layers_are_refused():
    model = nn.Sequential(nn.LSTM(16, 16, batch_first=True))
    x = torch.randn(2, 5, 16)
    plan = jp.plan(model, x, energy="50%", profile=EYERISS)
    with pytest.raises(jp.PatternError, match="expected weights of Linear, Conv1d and Conv2d"):
        jp.reconstruct(model, [x], plan=plan)


def test_a_weight_tied_to_an_embedding_stays():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.mid, self.out = nn.Embedding(37, 16), nn.Linear(16, 16), nn.Linear(16, 37, bias=False)
            self.out.weight = self.table.weight

        def forward(self, ids):
            return self.out(torch.relu(self.mid(self.table(ids))))

    torch.manual_seed(0)
    model, ids = Tied(), torch.randint(0, 37, (8, 5))
    before = model.table.weight.detach().clone()
    found = jp.reconstruct(model, [ids], sparsity=0.5)
    assert [each.weight for each in found] == ["mid.weight"] and found[0].density == pytest.approx(0.5, abs=0.01)
    assert torch.equal(model.out.weight, before) and model.out.weight is model.table.weight


def test_networks_of_several_processes_are_refused(monkeypatch):
    from jouleprune._ranks import Ranks

    monkeypatch.setattr(Ranks, "of", classmethod(lambda cls, model: cls()))
    model, x = mlp()
    with pytest.raises(ValueError, match=r"model: reconstruct in one of several processes .* broadcast"):
        jp.reconstruct(model, [x], sparsity=0.5)
    with pytest.raises(ValueError, match=r"model: eap in one of several processes .* broadcast"):
        jp.eap(model, x, [x], energy="50%", profile=EYERISS)
