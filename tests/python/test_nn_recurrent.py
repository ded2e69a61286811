"""SparseLSTM and SparseGRU: torch's modules in every option, with initial states, packed and unbatched sequences."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

import jouleprune as jp

KINDS = {"lstm": (nn.LSTM, jp.nn.SparseLSTM, jp.nn.SparseLSTMCSR), "gru": (nn.GRU, jp.nn.SparseGRU, jp.nn.SparseGRUCSR)}
OPTIONS = [
    {},
    {"bias": False, "batch_first": True},
    {"num_layers": 2},
    {"bidirectional": True},
    {"num_layers": 3, "bidirectional": True, "batch_first": True},
    {"num_layers": 2, "dropout": 0.5},
    {"num_layers": 2, "bidirectional": True, "proj_size": 3},
]
CASES = [(kind, options) for kind in KINDS for options in OPTIONS if kind == "lstm" or "proj_size" not in options]


def pruned(layer: nn.Module, density: float = 0.4) -> nn.Module:
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            if "weight" in name:
                parameter.mul_(torch.rand_like(parameter) < density)
    return layer


def pair(kind: str, options, dtype=torch.float64, dense=()):
    torch.manual_seed(0)
    make, sparse, _ = KINDS[kind]
    layer = pruned(make(5, 7, **options)).to(dtype).eval()
    return layer, sparse.from_dense(layer, dense=dense)


def state(kind: str, options, n: int | None, dtype=torch.float64):
    cells = options.get("num_layers", 1) * (2 if options.get("bidirectional") else 1)
    batch = () if n is None else (n,)
    h = torch.randn(cells, *batch, options.get("proj_size") or 7, dtype=dtype)
    return (h, torch.randn(cells, *batch, 7, dtype=dtype)) if kind == "lstm" else h


def inputs(kind: str, options, dtype=torch.float64):
    """Argument tuples: padded, one step, unbatched and packed sequences, with and without initial states."""
    first = options.get("batch_first", False)
    x = torch.randn(4, 6, 5, dtype=dtype)
    one_step, single = (x[:, :1] if first else x[:1]), torch.randn(3, 5, dtype=dtype)
    lengths = [2, 5, 1, 5][: 4 if first else 6] + ([] if first else [4, 3])
    longest = torch.randn(4, 6, 5, dtype=dtype) if first else torch.randn(5, 6, 5, dtype=dtype)
    packed = pack_padded_sequence(longest, lengths, batch_first=first, enforce_sorted=False)
    n = 4 if first else 6
    return [
        (x,), (x, state(kind, options, n, dtype)), (one_step,), (single,), (single, state(kind, options, None, dtype)),
        (packed,), (packed, state(kind, options, n, dtype)),
    ]  # fmt: skip


def flat(value) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    return [] if value is None else [tensor for item in value for tensor in flat(item)]


def assert_alike(left, right, **tolerance) -> None:
    left, right = flat(left), flat(right)
    assert len(left) == len(right)
    for a, b in zip(left, right, strict=True):
        torch.testing.assert_close(a, b, **tolerance)


@pytest.mark.parametrize("kind, options", CASES, ids=str)
@pytest.mark.parametrize("grad", [True, False])
def test_equal_outputs(kind, options, grad):
    dense, sparse = pair(kind, options)
    assert type(sparse) is KINDS[kind][2]
    for arguments in inputs(kind, options):
        with torch.set_grad_enabled(grad):
            assert_alike(sparse(*arguments), dense(*arguments), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_other_dtypes(kind, dtype):
    dense, sparse = pair(kind, {}, dtype)
    x = torch.randn(3, 2, 5).to(dtype)
    with torch.no_grad():
        tolerance = 8 * torch.finfo(dtype).eps
        assert_alike(sparse(x), dense(x), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kind, options", CASES, ids=str)
def test_gradients_are_the_dense_ones_at_kept_entries(kind, options):
    kept_dense = ["weight_hh_l0"]
    dense, sparse = pair(kind, options, dense=kept_dense)
    for arguments in inputs(kind, options)[1::3]:
        dense.zero_grad(), sparse.zero_grad()
        for module in (dense, sparse):
            output, last = module(*arguments)
            data = output.data if isinstance(output, PackedSequence) else output
            (data.square().sum() + sum(tensor.square().sum() for tensor in flat(last))).backward()
        for name, child in sparse.named_children():
            weight = dense.get_parameter(name)
            expected = weight.grad if name in kept_dense else weight.grad[weight != 0]
            torch.testing.assert_close(child.weight.grad if name in kept_dense else child.values.grad, expected)
            if child.bias is not None:
                torch.testing.assert_close(child.bias.grad, dense.get_parameter(name.replace("weight", "bias")).grad)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_inputs_and_states(kind):
    options = {"num_layers": 2, "bidirectional": True}
    dense, sparse = pair(kind, options)
    x, hx = torch.randn(4, 6, 5, dtype=torch.float64), state(kind, options, 6)
    gradients = []
    for module in (dense, sparse):
        leaves = [tensor.clone().requires_grad_() for tensor in (x, *(hx if kind == "lstm" else (hx,)))]
        output, _ = module(leaves[0], tuple(leaves[1:]) if kind == "lstm" else leaves[1])
        gradients.append(torch.autograd.grad(output.square().sum(), leaves))
    assert_alike(gradients[1], gradients[0])


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_between_layers_in_training_only(kind):
    dense, sparse = pair(kind, {"num_layers": 2, "dropout": 0.5})
    x = torch.randn(4, 6, 5, dtype=torch.float64)
    dense.train(), sparse.train()
    outputs = []
    for module in (dense, sparse):
        torch.manual_seed(3)
        outputs.append(module(x))
    assert_alike(outputs[1], outputs[0])
    assert not torch.equal(sparse(x)[0], sparse(x)[0])
    assert torch.equal(sparse.eval()(x)[0], sparse(x)[0])


@pytest.mark.parametrize("kind, options", CASES, ids=str)
def test_there_and_back(kind, options):
    dense, sparse = pair(kind, options, dense=["weight_ih_l0"])
    back = sparse.to_dense()
    assert back.extra_repr() == dense.extra_repr() and back.training == dense.training
    assert list(back.state_dict()) == list(dense.state_dict())
    assert all(torch.equal(value, dense.state_dict()[name]) for name, value in back.state_dict().items())
    kept = sum(
        parameter.numel() if name == "weight_ih_l0" else int(parameter.count_nonzero())
        for name, parameter in dense.named_parameters()
        if "weight" in name
    )
    assert sparse.nnz == kept and 0 < sparse.density < 1 and f"nnz={kept}" in repr(sparse)


@pytest.mark.parametrize("kind", KINDS)
def test_the_state_names_each_weight(kind):
    _, sparse = pair(kind, {"bidirectional": True}, dense=["weight_hh_l0_reverse"])
    csr = ("values", "col_indices", "row_offsets", "key", "bias")
    expected = {
        f"{weight}.{name}" for weight in ("weight_ih_l0", "weight_hh_l0", "weight_ih_l0_reverse") for name in csr
    }
    assert set(sparse.state_dict()) == expected | {"weight_hh_l0_reverse.weight", "weight_hh_l0_reverse.bias"}


@pytest.mark.parametrize("kind", KINDS)
def test_loading_another_number_of_kept_weights(kind):
    dense, sparse = pair(kind, {"num_layers": 2})
    source = type(sparse)(pruned(copy.deepcopy(dense), 0.5))
    x = torch.randn(4, 6, 5, dtype=torch.float64)
    sparse.load_state_dict(source.state_dict())
    assert_alike(sparse(x), source(x), rtol=0, atol=0)
    state = source.state_dict()
    state["weight_hh_l1.key"] = state["weight_hh_l1.key"] + 1
    with pytest.raises(RuntimeError, match=r"(?s)weight_hh_l1.*key"):
        sparse.load_state_dict(state)


@pytest.mark.parametrize("kind", KINDS)
def test_masks_by_name(kind):
    dense, _ = pair(kind, {})
    mask = torch.rand(dense.weight_hh_l0.shape) < 0.2
    sparse = KINDS[kind][1].from_dense(dense, mask={"weight_hh_l0": mask})
    assert sparse.weight_hh_l0.nnz == int(mask.sum())
    assert sparse.weight_ih_l0.nnz == int(dense.weight_ih_l0.count_nonzero())


class OfTensors(nn.Module):
    """Scripts a recurrent layer, as torch's: inside a module that calls it."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)[0]


class OfPacked(OfTensors):
    def forward(self, x: PackedSequence) -> Tensor:
        return self.inner(x)[0].data


@pytest.mark.parametrize("kind, options", CASES, ids=str)
def test_script(kind, options, tmp_path):
    _, sparse = pair(kind, options, dense=["weight_ih_l0"])
    torch.jit.script(OfTensors(sparse)).save(str(tmp_path / "m.pt"))
    scripted, packed = torch.jit.load(str(tmp_path / "m.pt")), torch.jit.script(OfPacked(sparse))
    for x, *_ in inputs(kind, options):
        if isinstance(x, PackedSequence):
            assert torch.equal(packed(x), sparse(x)[0].data)
        else:
            assert torch.equal(scripted(x), sparse(x)[0])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_front_ends(kind):
    torch._dynamo.reset()
    _, sparse = pair(kind, {"num_layers": 2, "bidirectional": True})
    x, longer = torch.randn(4, 6, 5, dtype=torch.float64), torch.randn(9, 3, 5, dtype=torch.float64)
    with torch.no_grad():
        assert_alike(torch.compile(sparse, backend="aot_eager", fullgraph=True)(x), sparse(x))
        program = torch.export.export(sparse, (x,), dynamic_shapes=({1: torch.export.Dim("n", min=2, max=64)},))
        traced = torch.jit.trace(sparse, (x,))
        for n in (6, 3):
            assert_alike(program.module()(x[:, :n]), sparse(x[:, :n]), rtol=0, atol=0)
        for other in (x, longer):
            assert_alike(traced(other), sparse(other), rtol=0, atol=0)


def test_autocast_keeps_one_dtype():
    for kind in KINDS:
        _, sparse = pair(kind, {"num_layers": 2}, torch.float32)
        with torch.autocast("cpu", torch.bfloat16):
            output, last = sparse(torch.randn(3, 2, 5))
        assert output.dtype == torch.bfloat16 and all(tensor.dtype == torch.bfloat16 for tensor in flat(last))


@pytest.mark.parametrize("kind", KINDS)
def test_trains(kind):
    _, sparse = pair(kind, {}, torch.float32)
    zeros = sparse.to_dense().weight_hh_l0 == 0
    x, y = torch.randn(5, 8, 5), torch.randn(5, 8, 7)
    optimizer = torch.optim.Adam(sparse.train().parameters(), lr=1e-2)
    losses = []
    for _ in range(30):
        loss = (sparse(x)[0] - y).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] and not sparse.to_dense().weight_hh_l0[zeros].any()


def test_named_errors():
    lstm, gru = nn.LSTM(5, 7), nn.GRU(5, 7)
    with pytest.raises(jp.PatternError, match=r"expected torch.nn.LSTM, got GRU"):
        jp.nn.SparseLSTM.from_dense(gru)
    with pytest.raises(jp.PatternError, match="layout: expected one of csr"):
        jp.nn.SparseGRU.from_dense(gru, layout="bsr")
    with pytest.raises(ValueError, match=r"mask: expected one of weight_ih_l0, weight_hh_l0, got 'weight'"):
        jp.nn.SparseLSTM.from_dense(lstm, mask={"weight": torch.ones(2)})
    with pytest.raises(ValueError, match=r"dense: expected names of weights, got str"):
        jp.nn.SparseLSTM.from_dense(lstm, dense="weight_ih_l0")
    with pytest.raises(ValueError, match="meta"):
        jp.nn.SparseLSTM.from_dense(nn.LSTM(5, 7, device="meta"))
    sparse = jp.nn.SparseLSTM.from_dense(lstm)
    with pytest.raises(ValueError, match=r"input_size = 5"):
        sparse(torch.randn(3, 2, 6))
    with pytest.raises(ValueError, match="hx: expected"):
        sparse(torch.randn(3, 2, 5), (torch.randn(1, 7), torch.randn(1, 7)))
    with pytest.raises(ValueError, match=r"lstm_csr: h: expected .*n = 2"):
        sparse(torch.randn(3, 2, 5), (torch.randn(1, 3, 7), torch.randn(1, 3, 7)))
    with pytest.raises(ValueError, match="at least one step"):
        sparse(torch.randn(0, 2, 5))
