"""Dead units go and the function stays; reordering changes the order of channels and nothing else."""

from __future__ import annotations

import copy

import pytest
import torch
from structured_networks import NAMES, network
from torch import nn

import jouleprune as jp
from jouleprune import criteria
from jouleprune.structured.graph import channel_groups

pytest.importorskip("torch_pruning")


def test_the_worked_example():
    """in1-h1 .8, in1-h2 .3, in2-h1 .5, in2-h2 .2, h1-out .7, h2-out .4; theta .4 leaves .8, .5, .7."""
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 1, bias=False))
    weights = [torch.tensor([[0.8, 0.5], [0.3, 0.2]]), torch.tensor([[0.7, 0.4]])]
    with torch.no_grad():
        for layer, weight in zip((model[0], model[2]), weights, strict=True):
            layer.weight.copy_(weight * criteria.threshold(weight, absolute=0.4)[0])
    assert int((model[2].weight != 0).sum()) == 2  # ties at theta stay: h2-out goes because h2 is dead
    result = jp.remove_dead_units(model, torch.randn(3, 2))
    assert torch.equal(result.model[0].weight, torch.tensor([[0.8, 0.5]]))
    assert torch.equal(result.model[2].weight, torch.tensor([[0.7]]))
    assert result.units == {"0": 1}


def test_removal_goes_on_to_a_fixed_point_and_folds_biases():
    """Unit 0 of the last hidden layer is unread, which leaves unit 1 before it unread, and so on; unit 3 of the first
    has no inputs: what its bias makes of it goes into the next layer's bias."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 2)
    )
    with torch.no_grad():
        model[6].weight[:, 0] = 0
        model[4].weight[1:, 1] = 0  # unit 1 is read by unit 0 alone
        model[2].weight[[0, 2, 3, 4, 5], 2] = 0  # unit 2 by unit 1 alone
        model[0].weight[3] = 0
    x = torch.randn(9, 5)
    result = jp.remove_dead_units(model, x)
    assert result.units == {"0": 2, "2": 1, "4": 1}
    assert result.rounds == 3
    torch.testing.assert_close(result.model(x), model(x))


@pytest.mark.parametrize("padding", [0, 1])
def test_a_constant_channel_is_folded_unless_padding_would_be_mixed_with_it(padding):
    torch.manual_seed(1)
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 3, padding=padding)).eval()
    with torch.no_grad():
        model[0].weight[2] = 0
        model[1].bias[2] = 1.5
    x = torch.randn(2, 2, 8, 8)
    result = jp.remove_dead_units(model, x)
    assert result.units == ({} if padding else {"0": 1})
    torch.testing.assert_close(result.model(x), model(x))


def test_hidden_units_that_nobody_reads_go():
    model, x = network("lstm")
    with torch.no_grad():
        model.hidden.weight[:, [2, 5]] = 0
        model.recurrent.weight_hh_l0[:, 2] = 0  # unit 5 is still read by the layer itself
    result = jp.remove_dead_units(model, x)
    assert result.units == {"recurrent": 1}
    torch.testing.assert_close(result.model(x), model(x))


def test_momentum_goes_along():
    model, x = network("mlp")
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    model(x).sum().backward()
    optimizer.step()
    model[2].weight.data[:, 4] = 0
    momentum = optimizer.state[model[0].weight]["momentum_buffer"].clone()
    result = jp.remove_dead_units(model, x, optimizer=optimizer)
    kept = [unit for unit in range(40) if unit != 4]
    assert torch.equal(optimizer.state[result.model[0].weight]["momentum_buffer"], momentum[kept])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("pattern", ["4x1", "1x4", "4x4", "2:4"])
def test_reordering_keeps_the_function(name, pattern):
    model, x = network(name)
    torch.manual_seed(5)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() >= 2:
                weight *= torch.rand(weight.shape[:2] + (1,) * (weight.dim() - 2)) > 0.7
    result = jp.reorder(model, x, pattern=pattern, trials=20)
    torch.testing.assert_close(result.model(x), model(x), rtol=1e-4, atol=1e-5)
    assert result.after >= result.before if ":" in pattern else result.after <= result.before
    assert [p.shape for p in result.model.parameters()] == [p.shape for p in model.parameters()]


def test_scattered_blocks_are_found_again():
    """Rows of one block, dealt out to all: reordering needs no more blocks than there were."""
    torch.manual_seed(2)
    model = nn.Sequential(nn.Linear(32, 32, bias=False), nn.ReLU(), nn.Linear(32, 4, bias=False))
    blocks = torch.zeros(32, 32)
    for corner in range(4):
        blocks[corner * 8 : corner * 8 + 8, corner * 8 : corner * 8 + 8] = torch.rand(8, 8) + 0.1
    model[0].weight.data = blocks[torch.randperm(32)].clone()
    result = jp.reorder(model, torch.randn(2, 32), pattern="8x8")
    assert result.before > 4 + 4  # the reader's four blocks are full either way
    assert result.after == 4 + 4


def test_two_of_four_keeps_more():
    """Large columns that sit in fours are spread: nearly all of their weight then stays."""
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 8))
    with torch.no_grad():
        model[2].weight[:, :8] *= 10
    whole = copy.deepcopy(model)
    result = jp.reorder(model, torch.randn(2, 6), pattern="2:4")
    assert result.after > result.before + 0.1
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), whole.parameters(), strict=True))


def test_bad_arguments_are_named():
    model, x = network("mlp")
    with pytest.raises(jp.PatternError, match="pattern"):
        jp.reorder(model, x, pattern="auto")
    with pytest.raises(ValueError, match="trials"):
        jp.reorder(model, x, pattern="2:4", trials=-1)
    assert channel_groups(model, x)[0]
