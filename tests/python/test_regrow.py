"""RigL and SET: which weights move, at the same joules, in a loop with momentum."""

from __future__ import annotations

import copy
import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from networks import mlp, residual

import jouleprune as jp

EYERISS = "eyeriss-65nm"


def pruned(energy="20%", network=mlp, **options):
    model, x = network()
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
    filled = copy.deepcopy(model)  # what came to a unit that gets no gradient is zero still
    with torch.no_grad():
        for name, mask in masks.items():
            filled.get_parameter(name).copy_(mask)
    assert jp.estimate(jp.convert(filled, x, plan=pruner.plan), x, profile=EYERISS).energy_j == joules
    fresh, _ = mlp()
    fresh.load_state_dict(model.state_dict())
    resumed = jp.Pruner(fresh, x, energy="20%", profile=EYERISS)
    resumed.load_state_dict(pruner.state_dict())
    assert all(torch.equal(resumed.plan.masks[name], bits) for name, bits in pruner.plan.masks.items())


@pytest.mark.parametrize("grow", ["gradient", "random"])
@pytest.mark.parametrize(("network", "pattern"), [(mlp, "16x1"), (mlp, "16x16"), (residual, "4x4"), (residual, "5x2")])
def test_blocks_go_and_come_whole(network, pattern, grow):
    """Units by loops; blocks at the edges change places with blocks of their own size."""
    model, x, pruner = pruned(energy="60%", network=network, pattern=pattern)
    joules, (r, c) = pruner.energy_j, map(int, pattern.split("x"))
    regrow = jp.Regrow(pruner, end_step=10, frequency=1, share=0.4, grow=grow)
    regrow.step()
    before, weights = masks_of(pruner), {name: pruner.parameter(name).detach().clone() for name in pruner.plan.masks}
    target = torch.arange(len(x))
    dense = dict(
        zip(
            weights,
            torch.autograd.grad(F.cross_entropy(model(x), target), [*map(pruner.parameter, weights)]),
            strict=True,
        )
    )
    F.cross_entropy(model(x), target).backward()
    regrow.step()
    moved = 0
    for name, after in masks_of(pruner).items():
        flat = [
            each.flatten(2) if each.dim() > 2 else each[:, :, None]
            for each in (before[name], after, weights[name], dense[name])
        ]
        classes: dict[int, list[tuple[bool, bool, float, float]]] = {}
        rows, columns, taps = flat[0].shape
        for i, j, tap in itertools.product(range(0, rows, r), range(0, columns, c), range(taps)):
            was, now, w, g = (each[i : i + r, j : j + c, tap] for each in flat)
            assert was.all() == was.any() and now.all() == now.any()
            classes.setdefault(was.numel(), []).append(
                (bool(was.any()), bool(now.any()), float(w.abs().mean()), float(g.abs().mean()))
            )
        for units in classes.values():
            dropped = [w for was, now, w, _ in units if was and not now]
            stayed = [w for was, now, w, _ in units if was and now]
            grown = [g for was, now, _, g in units if now and not was]
            left = [g for was, now, _, g in units if not now and not was]
            assert len(dropped) == len(grown)
            moved += len(grown)
            assert not dropped or not stayed or max(dropped) <= min(stayed) * (1 + 1e-6)
            if grow == "gradient" and grown and left:
                assert min(grown) >= max(left) * (1 - 1e-6)
    assert moved > 0
    with torch.no_grad():  # what came is zero until it trains
        for name, mask in masks_of(pruner).items():
            pruner.parameter(name).copy_(mask)
    assert jp.estimate(jp.convert(model, x, plan=pruner.plan), x, profile=EYERISS).energy_j == pruner.energy_j == joules


@pytest.mark.parametrize("grow", ["gradient", "random"])
@pytest.mark.parametrize(("network", "pattern"), [(residual, "2:4"), (residual, "1:3"), (residual, "2:8")])
def test_weights_of_a_group_change_places(network, pattern, grow):
    """Group by group, by loops; the last group of a row may be shorter."""
    n, m = map(int, pattern.split(":"))
    model, x, pruner = pruned(energy="75%", network=network, pattern=pattern)
    regrow = jp.Regrow(pruner, end_step=10, frequency=1, share=0.1, grow=grow)
    regrow.step()
    before, weights = masks_of(pruner), {name: pruner.parameter(name).detach().clone() for name in pruner.plan.masks}
    target, joules = torch.arange(len(x)), pruner.energy_j
    parameters = [pruner.parameter(name) for name in weights]
    dense = dict(zip(weights, torch.autograd.grad(F.cross_entropy(model(x), target), parameters), strict=True))
    F.cross_entropy(model(x), target).backward()
    regrow.step()
    assert pruner.energy_j == joules
    share = 0.1 / 2 * (1 + math.cos(math.pi / 10))
    for name, after in masks_of(pruner).items():
        flat = [each.flatten(1) for each in (before[name], after, weights[name].abs(), dense[name].abs())]
        moved, least, stayed = 0, 0.0, float("inf")
        for row, start in itertools.product(range(flat[0].shape[0]), range(0, flat[0].shape[1], m)):
            was, now, w, g = (each[row, start : start + m] for each in flat)
            assert int(now.sum()) == int(was.sum()) <= n
            gone, come = was & ~now, now & ~was
            if was.any() and not was.all():
                smallest = float(w[was].min())
                if gone.any():
                    assert int(gone.sum()) == 1 and float(w[gone]) == smallest
                    assert grow == "random" or float(g[come]) == float(g[~was].max())
                    moved, least = moved + 1, max(least, smallest)
                else:
                    stayed = min(stayed, smallest)
        assert moved == int(share * int(before[name].sum())) and least <= stayed


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
        ("seed: expected a whole number in", {"seed": "a"}),
        ("seed: expected a whole number in", {"seed": -1}),
    ],
)
def test_bad_settings(match, options):
    _, _, pruner = pruned()
    with pytest.raises(ValueError, match=match):
        jp.Regrow(pruner, **{"end_step": 10, **options})


def test_pruners_and_masks_that_do_not_fit():
    model, x = mlp()
    with pytest.raises(ValueError, match=r"pruner: expected a jouleprune.Pruner, got Sequential"):
        jp.Regrow(model, end_step=5)
    with pytest.raises(ValueError, match="pruner: expected one that is done"):
        jp.Regrow(jp.Pruner(model, x, energy="50%", profile=EYERISS), end_step=5)
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
