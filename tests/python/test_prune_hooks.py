"""The reparametrization of jouleprune.prune: what a pruned module goes through, and the defects of torch's that it
mends."""

from __future__ import annotations

import copy
import gc
import io
import pickle
import weakref

import pytest
import torch
from torch import nn
from torch.nn.utils import prune as torch_prune

import jouleprune as jp
from jouleprune import prune


def linear() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(6, 5)


def trained(model: nn.Module, x: torch.Tensor, steps: int = 1) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        out = model(x)
        (out[0] if isinstance(out, tuple) else out).square().sum().backward()
        optimizer.step()


@pytest.mark.parametrize("name", ["weight", "bias"])
def test_names_and_hooks_are_those_of_torch(name):
    ours, theirs = linear(), linear()
    prune.l1_unstructured(ours, name, amount=0.5)
    torch_prune.l1_unstructured(theirs, name, amount=0.5)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for key, value in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[key], value), key
        assert ours.state_dict()[key].dtype == value.dtype
    assert [key for key, _ in ours.named_parameters()] == [key for key, _ in theirs.named_parameters()]
    assert torch.equal(getattr(ours, name), getattr(theirs, name))
    theirs.load_state_dict(ours.state_dict())
    ours.load_state_dict(theirs.state_dict())
    assert prune.is_pruned(theirs) and torch_prune.is_pruned(ours)
    assert not prune.is_pruned(linear())


@pytest.mark.parametrize("name", prune.__all__)
def test_classes_are_subclasses_of_torchs(name):
    mine, theirs = getattr(prune, name), getattr(torch_prune, name, None)
    if isinstance(theirs, type):
        assert issubclass(mine, theirs)
        assert mine is not theirs
    elif isinstance(mine, type):
        assert issubclass(mine, torch_prune.BasePruningMethod)


def test_the_whole_public_surface_is_there():
    names = {
        name for name, value in vars(torch_prune).items() if getattr(value, "__module__", "") == torch_prune.__name__
    }
    assert names <= set(prune.__all__)


def test_pruned_entries_stay_zero_and_the_others_train():
    model, x = linear(), torch.randn(4, 6)
    before = model.weight.detach().clone()
    prune.l1_unstructured(model, "weight", amount=10)
    removed = model.weight_mask == 0
    trained(model, x, steps=3)
    model(x)
    assert (model.weight[removed] == 0).all()
    assert (model.weight[~removed] != before[~removed]).all()
    assert model.weight_orig.grad[removed].eq(0).all()


@pytest.mark.parametrize("when", ["after pruning", "after a forward", "after a backward", "under no_grad", "loaded"])
@pytest.mark.parametrize("times", [1, 2])
def test_deepcopy(when, times):
    """pytorch#37322: the pruned tensor is no leaf, which torch refuses to copy."""
    model, x = nn.Sequential(linear(), nn.ReLU(), nn.Linear(5, 2)), torch.randn(3, 6)
    for _ in range(times):
        prune.l1_unstructured(model[0], "weight", amount=0.4)
    prune.random_unstructured(model[0], "bias", amount=2)
    if when == "after a forward":
        model(x)
    elif when == "after a backward":
        trained(model, x)
    elif when == "under no_grad":
        with torch.no_grad():
            model(x)
    elif when == "loaded":
        model = pickle.loads(pickle.dumps(model))
        model(x)
    twin = copy.deepcopy(model)
    again = copy.deepcopy(twin)
    assert torch.equal(twin[0].weight, model[0].weight_orig * model[0].weight_mask)
    assert twin[0].weight is not model[0].weight
    for each in (twin, again):
        assert torch.equal(each(x), model(x))
        each(x).sum().backward()
        assert each[0].weight_orig.grad is not None
    kept = model[0].weight_orig.detach().clone()
    trained(twin, x)
    assert torch.equal(model[0].weight_orig, kept)
    prune.remove(twin[0], "weight")
    assert "weight" in dict(twin[0].named_parameters()) and prune.is_pruned(model[0])


def test_deepcopy_keeps_the_pruned_tensor_a_function_of_the_copy():
    model = linear()
    prune.l1_unstructured(model, "weight", amount=0.5)
    model(torch.randn(2, 6))
    twin = copy.deepcopy(model)
    twin.weight.square().sum().backward()  # a penalty on the pruned tensor, before any forward
    assert twin.weight_orig.grad is not None and model.weight_orig.grad is None
    assert torch.allclose(twin.weight_orig.grad, 2 * twin.weight.detach() * twin.weight_mask)


def test_deepcopy_of_an_lstm_copies_its_flat_weights():
    lstm = nn.LSTM(3, 4)
    prune.l1_unstructured(lstm, "weight_hh_l0", amount=0.5)
    lstm(torch.randn(2, 1, 3))
    twin = copy.deepcopy(lstm)
    place = twin._flat_weights_names.index("weight_hh_l0")
    assert twin._flat_weights[place] is twin.weight_hh_l0
    assert torch.equal(twin(torch.ones(2, 1, 3))[0], lstm(torch.ones(2, 1, 3))[0])


@pytest.mark.parametrize("dump", ["pickle", "torch.save"])
def test_pickle(dump):
    model, x = nn.Sequential(linear()), torch.randn(2, 6)
    prune.l1_unstructured(model[0], "weight", amount=0.5)
    prune.ln_structured(model[0], "weight", amount=1, n=2, dim=0)
    file = io.BytesIO()
    if dump == "pickle":
        pickle.dump(model, file)
        loaded = pickle.loads(file.getvalue())
    else:
        torch.save(model, file)
        loaded = torch.load(io.BytesIO(file.getvalue()), weights_only=False)
    assert torch.equal(loaded(x), model(x))
    assert torch.equal(copy.deepcopy(loaded)(x), model(x))
    prune.l1_unstructured(loaded[0], "weight", amount=1)
    assert len(prune.hooks.hook_on(loaded[0], "weight")[1]) == 3


def test_hook_and_module_do_not_keep_each_other_alive():
    model = linear()
    prune.l1_unstructured(model, "weight", amount=0.5)
    gone = weakref.ref(model)
    gc.disable()
    try:
        del model
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("scores", [None, torch.float32, torch.float64, torch.int64])
def test_masks_have_the_dtype_of_the_parameter(dtype, scores):
    """pytorch#57631: torch's depend on the method and on the scores."""

    def given(tensor):
        return None if scores is None else (torch.randn(tensor.shape) * 9).to(scores)

    for method in (
        lambda m: prune.l1_unstructured(m, "weight", amount=3, importance_scores=given(m.weight)),
        lambda m: prune.ln_structured(m, "weight", amount=1, n=2, dim=0, importance_scores=given(m.weight)),
        lambda m: prune.random_structured(m, "weight", amount=1, dim=1),
        lambda m: prune.custom_from_mask(m, "weight", torch.rand(5, 6) < 0.9),
        lambda m: prune.n_m_structured(m, "weight", 2, 4, importance_scores=given(m.weight)),
        lambda m: prune.block_structured(m, "weight", 0.5, block_size=(2, 2), importance_scores=given(m.weight)),
    ):
        model = linear().to(dtype)
        for _ in range(2):
            method(model)
            assert model.weight_mask.dtype == dtype == model.weight.dtype


@pytest.mark.parametrize("method", [prune.L1Unstructured(amount=2), prune.LnStructured(amount=1, n=2, dim=0)])
@pytest.mark.parametrize("dtype", [torch.int64, torch.float32, torch.bool])
def test_compute_mask_has_the_dtype_of_the_default_mask(method, dtype):
    mask = method.compute_mask(torch.arange(8.0, dtype=torch.float64).view(2, 4), torch.ones(2, 4, dtype=dtype))
    assert mask.dtype == dtype


class Failing(prune.BasePruningMethod):
    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t, default_mask):
        raise RuntimeError("no mask today")


@pytest.mark.parametrize("times", [0, 1, 2])
def test_a_mask_that_cannot_be_computed_changes_nothing(times):
    model = linear()
    for _ in range(times):
        prune.l1_unstructured(model, "weight", amount=3)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    hooks = dict(model._forward_pre_hooks)
    attempts = [
        lambda: Failing.apply(model, "weight"),
        lambda: prune.l1_unstructured(model, "weight", amount=1000),
        lambda: prune.l1_unstructured(model, "weight", amount=1, importance_scores=torch.ones(5)),
        lambda: prune.custom_from_mask(model, "weight", torch.ones(6, 5)),
        lambda: prune.ln_structured(model, "weight", amount=1, n=2, dim=2),
    ]
    for attempt in attempts:
        with pytest.raises((RuntimeError, ValueError, IndexError)):
            attempt()
        assert dict(model._forward_pre_hooks) == hooks
        assert model.state_dict().keys() == before.keys()
        assert all(torch.equal(model.state_dict()[key], value) for key, value in before.items())


def test_a_second_method_takes_the_place_of_the_first():
    model = linear()
    prune.l1_unstructured(model, "weight", amount=3)
    prune.random_unstructured(model, "bias", amount=1)
    first = list(model._forward_pre_hooks)
    prune.l1_unstructured(model, "weight", amount=3)
    assert list(model._forward_pre_hooks) == first
    container = model._forward_pre_hooks[first[0]]
    assert isinstance(container, prune.PruningContainer) and len(container) == 2
    assert container._tensor_name == "weight"
    assert int((model.weight_mask == 0).sum()) == 6


def test_containers_take_methods_or_a_list_of_them():
    methods = [prune.L1Unstructured(amount=1), prune.LnStructured(amount=1, n=2, dim=0)]
    for method in methods:
        method._tensor_name = "weight"
    for container in (prune.PruningContainer(*methods), prune.PruningContainer(methods)):
        assert list(container) == methods and container._tensor_name == "weight"
    assert len(prune.PruningContainer()) == 0
    with pytest.raises(TypeError):
        prune.PruningContainer(*methods, "thirds")


def test_what_torch_pruned_can_be_pruned_on_and_removed():
    model, x = linear(), torch.randn(2, 6)
    torch_prune.l1_unstructured(model, "weight", amount=5)
    removed = model.weight_mask == 0
    prune.l1_unstructured(model, "weight", amount=5)
    assert int((model.weight_mask == 0).sum()) == 10 and (model.weight_mask[removed] == 0).all()
    expected = model(x)
    prune.remove(model, "weight")
    assert torch.equal(model(x), expected) and not torch_prune.is_pruned(model)
    torch_prune.l1_unstructured(model, "bias", amount=2)
    prune.remove(model, "bias")
    assert int((model.bias == 0).sum()) == 2


def test_remove_keeps_parameter_memory_and_optimizer():
    model, x = linear(), torch.randn(4, 6)
    parameter, place = model.weight, model.weight.data_ptr()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    prune.l1_unstructured(model, "weight", amount=10)
    assert model.weight_orig is parameter
    expected = model(x)
    prune.remove(model, "weight")
    assert model.weight is parameter and parameter.data_ptr() == place
    assert torch.equal(model(x), expected)
    zeros = parameter == 0
    assert int(zeros.sum()) == 10
    model(x).sum().backward()
    optimizer.step()
    assert not (parameter == 0).any()  # free to train again


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("name", ["weight_ih_l0", "weight_hh_l0", "weight_hh_l1_reverse", "bias_ih_l0"])
def test_rnn_weights_train_on_after_remove(kind, name):
    """pytorch#33618."""
    torch.manual_seed(1)
    model, x = kind(3, 4, num_layers=2, bidirectional=True), torch.randn(5, 2, 3)
    prune.l1_unstructured(model, name, amount=0.5)
    trained(model, x, steps=2)
    expected = model(x)[0]
    prune.remove(model, name)
    assert torch.equal(model(x)[0], expected)
    place = model._flat_weights_names.index(name)
    assert model._flat_weights[place] is getattr(model, name) is dict(model.named_parameters())[name]
    assert all(isinstance(weight, nn.Parameter) for weight in model._flat_weights)
    before = getattr(model, name).detach().clone()
    trained(model, x)
    assert not torch.equal(getattr(model, name), before)
    assert not torch.equal(model(x)[0], expected)
    twin = kind(3, 4, num_layers=2, bidirectional=True)
    twin.load_state_dict(model.state_dict())
    assert torch.equal(twin(x)[0], model(x)[0])


def test_a_pruned_lstm_moves_and_changes_its_dtype():
    model, x = nn.LSTM(3, 4), torch.randn(5, 2, 3, dtype=torch.float64)
    prune.l1_unstructured(model, "weight_ih_l0", amount=0.5)
    model.double()
    zeros = model(x)[0] is not None and model.weight_ih_l0 == 0
    assert int(zeros.sum()) == 24
    prune.remove(model, "weight_ih_l0")
    assert model.weight_ih_l0.dtype == torch.float64 and int((model.weight_ih_l0 == 0).sum()) == 24


def test_other_memory_formats():
    conv = nn.Conv2d(8, 4, 3).to(memory_format=torch.channels_last)
    plain = nn.Conv2d(8, 4, 3)
    plain.load_state_dict(conv.state_dict())
    for module in (conv, plain):
        prune.l1_unstructured(module, "weight", amount=0.5)
        prune.n_m_structured(module, "weight", 2, 4)
    assert torch.equal(conv.weight_mask, plain.weight_mask)
    assert torch.equal(conv.weight, plain.weight)


def test_compiled_and_converted():
    model, x = nn.Sequential(linear(), nn.ReLU(), nn.Linear(5, 2)), torch.randn(3, 6)
    prune.l1_unstructured(model[0], "weight", amount=0.8)
    compiled = torch.compile(model, backend="eager")
    assert torch.equal(compiled(x), model(x))
    prune.remove(model[0], "weight")
    sparse = jp.convert(model, x, force=True)
    assert isinstance(sparse[0], jp.nn.SparseLinear) and sparse[0].values.numel() == 6
    torch.testing.assert_close(sparse(x), model(x))


@pytest.mark.parametrize(
    "error, told, attempt",
    [
        (AttributeError, "nothing", lambda: prune.identity(linear(), "nothing")),
        (ValueError, "None", lambda: prune.identity(nn.Linear(2, 2, bias=False), "bias")),
        (ValueError, "int", lambda: prune.identity(linear(), "in_features")),
        (ValueError, "computed", lambda: prune.identity(nn.utils.parametrizations.weight_norm(linear()), "weight")),
        (ValueError, "has to be pruned", lambda: prune.remove(linear(), "weight")),
        (TypeError, "mask", lambda: prune.custom_from_mask(linear(), "weight", [1, 0])),
    ],
)
def test_what_is_no_parameter_is_named(error, told, attempt):
    with pytest.raises(error, match=told):
        attempt()
