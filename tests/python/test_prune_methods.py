"""The methods of jouleprune.prune against torch's, and against their definitions where torch leaves things open."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn
from torch.nn.utils import prune as torch_prune

from jouleprune import prune

AMOUNTS = [0, 1, 7, 0.0, 0.25, 0.5, 0.99, 1.0]


def module(kind: str) -> nn.Module:
    torch.manual_seed(0)
    return {"linear": nn.Linear(9, 14), "conv": nn.Conv2d(8, 9, 3), "conv3d": nn.Conv3d(8, 10, 2)}[kind]


def both(kind, call):
    """Masks of both libraries after the same calls with the same seed."""
    masks = []
    for library in (prune, torch_prune):
        layer = module(kind)
        torch.manual_seed(3)
        call(library, layer)
        masks.append(layer.weight_mask)
    return masks


@pytest.mark.parametrize("kind", ["linear", "conv", "conv3d"])
@pytest.mark.parametrize("amount", AMOUNTS)
@pytest.mark.parametrize("method", ["l1_unstructured", "random_unstructured"])
def test_unstructured_masks_are_torchs(kind, amount, method):
    ours, theirs = both(kind, lambda library, layer: getattr(library, method)(layer, "weight", amount))
    assert torch.equal(ours, theirs)

    def twice(library, layer):
        getattr(library, method)(layer, "weight", 0.3)
        getattr(library, method)(layer, "weight", amount)
        library.l1_unstructured(layer, "weight", 0.1)

    if amount != 1.0:
        ours, theirs = both(kind, twice)
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("kind, dims", [("linear", 2), ("conv", 4), ("conv3d", 5)])
@pytest.mark.parametrize("amount", [0, 1, 0.5, 2, 1.0])
def test_structured_masks_are_torchs(kind, dims, amount):
    for dim in range(-dims, dims):
        for n in (1, 2, float("inf"), 0.5) + (("fro",) if kind == "linear" else ()):  # torch's takes 2 dimensions
            if module(kind).weight.shape[dim] < amount:
                continue

            def call(library, layer, n=n, dim=dim):
                library.ln_structured(layer, "weight", amount, n, dim)

            ours, theirs = both(kind, call)
            assert torch.equal(ours, theirs), (n, dim)
        ours, theirs = both(
            kind, lambda library, layer, dim=dim: library.random_structured(layer, "weight", amount, dim)
        )
        assert torch.equal(ours, theirs), dim


def test_structured_after_unstructured_is_torchs():
    def call(library, layer):
        library.random_unstructured(layer, "weight", 0.6)
        library.ln_structured(layer, "weight", 3, 2, 0)
        library.ln_structured(layer, "weight", 0.4, 1, 1)
        library.random_structured(layer, "weight", 0, 0)  # draws nothing
        library.random_structured(layer, "weight", 2, 0)
        library.l1_unstructured(layer, "weight", 0.5)

    for kind in ("linear", "conv"):
        ours, theirs = both(kind, call)
        assert torch.equal(ours, theirs)


def test_equal_magnitudes_stay_from_the_front():
    layer = nn.Linear(4, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, -1, 2, 1], [-1, 1, 3, 0]]))
    prune.l1_unstructured(layer, "weight", amount=3)
    assert layer.weight_mask.tolist() == [[1, 1, 1, 1], [0, 0, 1, 0]]


def test_random_removes_as_many_slices_as_asked_for_when_draws_collide(monkeypatch):
    monkeypatch.setattr(torch, "rand", lambda *size, **_: torch.zeros(*size))
    layer = module("linear")
    prune.random_structured(layer, "weight", amount=3, dim=0)
    assert int(layer.weight_mask.any(1).sum()) == 11  # torch removes all 14


def test_random_masks_of_16_bit_weights_have_no_favourites():
    """16-bit draws collide thousands of times here; ties by position would keep the front."""
    layer = nn.Linear(1000, 200).bfloat16()
    torch.manual_seed(5)
    prune.random_unstructured(layer, "weight", amount=0.5)
    shares = layer.weight_mask.float().view(4, -1).mean(1)
    assert int((layer.weight_mask == 0).sum()) == 100_000
    assert (shares - 0.5).abs().max() < 0.01


def test_random_draws_are_uniform():
    torch.manual_seed(6)
    counts = torch.zeros(20)
    for _ in range(2000):
        layer = nn.Linear(20, 1)
        prune.random_unstructured(layer, "weight", amount=5)
        counts += layer.weight_mask[0]
    assert (counts / 2000 - 0.75).abs().max() < 0.05  # five standard deviations


@pytest.mark.parametrize("scored", [False, True])
@pytest.mark.parametrize("method", ["L1Unstructured", "RandomUnstructured"])
@pytest.mark.parametrize("amount", AMOUNTS)
def test_global_masks_are_torchs(scored, method, amount):
    masks = []
    for library in (prune, torch_prune):
        layers = [module(kind) for kind in ("linear", "conv", "conv3d")]
        pairs = [(layer, name) for layer in layers for name in ("weight", "bias")]
        library.l1_unstructured(layers[1], "weight", 0.5)
        torch.manual_seed(7)
        scores = {pair: torch.randn(getattr(*pair).shape) for pair in pairs[:3]} if scored else None
        library.global_unstructured(pairs, getattr(library, method), importance_scores=scores, amount=amount)
        masks.append([getattr(layer, name + "_mask") for layer, name in pairs])
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(*masks, strict=True))


def test_global_takes_generators_repetitions_and_several_dtypes():
    torch.manual_seed(8)
    layers = [nn.Linear(20, 30).bfloat16(), nn.Linear(30, 10).double(), nn.Linear(10, 5)]
    values = torch.cat([layer.weight.detach().double().flatten() for layer in layers])
    names = itertools.chain(((layer, "weight") for layer in layers), [(layers[0], "weight")])
    prune.global_unstructured(names, prune.L1Unstructured, amount=400)
    masks = torch.cat([layer.weight_mask.double().flatten() for layer in layers])
    assert int((masks == 0).sum()) == 400
    assert values[masks == 0].abs().max() <= values[masks == 1].abs().min()
    assert [layer.weight_mask.dtype for layer in layers] == [torch.bfloat16, torch.float64, torch.float32]


class EverySecond(prune.BasePruningMethod):
    """The example of torch's tutorial."""

    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t, default_mask):
        mask = default_mask.clone()
        mask.view(-1)[::2] = 0
        return mask


class AllButLargest(prune.L1Unstructured):
    """Overrides the rule of a method that chooses in place."""

    def compute_mask(self, t, default_mask):
        mask = torch.zeros_like(default_mask)
        mask.view(-1)[t.abs().argmax()] = 1
        return mask * default_mask


def test_methods_of_ones_own_see_what_torch_shows_them():
    layer = module("linear")
    EverySecond.apply(layer, "weight")
    EverySecond.apply(layer, "weight")  # every second of those left
    assert layer.weight_mask.flatten()[:8].tolist() == [0, 0, 0, 1, 0, 0, 0, 1]
    prune.l1_unstructured(layer, "weight", amount=1)
    AllButLargest.apply(layer, "weight", amount=1)
    assert int(layer.weight_mask.sum()) == 1
    layers = [module("linear"), module("conv")]
    prune.global_unstructured([(layer, "weight") for layer in layers], AllButLargest, amount=1)
    assert sum(int(layer.weight_mask.sum()) for layer in layers) == 1


def test_nan_is_removed_last():
    layer = nn.Linear(3, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[float("nan"), 1e30, -float("inf")]]))
    prune.l1_unstructured(layer, "weight", amount=2)
    assert layer.weight_mask.tolist() == [[1, 0, 0]]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "layer, dim",
    [
        (lambda: nn.Linear(4, 6), 0),
        (lambda: nn.Linear(4, 6), -2),
        (lambda: nn.Conv2d(3, 6, 3), 0),
        (lambda: nn.Conv1d(4, 6, 3, groups=2), 0),
        (lambda: nn.ConvTranspose2d(3, 6, 3), 1),
        (lambda: nn.Bilinear(3, 2, 6), 0),
    ],
)
def test_the_bias_of_pruned_rows_goes_with_them(layer, dim, bias):
    """pytorch#38598."""
    torch.manual_seed(9)
    module = layer()
    if not bias:
        module.bias = None
    names = list(dict(module.named_parameters()))
    prune.ln_structured(module, "weight", 0.5, 1, dim)
    prune.random_structured(module, "weight", 1, dim)
    gone = ~module.weight_mask.movedim(dim, 0).flatten(1).any(1)
    assert int(gone.sum()) == 4
    if bias:
        assert torch.equal(module.bias == 0, gone)
        with torch.no_grad():  # as an optimizer would
            module.bias_orig.add_(1)
        if not isinstance(module, nn.Bilinear):
            out = module(
                torch.randn(
                    2, *([4] if isinstance(module, nn.Linear) else [4, 8] if module.weight.dim() == 3 else [3, 8, 8])
                )
            )
            channels = out.movedim(-1 if isinstance(module, nn.Linear) else 1, 0).flatten(1)
            assert torch.equal(channels.eq(0).all(1), gone)
    prune.remove(module, "weight")
    assert sorted(dict(module.named_parameters())) == sorted(names)
    assert not prune.is_pruned(module)
    if bias:
        assert torch.equal(module.bias == 0, gone)


@pytest.mark.parametrize(
    "layer, dim, options",
    [
        (lambda: nn.Linear(4, 6), 1, {}),
        (lambda: nn.ConvTranspose2d(6, 4, 3), 0, {}),
        (lambda: nn.ConvTranspose2d(6, 4, 3, groups=2), 1, {}),
        (lambda: nn.Linear(4, 6), 0, {"prune_bias": False}),
    ],
)
def test_other_biases_stay(layer, dim, options):
    module = layer()
    prune.ln_structured(module, "weight", 1, 1, dim, **options)
    assert isinstance(module.bias, nn.Parameter)


def test_a_bias_that_was_pruned_for_itself_stays_pruned():
    layer = nn.Linear(4, 6)
    prune.l1_unstructured(layer, "bias", amount=2)
    prune.ln_structured(layer, "weight", 2, 1, 0)
    prune.remove(layer, "weight")
    assert prune.is_pruned(layer) and isinstance(layer.weight, nn.Parameter)
    prune.remove(layer, "bias")
    assert int((layer.bias == 0).sum()) >= 2


V, T, X = ValueError, TypeError, IndexError
LAYER = nn.Linear(4, 3)


@pytest.mark.parametrize(
    "error, told, attempt",
    [
        (T, "amount.*'half'", lambda: prune.l1_unstructured(nn.Linear(4, 3), "weight", "half")),
        (V, "amount.*1.5", lambda: prune.l1_unstructured(nn.Linear(4, 3), "weight", 1.5)),
        (V, "amount.*nan", lambda: prune.l1_unstructured(nn.Linear(4, 3), "weight", float("nan"))),
        (V, "amount.*-1", lambda: prune.random_unstructured(nn.Linear(4, 3), "weight", -1)),
        (V, "amount.*12.*13", lambda: prune.random_unstructured(nn.Linear(4, 3), "weight", 13)),
        (V, "amount.*3.*4", lambda: prune.random_structured(nn.Linear(4, 3), "weight", 4, 0)),
        (V, "2 dimensions", lambda: prune.ln_structured(nn.Linear(4, 3), "bias", 1, 1, 0)),
        (X, r"dim.*\[-2, 1\].*2", lambda: prune.ln_structured(nn.Linear(4, 3), "weight", 1, 1, 2)),
        (X, r"dim.*-3", lambda: prune.random_structured(nn.Linear(4, 3), "weight", 1, -3)),
        (V, r"importance_scores.*\[3, 4\].*\[4\]",
         lambda: prune.l1_unstructured(nn.Linear(4, 3), "weight", 1, importance_scores=torch.ones(4))),
        (T, "pairs", lambda: prune.global_unstructured(3, prune.L1Unstructured, amount=1)),
        (T, "pairs", lambda: prune.global_unstructured([LAYER], prune.L1Unstructured, amount=1)),
        (T, "unstructured", lambda: prune.global_unstructured([(LAYER, "weight")], prune.LnStructured, amount=1, n=1)),
        (T, "importance_scores",
         lambda: prune.global_unstructured([(LAYER, "weight")], prune.L1Unstructured, importance_scores=[1], amount=1)),
        (V, "importance_scores",
         lambda: prune.global_unstructured(
             [(LAYER, "weight")], prune.L1Unstructured, importance_scores={(LAYER, "weight"): torch.ones(2)}, amount=1
         )),
        (V, "amount.*12", lambda: prune.global_unstructured([(LAYER, "weight")], prune.L1Unstructured, amount=13)),
        (V, "parameter", lambda: prune.global_unstructured([(LAYER, "in_features")], prune.L1Unstructured, amount=1)),
    ],
)  # fmt: skip
def test_bad_arguments_are_named(error, told, attempt):
    with pytest.raises(error, match=told):
        attempt()
    assert not prune.is_pruned(LAYER)
