"""RigL and SET: which weights move, at the same joules, in a loop with momentum."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from networks import mlp

import jouleprune as jp

EYERISS = "eyeriss-65nm"


def pruned(energy="20%", **options):
    model, x = mlp()
    pruner = jp.Pruner(model, x, energy=energy, profile=EYERISS, **options)
    pruner.prune_now()
    return model, x, pruner


def masks_of(pruner):
    return {name: jp.ops.unpack_mask(bits, pruner.parameter(name).shape) for name, bits in pruner.plan.masks.items()}


def test_rigl_drops_the_smallest_and_grows_the_largest_gradients():
    model, x, pruner = pruned()
    regrow = jp.Regrow(pruner, end_step=10, frequency=1, share=0.4)
    regrow.step()  # step 0 moves nothing
    before, weights = masks_of(pruner), {name: pruner.parameter(name).detach().clone() for name in pruner.plan.masks}
    model.zero_grad()
    loss = F.cross_entropy(model(x), torch.arange(4))
    dense = dict(zip(weights, torch.autograd.grad(loss, [pruner.parameter(name) for name in weights]), strict=True))
    F.cross_entropy(model(x), torch.arange(4)).backward()
    assert all(torch.all(pruner.parameter(name).grad[~before[name]] == 0) for name in weights)
    regrow.step()
    share = 0.4 / 2 * (1 + torch.cos(torch.tensor(torch.pi / 10)).item())
    for name, after in masks_of(pruner).items():
        kept, amount = before[name], int(share * int(before[name].sum()))
        dropped, grown = kept & ~after, ~kept & after
        assert int(dropped.sum()) == int(grown.sum()) == amount > 0
        assert weights[name][dropped].abs().max() <= weights[name][kept & after].abs().min()
        assert dense[name][grown].abs().min() >= dense[name][~kept & ~after].abs().max()
        now = pruner.parameter(name).detach()
        assert torch.all(now[grown] == 0) and torch.all(now[dropped] == 0)
        assert torch.equal(now[kept & after], weights[name][kept & after])


@pytest.mark.parametrize("grow", ["gradient", "random"])
def test_training_moves_masks_and_keeps_the_joules(grow):
    model, x, pruner = pruned()
    joules, before = pruner.energy_j, masks_of(pruner)
    regrow = jp.Regrow(pruner, end_step=12, frequency=3, grow=grow)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=0.01)
    at_end = None
    for step in range(20):
        optimizer.zero_grad()
        F.cross_entropy(model(x), torch.arange(4)).backward()
        optimizer.step()
        regrow.step()
        masks = masks_of(pruner)
        assert all(torch.all(pruner.parameter(name)[~mask] == 0) for name, mask in masks.items())
        assert all(int(mask.sum()) == int(before[name].sum()) for name, mask in masks.items())
        if step == 12:
            at_end = masks
    assert any(not torch.equal(before[name], mask) for name, mask in masks.items())
    assert all(torch.equal(at_end[name], mask) for name, mask in masks.items())  # settled
    assert pruner.energy_j == joules <= pruner.budget_j
    # A weight that grew where no gradient flows is still 0: the plan prices it as kept, a dense layer lets the device skip it.
    untrained = any(bool((pruner.parameter(name)[mask] == 0).any()) for name, mask in masks.items())
    converted_j = jp.estimate(jp.convert(model, x, plan=pruner.plan), x, profile=EYERISS).energy_j
    assert converted_j == joules or (untrained and converted_j < joules)
    fresh, _ = mlp()
    fresh.load_state_dict(model.state_dict())
    resumed = jp.Pruner(fresh, x, energy="20%", profile=EYERISS)
    resumed.load_state_dict(pruner.state_dict())
    assert all(torch.equal(resumed.plan.masks[name], bits) for name, bits in pruner.plan.masks.items())


def test_random_growth_is_seeded():
    found = []
    for seed in (1, 1, 2):
        _, _, pruner = pruned()
        regrow = jp.Regrow(pruner, end_step=5, frequency=1, grow="random", seed=seed)
        regrow.step(), regrow.step()
        found.append(pruner.plan.masks["1.weight"])
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


@pytest.mark.parametrize(
    ("match", "options"),
    [
        ("end_step", {"end_step": 0}),
        ("frequency", {"frequency": 1.5}),
        ("share: expected a number in", {"share": 1.0}),
        ("grow: expected one of", {"grow": "magnitude"}),
    ],
)
def test_bad_settings(match, options):
    _, _, pruner = pruned()
    with pytest.raises(ValueError, match=match):
        jp.Regrow(pruner, **{"end_step": 10, **options})


def test_pruners_and_masks_that_do_not_fit():
    model, x = mlp()
    with pytest.raises(ValueError, match="pruner: expected one that is done"):
        jp.Regrow(jp.Pruner(model, x, energy="50%", profile=EYERISS), end_step=5)
    _, _, blocks = pruned(pattern="16x4")
    with pytest.raises(ValueError, match="pruner: expected the pattern 'unstructured', got '16x4'"):
        jp.Regrow(blocks, end_step=5)
    _, _, pruner = pruned()
    before = masks_of(pruner)
    with pytest.raises(ValueError, match=r"masks: '1\.weight': expected"):
        pruner.move_masks({"1.weight": jp.ops.pack_mask(torch.ones(128, 784, dtype=torch.bool))})
    with pytest.raises(ValueError, match="name: expected a pruned weight"):
        pruner.move_masks({"nowhere": pruner.plan.masks["1.weight"]})
    assert all(torch.equal(before[name], mask) for name, mask in masks_of(pruner).items())
    regrow = jp.Regrow(pruner, end_step=5, frequency=1)
    regrow.step()
    with pytest.raises(ValueError, match="had no backward pass"):
        regrow.step()
