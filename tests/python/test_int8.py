"""int8 in layout bsr: packing, the op against exact integer arithmetic, the module, convert with calibration."""

from __future__ import annotations

import copy
import pickle
import warnings

import pytest
import torch
from torch import nn

import jouleprune as jp
from jouleprune.convert import decisions
from jouleprune.quantize import calibrate

ops = torch.ops.jouleprune


def pruned(rows: int, cols: int, density: float = 0.4, blocks: bool = True) -> torch.Tensor:
    keep = torch.rand(rows, -(-cols // 4)) < density
    mask = keep.repeat_interleave(4, 1)[:, :cols] if blocks else torch.rand(rows, cols) < density
    return torch.randn(rows, cols) * mask


def pruned_linear(rows: int, cols: int, density: float = 0.4, bias: bool = True) -> nn.Linear:
    layer = nn.Linear(cols, rows, bias=bias)
    with torch.no_grad():
        layer.weight.copy_(pruned(rows, cols, density))
    return layer.eval()


def expected(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, scale: float | None) -> torch.Tensor:
    """The stated arithmetic with torch's own operations: whole sums in int64, then float32 operations in order."""
    scales = weight.abs().amax(1) / 127 if weight.numel() else torch.ones(weight.shape[0])
    scales = torch.where(scales > 0, scales, torch.ones(()))
    w = (weight / scales[:, None]).round().clamp(-127, 127).long()
    x = x.float()
    largest = x.abs().amax(-1, keepdim=True) / 127 if x.shape[-1] else torch.ones(*x.shape[:-1], 1)
    step = torch.where(largest > 0, largest, torch.ones(())) if scale is None else torch.tensor([scale])
    q = (x * (1 / step)).clamp(-127, 127).round().long()
    out = (q @ w.T).float() * (scales * step)
    return out if bias is None else out + bias


@pytest.mark.parametrize("blocks", [True, False])
@pytest.mark.parametrize("rows,cols", [(1, 1), (5, 7), (33, 65), (64, 64), (3, 0), (0, 4), (100, 131)])
def test_packing_keeps_zeros_and_rounds_the_rest(rows, cols, blocks):
    torch.manual_seed(rows + cols)
    weight = pruned(rows, cols, blocks=blocks)
    packed, columns, offsets, key, scales = jp.ops.pack_bsr_int8(weight)
    assert packed.dtype == torch.int8 and packed.shape[1:] == (1, 4) and key.numel() == 2
    assert offsets[-1] == columns.numel() == packed.shape[0]
    dense = jp.ops.unpack_bsr_int8(packed, columns, offsets, scales, cols)
    assert dense.shape == weight.shape and not dense[weight == 0].any()
    assert bool(((dense - weight).abs() <= scales[:, None] * 0.5001).all())


def test_a_mask_and_minus_zero():
    weight = torch.tensor([[-0.0, 0, 0, 0, 1.0, 2, 3, 4], [0, 0, 0, 0, 0, 0, 0, 0]])
    _, columns, offsets, _, scales = jp.ops.pack_bsr_int8(weight)
    assert columns.tolist() == [1] and offsets.tolist() == [0, 1, 1] and scales[1] == 1
    mask = torch.zeros(2, 8, dtype=torch.bool)
    mask[0, 5] = mask[1, 0] = True
    blocks, columns, offsets, _, _ = jp.ops.pack_bsr_int8(weight, mask)
    assert columns.tolist() == [1, 0] and blocks.flatten().tolist() == [0, 127, 0, 0, 0, 0, 0, 0]
    with pytest.raises(ValueError, match="pack_bsr_int8: weight: expected finite"):
        jp.ops.pack_bsr_int8(torch.tensor([[float("nan")]]))


@pytest.mark.parametrize("scale", [None, 0.02])
@pytest.mark.parametrize("n", [1, 3, 16, 70])
@pytest.mark.parametrize("rows,cols", [(1, 1), (5, 7), (33, 65), (64, 256)])
def test_the_op_does_the_stated_arithmetic(rows, cols, n, scale):
    torch.manual_seed(n)
    weight, x, bias = pruned(rows, cols), torch.randn(n, cols), torch.randn(rows)
    packed = jp.ops.pack_bsr_int8(weight)
    given = None if scale is None else torch.tensor([scale])
    for b in (bias, None):
        out = jp.ops.linear_bsr_int8(x, *packed, b, in_features=cols, input_scale=given)
        torch.testing.assert_close(out, expected(x, weight, b, scale), rtol=1e-5, atol=1e-5)
    relu = jp.ops.linear_bsr_int8(x, *packed, bias, in_features=cols, input_scale=given, activation="relu")
    plain = jp.ops.linear_bsr_int8(x, *packed, bias, in_features=cols, input_scale=given)
    assert torch.equal(relu, plain.relu())
    for dtype in (torch.bfloat16, torch.float16):
        low = jp.ops.linear_bsr_int8(x.to(dtype), *packed, bias, in_features=cols, input_scale=given)
        same = jp.ops.linear_bsr_int8(x.to(dtype).float(), *packed, bias, in_features=cols, input_scale=given)
        assert low.dtype == dtype and torch.equal(low, same.to(dtype))


@pytest.mark.parametrize("isa", ["reference", "portable", "avx2", "avx512"])
def test_every_instruction_set_gives_the_same_bits(isa, monkeypatch):
    torch.manual_seed(0)
    packed, x = jp.ops.pack_bsr_int8(pruned(90, 130)), torch.randn(75, 130)
    here = jp.ops.linear_bsr_int8(x, *packed, in_features=130)
    monkeypatch.setenv("JOULEPRUNE_ISA", isa)
    try:
        there = jp.ops.linear_bsr_int8(x, *packed, in_features=130)
    except ValueError as error:
        pytest.skip(str(error))
    assert torch.equal(here, there)


def test_strides_and_leading_dimensions():
    packed = jp.ops.pack_bsr_int8(pruned(6, 10))
    for x in (
        torch.randn(10, 4).t(),
        torch.randn(4, 20)[:, ::2],
        torch.randn(2, 3, 10),
        torch.randn(10),
        torch.randn(0, 10),
    ):
        out = jp.ops.linear_bsr_int8(x, *packed, in_features=10)
        assert out.shape == (*x.shape[:-1], 6)
        assert torch.equal(out, jp.ops.linear_bsr_int8(x.contiguous(), *packed, in_features=10))


def test_nan_and_infinity():
    packed, x = jp.ops.pack_bsr_int8(pruned(6, 10)), torch.randn(20, 10)
    x[3, 2], x[18, 0] = float("nan"), float("inf")
    out = jp.ops.linear_bsr_int8(x, *packed, in_features=10)
    assert out.isnan().any(1).nonzero().flatten().tolist() == [3, 18] and out[3].isnan().all()
    out = jp.ops.linear_bsr_int8(x, *packed, in_features=10, input_scale=torch.tensor([0.1]))
    assert out.isnan().any(1).nonzero().flatten().tolist() == [3]
    x[18, 0] = 12.7
    assert torch.equal(out[18], jp.ops.linear_bsr_int8(x[18], *packed, in_features=10, input_scale=torch.tensor([0.1])))


def test_gradients_are_refused():
    layer = jp.nn.SparseLinear.from_dense(pruned_linear(5, 8), dtype="int8")
    x = torch.randn(2, 8, requires_grad=True)
    out = layer(x)
    with pytest.raises(RuntimeError, match="linear_bsr_int8 has no derivative"):
        out.sum().backward()
    with torch.no_grad():
        assert not layer(x).requires_grad and torch.equal(layer(x), out)
    assert not layer(x.detach()).requires_grad


def test_bad_arguments():
    packed, x = list(jp.ops.pack_bsr_int8(pruned(5, 8, 1.0))), torch.randn(2, 8)

    def call(at: int, value: torch.Tensor) -> None:
        jp.ops.linear_bsr_int8(x, *packed[:at], value, *packed[at + 1 :], in_features=8)

    with pytest.raises(TypeError, match="blocks: expected int8"):
        call(0, packed[0].int())
    with pytest.raises(ValueError, match=r"blocks: expected \[10, 1, 4\]"):
        call(0, packed[0].view(-1, 2, 2))
    with pytest.raises(ValueError, match=r"block_columns\[1\]: expected a column in \[0, 2\)"):
        call(1, packed[1] * 2)
    with pytest.raises(ValueError, match=r"key of this structure.*pack_bsr_int8 makes it"):
        call(3, packed[3] + 1)
    with pytest.raises(TypeError, match="scales: expected float32"):
        call(4, packed[4].double())
    with pytest.raises(TypeError, match="input: expected float32, bfloat16 or float16"):
        jp.ops.linear_bsr_int8(x.double(), *packed, in_features=8)
    for bad in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="input_scale: expected a positive number"):
            jp.ops.linear_bsr_int8(x, *packed, in_features=8, input_scale=torch.tensor([bad]))
    wide = jp.ops.pack_bsr_int8(torch.zeros(1, 131073))
    with pytest.raises(ValueError, match="in_features: expected at most 131072"):
        jp.ops.linear_bsr_int8(torch.zeros(1, 131073), *wide, in_features=131073)


def test_module_round_trips():
    torch.manual_seed(1)
    dense, x = pruned_linear(30, 50), torch.randn(9, 50)
    layer = jp.nn.SparseLinear.from_dense(dense, dtype="int8")
    assert isinstance(layer, jp.nn.SparseLinearInt8) and not list(layer.parameters())
    out = layer(x)
    assert float(((out - dense(x)).norm() / dense(x).norm()).detach()) < 0.03
    back = layer.to_dense()
    assert back.weight.dtype == torch.float32 and torch.equal(back.bias, dense.bias)
    assert torch.equal(jp.nn.SparseLinear.from_dense(back, layout="bsr", dtype="int8")(x), out)
    assert torch.equal(torch.jit.script(layer)(x), out)
    assert torch.equal(pickle.loads(pickle.dumps(layer))(x), out) and torch.equal(copy.deepcopy(layer)(x), out)
    low = copy.deepcopy(layer).bfloat16()
    assert low.scales.dtype == torch.float32 and torch.equal(low.scales, layer.scales)
    assert low(x.bfloat16()).dtype == torch.bfloat16
    assert "input_scale=per row" in repr(layer)


def test_a_state_with_another_number_of_blocks():
    torch.manual_seed(2)
    x = torch.randn(4, 50)
    source = jp.nn.SparseLinear.from_dense(pruned_linear(30, 50, 0.8), dtype="int8")
    source.fix_input_scale(0.03)
    target = jp.nn.SparseLinear.from_dense(pruned_linear(30, 50, 0.2), dtype="int8")
    target.load_state_dict(source.state_dict())
    assert torch.equal(target(x), source(x)) and "input_scale=0.03" in repr(target)
    before = target(x)
    for change in ({"key": source.key + 1}, {"scales": source.scales[:-1]}, {"blocks": source.blocks.int()}):
        with pytest.raises(RuntimeError, match=next(iter(change))):
            target.load_state_dict({**source.state_dict(), **change})
    with pytest.raises(RuntimeError, match="together, found no key"):
        target.load_state_dict({k: v for k, v in source.state_dict().items() if k != "key"}, strict=False)
    assert torch.equal(target(x), before)


def test_a_new_weight_in_place_is_seen():
    torch.manual_seed(3)
    layer, x = jp.nn.SparseLinear.from_dense(pruned_linear(40, 64), dtype="int8"), torch.randn(40, 64)
    layer(x)
    layer.blocks.neg_()
    fresh = copy.deepcopy(layer)
    assert torch.equal(layer(x), fresh(x))


def test_words():
    with pytest.raises(jp.PatternError, match="dtype: expected None or 'int8'"):
        jp.nn.SparseLinear.from_dense(nn.Linear(2, 2), dtype="int4")
    with pytest.raises(jp.PatternError, match="layout: expected one of bsr"):
        jp.nn.SparseLinear.from_dense(nn.Linear(2, 2), layout="csr", dtype="int8")
    layer = jp.nn.SparseLinear.from_dense(nn.Linear(2, 2), dtype="int8")
    with pytest.raises(ValueError, match="input_scale"):
        layer.fix_input_scale(-1.0)


def network() -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(4)
    return nn.Sequential(pruned_linear(64, 32), nn.ReLU(), pruned_linear(10, 64), nn.Linear(10, 3)).eval(), torch.randn(
        20, 32
    )


def timer(int8_s: float):
    """Each race: one sizing call, then dense and the stand-in in turn, 7 rounds; int8, csr, torch."""
    calls = [0]

    def clock(call):
        call()
        at = calls[0] % 15
        race = calls[0] // 30  # two layers a race
        calls[0] += 1
        return 1.0 if at == 0 or at % 2 == 1 else (int8_s, 0.8, 0.5)[min(race, 2)]

    return clock


def test_convert_lets_the_clock_decide():
    model, x = network()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fast = jp.convert(model, x, dtype="int8", timer=timer(0.1))
        slow = jp.convert(model, x, dtype="int8", timer=timer(0.79))
    assert [decision.layout for decision in decisions(fast)] == ["bsr", "bsr"]
    assert "bsr" not in {decision.layout for decision in decisions(slow)}
    assert "torch dense int8" in jp.explain(fast) and "relative error" in jp.explain(fast)
    assert "int8 does not win" in jp.explain(slow)
    assert float((fast(x) - model(x)).detach().norm() / model(x).detach().norm()) < 0.05


def test_convert_fixes_scales_by_calibration():
    model, x = network()
    batches = [[x[:10], torch.zeros(10)], [x[10:] * 3, torch.zeros(10)]]
    converted = jp.convert(model, x, dtype="int8", calibration=batches, force=True)
    assert float(converted[0].input_scale) == pytest.approx(
        float((x[10:] * 3).abs().max().maximum(x[:10].abs().max())) / 127
    )
    assert "forced" in jp.explain(converted)
    assert calibrate(model, [x, (x * 2,)], ["0"])["0"] == pytest.approx(float(x.abs().max()) * 2)
    with pytest.raises(ValueError, match="at least one batch"):
        jp.convert(model, x, dtype="int8", calibration=[], force=True)
    with pytest.raises(ValueError, match="NaN or infinity"):
        calibrate(model, [x * float("inf")], ["0"])


def test_convert_refuses_what_does_not_go_together():
    model, x = network()
    for options, fragment in (
        ({"dtype": "int4"}, "dtype: expected"),
        ({"calibration": [x]}, "only for dtype"),
        ({"dtype": "int8", "profile": "generic-cpu"}, "leave out plan and profile"),
    ):
        with pytest.raises(ValueError, match=fragment):
            jp.convert(model, x, **options)


def test_save_and_load(tmp_path):
    model, x = network()
    converted = jp.convert(model, x, dtype="int8", calibration=[x], force=True)
    jp.save(converted, tmp_path / "m.safetensors")
    fresh = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 10), nn.Linear(10, 3)).eval()
    loaded = jp.load(fresh, tmp_path / "m.safetensors")
    assert torch.equal(loaded(x), converted(x)) and jp.explain(loaded) == jp.explain(converted)


def test_estimate_prices_the_kernel():
    model, x = network()
    converted = jp.convert(model, x, dtype="int8", force=True)
    report = jp.estimate(converted, x, profile="generic-cpu")
    kernels = [(layer.kernel, layer.dtype, layer.layout) for layer in report.layers if layer.op == "linear"]
    assert kernels == [("bsr-int8", "int8", "bsr")] * 2 + [("dense", "float32", "dense")]
    assert not report.unknown_ops and report.energy_j < jp.estimate(model, x, profile="generic-cpu").energy_j
