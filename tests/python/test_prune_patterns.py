"""n:m, blocks and vectors: hooks against slow definitions, on top of earlier masks, and into sparse modules."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

import jouleprune as jp
from jouleprune import prune


def n_of_m(scores: torch.Tensor, left: torch.Tensor, n: int, m: int, dim: int) -> torch.Tensor:
    """Group by group: the n largest of those left, the first of equal ones."""
    lines, mask = scores.movedim(dim, -1), left.clone().movedim(dim, -1)
    for place in torch.cartesian_prod(*(torch.arange(size) for size in lines.shape[:-1])).view(-1, scores.dim() - 1):
        line, kept = lines[tuple(place)], mask[tuple(place)]
        for begin in range(0, len(line), m):
            group = [i for i in range(begin, min(begin + m, len(line))) if kept[i]]
            for i in sorted(group, key=lambda i: (-float(line[i].abs()), i))[n:]:
                kept[i] = False
    return mask.movedim(-1, dim)


def without_blocks(scores, left, amount, r, c, p):
    """Block by block, of a convolution c channels at one tap: the amount of least mean norm goes, the last of equal
    ones."""
    matrix, mask = ((scores * left).double().reshape(*scores.shape[:2], -1), left.clone().reshape(*left.shape[:2], -1))
    blocks = []
    for row in range(0, matrix.shape[0], r):
        for col in range(0, matrix.shape[1], c):
            for tap in range(matrix.shape[2]):
                place = slice(row, row + r), slice(col, col + c), tap
                block = matrix[place].abs()
                norm = block.max() if p == float("inf") else block.pow(p).mean() ** (1 / p)
                if mask[place].any():
                    blocks.append((float(norm), -len(blocks), place))
    blocks.sort(key=lambda block: block[:2])
    for _, _, place in blocks[: round(amount * len(blocks)) if isinstance(amount, float) else amount]:
        mask[place] = False
    return mask.view(scores.shape)


LAYERS = {
    "linear": lambda: nn.Linear(11, 7),
    "conv": lambda: nn.Conv2d(6, 10, 3),
    "grouped": lambda: nn.Conv1d(8, 6, 3, groups=2),
}


def layer_with_ties(kind: str, removed: bool) -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    layer = LAYERS[kind]()
    with torch.no_grad():
        layer.weight.copy_((layer.weight * 20).round())
    if removed:
        prune.random_unstructured(layer, "weight", 0.4)
    return layer, layer.weight_mask != 0 if removed else torch.ones(layer.weight.shape, dtype=torch.bool)


@pytest.mark.filterwarnings("ignore:n_m_structured keeps")
@pytest.mark.parametrize("removed", [False, True])
@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("n, m", [(2, 4), (1, 2), (0, 3), (3, 5), (4, 4), (1, 100)])
def test_n_m(kind, removed, n, m):
    for dim in (1, 0, -1):
        layer, left = layer_with_ties(kind, removed)
        expected = n_of_m(layer.weight.detach(), left, n, m, dim % layer.weight.dim())
        assert prune.n_m_structured(layer, "weight", n, m, dim=dim) is layer
        assert torch.equal(layer.weight_mask != 0, expected)
        assert torch.equal(layer.weight, layer.weight_orig * expected)


@pytest.mark.parametrize("groups", [1, 4])
def test_n_m_runs_along_the_rows_of_the_planner(groups):
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Conv2d(8, 8, 3, groups=groups)), torch.randn(1, 8, 6, 6)
    twin = copy.deepcopy(model)
    prune.n_m_structured(model[0], "weight", 2, 4)
    share = float((model[0].weight_mask != 0).double().mean())  # all that 2:4 may keep
    options = {"profile": "eyeriss-65nm", "pattern": "2:4", "importance": "magnitude", "min_density": share}
    least = jp.plan(twin, x, energy="100%", **options).minimum_j
    plan = jp.plan(twin, x, energy=least, **options)
    kept = jp.ops.unpack_mask(plan.masks["0.weight"], list(model[0].weight.shape))
    assert torch.equal(model[0].weight_mask != 0, kept)


@pytest.mark.parametrize("removed", [False, True])
@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("amount", [0, 3, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("r, c", [(1, 4), (4, 4), (16, 16), (3, 2), (1, 1)])
def test_blocks(kind, removed, amount, r, c):
    for p in (1, 2, float("inf"), 3):  # sums of whole numbers are exact: ties stay ties
        layer, left = layer_with_ties(kind, removed)
        taps = layer.weight[0, 0].numel()
        blocks = -(-layer.weight.shape[0] // r) * -(-layer.weight.shape[1] // c) * taps
        if amount == 3 and blocks < 3:
            continue
        expected = without_blocks(layer.weight.detach(), left, amount, r, c, p)
        assert prune.block_structured(layer, "weight", amount, block_size=(r, c), n=p) is layer
        assert torch.equal(layer.weight_mask != 0, expected), p


@pytest.mark.parametrize("length", [1, 4, 16])
@pytest.mark.parametrize("kind", LAYERS)
def test_vectors_are_blocks_of_one_column(kind, length):
    layer, left = layer_with_ties(kind, True)
    expected = without_blocks(layer.weight.detach(), left, 0.5, length, 1, 1)
    assert prune.vector_structured(layer, "weight", 0.5, length=length) is layer
    assert torch.equal(layer.weight_mask != 0, expected)


def test_repeated_calls_prune_what_is_left():
    layer = nn.Linear(16, 16)
    blocks = 16
    for _ in range(3):
        prune.block_structured(layer, "weight", 0.5, block_size=(4, 4))
        blocks -= round(blocks * 0.5)
        kept = layer.weight_mask.view(4, 4, 4, 4).amax((1, 3))
        assert int(kept.sum()) == blocks
    prune.n_m_structured(layer, "weight", 2, 4)
    prune.l1_unstructured(layer, "weight", 1)
    assert int(layer.weight_mask.sum()) == blocks * 8 - 1
    assert len(layer._forward_pre_hooks) == 1
    prune.remove(layer, "weight")
    assert int((layer.weight != 0).sum()) == blocks * 8 - 1


@pytest.mark.parametrize(
    "call",
    [
        lambda layer, scores: prune.n_m_structured(layer, "weight", 1, 3, importance_scores=scores),
        lambda layer, scores: prune.block_structured(layer, "weight", 4, block_size=(2, 3), importance_scores=scores),
        lambda layer, scores: prune.vector_structured(layer, "weight", 4, length=2, importance_scores=scores),
    ],
)
def test_importance_scores_take_the_place_of_weights(call):
    torch.manual_seed(1)
    layer, other = nn.Linear(9, 4), nn.Linear(9, 4)
    scores = torch.randn(4, 9)
    call(layer, scores)
    with torch.no_grad():
        other.weight.copy_(scores)
    call(other, None)
    assert torch.equal(layer.weight_mask, other.weight_mask)
    with pytest.raises(ValueError, match=r"importance_scores.*\[4, 9\]"):
        call(nn.Linear(9, 4), torch.ones(3))


def test_patterns_copy_and_pickle():
    layer, x = nn.Linear(16, 8), torch.randn(2, 16)
    prune.vector_structured(layer, "weight", 0.5, length=4)
    prune.n_m_structured(layer, "weight", 2, 4)
    layer(x)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(twin(x), layer(x))
        prune.n_m_structured(twin, "weight", 1, 4)
        assert len(twin._forward_pre_hooks) == 1


def test_pruned_blocks_become_a_block_sparse_layer():
    torch.manual_seed(2)
    layer, x = nn.Linear(64, 48), torch.randn(3, 64)
    prune.vector_structured(layer, "weight", 0.75, length=16)
    expected = layer(x)
    prune.remove(layer, "weight")
    sparse = jp.nn.SparseLinear.from_dense(layer, layout="bsr", block_size=(16, 1))
    assert sparse.blocks.shape == (48, 16, 1)
    torch.testing.assert_close(sparse(x), expected)


@pytest.mark.parametrize("layer", [nn.Conv2d(10, 12, 3), nn.Conv2d(16, 8, (1, 3), groups=2), nn.Conv1d(6, 8, 5)])
def test_blocks_of_a_convolution_are_those_of_plans(layer):
    """Equal importance of a block in both: the same blocks go, and int8 stores nothing else."""
    torch.manual_seed(4)
    model = nn.Sequential(layer)
    x = torch.randn(1, layer.in_channels, *[9] * (layer.weight.dim() - 2))
    norms = jp.ops.norm_importance(layer.weight.detach(), block_size=(2, 2))
    assert norms[0, 0, 0].unique().numel() == norms[0, 0, 0].numel()  # each tap of a row has a block of its own
    plan = jp.plan(model, x, energy="60%", profile="eyeriss-65nm", pattern="2x2", importance="l2")
    entry = plan.layers[0]
    kept = jp.ops.unpack_mask(plan.masks["0.weight"], layer.weight.shape)
    if layer.weight.shape[1] % 2 == 0:  # no smaller blocks: means and sums over a block rank alike
        pruned = copy.deepcopy(layer)
        prune.block_structured(pruned, "weight", entry.units - entry.kept, block_size=(2, 2), n=2)
        assert torch.equal(pruned.weight_mask != 0, kept)
    if isinstance(layer, nn.Conv2d):
        quads = copy.deepcopy(layer)
        prune.block_structured(quads, "weight", 0.5, block_size=(1, 4))
        prune.remove(quads, "weight")
        sparse = jp.nn.SparseConv2d.from_dense(quads, dtype="int8")
        channels = layer.weight.shape[1]
        taps = -(-channels // 4) * layer.weight[0, 0].numel() * layer.out_channels
        assert sparse.block_columns.numel() == taps - round(0.5 * taps)


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_do_not_show(threads):
    torch.manual_seed(3)
    layer = nn.Linear(700, 300)
    before = torch.get_num_threads()
    masks = []
    try:
        for count in (1, threads):
            torch.set_num_threads(count)
            twin = copy.deepcopy(layer)
            prune.block_structured(twin, "weight", 0.3, block_size=(4, 4), n=2)
            prune.n_m_structured(twin, "weight", 2, 4)
            prune.l1_unstructured(twin, "weight", 0.3)
            masks.append(twin.weight_mask)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*masks)


@pytest.mark.parametrize(
    "error, told, attempt",
    [
        (ValueError, "n, m.*5:4", lambda layer: prune.n_m_structured(layer, "weight", 5, 4)),
        (TypeError, "n.*2.5", lambda layer: prune.n_m_structured(layer, "weight", 2.5, 4)),
        (IndexError, "dim", lambda layer: prune.n_m_structured(layer, "weight", 2, 4, dim=2)),
        (IndexError, "dim", lambda layer: prune.n_m_structured(layer, "bias", 2, 4)),
        (ValueError, "block_size", lambda layer: prune.block_structured(layer, "weight", 1, block_size=(0, 4))),
        (ValueError, "block_size", lambda layer: prune.block_structured(layer, "weight", 1, block_size=(4,))),
        (ValueError, "n:", lambda layer: prune.block_structured(layer, "weight", 1, block_size=(4, 4), n=0)),
        (ValueError, "block_size.*4", lambda layer: prune.block_structured(layer, "weight", 1, block_size=4)),
        (ValueError, "block_size.*44", lambda layer: prune.block_structured(layer, "weight", 1, block_size="44")),
        (ValueError, "n:.*two", lambda layer: prune.block_structured(layer, "weight", 1, block_size=(4, 4), n="two")),
        (ValueError, "n:.*nan", lambda layer: prune.vector_structured(layer, "weight", 1, n=float("nan"))),
        (ValueError, "length", lambda layer: prune.vector_structured(layer, "weight", 1, length="4")),
        (TypeError, "amount", lambda layer: prune.vector_structured(layer, "weight", "half")),
        (
            TypeError,
            "importance_scores",
            lambda layer: prune.n_m_structured(layer, "weight", 2, 4, importance_scores=[1.0]),
        ),
        (
            ValueError,
            "amount.*2 units.*got 3",
            lambda layer: prune.block_structured(layer, "weight", 3, block_size=(4, 4)),
        ),
        (ValueError, "2 dimensions", lambda layer: prune.block_structured(layer, "bias", 1, block_size=(1, 1))),
        (ValueError, "length", lambda layer: prune.vector_structured(layer, "weight", 1, length=0)),
        (ValueError, "amount", lambda layer: prune.vector_structured(layer, "weight", 1.5)),
    ],
)
def test_bad_arguments_are_named(error, told, attempt):
    layer = nn.Linear(8, 3)
    with pytest.raises(error, match=told):
        attempt(layer)
    assert not prune.is_pruned(layer) and list(dict(layer.named_parameters())) == ["weight", "bias"]


def test_n_of_m_where_nothing_goes_warns():
    layer = torch.nn.Conv2d(8, 8, 3, groups=4)
    with pytest.warns(UserWarning, match=r"keeps 2 of each 4 along dim 1 .* \(8, 2, 3, 3\): nothing goes"):
        prune.n_m_structured(layer, "weight", 2, 4, dim=1)
    prune.n_m_structured(layer, "weight", 1, 4, dim=1)  # of 2 entries one goes
    assert int((layer.weight == 0).sum()) == layer.weight.numel() // 2
