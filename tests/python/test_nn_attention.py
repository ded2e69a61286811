"""SparseMultiheadAttention: torch's module in every option, and inside torch's Transformer layers."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

import jouleprune as jp
from jouleprune.convert import decisions

E, HEADS = 12, 3
OPTIONS = [
    {},
    {"batch_first": True},
    {"bias": False},
    {"kdim": 5, "vdim": 7},
    {"add_bias_kv": True},
    {"add_zero_attn": True, "batch_first": True},
    {"add_bias_kv": True, "add_zero_attn": True, "kdim": 5, "vdim": 7},
]


def pruned(module: nn.Module, density: float = 0.4) -> nn.Module:
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.dim() == 2 and "bias" not in name:
                parameter.mul_(torch.rand_like(parameter) < density)
    return module


def pair(options, dense=(), dtype=torch.float64):
    torch.manual_seed(0)
    layer = pruned(nn.MultiheadAttention(E, HEADS, **options)).to(dtype).eval()
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            if name.endswith("bias"):
                parameter.uniform_(-0.5, 0.5)
    return layer, jp.nn.SparseMultiheadAttention.from_dense(layer, dense=dense)


def inputs(options, dtype=torch.float64):
    """Queries, keys and values of 5 queries and 4 keys at batch 2, as different and as one tensor."""
    q, k = torch.randn(5, 2, E, dtype=dtype), torch.randn(4, 2, options.get("kdim", E), dtype=dtype)
    v = torch.randn(4, 2, options.get("vdim", E), dtype=dtype)
    if options.get("batch_first"):
        q, k, v = q.transpose(0, 1), k.transpose(0, 1), v.transpose(0, 1)
    return [(q, k, v)] if "kdim" in options else [(q, k, v), (q, k, k), (q, q, q)]


def assert_alike(left, right) -> None:
    for a, b in zip(left, right, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            assert a.shape == b.shape
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def calls(options):
    """Keyword arguments that fit 5 queries against as many keys as given."""
    return [
        {"need_weights": True},
        {"need_weights": True, "average_attn_weights": False},
        {"need_weights": False},
    ]


def masks(queries: int, keys: int, dtype=torch.float64):
    hidden = torch.zeros(queries, keys, dtype=torch.bool)
    hidden[:, -1] = True
    padding = torch.zeros(2, keys, dtype=torch.bool)
    padding[1, 1:] = True
    per_head = torch.randn(2 * HEADS, queries, keys, dtype=dtype)
    return [
        {"attn_mask": hidden},
        {"key_padding_mask": padding},
        {"attn_mask": hidden, "key_padding_mask": padding},
        {"attn_mask": per_head},
        {"attn_mask": per_head[:1, ...].squeeze(0), "key_padding_mask": torch.randn(2, keys, dtype=dtype)},
    ]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("dense", [(), ("out_proj.weight",)])
def test_equal_outputs(options, dense):
    layer, sparse = pair(options, dense)
    assert type(sparse) is jp.nn.SparseMultiheadAttentionCSR
    for q, k, v in inputs(options):
        keys = k.shape[1] if options.get("batch_first") else k.shape[0]
        queries = q.shape[1] if options.get("batch_first") else q.shape[0]
        for call in calls(options):
            for mask in [{}, *masks(queries, keys)]:
                assert_alike(sparse(q, k, v, **call, **mask), layer(q, k, v, **call, **mask))


@pytest.mark.parametrize("name", ["in_proj_weight", "q_proj_weight"])
def test_a_dense_in_projection_beside_a_sparse_output(name):
    options = {} if name == "in_proj_weight" else {"kdim": 5, "vdim": 7}
    layer, sparse = pair(options, dense=[name])
    for q, k, v in inputs(options):
        assert_alike(sparse(q, k, v), layer(q, k, v))


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_one_sequence_without_a_batch(options):
    layer, sparse = pair(options)
    q, k = torch.randn(5, E, dtype=torch.float64), torch.randn(4, options.get("kdim", E), dtype=torch.float64)
    v = torch.randn(4, options.get("vdim", E), dtype=torch.float64)
    for call in calls(options):
        for mask in [{}, {"key_padding_mask": torch.tensor([False, True, False, True])}]:
            assert_alike(sparse(q, k, v, **call, **mask), layer(q, k, v, **call, **mask))


def test_causal():
    layer, sparse = pair({})
    x, mask = torch.randn(5, 2, E, dtype=torch.float64), nn.Transformer.generate_square_subsequent_mask(5).double()
    for call in calls({}):
        assert_alike(
            sparse(x, x, x, attn_mask=mask, is_causal=True, **call),
            layer(x, x, x, attn_mask=mask, is_causal=True, **call),
        )
    with pytest.raises(ValueError, match="attn_mask: expected one beside the hint"):
        sparse(x, x, x, is_causal=True)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_gradients_are_the_dense_ones_at_kept_entries(options):
    layer, sparse = pair(options)
    for q, k, v in inputs(options):
        layer.zero_grad(), sparse.zero_grad()
        layer(q, k, v)[0].square().sum().backward()
        sparse(q, k, v)[0].square().sum().backward()
        for name, child in sparse.named_children():
            weight = layer.out_proj.weight if name == "out_proj" else getattr(layer, name)
            torch.testing.assert_close(child.values.grad, weight.grad[weight != 0])
        if "in_proj_weight" in dict(sparse.named_children()) and layer.in_proj_bias is not None:
            torch.testing.assert_close(sparse.in_proj_weight.bias.grad, layer.in_proj_bias.grad)
        if layer.bias_k is not None:
            torch.testing.assert_close(sparse.bias_k.grad, layer.bias_k.grad)


def test_dropout_in_training_only():
    layer, sparse = pair({"dropout": 0.5})
    x = torch.randn(5, 2, E, dtype=torch.float64)
    for need_weights in (True, False):
        outputs = []
        for module in (layer.train(), sparse.train()):
            torch.manual_seed(1)
            outputs.append(module(x, x, x, need_weights=need_weights))
        assert_alike(outputs[1], outputs[0])
    sparse.eval()
    assert torch.equal(sparse(x, x, x)[0], sparse(x, x, x)[0])


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_there_and_back(options):
    layer, sparse = pair(options, dense=["out_proj.weight"])
    back = sparse.to_dense()
    assert back.training == layer.training and list(back.state_dict()) == list(layer.state_dict())
    assert all(torch.equal(value, layer.state_dict()[name]) for name, value in back.state_dict().items())
    assert 0 < sparse.density < 1 and f"nnz={sparse.nnz}" in repr(sparse)


def test_loading_another_number_of_kept_weights():
    layer, sparse = pair({})
    source = type(sparse)(pruned(copy.deepcopy(layer), 0.5))
    sparse.load_state_dict(source.state_dict())
    for q, k, v in inputs({}):
        assert torch.equal(sparse(q, k, v)[0], source(q, k, v)[0])
    names = {"values", "col_indices", "row_offsets", "key", "bias"}
    assert set(sparse.state_dict()) == {f"{child}.{name}" for child in ("in_proj_weight", "out_proj") for name in names}


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_script(options, tmp_path):
    _, sparse = pair(options)
    torch.jit.script(sparse).save(str(tmp_path / "m.pt"))
    scripted = torch.jit.load(str(tmp_path / "m.pt"))
    for arguments in inputs(options):
        for call in calls(options):
            assert_alike(scripted(*arguments, **call), sparse(*arguments, **call))


@pytest.mark.filterwarnings("ignore")
def test_front_ends():
    torch._dynamo.reset()
    _, sparse = pair({})
    for arguments in inputs({}):
        with torch.no_grad():
            compiled = torch.compile(sparse, backend="aot_eager", fullgraph=True)
            assert_alike(compiled(*arguments), sparse(*arguments))
            exported = torch.export.export(sparse, arguments).module()
            assert_alike(exported(*arguments), sparse(*arguments))
            assert_alike(torch.jit.trace(sparse, arguments)(*arguments), sparse(*arguments))


def test_named_errors():
    layer, sparse = pair({})
    x = torch.randn(5, 2, E, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"attn_mask: expected \[5, 5\] or \[6, 5, 5\], got \[3, 3\]"):
        sparse(x, x, x, attn_mask=torch.zeros(3, 3, dtype=torch.bool))
    with pytest.raises(ValueError, match="bool or floating-point masks"):
        sparse(x, x, x, attn_mask=torch.zeros(5, 5, dtype=torch.int64))
    with pytest.raises(ValueError, match="alike, got 2-d, 3-d and 3-d"):
        sparse(x[:, 0], x, x)
    with pytest.raises(ValueError, match=r"dense: expected one of in_proj_weight, out_proj.weight"):
        jp.nn.SparseMultiheadAttention.from_dense(layer, dense=["q_proj_weight"])
    with pytest.raises(jp.PatternError, match=r"expected torch.nn.MultiheadAttention, got Linear"):
        jp.nn.SparseMultiheadAttention.from_dense(nn.Linear(2, 2))


def encoder(**options) -> nn.Module:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 2, 33, dropout=0.25, **options)
    return pruned(nn.TransformerEncoder(layer, 2, enable_nested_tensor=options.get("batch_first", False))).eval()


ENCODERS = [
    {},
    {"batch_first": True},
    {"batch_first": True, "norm_first": True},
    {"activation": "gelu", "batch_first": True},
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("options", ENCODERS, ids=str)
@pytest.mark.parametrize("training", [False, True])
def test_a_converted_encoder_gives_equal_outputs(options, training):
    model, x = encoder(**options), torch.randn(4, 4, 16)
    converted = jp.convert(model, x, force=True)
    assert {decision.layout for decision in decisions(converted)} == {"csr"} and len(decisions(converted)) == 8
    assert isinstance(converted.layers[0].self_attn, jp.nn.SparseMultiheadAttention)
    padding = torch.zeros(4, 4, dtype=torch.bool)
    padding[2, 2:] = True
    causal = nn.Transformer.generate_square_subsequent_mask(4)
    shown = ~padding if options.get("batch_first") else ~padding.t()
    for arguments in [{}, {"mask": causal}, {"src_key_padding_mask": padding}]:
        outputs = []
        for module in (model.train(training), converted.train(training)):
            torch.manual_seed(1)
            with torch.no_grad():
                outputs.append(module(x, **arguments))
        # What lies behind the end of a sequence is whatever the path at hand computes there.
        kept = shown if "src_key_padding_mask" in arguments else torch.ones_like(shown)
        torch.testing.assert_close(outputs[1][kept], outputs[0][kept], rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_front_ends_of_a_converted_encoder(tmp_path):
    torch._dynamo.reset()
    model, x = encoder(batch_first=True), torch.randn(4, 4, 16)
    converted = jp.convert(model, x, force=True)
    with torch.no_grad():
        torch.jit.script(converted).save(str(tmp_path / "m.pt"))
        for run in (
            torch.jit.load(str(tmp_path / "m.pt")),
            torch.compile(converted, backend="aot_eager", fullgraph=True),
            torch.export.export(converted, (x,)).module(),
        ):
            torch.testing.assert_close(run(x), converted(x))


def test_only_a_linear_of_an_encoder_layer():
    model, x = nn.Sequential(nn.TransformerEncoderLayer(16, 2, 33, batch_first=True)).eval(), torch.randn(2, 5, 16)
    with torch.no_grad():
        model[0].linear1.weight[:20] = 0
        converted = jp.convert(model, x, force=True)
        assert isinstance(converted[0].linear1, jp.nn.SparseLinear)
        assert type(converted[0].self_attn) is nn.MultiheadAttention
        torch.testing.assert_close(converted(x), model(x), rtol=1e-4, atol=1e-5)
        assert type(model[0]) is nn.TransformerEncoderLayer  # the original keeps its fused path


class Mine(nn.TransformerEncoderLayer):
    pass


def test_layers_of_unknown_classes_stay_dense():
    model, x = nn.Sequential(pruned(Mine(16, 2, 33, batch_first=True))).eval(), torch.randn(2, 5, 16)
    converted = jp.convert(model, x, force=True)
    assert {decision.layout for decision in decisions(converted)} == {"dense"}
    assert "its parent Mine uses the weight directly" in jp.explain(converted)


def test_a_whole_transformer():
    torch.manual_seed(0)
    model = pruned(nn.Transformer(16, 2, 1, 1, 33, dropout=0.0, batch_first=True)).eval()
    source, target = torch.randn(2, 5, 16), torch.randn(2, 3, 16)
    converted = jp.convert(model, (source, target), force=True)
    assert {decision.layout for decision in decisions(converted)} == {"csr"}
    with torch.no_grad():
        output: Tensor = converted(source, target)
        torch.testing.assert_close(output, model(source, target), rtol=1e-4, atol=1e-5)
