"""int8 convolution in layout bsr: the op against exact integer arithmetic, the module, convert with calibration."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import jouleprune as jp
from jouleprune.convert import decisions


def pruned_conv(
    channels: int, rows: int, kernel=(3, 3), density: float = 0.4, bias: bool = True, **options
) -> nn.Conv2d:
    """Zeros in blocks of four channels, so that none of them are kept."""
    layer = nn.Conv2d(channels, rows, kernel, bias=bias, **options)
    out, inner, high, wide = layer.weight.shape
    keep = (torch.rand(out, -(-inner // 4), high, wide) < density).repeat_interleave(4, 1)[:, :inner]
    with torch.no_grad():
        layer.weight.mul_(keep)
    return layer.eval()


def in_int8(dense: nn.Conv2d, scale: float | None = None) -> jp.nn.SparseConv2dInt8:
    layer = jp.nn.SparseConv2d.from_dense(dense, dtype="int8")
    assert isinstance(layer, jp.nn.SparseConv2dInt8)
    layer.fix_input_scale(scale)
    return layer


def expected(x: torch.Tensor, dense: nn.Conv2d, scale: float | None) -> torch.Tensor:
    """The stated arithmetic with torch's own operations: whole sums (in float64), then float32 operations in order."""
    weight = dense.weight.detach()
    scales = weight.flatten(1).abs().amax(1) / 127
    scales = torch.where(scales > 0, scales, torch.ones(()))[:, None, None]
    w = (weight / scales[..., None]).round().clamp(-127, 127).double()
    largest = x.flatten(1).abs().amax(1)[:, None, None, None] / 127
    step = torch.where(largest > 0, largest, torch.ones(())) if scale is None else torch.tensor(scale)
    q = (x * (1 / step)).clamp(-127, 127).round().double()
    sums = F.conv2d(q, w, None, dense.stride, dense.padding, dense.dilation, dense.groups)
    out = sums.float() * (scales * step)
    return out if dense.bias is None else out + dense.bias.detach()[:, None, None]


CONVS = {
    "plain": {"channels": 16, "rows": 20, "padding": 1},
    "odd": {"channels": 7, "rows": 5, "kernel": (2, 3), "padding": (0, 2), "bias": False},
    "strided": {"channels": 9, "rows": 33, "stride": 2, "padding": 1},
    "dilated": {"channels": 8, "rows": 4, "dilation": (2, 1), "padding": (2, 1)},
    "grouped": {"channels": 18, "rows": 9, "groups": 3, "padding": 1},
    "depthwise": {"channels": 6, "rows": 6, "groups": 6, "density": 1.0},
    "pointwise": {"channels": 70, "rows": 40, "kernel": (1, 1)},
    "nothing kept": {"channels": 4, "rows": 3, "density": 0.0},
}


@pytest.mark.parametrize("scale", [None, 0.02])
@pytest.mark.parametrize("case", CONVS)
def test_the_layer_does_the_stated_arithmetic(case, scale):
    torch.manual_seed(0)
    dense = pruned_conv(**CONVS[case])
    layer, magnitudes = in_int8(dense, scale), torch.tensor([1, 10, 0.1])
    x = torch.randn(3, dense.in_channels, 9, 21) * magnitudes[:, None, None, None]
    with torch.no_grad():
        out = layer(x)
        torch.testing.assert_close(out, expected(x, dense, scale), rtol=1e-5, atol=1e-5)
        last = layer(x.to(memory_format=torch.channels_last))
        assert torch.equal(last, out) and last.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(layer(x[1]), out[1]), "an image alone, without the batch's dimension"
        assert torch.equal(layer(torch.stack([x, x], -1)[..., 0]), out)
        assert layer(x[:0]).shape == (0, *out.shape[1:])
        for dtype in (torch.bfloat16, torch.float16):
            low = layer(x.to(dtype))
            assert low.dtype == dtype and torch.equal(low, layer(x.to(dtype).float()).to(dtype))
    weight = layer.to_dense().weight
    assert not weight[dense.weight == 0].any()
    assert bool(((weight - dense.weight).abs() <= layer.scales[:, None, None, None] * 0.5001).all())


@pytest.mark.parametrize("isa", ["reference", "portable", "avx2", "avx512"])
def test_every_instruction_set_gives_the_same_bits(isa, monkeypatch):
    torch.manual_seed(0)
    layer, x = in_int8(pruned_conv(37, 40, padding=1)), torch.randn(2, 37, 11, 19)
    here = layer(x)
    monkeypatch.setenv("JOULEPRUNE_ISA", isa)
    try:
        there = layer(x)
    except ValueError as error:
        pytest.skip(str(error))
    assert torch.equal(here, there)


def test_activations_and_packing_by_hand():
    torch.manual_seed(1)
    dense, x = pruned_conv(6, 5, padding=1), torch.randn(2, 6, 5, 5)
    packed = jp.ops.pack_bsr_int8(F.pad(dense.weight.detach().permute(0, 2, 3, 1), (0, 2)))
    options = {"in_channels": 6, "kernel_size": (3, 3), "padding": (1, 1)}
    plain = jp.ops.conv2d_bsr_int8(x, *packed, dense.bias.detach(), **options)
    assert torch.equal(plain, in_int8(dense)(x))
    for name, function in (("relu", F.relu), ("gelu", F.gelu), ("silu", F.silu)):
        out = jp.ops.conv2d_bsr_int8(x, *packed, dense.bias.detach(), activation=name, **options)
        torch.testing.assert_close(out, function(plain))


def test_nan_and_infinity():
    layer, x = in_int8(pruned_conv(4, 6)), torch.randn(3, 4, 6, 6)
    x[0, 1, 0, 0], x[2, 3, 5, 5] = float("nan"), float("inf")
    assert layer(x).isnan().flatten(1).all(1).tolist() == [True, False, True]
    layer.fix_input_scale(0.1)
    out = layer(x)
    assert out.isnan().flatten(1).all(1).tolist() == [True, False, False] and not out[1:].isnan().any()
    x[2, 3, 5, 5] = 12.7
    assert torch.equal(out[2], layer(x)[2])


def test_gradients_are_refused():
    layer, x = in_int8(pruned_conv(4, 6)), torch.randn(1, 4, 6, 6, requires_grad=True)
    with pytest.raises(RuntimeError, match="conv2d_bsr_int8 has no derivative"):
        layer(x).sum().backward()
    with torch.no_grad():
        assert not layer(x).requires_grad


def test_bad_arguments():
    layer, x = in_int8(pruned_conv(8, 6, density=1.0)), torch.randn(1, 8, 6, 6)
    packed = [layer.blocks, layer.block_columns, layer.block_row_offsets, layer.key, layer.scales]
    good = {"in_channels": 8, "kernel_size": (3, 3)}
    for changes, kind, words in (
        ({"kernel_size": (3, 2)}, ValueError, "block_columns"),
        ({"in_channels": 9}, ValueError, r"input: expected \[n, in_channels = 9, h, w\], got \[1, 8, 6, 6\]"),
        ({"groups": 3}, ValueError, "groups: expected a positive divisor of in_channels = 8, got 3"),
        ({"stride": (0, 1)}, ValueError, "stride: expected two numbers from 1"),
        ({"kernel_size": (3, 3), "dilation": (4, 4)}, ValueError, "at least the size of the kernel"),
        ({"activation": "tanh"}, ValueError, "activation"),
        ({"input_scale": torch.tensor([-1.0])}, ValueError, "input_scale: expected a positive number"),
        ({"bias": torch.zeros(5)}, ValueError, r"bias: expected \[rows = 6\]"),
    ):
        with pytest.raises(kind, match=words):
            jp.ops.conv2d_bsr_int8(x, *packed, **{**good, **changes})
    with pytest.raises(ValueError, match="SparseConv2dInt8: input: expected a dense tensor"):
        layer(x.to_sparse())
    with pytest.raises(TypeError, match="input: expected float32, bfloat16 or float16"):
        jp.ops.conv2d_bsr_int8(x.double(), *packed, **good)
    with pytest.raises(ValueError, match="expected at most 131072"):
        jp.ops.conv2d_bsr_int8(torch.zeros(1, 14564, 3, 3), *packed, in_channels=14564, kernel_size=(3, 3))
    with pytest.raises(ValueError, match="mask: expected bool"):
        jp.nn.SparseConv2d.from_dense(nn.Conv2d(4, 4, 3), dtype="int8", mask=torch.ones(4, 4, dtype=torch.bool))
    with pytest.raises(jp.PatternError, match="layout: expected one of bsr"):
        jp.nn.SparseConv2d.from_dense(nn.Conv2d(4, 4, 3), layout="csr", dtype="int8")
    with pytest.raises(jp.PatternError, match="dtype: expected None or 'int8'"):
        jp.nn.SparseConv2d.from_dense(nn.Conv2d(4, 4, 3), dtype="int4")


def test_module_round_trips():
    torch.manual_seed(2)
    dense, x = pruned_conv(10, 12, padding="same"), torch.randn(2, 10, 8, 8)
    layer = in_int8(dense)
    assert not list(layer.parameters())
    out = layer(x)
    assert float(((out - dense(x)).norm() / dense(x).norm()).detach()) < 0.03
    back = layer.to_dense()
    assert back.weight.dtype == torch.float32 and torch.equal(back.bias, dense.bias)
    assert torch.equal(in_int8(back)(x), out)
    assert torch.equal(torch.jit.script(layer)(x), out)
    assert torch.equal(pickle.loads(pickle.dumps(layer))(x), out) and torch.equal(copy.deepcopy(layer)(x), out)
    exported = torch.export.export(layer, (x,), dynamic_shapes=({0: torch.export.Dim("n", min=1)},)).module()
    assert torch.equal(exported(torch.cat([x, x])), torch.cat([out, out]))
    low = copy.deepcopy(layer).bfloat16()
    assert low.scales.dtype == torch.float32 and low(x.bfloat16()).dtype == torch.bfloat16
    assert "input_scale=per image" in repr(layer) and layer.density == pytest.approx(layer.nnz / (12 * 10 * 9))
    mask = torch.rand(dense.weight.shape) < 0.2
    masked = jp.nn.SparseConv2d.from_dense(dense, dtype="int8", mask=mask)
    assert not masked.to_dense().weight[~mask].any()


def test_a_state_with_another_number_of_blocks():
    torch.manual_seed(3)
    x = torch.randn(2, 10, 8, 8)
    source, target = in_int8(pruned_conv(10, 12, density=0.8), 0.03), in_int8(pruned_conv(10, 12, density=0.2))
    target.load_state_dict(source.state_dict())
    assert torch.equal(target(x), source(x)) and "input_scale=0.03" in repr(target)
    before = target(x)
    for change in ({"key": source.key + 1}, {"scales": source.scales[:-1]}, {"blocks": source.blocks.int()}):
        with pytest.raises(RuntimeError, match=next(iter(change))):
            target.load_state_dict({**source.state_dict(), **change})
    with pytest.raises(RuntimeError, match="key of this structure"):
        in_int8(pruned_conv(10, 12, (1, 9))).load_state_dict({**source.state_dict(), "key": source.key.flip(0)})
    assert torch.equal(target(x), before)
    layer = in_int8(pruned_conv(10, 12))
    layer(x)
    layer.blocks.neg_()
    assert torch.equal(layer(x), copy.deepcopy(layer)(x)), "a new weight in place is seen"


def network() -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(4)
    layers = [pruned_conv(8, 16, padding=1), nn.ReLU(), pruned_conv(16, 12, (1, 1)), nn.Conv2d(12, 3, 3)]
    return nn.Sequential(*layers).eval(), torch.randn(2, 8, 10, 10)


@pytest.mark.parametrize("int8_s,wins", [(0.1, True), (0.79, False)])
def test_convert_lets_the_clock_decide(int8_s, wins):
    model, x = network()
    kinds = {nn.Conv2d: 1.0, jp.nn.SparseConv2dInt8: int8_s, jp.nn.SparseConv2dCSR: 0.8}
    ran: list[type] = []
    handle = nn.modules.module.register_module_forward_pre_hook(lambda module, _: ran.append(type(module)))

    def timer(call):
        ran.clear()
        call()
        return kinds.get(ran[0], 0.5)

    try:
        converted = jp.convert(model, x, dtype="int8", timer=timer)
    finally:
        handle.remove()
    assert {decision.layout for decision in decisions(converted)} == ({"bsr"} if wins else {"csr"})
    assert "torch dense int8" in jp.explain(converted)
    if wins:
        assert "relative error" in jp.explain(converted)
        assert float((converted(x) - model(x)).detach().norm() / model(x).detach().norm()) < 0.05
    else:
        assert "int8 does not win" in jp.explain(converted)


def test_calibration_checkpoint_and_price(tmp_path):
    model, x = network()
    converted = jp.convert(
        model, x, dtype="int8", calibration=[[x, torch.zeros(2)], [x * 3, torch.zeros(2)]], force=True
    )
    assert float(converted[0].input_scale) == pytest.approx(float(x.abs().max()) * 3 / 127)
    assert isinstance(converted[2], jp.nn.SparseConv2dInt8) and "forced" in jp.explain(converted)
    jp.save(converted, tmp_path / "m.safetensors")
    fresh = nn.Sequential(nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 12, 1), nn.Conv2d(12, 3, 3)).eval()
    loaded = jp.load(fresh, tmp_path / "m.safetensors")
    assert torch.equal(loaded(x), converted(x)) and jp.explain(loaded) == jp.explain(converted)
    with pytest.raises(ValueError, match="no SparseConv2dInt8 can take the place of Conv2d"):
        fresh[0] = nn.Conv2d(8, 16, 3, padding=1, padding_mode="circular")
        jp.load(fresh, tmp_path / "m.safetensors")
    report = jp.estimate(converted, x, profile="generic-cpu")
    kernels = [(layer.kernel, layer.dtype, layer.layout) for layer in report.layers if layer.op == "conv2d"]
    assert kernels == [("bsr-int8", "int8", "bsr")] * 2 + [("dense", "float32", "dense")]
    assert report.layers[0].shape == (16, 8, 3, 3) and report.layers[0].density == pytest.approx(converted[0].density)
    assert not report.unknown_ops and report.energy_j < jp.estimate(model, x, profile="generic-cpu").energy_j
