"""Hugging Face models with fewer layers, heads, features and experts; they load in plain transformers."""

from __future__ import annotations

import warnings

import pytest
import torch

import jouleprune as jp
from jouleprune.structured.hf_layout import layout_of, smaller_checkpoint
from jouleprune.structured.hf_prices import token_prices
from jouleprune.structured.hf_scores import block_influence, routed_shares

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    transformers = pytest.importorskip("transformers")

IDS = torch.arange(18).reshape(2, 9)
REQUEST = {"prompt": 16, "generated": 8}


def llama(layers: int = 3, **options: object):
    torch.manual_seed(0)
    sizes = {
        "vocab_size": 97, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": layers,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128,
    }  # fmt: skip
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**{**sizes, **options})).eval()


def bert():
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=97, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64
    )
    return transformers.BertModel(config).eval()


def mixtral():
    torch.manual_seed(0)
    config = transformers.MixtralConfig(
        vocab_size=97, hidden_size=32, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, num_local_experts=4, num_experts_per_tok=2,
    )  # fmt: skip
    return transformers.MixtralForCausalLM(config).eval()


@pytest.mark.parametrize("energy", ["80%", "40%"])
def test_a_smaller_llama_loads_in_plain_transformers(energy, tmp_path):
    model = llama()
    result = jp.shrink_checkpoint(model, energy=energy, profile="eyeriss-65nm", round_to=16, **REQUEST)
    assert result.after.token_j <= result.budget_j <= result.before.token_j
    layout = layout_of(result.model)
    again = token_prices(result.model, profile=jp.energy.load_profile("eyeriss-65nm"), layout=layout, **REQUEST)
    assert again == result.after
    config = result.model.config
    assert (config.num_hidden_layers, config.num_key_value_heads) == (result.kept["layer"][0], result.kept["head"][0])
    assert config.intermediate_size == result.kept["neuron"][0] and config.intermediate_size % 16 == 0
    assert type(result.model) is transformers.LlamaForCausalLM
    result.model.save_pretrained(tmp_path)
    loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert type(loaded) is transformers.LlamaForCausalLM
    assert torch.equal(loaded(IDS).logits, result.model(IDS).logits)
    mask = torch.ones_like(IDS)
    made = loaded.generate(IDS, attention_mask=mask, max_new_tokens=3, do_sample=False, pad_token_id=0)
    assert made.shape == (2, 12)


def test_percentages_are_of_the_unmasked_dense_model():
    """As those of shrink: zeros that the weights hold already make no budget smaller."""
    dense = jp.shrink_checkpoint(llama(), energy="60%", profile="eyeriss-65nm", round_to=16, **REQUEST)
    masked = llama()
    with torch.no_grad():
        for name, parameter in masked.named_parameters():
            if parameter.dim() == 2 and "layers" in name:
                parameter[:, ::2] = 0
    result = jp.shrink_checkpoint(masked, energy="60%", profile="eyeriss-65nm", round_to=16, **REQUEST)
    assert result.budget_j == dense.budget_j and result.before.token_j < dense.before.token_j
    assert result.after.token_j <= result.budget_j
    with pytest.raises(jp.BudgetError) as told:
        jp.shrink_checkpoint(masked, energy="0.01%", profile="eyeriss-65nm", round_to=16, **REQUEST)
    assert told.value.minimum_j < dense.budget_j


def test_units_that_nobody_reads_go_without_a_trace():
    """Grouped queries, a feed-forward width and a whole layer, all muted: the smaller model says the same."""
    model = llama()
    each, layer_of = 8, model.model.layers
    with torch.no_grad():
        for layer in layer_of:
            layer.self_attn.o_proj.weight[:, : 2 * each] = 0  # the heads of group 0
            layer.mlp.down_proj.weight[:, 5:20] = 0
        layer_of[1].self_attn.o_proj.weight.zero_(), layer_of[1].mlp.down_proj.weight.zero_()
    stays = [unit for unit in range(64) if not 5 <= unit < 20]
    smaller = smaller_checkpoint(model, layout_of(model), (0, 2), {0: [1], 2: [1]}, {0: stays, 2: stays}, {})
    torch.testing.assert_close(smaller(IDS).logits, model(IDS).logits)
    assert smaller.config.head_dim == 8 and smaller.config.num_attention_heads == 2


def test_least_important_layers_and_features_go():
    model = llama()
    with torch.no_grad():
        for weight in model.model.layers[1].parameters():
            weight.mul_(0.01) if weight.dim() == 2 else None
        for layer in model.model.layers:
            layer.mlp.up_proj.weight[40:] *= 0.01
            layer.mlp.down_proj.weight[:, 40:] *= 0.01
            layer.mlp.gate_proj.weight[40:] *= 0.01
    options = {"profile": "eyeriss-65nm", "importance": "magnitude", **REQUEST}
    assert jp.shrink_checkpoint(model, energy="75%", pattern="layer", **options).layers == (0, 2)
    narrow = jp.shrink_checkpoint(model, energy="85%", pattern="neuron", round_to=8, **options)
    width = narrow.kept["neuron"][0]
    assert width >= 32
    first = min(40, width)
    assert torch.equal(
        narrow.model.model.layers[0].mlp.up_proj.weight[:first], model.model.layers[0].mlp.up_proj.weight[:first]
    )


def test_block_influence_is_its_definition():
    """A layer that passes its input on turns nothing; shares sum to 1."""
    model = llama()
    with torch.no_grad():
        layer = model.model.layers[1]
        layer.self_attn.o_proj.weight.zero_(), layer.mlp.down_proj.weight.zero_()
    influence = block_influence(model, layout_of(model), [{"input_ids": IDS}])
    states = [model.model.embed_tokens(IDS)]
    for each in model.model.layers:
        each.register_forward_hook(lambda module, args, output: states.append(output))
    with torch.no_grad():
        model(IDS)
    cosines = [torch.cosine_similarity(states[i].double(), states[i + 1].double(), dim=-1) for i in range(3)]
    turned = torch.stack([(1 - cosine).mean() for cosine in cosines]).detach()
    torch.testing.assert_close(influence, turned / turned.sum())
    assert float(influence[1]) == pytest.approx(0.0, abs=1e-12) and float(influence[0]) > 0


def test_prefill_decode_and_kv_cache_are_priced_apart():
    model, profile = llama(), jp.energy.load_profile("eyeriss-65nm")
    layout = layout_of(model)
    short = token_prices(model, profile=profile, layout=layout, prompt=8, generated=4)
    long = token_prices(model, profile=profile, layout=layout, prompt=64, generated=4)
    prompt = torch.arange(64).reshape(1, 64)
    assert long.prefill_j == jp.estimate(model, {"input_ids": prompt}, profile=profile).energy_j
    assert long.decode_j > short.decode_j  # more keys and values are read for each token
    assert long.kv_bytes == 2 * 3 * 2 * 8 * (64 + 4) * 4  # keys and values, layers, groups, head_dim, tokens, bytes
    assert short.token_j == pytest.approx((short.prefill_j + 4 * short.decode_j) / 4)
    fewer = llama(num_key_value_heads=1)
    half = token_prices(fewer, profile=profile, layout=layout_of(fewer), prompt=64, generated=4)
    assert half.kv_bytes * 2 == long.kv_bytes and half.decode_j < long.decode_j


def test_experts_go_by_what_the_router_gives_them(tmp_path):
    model = mixtral()
    with torch.no_grad():
        for layer in model.model.layers:
            layer.mlp.gate.weight[2] = 0
            layer.mlp.gate.weight[[0, 1, 3]] *= 50
    data = [{"input_ids": IDS}]
    shares = routed_shares(model, layout_of(model), data)
    assert all(float(share.sum()) == pytest.approx(1.0) for share in shares)
    weakest = [int(share.argmin()) for share in shares]
    result = jp.shrink_checkpoint(
        model, energy="90%", profile="eyeriss-65nm", pattern="expert", data=data, prompt=32, generated=4
    )
    assert result.kept["expert"] == (3, 4) and result.after.token_j <= result.budget_j
    for layer, gone in enumerate(weakest):
        stays = [expert for expert in range(4) if expert != gone]
        before, after = model.model.layers[layer].mlp, result.model.model.layers[layer].mlp
        assert torch.equal(after.gate.weight, before.gate.weight[stays])
        assert torch.equal(after.experts.down_proj, before.experts.down_proj[stays])
    result.model.save_pretrained(tmp_path)
    loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    torch.testing.assert_close(loaded(IDS).logits, result.model(IDS).logits)


def test_a_smaller_bert_loads_in_plain_transformers(tmp_path):
    model = bert()
    result = jp.shrink_checkpoint(
        model, energy="60%", profile="eyeriss-65nm", pattern=("layer", "neuron"), prompt=16, generated=0
    )
    assert result.after.token_j <= result.budget_j
    result.model.save_pretrained(tmp_path)
    loaded = transformers.BertModel.from_pretrained(tmp_path).eval()
    assert torch.equal(loaded(IDS).last_hidden_state, result.model(IDS).last_hidden_state)


def test_bad_arguments_are_named():
    model = llama(1)
    for match, options in {
        "pattern: expected some of": {"pattern": "width"},
        "nothing of expert": {"pattern": "expert"},
        "prompt: expected": {"prompt": 0},
        "generated: expected": {"generated": -1},
        "min_density: expected": {"min_density": 2},
        "round_to: expected": {"round_to": 0},
    }.items():
        with pytest.raises(ValueError, match=match):
            jp.shrink_checkpoint(model, energy="50%", profile="eyeriss-65nm", **options)
    with pytest.raises(jp.BudgetError, match="below the least") as error:
        jp.shrink_checkpoint(model, energy="1%", profile="eyeriss-65nm", **REQUEST)
    assert error.value.minimum_j > 0
    with pytest.raises(ValueError, match="generates nothing"):
        jp.shrink_checkpoint(bert(), energy="50%", profile="eyeriss-65nm")
    with pytest.raises(ValueError, match="Hugging Face"):
        jp.shrink_checkpoint(torch.nn.Linear(2, 2), energy="50%", profile="eyeriss-65nm")
