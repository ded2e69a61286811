"""Int8 layers that share or hand over bytes: the ops, and ``convert(fuse=True)``, which must not change a bit."""

from __future__ import annotations

import copy
import json
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import jouleprune as jp
from jouleprune.record import record

INT8 = (jp.nn.SparseLinearInt8, jp.nn.SparseConv2dInt8)


@pytest.fixture(autouse=True)
def inference():
    torch.manual_seed(0)
    with torch.no_grad():
        yield


def pruned(model: nn.Module, density: float = 0.5) -> nn.Module:
    """Blocks of four inputs; norms that are not the identity."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            channels = module.weight.shape[1]
            keep = torch.rand(module.weight.shape[0], -(-channels // 4), *module.weight.shape[2:]) < density
            module.weight.mul_(keep.repeat_interleave(4, 1)[:, :channels])
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
            module.weight.normal_()
            module.bias.normal_()
    return model.eval()


def converted(model: nn.Module, x: Tensor, fuse: bool, static: bool = True) -> nn.Module:
    return jp.convert(model, x, dtype="int8", force=True, fuse=fuse, calibration=[x] if static else None)


def packed(rows: int, cols: int) -> list[Tensor]:
    return list(jp.ops.pack_bsr_int8(pruned(nn.Linear(cols, rows)).weight))


@pytest.mark.parametrize("isa", ["reference", "portable", "avx2", "avx512"])
@pytest.mark.parametrize("scale", [None, 0.02])
@pytest.mark.parametrize("n", [1, 5, 16, 70])
def test_bytes_give_the_bits_of_floats(n, scale, isa, monkeypatch):
    monkeypatch.setenv("JOULEPRUNE_ISA", isa)
    weight, x, bias = packed(70, 90), torch.randn(n, 90), torch.randn(70)
    given, step = None if scale is None else torch.tensor([scale]), torch.tensor([0.03])
    try:
        values, scales = jp.ops.quantize_bytes(x, given)
    except ValueError as error:
        pytest.skip(str(error))
    by_hand = (x.abs().amax(1) / 127) if scale is None else torch.full((n,), scale)
    assert torch.equal(scales, by_hand)
    steps = (x * (1 / scales)[:, None]).clamp(-127, 127).round()
    assert torch.equal(values.long() - 128, steps.long())
    for activation in ("none", "relu", "gelu"):
        options = {"in_features": 90, "activation": activation}
        plain = jp.ops.linear_bsr_int8(x, *weight, bias, input_scale=given, **options)
        assert torch.equal(jp.ops.linear_bsr_int8(values, *weight, bias, input_scale=scales, **options), plain)
        if activation != "gelu":
            expected = jp.ops.quantize_bytes(plain, step)
            for input, input_scale in ((x, given), (values, scales)):
                made = jp.ops.linear_bsr_int8_to_bytes(
                    input, *weight, bias, input_scale=input_scale, output_scale=step, **options
                )
                assert all(map(torch.equal, made, expected))


def test_a_lost_row_stays_lost():
    weight, x = packed(20, 30), torch.randn(40, 30)
    x[3, 5], x[30, 0] = float("nan"), float("inf")
    values, scales = jp.ops.quantize_bytes(x)
    assert scales.isnan().nonzero().flatten().tolist() == [3, 30]
    between, steps = jp.ops.linear_bsr_int8_to_bytes(
        values, *weight, in_features=30, input_scale=scales, output_scale=torch.tensor([0.1])
    )
    assert steps.isnan().nonzero().flatten().tolist() == [3, 30] and bool((steps[:3] == 0.1).all())
    out = jp.ops.linear_bsr_int8(between, *packed(7, 20), in_features=20, input_scale=steps)
    assert out.isnan().all(1).nonzero().flatten().tolist() == [3, 30] and int(out.isnan().sum()) == 14
    image = torch.randn(3, 4, 5, 5)
    image[1, 2, 3, 3] = float("nan")
    assert jp.ops.quantize_bytes(image, shared_dims=3)[1].isnan().tolist() == [False, True, False]


def test_bad_arguments():
    weight, x, step = packed(5, 8), torch.randn(2, 8), torch.tensor([0.1])
    values, scales = jp.ops.quantize_bytes(x)

    def call(**changed):
        arguments = {"input_scale": scales, "output_scale": step, "in_features": 8} | changed
        return jp.ops.linear_bsr_int8_to_bytes(arguments.pop("input", values), *weight, **arguments)

    with pytest.raises(ValueError, match="input_scale: expected the scales of the bytes in input, got none"):
        call(input_scale=None)
    with pytest.raises(ValueError, match="input_scale: expected a scale for each of 2 rows"):
        call(input_scale=scales[:1])
    with pytest.raises(TypeError, match="input_scale: expected float32"):
        call(input_scale=scales.double())
    for bad in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="output_scale: expected a positive number"):
            call(output_scale=torch.tensor([bad]))
    with pytest.raises(ValueError, match="output_scale: expected one number"):
        call(output_scale=scales)
    with pytest.raises(ValueError, match="activation: expected one of none, relu, got 'gelu'"):
        call(activation="gelu")
    with pytest.raises(ValueError, match=r"input: expected \[..., 8\]"):
        call(input=values[:, :7])
    with pytest.raises(TypeError, match="uint8 with its scales, got"):
        call(input=values.to(torch.int8))
    with pytest.raises(TypeError, match="bias: expected float32"):
        call(bias=torch.zeros(5, dtype=torch.uint8))
    with pytest.raises(TypeError, match="quantize_bytes: input: expected float32, bfloat16 or float16"):
        jp.ops.quantize_bytes(values)
    with pytest.raises(ValueError, match="shared_dims: expected 1 to the dimensions"):
        jp.ops.quantize_bytes(x, shared_dims=3)
    wide = list(jp.ops.pack_bsr_int8(torch.zeros(1, 131072)))
    with pytest.raises(ValueError, match="in_features: expected at most 131071"):
        jp.ops.linear_bsr_int8(
            torch.zeros(1, 131072, dtype=torch.uint8), *wide, in_features=131072, input_scale=torch.ones(1)
        )
    with torch.enable_grad():  # the scales carry on what bytes cannot
        for name, made in (
            ("quantize_bytes", jp.ops.quantize_bytes(x.clone().requires_grad_())),
            ("linear_bsr_int8_to_bytes", call(input=x.clone().requires_grad_(), input_scale=None)),
        ):
            with pytest.raises(RuntimeError, match=f"{name} has no derivative"):
                made[1].sum().backward()


class Attention(nn.Module):
    """Three layers read one value; what follows them reads their sum."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = nn.Linear(30, 20), nn.Linear(30, 20), nn.Linear(30, 20, bias=False)
        self.out = nn.Linear(20, 30)

    def forward(self, x: Tensor) -> Tensor:
        mixed = torch.softmax(self.query(x) * self.key(x), -1) * self.value(x)
        return x + self.out(mixed)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("static", [True, False])
def test_layers_of_one_input_round_it_once(static, dtype):
    model, x = pruned(Attention()).to(dtype), torch.randn(2, 9, 30, dtype=dtype)
    alone, together = converted(model, x, False, static), converted(model, x, True, static)
    assert torch.equal(together(x), alone(x)) and together(x).dtype == dtype
    assert together.code.count("quantize_bytes(") == 1 and together.code.count(".from_bytes(") == 3
    told = jp.explain(together)
    assert told.count("its input is rounded once") == 3 and "for query, key too" in told
    assert type(together).__name__ == "Attention" and together.state_dict().keys() == alone.state_dict().keys()


def test_layers_of_other_scales_do_not_share():
    model, x = pruned(Attention()), torch.randn(4, 30)
    alone = converted(model, x, False)
    alone.key.fix_input_scale(0.5)
    fused, told = jp.fuse.fused(alone, x)
    assert fused.code.count(".from_bytes(") == 2 and set(told) == {"query", "value"}
    assert torch.equal(fused(x), alone(x))


def mlp() -> nn.Module:
    return pruned(
        nn.Sequential(
            nn.Linear(40, 70), nn.BatchNorm1d(70), nn.ReLU(), nn.Dropout(), nn.Linear(70, 50, bias=False), nn.ReLU(),
            nn.Linear(50, 30), nn.GELU(), nn.Linear(30, 10),
        )
    )  # fmt: skip


def test_a_chain_of_linear_layers(tmp_path):
    model, x = mlp(), torch.randn(33, 40)
    alone, chain = converted(model, x, False), converted(model, x, True)
    assert all(type(chain.get_submodule(name)) is jp.nn.SparseLinearInt8 for name in "0468")
    assert chain.code.count(".to_bytes(") == 2 and chain.code.count(".from_bytes(") == 1  # a GELU needs floats
    told = jp.explain(chain)
    assert "fused BatchNorm1d 1 and ReLU 2; hands bytes to 4" in told and "fused ReLU 5; hands bytes to 6" in told
    assert "fused GELU 7" in told and "hands bytes to 8" not in told
    difference = float((chain(x) - alone(x)).abs().max() / alone(x).abs().max())
    assert difference < 1e-2  # folding a norm rounds its scale anew, and a value between two steps may go either way
    # Without the bytes, but with the same norms and activations folded: to the bit.
    assert torch.equal(chain(x), jp.fuse.fused(alone, x, pass_bytes=False)[0](x))
    assert torch.equal(chain(x[:3]), chain(x)[:3])
    x[5, 1] = float("nan")
    assert chain(x).isnan().all(1).nonzero().flatten().tolist() == [5]
    entries = json.loads(record(chain, x.nan_to_num()))["entries"]
    assert [entry["kernel"] for entry in entries if entry["op"] == "linear"] == ["bsr-int8"] * 4


@pytest.mark.filterwarnings("ignore:The TorchScript type system")  # of torch's own GraphModule
def test_front_ends_of_a_chain(tmp_path):
    model, x = mlp(), torch.randn(33, 40)
    chain = converted(model, x, True)
    expected = chain(x)
    assert torch.equal(torch.jit.script(chain)(x), expected)
    assert torch.equal(torch.export.export(chain, (x,)).module()(x), expected)
    assert torch.equal(copy.deepcopy(chain)(x), expected)
    assert torch.equal(pickle.loads(pickle.dumps(chain))(x), expected)
    path = tmp_path / "chain.safetensors"
    jp.save(chain, path)
    loaded = jp.load(mlp(), path)
    assert type(loaded) is nn.Sequential and torch.equal(loaded(x), expected)
    chain.get_submodule("4").fix_input_scale(None)
    with pytest.raises(ValueError, match="output_scale: expected a positive number"):
        chain(x)


class Convolutions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(6, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        self.second = nn.Conv2d(16, 24, 3, stride=2, padding=1, groups=2)
        self.left, self.right = nn.Conv2d(24, 8, 1), nn.Conv2d(24, 8, 3, padding=1)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(F.relu(self.norm(self.first(x)))).relu()
        return self.head((self.left(x) * self.right(x)).mean((-2, -1)))


@pytest.mark.filterwarnings("ignore:The TorchScript type system")  # of torch's own GraphModule
@pytest.mark.parametrize("channels_last", [False, True])
def test_a_chain_of_convolutions(channels_last):
    model, x = pruned(Convolutions()), torch.randn(3, 6, 11, 21)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    alone, chain = converted(model, x, False), converted(model, x, True)
    assert chain.code.count(".to_bytes(") == 2 and chain.code.count(".from_bytes(") == 2
    assert "hands bytes to left, right" in jp.explain(chain) and "fused BatchNorm2d norm" in jp.explain(chain)
    assert torch.equal(chain(x), jp.fuse.fused(alone, x, pass_bytes=False)[0](x))
    assert torch.equal(chain(x[1]), chain(x)[1])
    assert torch.equal(torch.jit.script(chain)(x), chain(x))
    assert torch.equal(chain(x[:0]), alone(x[:0]))


@pytest.mark.parametrize("activation", ["relu", nn.ReLU(), "gelu"])
def test_the_feed_forward_of_torchs_transformer_layer(activation):
    layer = nn.TransformerEncoderLayer(32, 4, 64, activation=activation, batch_first=True)
    model, x = pruned(nn.Sequential(layer)), torch.randn(2, 5, 32)
    alone, chain = converted(model, x, False), converted(model, x, True)
    handed = activation != "gelu"
    assert hasattr(chain[0], "bytes_between") == handed and ("hands bytes to linear2" in jp.explain(chain)) == handed
    assert torch.equal(chain(x), alone(x)) and torch.equal(copy.deepcopy(chain)(x), chain(x))
    mask = nn.Transformer.generate_square_subsequent_mask(5)
    assert torch.equal(chain[0](x, src_mask=mask), alone[0](x, src_mask=mask))
    if isinstance(activation, str):
        assert torch.equal(torch.jit.script(chain)(x), chain(x))


class Read(nn.Module):
    """What a layer gives is read by somebody else, too."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(20, 20), nn.Linear(20, 20)

    def forward(self, x: Tensor) -> Tensor:
        between = self.first(x)
        return between + self.second(between)


def test_outputs_that_others_read_stay_floats():
    model, x = pruned(Read()), torch.randn(5, 20)
    chain = converted(model, x, True)
    assert type(chain) is Read and "bytes" not in jp.explain(chain)
    listened = converted(pruned(mlp()), torch.randn(5, 40), False)
    listened[6].register_forward_hook(lambda *_: None)
    fused, told = jp.fuse.fused(listened, torch.randn(5, 40))
    assert all("bytes" not in what for what in told.values()) and isinstance(fused, nn.Sequential)
    dynamic = converted(pruned(mlp()), torch.randn(5, 40), True, static=False)
    assert "bytes" not in jp.explain(dynamic) and "fused BatchNorm1d 1 and ReLU 2" in jp.explain(dynamic)


def test_negative_and_zero_scales_of_a_folded_norm():
    model = pruned(nn.Sequential(nn.Linear(16, 6), nn.BatchNorm1d(6)))
    model[1].weight.copy_(torch.tensor([-2.0, 0.0, 1.0, -0.5, 3.0, -1.0]))
    x = torch.randn(7, 16)
    alone, fused = converted(model, x, False), converted(model, x, True)
    assert type(fused[1]) is nn.Identity and fused[0].bias is not None
    torch.testing.assert_close(fused(x), alone(x), rtol=1e-5, atol=1e-5)
    again = jp.nn.SparseLinear.from_dense(fused[0].to_dense(), dtype="int8")
    again.fix_input_scale(float(fused[0].input_scale))
    torch.testing.assert_close(again(x), fused[0](x), rtol=1e-5, atol=1e-5)
