"""The recorder: MACs counted by hand (output pixels x input channels per group x taps x output channels), by every
front end, and no trace in the model."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.utils import parametrizations, prune

import jouleprune as jp
from jouleprune.record import record

Macs = dict[str, int]


def workload(model: Any, inputs: Any, **options: Any) -> dict[str, Any]:
    return json.loads(record(model, inputs, **options))


def macs(recorded: dict[str, Any]) -> Macs:
    """MACs by layer, calls of a layer added up; layers without MACs left out."""
    total: Macs = {}
    for entry in recorded["entries"]:
        if entry["macs"]:
            total[entry["name"]] = total.get(entry["name"], 0) + entry["macs"]
    return total


class Cnn(nn.Module):
    """A small residual network: every kind of layer that front ends treat differently."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8)
        self.pointwise = nn.Conv2d(8, 16, 1)
        self.skip = nn.Conv2d(8, 16, 1, stride=2)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm(self.stem(x)))
        x = self.pointwise(torch.relu(self.depthwise(x))) + self.skip(x)
        return self.head(self.drop(x.mean([2, 3])))


def cnn() -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    return Cnn(), torch.randn(2, 3, 9, 7)


# Batch 2; 9 x 7 pixels, 5 x 4 after the stride.
CNN_MACS = {
    "stem": 2 * 63 * 3 * 9 * 8,
    "depthwise": 2 * 20 * 1 * 9 * 8,
    "pointwise": 2 * 20 * 8 * 16,
    "skip": 2 * 20 * 8 * 16,
    "head": 2 * 16 * 5,
}


def functional_cnn(model: nn.Module) -> tuple[Callable[..., torch.Tensor], tuple[torch.Tensor, ...]]:
    """The convolutions and the head as a function of tensors: nobody knows their names."""
    p = dict(model.named_parameters())

    def run(x: torch.Tensor, stem: torch.Tensor, depth: torch.Tensor, point: torch.Tensor, skip: torch.Tensor,
            head: torch.Tensor) -> torch.Tensor:  # fmt: skip
        x = F.relu(F.conv2d(x, stem, padding=1))
        y = F.relu(F.conv2d(x, depth, stride=2, padding=1, groups=8))
        return F.linear((F.conv2d(y, point) + F.conv2d(x, skip, stride=2)).mean((2, 3)), head)

    names = ("stem", "depthwise", "pointwise", "skip", "head")
    return run, tuple(p[f"{name}.weight"] for name in names)


@pytest.mark.parametrize(
    "front_end", ["eager", "script", "trace", "closure", "method", "fake", "mixed", "meta", "export"]
)
def test_every_front_end_gives_the_same_macs(front_end: str) -> None:
    model, x = cnn()
    if front_end == "script":
        recorded = workload(torch.jit.script(model.eval()), x)
    elif front_end == "trace":
        recorded = workload(torch.jit.trace(model.eval(), x), x)
    elif front_end == "closure":
        recorded = workload(lambda x: model(x), x)
    elif front_end == "method":
        recorded = workload(model.forward, x)
    elif front_end == "fake":
        with FakeTensorMode():
            recorded = workload(*cnn())
    elif front_end == "mixed":
        with FakeTensorMode(allow_non_fake_inputs=True) as mode:
            recorded = workload(model, mode.from_tensor(x))
    elif front_end == "meta":
        recorded = workload(model.to("meta"), x.to("meta"))
    elif front_end == "export":
        recorded = workload(torch.export.export(model.eval(), (x,)).module(), x)
    else:
        recorded = workload(model, x)
    assert macs(recorded) == CNN_MACS
    assert recorded["unknown_ops"] == []
    assert (recorded["batch"], recorded["count"], recorded["per"]) == (2, 2, "inference")
    weighted = [entry for entry in recorded["entries"] if entry["macs"]]
    assert [entry["weight"] for entry in weighted] == [f"{name}.weight" for name in CNN_MACS]


def test_functional_calls_are_named_by_order() -> None:
    model, x = cnn()
    run, weights = functional_cnn(model)
    recorded = workload(run, (x, *weights))
    assert list(macs(recorded).items()) == [
        ("conv2d_0", CNN_MACS["stem"]),
        ("conv2d_1", CNN_MACS["depthwise"]),
        ("conv2d_2", CNN_MACS["pointwise"]),
        ("conv2d_3", CNN_MACS["skip"]),
        ("linear_0", CNN_MACS["head"]),
    ]
    assert {entry["weight"] for entry in recorded["entries"]} == {""}


def test_compiled_modules_are_recorded_as_their_eager_original() -> None:
    model, x = cnn()
    calls = []

    def backend(graph: torch.fx.GraphModule, _: Any) -> Callable[..., Any]:
        calls.append(graph)
        return graph.forward

    compiled = torch.compile(model, backend=backend)
    assert macs(workload(compiled, x)) == CNN_MACS
    nested = nn.Sequential(torch.compile(model, backend=backend))
    assert macs(workload(nested, x)) == {f"0.{name}": count for name, count in CNN_MACS.items()}
    assert not calls
    compiled(x)
    assert calls  # compiling still works afterwards


def test_entries_of_a_convolution_and_what_surrounds_it() -> None:
    recorded = workload(*cnn())
    by_name = {entry["name"]: entry for entry in recorded["entries"]}
    depthwise = by_name["depthwise"]
    wanted = {"op": "conv2d", "dtype": "float32", "weight": "depthwise.weight", "shape": [8, 1, 3, 3], "rows": 1,
              "cols": 9, "n": 40, "groups": 8, "weight_elements": 72, "nnz": 72, "input_elements": 2 * 8 * 63,
              "output_elements": 2 * 8 * 20, "input_density": 1.0, "pattern": "dense", "layout": "dense",
              "kernel": "dense"}  # fmt: skip
    assert {key: depthwise[key] for key in wanted} == wanted
    norm = by_name["norm"]
    assert (norm["op"], norm["macs"], norm["ops"], norm["weight"]) == ("norm", 0, 2 * 2 * 8 * 63, "")
    addition = [entry for entry in recorded["entries"] if entry["op"] == "elementwise"][-1]
    assert (addition["input_elements"], addition["output_elements"]) == (2 * 2 * 16 * 20, 2 * 16 * 20)
    assert [entry["op"] for entry in recorded["entries"]] == [
        "conv2d", "norm", "elementwise", "conv2d", "elementwise", "conv2d", "conv2d", "elementwise", "reduce", "linear",
    ]  # fmt: skip


def test_lenet_and_mlp() -> None:
    lenet = nn.Sequential(
        nn.Conv2d(1, 20, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(20, 50, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(800, 500), nn.ReLU(), nn.Linear(500, 10),
    )  # fmt: skip
    recorded = workload(lenet, torch.zeros(1, 1, 28, 28))
    assert macs(recorded) == {"0": 288_000, "3": 1_600_000, "7": 400_000, "9": 5_000}
    pools = [entry for entry in recorded["entries"] if entry["op"] == "pool"]
    assert [pool["ops"] for pool in pools] == [20 * 12 * 12 * 4, 50 * 4 * 4 * 4]
    mlp = nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
    assert macs(workload(mlp, torch.zeros(4, 1, 28, 28))) == {"1": 4 * 784 * 128, "3": 4 * 128 * 10}


def test_a_gan_generator_counts_input_pixels() -> None:
    generator = nn.Sequential(
        nn.ConvTranspose2d(10, 6, 4, 1, 0), nn.BatchNorm2d(6), nn.ReLU(),
        nn.ConvTranspose2d(6, 4, 4, 2, 1, groups=2), nn.Tanh(),
    )  # fmt: skip
    recorded = workload(generator, torch.randn(3, 10, 1, 1))
    assert macs(recorded) == {"0": 3 * 1 * 10 * 6 * 16, "3": 3 * 16 * 6 * 2 * 16}
    entry = next(entry for entry in recorded["entries"] if entry["name"] == "3")
    assert (entry["op"], entry["rows"], entry["cols"], entry["n"], entry["groups"]) == (
        "conv_transpose2d",
        32,
        3,
        48,
        2,
    )


@pytest.mark.parametrize("dims", [1, 3])
def test_convolutions_of_other_dimensions(dims: int) -> None:
    layer = {1: nn.Conv1d, 3: nn.Conv3d}[dims](4, 6, 3, padding="same")
    recorded = workload(nn.Sequential(layer), torch.randn(2, 4, *[5] * dims))
    assert macs(recorded) == {"0": 2 * 5**dims * 4 * 3**dims * 6}
    assert recorded["entries"][0]["op"] == f"conv{dims}d"


def test_unbatched_convolution_and_linear_of_a_vector() -> None:
    assert macs(workload(nn.Sequential(nn.Conv2d(3, 4, 3)), torch.randn(3, 5, 5))) == {"0": 9 * 27 * 4}
    assert macs(workload(nn.Sequential(nn.Linear(7, 3)), torch.randn(7))) == {"0": 21}


def test_lstm_has_an_entry_per_weight_matrix() -> None:
    lstm = nn.ModuleDict({"lstm": nn.LSTM(5, 7, num_layers=2, bidirectional=True)})["lstm"]
    model = nn.Sequential()
    model.add_module("lstm", lstm)
    uses = 3 * 4  # steps x sequences
    expected = {
        f"lstm.weight_{side}_l{layer}{direction}": 28 * features * uses
        for layer, inputs in ((0, 5), (1, 14))
        for direction in ("", "_reverse")
        for side, features in (("ih", inputs), ("hh", 7))
    }
    recorded = workload(model, torch.randn(3, 4, 5), batch=4)
    assert macs(recorded) == expected
    assert {entry["op"] for entry in recorded["entries"] if entry["macs"]} == {"lstm"}
    assert macs(workload(torch.jit.script(model), torch.randn(3, 4, 5))) == expected


def test_packed_sequences_are_counted_by_their_real_steps() -> None:
    gru = nn.GRU(5, 6, batch_first=True)
    packed = nn.utils.rnn.pack_sequence([torch.randn(4, 5), torch.randn(2, 5)])
    recorded = workload(gru, packed)
    assert macs(recorded) == {"weight_ih_l0": 6 * 18 * 5, "weight_hh_l0": 6 * 18 * 6}
    assert recorded["batch"] == 2


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layers_tell_their_steps(kind: type[nn.Module], batch_first: bool) -> None:
    model = kind(4, 8, num_layers=2, bidirectional=True, batch_first=batch_first)
    found = workload(model, torch.rand((3, 7, 4) if batch_first else (7, 3, 4)))["entries"]
    assert {(one["n"], one["steps"]) for one in found if one["weight"]} == {(21, 7)}
    one_sequence = workload(kind(4, 8), torch.rand(5, 4), batch=1)["entries"]
    assert {one["steps"] for one in one_sequence if one["weight"]} == {5}
    packed = nn.utils.rnn.pack_sequence([torch.rand(6, 4), torch.rand(2, 4)])
    entries = workload(lambda: kind(4, 8)(packed), ())["entries"]
    assert {(one["n"], one["steps"]) for one in entries if one["op"] != "copy"} == {(8, 6)}


def test_entries_without_macs_tell_which_op_they_are() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.BatchNorm2d(4), nn.Sigmoid())
    entries = workload(model, torch.rand(1, 3, 8, 8))["entries"]
    assert [entry.get("call", "") for entry in entries] == ["", "relu", "max_pool2d", "batch_norm", "sigmoid"]


@pytest.mark.filterwarnings("ignore:LSTM with projections")
def test_projected_lstm_and_cells() -> None:
    recorded = workload(nn.LSTM(5, 7, proj_size=3, bias=False), torch.randn(2, 4, 5))
    assert macs(recorded) == {"weight_ih_l0": 8 * 28 * 5, "weight_hh_l0": 8 * 28 * 3, "weight_hr_l0": 8 * 3 * 7}
    for cell, gates in ((nn.LSTMCell(5, 7), 4), (nn.GRUCell(5, 7), 3), (nn.RNNCell(5, 7), 1)):
        assert macs(workload(cell, torch.randn(2, 5))) == {"weight_ih": 2 * gates * 35, "weight_hh": 2 * gates * 49}


@pytest.mark.parametrize("form", ["eager", "script"])
def test_transformer_encoder(form: str) -> None:
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
    model: nn.Module = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
    recorded = workload(torch.jit.script(model) if form == "script" else model, torch.randn(2, 6, 16))
    expected: Macs = {}
    for index in range(2):
        name = f"layers.{index}"
        expected |= {f"{name}.self_attn.in_proj_weight": 12 * 48 * 16, f"attention_{index}": 2 * 4 * 6 * 6 * (4 + 4)}
        expected |= {f"{name}.self_attn.out_proj": 12 * 256, f"{name}.linear1": 12 * 512, f"{name}.linear2": 12 * 512}
    assert macs(recorded) == expected
    assert recorded["unknown_ops"] == []


def test_multihead_attention_with_weights_is_made_of_products() -> None:
    attention = nn.MultiheadAttention(16, 4, batch_first=True)
    query, memory = torch.randn(2, 3, 16), torch.randn(2, 6, 16)
    recorded = workload(attention, (query, memory, memory))
    assert macs(recorded) == {
        "in_proj_weight": 6 * 16 * 16 + 12 * 32 * 16,  # queries; keys and values
        "matmul_0": 2 * 4 * 3 * 6 * 4,
        "matmul_1": 2 * 4 * 3 * 6 * 4,
        "out_proj": 6 * 256,
    }
    parts = [entry for entry in recorded["entries"] if entry["name"] == "in_proj_weight"]
    assert [(part["weight_elements"], part["weight"]) for part in parts] == [(256, ""), (512, "")]


def test_embedding_reads_the_rows_it_looks_up() -> None:
    model = nn.Sequential(nn.Embedding(100, 8), nn.Linear(8, 3))
    recorded = workload(model, torch.tensor([[1, 2, 3], [4, 5, 5]]))
    entry = recorded["entries"][0]
    assert (entry["name"], entry["op"], entry["macs"], entry["n"]) == ("0", "embedding", 0, 6)
    assert (entry["weight_elements"], entry["output_elements"], entry["shape"]) == (48, 48, [100, 8])
    bag = workload(nn.EmbeddingBag(100, 8), torch.tensor([[1, 2, 3], [4, 5, 5]]))["entries"][0]
    assert (bag["weight_elements"], bag["output_elements"], bag["ops"]) == (48, 16, 48)


def test_tied_weights_are_counted_per_call() -> None:
    layer = nn.Linear(8, 8)
    recorded = workload(nn.Sequential(layer, nn.ReLU(), layer), torch.randn(3, 8))
    entries = [entry for entry in recorded["entries"] if entry["weight"]]
    assert [(entry["name"], entry["weight"], entry["macs"]) for entry in entries] == [("0", "0.weight", 192)] * 2

    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(20, 8)
            self.head = nn.Linear(8, 20, bias=False)
            self.head.weight = self.embed.weight

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.embed(x))

    entries = workload(Tied(), torch.tensor([[1, 2]]))["entries"]
    assert [(entry["op"], entry["weight"]) for entry in entries] == [
        ("embedding", "embed.weight"),
        ("linear", "embed.weight"),
    ]


def test_products_of_weights_by_hand() -> None:
    class ByHand(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(6, 4))
            self.experts = nn.Parameter(torch.randn(3, 4, 5))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = torch.addmm(torch.zeros(6), x, self.weight.t())
            return (x.expand(3, 2, 4) @ self.experts).sum() + y.sum() + (self.weight @ x.t()).sum()

    recorded = workload(ByHand(), torch.randn(2, 4))
    found = [entry for entry in recorded["entries"] if entry["macs"]]
    assert [(e["name"], e["rows"], e["cols"], e["n"], e["groups"], e["shape"]) for e in found] == [
        ("linear", 6, 4, 2, 1, [6, 4]),
        ("experts", 5, 4, 2, 3, [3, 4, 5]),
        ("linear", 6, 4, 2, 1, [6, 4]),
    ]
    einsum = workload(lambda a, b: torch.einsum("bik,bkj->bij", a, b), (torch.randn(4, 8, 3), torch.randn(4, 3, 5)))
    assert macs(einsum) == {"matmul_0": 4 * 8 * 3 * 5}
    empty = workload(lambda a, b: a @ b, (torch.randn(0, 8, 3), torch.randn(0, 3, 5)))["entries"][0]
    assert (empty["macs"], empty["n"], empty["groups"]) == (0, 0, 1)


def test_zeros_of_weights_are_counted() -> None:
    model = nn.Sequential(nn.Linear(8, 4), nn.Conv2d(1, 2, 3).to(memory_format=torch.channels_last))
    with torch.no_grad():
        model[0].weight[0, :5] = torch.tensor([0.0, -0.0, 0.0, 0.0, float("nan")])
        model[1].weight[1] = 0
    recorded = workload(lambda x: (model[0](x), model[1](torch.ones(1, 1, 3, 3))), torch.randn(2, 8))
    assert [entry["nnz"] for entry in recorded["entries"]] == [28, 9]
    assert workload(model[0].to("meta"), torch.randn(2, 8, device="meta"))["entries"][0]["nnz"] == 32


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_dtypes(dtype: torch.dtype) -> None:
    model = nn.Linear(8, 4).to(dtype)
    with torch.no_grad():
        model.weight[0, :3] = -0.0
    entry = workload(model, torch.randn(2, 8, dtype=dtype))["entries"][0]
    assert (entry["dtype"], entry["nnz"]) == (str(dtype).removeprefix("torch."), 29)


def test_autocast_is_seen() -> None:
    model = nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 4))
    with torch.autocast("cpu", torch.bfloat16):
        recorded = workload(model, torch.randn(2, 8))
    assert [(entry["name"], entry["dtype"]) for entry in recorded["entries"]] == [("0", "bfloat16"), ("1", "bfloat16")]


def test_masks_of_torch_prune_are_dropped() -> None:
    model = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 4))
    plain = workload(model, torch.randn(2, 8))["entries"]
    prune.l1_unstructured(model[0], "weight", amount=0.5)
    assert not model[0].weight.is_leaf
    before = model[0].weight
    masked = workload(model, torch.randn(2, 8))["entries"]
    assert masked[0].pop("nnz") == 16
    assert plain[0].pop("nnz") == 32
    assert masked == plain
    assert model[0].weight is before  # the pruning hook made a new one during the pass


@pytest.mark.parametrize("kind", ["weight_norm", "spectral_norm", "orthogonal", "old_weight_norm"])
def test_parametrised_weights_keep_their_name(kind: str) -> None:
    layer = nn.Linear(8, 4)
    if kind == "old_weight_norm":
        with pytest.warns(FutureWarning):
            layer = nn.utils.weight_norm(layer)
    else:
        layer = getattr(parametrizations, kind)(layer)
    recorded = workload(nn.Sequential(layer), torch.randn(2, 8))
    assert [(entry["name"], entry["weight"]) for entry in recorded["entries"]] == [("0", "0.weight")]
    assert recorded["unknown_ops"] == []


def test_a_cache_written_by_the_model_is_an_activation() -> None:
    class Cached(nn.Module):
        cache: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("cache", torch.zeros(2, 4, 8))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.cache[:, :2].copy_(x)
            return x @ self.cache.transpose(1, 2)

    model = Cached()
    version = model.cache._version
    recorded = workload(model, torch.randn(2, 2, 8))
    assert macs(recorded) == {"matmul_0": 2 * 2 * 4 * 8}
    assert (model.cache.count_nonzero(), model.cache._version) == (0, version)


def test_unknown_ops_are_named_once() -> None:
    def run(x: torch.Tensor) -> torch.Tensor:
        return torch.fft.fft(x).abs() + torch.fft.fft(x).abs() + torch.linalg.svd(x)[0][0, 0]

    recorded = workload(run, torch.randn(4, 4))
    assert recorded["unknown_ops"] == ["aten::fft_fft", "aten::linalg_svd"]
    with pytest.raises(ValueError, match=r"ran no op that can be priced.*aten::fft_fft"):
        record(lambda x: torch.fft.fft(x), torch.randn(4))


def test_views_are_free_and_copies_are_not() -> None:
    def views(x: torch.Tensor) -> torch.Tensor:
        first, second = x.view(2, 12).t().reshape(24).chunk(2)
        return torch.cat([first.unsqueeze(0).contiguous(), second.unsqueeze(0)])

    entries = workload(views, torch.randn(4, 6))["entries"]
    assert [(entry["op"], entry["input_elements"]) for entry in entries] == [("copy", 24), ("copy", 24)]


# What leaves no trace, and what the arguments mean.


class Messy(nn.Module):
    """Does to itself what custom modules do."""

    calls: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 4)
        self.norm = nn.BatchNorm1d(4)
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("last", None)
        self.history: list[torch.Tensor] = []
        self.steps = 0
        self.fail = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        self.steps += 1
        self.last = x.clone()
        self.history.append(x)
        self.register_forward_hook(lambda *_: None)
        self.norm.train()
        x.mul_(2).add_(torch.rand(()))
        with torch.enable_grad():
            self.norm(self.layer(x)).sum().backward()
        self.layer.weight.requires_grad_(False)
        torch.set_grad_enabled(True)
        if self.fail:
            raise ArithmeticError("from the model")
        return self.norm(self.layer(x))


def state_of(model: Messy) -> dict[str, Any]:
    return {
        "tensors": copy.deepcopy(model.state_dict()),
        "grads": {name: None if p.grad is None else p.grad.clone() for name, p in model.named_parameters()},
        "grad_ids": [id(p.grad) for p in model.parameters()],
        "requires": [p.requires_grad for p in model.parameters()],
        "modes": [module.training for module in model.modules()],
        "versions": [tensor._version for tensor in [*model.buffers(), *model.parameters()]],
        "hooks": [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()],
        "python": (model.steps, len(model.history), model.last, list(model.__dict__), list(model._buffers)),
        "generator": torch.get_rng_state(),
        "flags": (
            torch.is_grad_enabled(),
            torch.backends.mha.get_fastpath_enabled(),
            torch.is_inference_mode_enabled(),
        ),
    }


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_no_trace_is_left(training: bool, fails: bool) -> None:
    torch.manual_seed(0)
    model = Messy().train(training)
    model.layer.eval()  # modes are restored module by module
    (model.layer(torch.randn(2, 6)) ** 2).sum().backward()
    model.fail = fails
    x = torch.randn(3, 6)
    x_before, before = x.clone(), state_of(model)
    if fails:
        with pytest.raises(ArithmeticError, match="from the model"):
            record(model, x)
    else:
        record(model, x)
    for key, after in state_of(model).items():
        if key in ("tensors", "grads", "generator"):
            torch.testing.assert_close(after, before[key], rtol=0, atol=0)
        else:
            assert after == before[key], key
    torch.testing.assert_close(x, x_before, rtol=0, atol=0)
    model.fail = False
    model(x.clone())  # still runs, and nobody is recording
    with pytest.raises(RuntimeError, match="not recording"):
        torch.ops.jouleprune.record_end()


def test_training_goes_on_across_a_recording() -> None:
    """A graph made before the recording runs backward after it."""
    model = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4))
    loss = model(torch.randn(5, 6)).sum()
    record(model, torch.randn(3, 6))
    loss.backward()
    assert model[0].weight.grad is not None


def test_scripted_modules_keep_their_mode() -> None:
    model = torch.jit.script(Cnn())
    before = copy.deepcopy(model.state_dict())
    record(model, torch.randn(2, 3, 9, 7))
    assert all(module.training for module in model.modules())
    torch.testing.assert_close(dict(model.state_dict()), dict(before), rtol=0, atol=0)


def test_inputs_of_every_form() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(6, 4)

        def forward(self, x: torch.Tensor, *, parts: dict[str, list[torch.Tensor]] | None = None) -> torch.Tensor:
            if parts is not None:
                parts["list"].append(x)
                x = x + parts["list"][0]
            return self.layer(x)

    x = torch.randn(3, 6)
    parts = {"list": [x]}
    for inputs in (x, (x,), {"x": x}, {"x": x, "parts": parts}):
        recorded = workload(Two(), inputs)
        assert (macs(recorded), recorded["batch"]) == ({"layer": 72}, 3)
    assert len(parts["list"]) == 1


def test_data_parallel_is_unwrapped(tmp_path: Any) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        wrapped = nn.parallel.DistributedDataParallel(nn.Sequential(nn.Linear(6, 4)))
        assert macs(workload(wrapped, torch.randn(2, 6))) == {"0": 48}
    finally:
        torch.distributed.destroy_process_group()


def test_batch_per_and_count() -> None:
    model = nn.Linear(6, 4)
    assert workload(model, torch.randn(3, 6), batch=6)["count"] == 6
    tokens = workload(model, torch.randn(3, 5, 6), per="token", count=15)
    assert (tokens["per"], tokens["count"], tokens["batch"]) == ("token", 15, 3)
    empty = workload(model, torch.randn(0, 6))
    assert (empty["entries"][0]["n"], empty["entries"][0]["macs"], empty["count"]) == (0, 0, 1)


def test_activation_densities() -> None:
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.ReLU(), nn.Linear(4, 2))
    with torch.no_grad():
        model[0].weight.copy_(torch.diag(torch.tensor([1.0, 1.0, -1.0, -1.0])))
    x = torch.ones(2, 4)
    x[0, 0] = 0
    for given, expected in ((0.25, [0.25, 0.25]), ({"2": 0.5}, [1.0, 0.5]), ("measured", [7 / 8, 3 / 8])):
        recorded = workload(model, x, activation_density=given)
        assert [entry["input_density"] for entry in recorded["entries"] if entry["weight"]] == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activation_density": 1.5}, r"activation_density: expected shares in \[0, 1\], got 1.5"),
        ({"activation_density": {"0": -0.1}}, r"shares in \[0, 1\], got -0.1"),
        ({"activation_density": float("nan")}, r"shares in \[0, 1\], got nan"),
        ({"activation_density": {"nobody": 0.5}}, r"expected layers of the model \(0\), got 'nobody'"),
        ({"activation_density": "guessed"}, "got 'guessed'"),
        ({"batch": 0}, "batch: expected a whole number of at least 1, got 0"),
        ({"count": 2.5}, "count: expected a whole number of at least 1, got 2.5"),
        ({"per": "token"}, 'count: per="token" needs the number of tokens'),
        ({"per": "year"}, "per: expected one of inference, token, request, got 'year'"),
    ],
)
def test_bad_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        record(nn.Sequential(nn.Linear(6, 4)), torch.randn(2, 6), **options)


def test_what_cannot_be_recorded() -> None:
    with pytest.raises(ValueError, match=r"expected a torch.nn.Module or a callable, got int"):
        record(3, torch.randn(2))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="ran no op that can be priced"):
        record(nn.Identity(), torch.randn(2))
    with pytest.raises(ValueError, match=r"0\.weight has no shape yet"):
        record(nn.Sequential(nn.LazyLinear(3)), torch.randn(2, 6))
    with pytest.raises(ValueError, match="needs inputs with data"):
        record(nn.Linear(6, 4, device="meta"), torch.randn(2, 6, device="meta"), activation_density="measured")
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        record(nn.Linear(6, 4), torch.randn(2, 7))


def test_recordings_do_not_nest() -> None:
    inner = nn.Linear(6, 4)
    with pytest.raises(RuntimeError, match="this thread is recording already"):
        record(lambda x: record(inner, x), torch.randn(2, 6))
    assert macs(workload(inner, torch.randn(2, 6))) == {"linear": 48}


def test_a_batch_of_none_is_refused():
    with pytest.raises(ValueError, match="example_inputs: expected at least 1 inference"):
        jp.estimate(torch.nn.Linear(4, 3), torch.ones(0, 4), profile="eyeriss-65nm")
    with pytest.raises(ValueError, match="example_inputs: expected at least 1 inference"):
        jp.plan(torch.nn.Linear(4, 3), torch.ones(0, 4), energy="50%", profile="eyeriss-65nm")
