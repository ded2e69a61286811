"""``jp.eap``: its order, its restoring step against brute force, its budget, and what it is worth on real data."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from networks import mlp, residual
from torch import nn

import jouleprune as jp
from jouleprune._restoring import gains_of_restoring, magnitude_and_restored, output_energy

EYERISS = "eyeriss-65nm"


def small() -> tuple[nn.Module, torch.Tensor, list[torch.Tensor]]:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(54, 20), nn.ReLU(),
        nn.Linear(20, 4),
    )  # fmt: skip
    return model, torch.randn(2, 2, 6, 6), [torch.randn(16, 2, 6, 6) for _ in range(3)]


def hessian(x: torch.Tensor, groups: int = 1) -> torch.Tensor:
    grouped = x.double().reshape(len(x), groups, -1)
    return torch.einsum("ngi,ngj->gij", grouped, grouped)


def outputs(weight: torch.Tensor, x: torch.Tensor, groups: int) -> torch.Tensor:
    rows = weight.double().reshape(groups, -1, weight[0].numel())
    return torch.einsum("goi,ngi->ngo", rows, x.double().reshape(len(x), groups, -1))


@pytest.mark.parametrize("groups", [1, 2])
def test_gains_are_the_error_with_and_without(groups):
    """Each weight brought back by itself, and the outputs really computed."""
    torch.manual_seed(1)
    weight, x = torch.randn(4, 5), torch.randn(30, 5 * groups)
    mask = torch.rand(4, 5) < 0.4
    wanted, gains = outputs(weight, x, groups), gains_of_restoring(weight, hessian(x, groups), mask)
    before = (outputs(weight * mask, x, groups) - wanted).square().sum()
    assert output_energy(weight * ~mask, hessian(x, groups)) == pytest.approx(float(before))
    for place in (~mask).nonzero().tolist():
        back = mask.clone()
        back[tuple(place)] = True
        after = (outputs(weight * back, x, groups) - wanted).square().sum()
        assert float(gains[tuple(place)]) == pytest.approx(float(before - after), rel=1e-9, abs=1e-9)


def test_restoring_by_hand():
    """One output over inputs that are all the same signal: what stays should sum to what the output was, so the
    weight that brings the removed sum nearest to zero comes back, not the largest."""
    weight, h = torch.tensor([[1.0, 0.9, -0.8, 0.1]]), torch.ones(1, 4, 4, dtype=torch.float64)
    # Magnitude alone keeps 1.0 and 0.9: r = -0.7, error 0.49. Magnitude keeps 1.0, then: removed .9 - .8 + .1 = .2;
    # back with .9: r = -.7; with -.8: r = 1.0; with .1: r = .1, the least.
    assert magnitude_and_restored(weight, h, 2, 0.0).tolist() == [[True, True, False, False]]
    assert magnitude_and_restored(weight, h, 2, 0.5).tolist() == [[True, False, False, True]]
    gains = gains_of_restoring(weight, h, torch.tensor([[True, False, False, False]]))
    assert gains[0, 1:].tolist() == pytest.approx([0.04 - 0.49, 0.04 - 1.0, 0.04 - 0.01], abs=1e-6)


@pytest.mark.parametrize("restore", [0.1, 0.3, 1.0])
def test_restoring_is_never_worse_than_magnitude(restore):
    """Inputs with a large part in common: returns that help alone overshoot together."""
    torch.manual_seed(4)
    better = 0
    for groups in (1, 2):
        weight, h = torch.randn(8, 40), hessian(torch.randn(30, 40 * groups) + 3.0, groups)
        for keep in (16, 80, 160, 240):
            left = [output_energy(weight * ~magnitude_and_restored(weight, h, keep, r), h) for r in (0.0, restore)]
            assert left[1] <= left[0]
            better += left[1] < 0.5 * left[0]
    assert better >= 1


@pytest.mark.parametrize("restore", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("keep", [0, 1, 7, 20])
def test_the_mask_has_as_many_as_asked_for(keep, restore):
    torch.manual_seed(2)
    weight, x = torch.randn(4, 5), torch.randn(12, 5)
    assert int(magnitude_and_restored(weight, hessian(x), keep, restore).sum()) == keep


@pytest.mark.parametrize("energy", ["100%", "70%", "40%", "15%"])
@pytest.mark.parametrize("profile", [EYERISS, "generic-cpu", "systolic-12x14"])
def test_the_budget_holds_and_is_used(profile, energy):
    model, x, data = small()
    try:
        result = jp.eap(model, x, data, energy=energy, profile=profile)
    except jp.BudgetError as error:
        minimum = error.minimum_j
        assert minimum > float(energy[:-1]) / 100 * jp.estimate(model, x, profile=profile).energy_j
        energy = minimum
        result = jp.eap(model, x, data, energy=minimum, profile=profile)
    plan = result.plan
    assert plan.energy_j <= plan.budget_j and (plan.energy_j > 0.99 * plan.budget_j or plan.maximal)
    assert jp.estimate(jp.convert(model, x, plan=plan), x, profile=profile).energy_j == plan.energy_j
    for name, bits in plan.masks.items():
        weight = model.get_parameter(name)
        assert torch.all(weight[~jp.ops.unpack_mask(bits, weight.shape)] == 0)
    assert result.pruner.energy_j == plan.energy_j and result.pruner.done
    joules = {layer.weight: layer.dense_j for layer in plan.layers}
    assert [joules[name] for name in result.order] == sorted(joules.values(), reverse=True)


def test_hungry_layers_give_first():
    """Until the budget asks for more than the first layer has within the bound, the others stay whole."""
    model, x, data = small()
    result = jp.eap(model, x, data, energy="97%", profile=EYERISS, errors=(0.5,))
    first, *others = result.order
    density = {layer.weight: layer.density for layer in result.plan.layers}
    assert density[first] < 1 and all(density[name] == 1 for name in others)
    assert result.error == 0.5
    deeper = jp.eap(small()[0], x, data, energy="50%", profile=EYERISS, errors=(0.05,))
    assert deeper.error == float("inf")  # one bound was not enough


def test_the_least_that_floors_allow_can_be_reached():
    model, x, data = small()
    with pytest.raises(jp.BudgetError) as raised:
        jp.eap(model, x, data, energy="1%", profile=EYERISS, min_density=0.1)
    least = raised.value.minimum_j
    assert least == pytest.approx(jp.Pruner(model, x, energy="100%", profile=EYERISS, min_density=0.1).minimum_j)
    result = jp.eap(model, x, data, energy=least, profile=EYERISS, min_density=0.1)
    assert result.plan.energy_j <= least and result.error == float("inf")
    assert all(layer.density >= 0.1 for layer in result.plan.layers)


def test_what_is_left_is_the_least_squares_fit():
    model, x, data = small()
    dense = copy.deepcopy(model)
    result = jp.eap(model, x, data, energy="50%", profile=EYERISS)
    again = copy.deepcopy(dense)
    jp.reconstruct(again, data, plan=result.plan, method="refit")
    assert all(torch.equal(a, b) for a, b in zip(again.state_dict().values(), model.state_dict().values(), strict=True))
    assert all(0 < each.error < each.masked for each in result.layers)


def test_restoring_and_refitting_help_on_digits():
    """Real images: more accurate than by magnitude at the same joules, and trained on it is nearly what it was."""
    datasets = pytest.importorskip("sklearn.datasets")
    images, labels = datasets.load_digits(return_X_y=True)
    x, y = torch.tensor(images, dtype=torch.float32) / 16, torch.tensor(labels)
    torch.manual_seed(0)
    dense = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))

    def train(model: nn.Module, keep, epochs: int) -> None:
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
        for step in range(14 * epochs):
            part = slice(step % 14 * 100, step % 14 * 100 + 100)
            optimizer.zero_grad()
            F.cross_entropy(model(x[part]), y[part]).backward()
            optimizer.step()
            keep()

    def accuracy(model: nn.Module) -> float:
        return float((model(x[1400:]).argmax(1) == y[1400:]).double().mean())

    train(dense, lambda: None, 12)
    ours, theirs = copy.deepcopy(dense), copy.deepcopy(dense)
    result = jp.eap(ours, x[:4], [x[:700], x[700:1400]], energy="25%", profile=EYERISS)
    jp.Pruner(theirs, x[:4], energy="25%", profile=EYERISS, importance="magnitude").prune_now()
    assert result.plan.energy_j <= result.plan.budget_j
    assert accuracy(dense) > 0.85 and accuracy(ours) > accuracy(theirs) + 0.05
    train(ours, result.pruner.step, 3)  # the paper's last step: all layers together
    assert accuracy(ours) > accuracy(dense) - 0.05
    assert jp.estimate(ours, x[:4], profile=EYERISS).energy_j <= result.plan.budget_j


def test_recurrent_layers_stay_dense_and_ignored_ones_too():
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.mid, self.head = nn.GRU(12, 16, batch_first=True), nn.Linear(16, 24), nn.Linear(24, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(torch.relu(self.mid(self.rnn(x)[0][:, -1])))

    torch.manual_seed(0)
    model, x = Two(), torch.randn(3, 5, 12)
    result = jp.eap(model, x, [torch.randn(20, 5, 12)], energy="95%", profile=EYERISS, ignored_layers=[model.head])
    assert result.order == ("mid.weight",) and set(result.plan.masks) == {"mid.weight"}


def test_batch_norms_and_groups():
    model, x = residual()
    state = model.norm.state_dict()
    result = jp.eap(model, x, [torch.randn(4, 3, 15, 11)], energy="60%", profile=EYERISS)
    assert result.plan.energy_j <= result.plan.budget_j and len(result.plan.masks) >= 3
    assert all(torch.equal(value, state[name]) for name, value in model.norm.state_dict().items())


BAD = {
    "restore": (ValueError, "restore: expected a share", {"restore": 1.5}),
    "errors of words": (ValueError, "errors: expected a list", {"errors": "0.1"}),
    "errors that fall": (ValueError, "errors: expected finite numbers above 0 that ascend", {"errors": (0.5, 0.1)}),
    "errors without end": (ValueError, "errors: expected finite", {"errors": (float("inf"),)}),
    "damp": (ValueError, "damp: expected a finite number above 0", {"damp": 0}),
    "the budget": (jp.BudgetError, "minimum|least", {"energy": "0.001%", "min_density": 0.2}),
    "above dense": (jp.BudgetError, "energy|budget|dense", {"energy": "120%"}),
    "a floor": (ValueError, "min_density: expected shares", {"min_density": 2}),
    "a profile": (jp.ProfileError, "nowhere", {"profile": "nowhere"}),
    "no data": (ValueError, "used up", {"data": iter(())}),
    "data of no rows": (ValueError, "data: expected inputs for the layer of", {"data": [torch.ones(0, 2, 6, 6)]}),
    "data of another size": (RuntimeError, "size|shape|[Ee]xpected", {"data": [torch.ones(3, 5)]}),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_inputs_change_nothing(case):
    error, match, options = BAD[case]
    model, x, data = small()
    before = copy.deepcopy(model.state_dict())
    arguments = {"data": data, "energy": "50%", "profile": EYERISS, **options}
    with pytest.raises(error, match=match) as raised:
        jp.eap(model, x, arguments.pop("data"), **arguments)
    if case == "the budget":
        assert raised.value.minimum_j > 0
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_networks_without_such_layers():
    with pytest.raises(ValueError, match="model: expected Linear, Conv1d or Conv2d layers that can be pruned"):
        jp.eap(nn.GRU(4, 4), torch.ones(2, 4), [torch.ones(2, 4)], energy="50%", profile=EYERISS)
    _, x = mlp()
    with pytest.raises(ValueError, match="model: expected a torch"):
        jp.eap(3, x, [x], energy="50%", profile=EYERISS)


def test_layers_that_share_a_weight_are_fitted_together():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.last = nn.Linear(12, 12), nn.Linear(12, 12), nn.Linear(12, 3)
            self.second.weight = self.first.weight

        def forward(self, x):
            return self.last(torch.relu(self.second(torch.relu(self.first(x)))))

    torch.manual_seed(0)
    model, x = Tied(), torch.randn(2, 12)
    result = jp.eap(model, x, [torch.randn(32, 12) for _ in range(2)], energy="40%", profile=EYERISS)
    assert model.first.weight is model.second.weight
    assert result.plan.energy_j <= result.plan.budget_j
    assert sorted(layer.weight for layer in result.layers) == sorted(result.plan.masks)
    mask = jp.ops.unpack_mask(result.plan.masks["first.weight"], (12, 12))
    assert not model.second.weight[~mask].any() and int(mask.sum()) < 144


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_types(dtype):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 8)).to(dtype)
    data = [torch.randn(64, 20).to(dtype)]
    result = jp.eap(model, data[0][:4], data, energy="50%", profile=EYERISS)
    assert result.plan.energy_j <= result.plan.budget_j and all(each.error < each.masked for each in result.layers)
    assert all(parameter.dtype == dtype for parameter in model.parameters())


def test_masks_on_noise_stay_near_the_bound():
    """What comes back when the budget is not used up is not chosen so that it overshoots."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(60, 80), nn.ReLU(), nn.Linear(80, 40), nn.ReLU(), nn.Linear(40, 10))
    data = [torch.randn(64, 60) + 1.0 for _ in range(2)]
    result = jp.eap(model, data[0][:2], data, energy="50%", profile=EYERISS)
    assert result.error < 1 and max(each.masked for each in result.layers) < 1


class Attending(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mid, self.attention = nn.Linear(16, 16), nn.MultiheadAttention(16, 2, batch_first=True)
        self.head = nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.mid(x))
        return self.head(self.attention(y, y, y, need_weights=False)[0])


def test_projections_of_attention_stay_dense_by_themselves():
    torch.manual_seed(0)
    data = [torch.randn(8, 5, 16)]
    for act in (
        lambda model: jp.eap(model, data[0], data, energy="85%", profile=EYERISS).layers,
        lambda model: jp.reconstruct(model, data, sparsity=0.5),
    ):
        model = Attending()
        before = copy.deepcopy(model.attention.state_dict())
        with pytest.warns(UserWarning, match=r"attention\.out_proj\.weight are not called as modules"):
            found = act(model)
        assert found and {each.weight for each in found} <= {"mid.weight", "head.weight"}
        assert all(torch.equal(value, before[name]) for name, value in model.attention.state_dict().items())
