"""What torch.nn.utils.prune promises, by hand: amounts, masks of small tensors, containers, gradients, state dicts."""

from __future__ import annotations

import io

import pytest
import torch
from torch import nn

from jouleprune import prune

MODULES = {"linear": lambda: nn.Linear(5, 7), "conv3d": lambda: nn.Conv3d(2, 2, 2)}
ROWS = torch.tensor([[3.0, -9.0, 1.0, 5.0], [8.0, 2.0, -7.0, 4.0]])
LEFT = torch.tensor([[1, 1, 1, 0], [1, 0, 1, 1]])  # gone already: 5 and 2


def named(method, name="weight"):
    method._tensor_name = name
    return method


@pytest.mark.parametrize("amount", [0, 1, 1500, 0.0, 0.34, 1.0])
def test_amounts_that_can_be_meant(amount):
    prune._validate_pruning_amount_init(amount)
    assert prune.L1Unstructured(amount).amount == amount


@pytest.mark.parametrize("method", [prune.L1Unstructured, prune.RandomUnstructured])
@pytest.mark.parametrize(("error", "amount"), [(TypeError, "many"), (ValueError, 1.1), (ValueError, 20.0),
                                               (ValueError, -10), (ValueError, -0.1)])  # fmt: skip
def test_amounts_that_cannot_be_meant(method, error, amount):
    with pytest.raises(error, match="amount"):
        method(amount)


def test_counts_are_held_against_what_is_there_and_shares_are_not():
    prune._validate_pruning_amount(19, 20)
    prune._validate_pruning_amount(0, 0)
    prune._validate_pruning_amount(0.9, 0)
    with pytest.raises(ValueError, match=r"at most the 19 units.*20"):
        prune._validate_pruning_amount(20, 19)


@pytest.mark.parametrize(
    ("amount", "size", "removed"), [(0, 15, 0), (10, 15, 10), (1, 15, 1), (1.0, 15, 15), (0.4, 17, 7), (0.5, 5, 2)]
)
def test_a_whole_number_counts_and_a_fraction_is_a_share(amount, size, removed):
    assert prune._compute_nparams_toprune(amount, size) == removed
    layer = nn.Linear(size, 1)
    prune.random_unstructured(layer, "weight", amount)
    assert int((layer.weight_mask == 0).sum()) == removed


@pytest.mark.parametrize("name", ["weight", "bias"])
@pytest.mark.parametrize("kind", MODULES)
def test_a_pruned_tensor_is_parameter_times_mask(kind, name):
    module = MODULES[kind]()
    parameter, before = getattr(module, name), getattr(module, name).detach().clone()
    assert prune.random_unstructured(module, name, amount=0.5) is module
    original, mask, pruned = (getattr(module, name + end) for end in ("_orig", "_mask", ""))
    assert original is parameter and torch.equal(original, before)
    assert mask.shape == pruned.shape == before.shape
    assert torch.equal(pruned, before * mask) and 0 < int(mask.sum()) < mask.numel()
    assert name + "_orig" in dict(module.named_parameters()) and name + "_mask" in dict(module.named_buffers())
    assert name not in dict(module.named_parameters())


NOTHING = {
    "identity": lambda layer: prune.identity(layer, "weight"),
    "amount 0": lambda layer: prune.random_unstructured(layer, "weight", amount=0),
    "share 0": lambda layer: prune.l1_unstructured(layer, "weight", amount=0.0),
    "ones": lambda layer: prune.custom_from_mask(layer, "weight", torch.ones(2, 5)),
}


@pytest.mark.parametrize("how", NOTHING)
def test_masks_of_ones_change_neither_outputs_nor_gradients(how):
    layer, x = nn.Linear(5, 2), torch.randn(3, 5)
    expected = layer(x)
    expected.square().sum().backward()
    weight_grad, bias_grad = layer.weight.grad.clone(), layer.bias.grad.clone()
    layer.zero_grad()
    NOTHING[how](layer)
    for _ in range(2):  # a second call is no other
        assert torch.equal(layer(x), expected)
    layer(x).square().sum().backward()
    assert torch.equal(layer.weight_orig.grad, weight_grad)
    assert torch.equal(layer.bias.grad, bias_grad)


def test_outputs_gradients_and_steps_of_a_mask_by_hand():
    layer, mask = nn.Linear(5, 2), torch.zeros(2, 5)
    mask[1, 0] = mask[0, 3] = 1
    prune.custom_from_mask(layer, "weight", mask)
    out = layer(torch.ones(1, 5))
    torch.testing.assert_close(out[0, 0], layer.weight_orig[0, 3] + layer.bias[0])
    torch.testing.assert_close(out[0, 1], layer.weight_orig[1, 0] + layer.bias[1])
    out.sum().backward()
    assert torch.equal(layer.weight_orig.grad, mask)  # inputs of one
    assert torch.equal(layer.bias.grad, torch.ones(2))
    before = layer.weight_orig.detach().clone()
    torch.optim.SGD(layer.parameters(), lr=1.0).step()
    assert torch.equal(before != layer.weight_orig, mask.bool())
    pruned = layer(torch.ones(1, 5))
    prune.remove(layer, "weight")
    assert torch.equal(layer(torch.ones(1, 5)), pruned)


@pytest.mark.parametrize("dtype", [torch.int64, torch.float32])
def test_prune_multiplies_by_the_mask_of_the_least(dtype):
    """A method by itself looks at all entries, gone or not, as torch's does; in a container it looks at those left."""
    method, left = prune.L1Unstructured(amount=2), LEFT.to(dtype)
    expected = torch.tensor([[3.0, -9, 0, 0], [8, 0, -7, 4]])  # least of all: 1, and 2, which is gone already
    assert torch.equal(method.prune(ROWS, left), expected)
    assert torch.equal(method.prune(ROWS, left, importance_scores=ROWS), expected)
    scores = torch.tensor([[9.0, 1.0, 8.0, 7.0], [2.0, 3.0, 5.0, 6.0]])  # least: -9 and 8
    assert torch.equal(
        method.prune(ROWS, left, importance_scores=scores), torch.tensor([[3.0, 0, 1, 0], [0, 0, -7, 4]])
    )
    assert torch.equal(method.prune(ROWS), torch.tensor([[3.0, -9, 0, 5], [8, 0, -7, 4]]))


def test_containers_apply_the_latest_method_to_what_is_left():
    container = prune.PruningContainer(named(prune.L1Unstructured(amount=2)))
    assert torch.equal(container.compute_mask(ROWS, LEFT), torch.tensor([[0.0, 1, 0, 0], [1, 0, 1, 1]]))
    container.add_pruning_method(named(prune.LnStructured(amount=1, n=2, dim=0)))  # 9, 3, 1 against 8, 7, 4
    assert torch.equal(container.compute_mask(ROWS, LEFT), torch.tensor([[0.0, 0, 0, 0], [1, 0, 1, 1]]))
    container.add_pruning_method(named(prune.LnStructured(amount=1, n=2, dim=1)))  # the last column, a 4 alone
    assert torch.equal(container.compute_mask(ROWS, LEFT), torch.tensor([[1.0, 1, 1, 0], [1, 0, 1, 0]]))
    assert [type(method) for method in container] == [prune.L1Unstructured, prune.LnStructured, prune.LnStructured]
    assert len(container) == 3 and container[1].dim == 0


def test_containers_hold_methods_of_one_tensor():
    container = prune.PruningContainer()
    container._tensor_name = "weight"
    container.add_pruning_method(named(prune.L1Unstructured(amount=2)))
    with pytest.raises(ValueError, match="weight"):
        container.add_pruning_method(named(prune.L1Unstructured(amount=2), "bias"))
    for other in (10, "thirds"):
        with pytest.raises(TypeError):
            container.add_pruning_method(other)
    assert len(container) == 1


def test_three_methods_one_after_the_other():
    module = nn.Conv3d(2, 4, 2)
    prune.l1_unstructured(module, "weight", amount=0.2)
    first = module.weight_mask.clone()
    prune.ln_structured(module, "weight", amount=0.3, n=2, dim=0)
    prune.ln_structured(module, "weight", amount=0.1, n=float("inf"), dim=1)
    hook = prune.hooks.hook_on(module, "weight")[1]
    assert isinstance(hook, prune.PruningContainer) and hook._tensor_name == "weight"
    assert [type(method) for method in hook] == [prune.L1Unstructured, prune.LnStructured, prune.LnStructured]
    assert not module.weight_mask[first == 0].any()


def test_scores_take_the_place_of_magnitudes_once_and_again():
    layer = nn.Linear(4, 2)
    with torch.no_grad():
        layer.weight.copy_(ROWS)
    scores = torch.tensor([[7.0, 3.0, -1.0, 6.0], [-5.0, 2.0, 4.0, -8.0]])
    prune.l1_unstructured(layer, "weight", amount=2, importance_scores=scores)
    assert torch.equal(layer.weight, torch.tensor([[3.0, -9, 0, 5], [8, 0, -7, 4]]))
    prune.l1_unstructured(layer, "weight", amount=2, importance_scores=scores)  # of those left: -9 and -7
    assert torch.equal(layer.weight, torch.tensor([[3.0, 0, 0, 5], [8, 0, 0, 4]]))


def test_channels_by_hand_with_and_without_scores():
    weight = torch.tensor([[[[4.0, 6.0], [-5.0, 7.0]], [[0.2, -0.3], [0.1, 0.4]], [[2.0, 9.0], [-1.0, 8.0]]]])
    scores = torch.tensor([[[[-0.5, 0.2], [0.6, 0.1]], [[7.0, 3.0], [-6.0, 2.0]], [[5.0, 4.0], [9.0, -1.0]]]])
    for given, channel, column in ((None, 1, 0), (scores, 0, 1)):
        conv, expected = nn.Conv2d(3, 1, 2), torch.ones(1, 3, 2, 2)
        conv.weight.data = weight.clone()
        prune.ln_structured(conv, "weight", amount=1, n=2, dim=1, importance_scores=given)
        expected[:, channel] = 0
        assert torch.equal(conv.weight_mask, expected)
        prune.ln_structured(conv, "weight", amount=1, n=1, dim=-1, importance_scores=given)
        expected[..., column] = 0
        assert torch.equal(conv.weight_mask, expected)


def test_of_equal_magnitudes_as_many_go_as_asked_for():
    values = torch.tensor([[-2, 0, 2, 0, 2], [2, 2, -2, 0, 0]])
    for amount, removed in ((0.2, 2), (5, 5), (0.7, 7)):
        mask = prune.L1Unstructured(amount).compute_mask(values, torch.ones_like(values))
        assert int((mask == 0).sum()) == removed


def test_random_structured_takes_whole_slices():
    method = prune.RandomStructured(amount=0.6, dim=2)
    mask = method.compute_mask(torch.randn(5, 4, 2), torch.ones(5, 4, 2))
    assert sorted((mask == 0).sum((0, 1)).tolist()) == [0, 20]


def test_a_mask_of_ones_own_meets_the_mask_before():
    mask, before = torch.tensor([[1, 0, 1], [1, 1, 0], [0, 0, 1]]), torch.tensor([[1, 1, 0], [0, 1, 1], [0, 1, 1]])
    found = prune.CustomFromMask(mask).compute_mask(torch.rand(3, 3), before)
    assert found.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]


@pytest.mark.parametrize("name", ["weight", "bias"])
@pytest.mark.parametrize("kind", MODULES)
def test_removal_leaves_what_was_pruned_and_nothing_else(kind, name):
    module = MODULES[kind]()
    keys = list(module.state_dict())
    with pytest.raises(ValueError, match="has to be pruned"):
        prune.remove(module, name)
    prune.random_unstructured(module, name, amount=0.5)
    pruned = getattr(module, name).detach().clone()
    prune.remove(module, name)
    assert sorted(module.state_dict()) == sorted(keys) and not prune.is_pruned(module)
    assert torch.equal(getattr(module, name), pruned)


def test_state_dicts_while_pruned_and_after():
    def network():
        return nn.Sequential(nn.Linear(10, 10), nn.ReLU(), nn.Linear(10, 1))

    model, x = network(), torch.randn(3, 10)
    keys = list(model.state_dict())
    prune.l1_unstructured(model[0], "weight", amount=0.9)
    assert set(model.state_dict()) == {"0.weight_orig", "0.weight_mask", *keys} - {"0.weight"}
    other = network()
    prune.identity(other[0], "weight")
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(x), model(x))
    prune.remove(model[0], "weight")
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    fresh = network()
    fresh.load_state_dict(torch.load(io.BytesIO(file.getvalue()), weights_only=True))
    assert set(fresh.state_dict()) == set(keys) and torch.equal(fresh(x), model(x))
    assert int((fresh[0].weight == 0).sum()) == 90
