"""Channels, heads and layers go to a joule budget; what is left is a smaller dense network."""

from __future__ import annotations

import copy
import itertools
import warnings

import pytest
import torch
from structured_networks import NAMES, Encoder, network
from torch import nn

import jouleprune as jp
from jouleprune.structured.graph import channel_groups
from jouleprune.structured.search import search
from jouleprune.structured.structure import Structure, smaller_copy

pytest.importorskip("torch_pruning")


def magnitude(name: str, weight: torch.Tensor, grad: torch.Tensor | None) -> torch.Tensor:
    return weight.square()


@pytest.mark.parametrize(
    "name", [name if name in ("cnn", "gru") else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]
)
def test_the_budget_holds_in_a_fresh_estimate_and_nothing_more_fits(name):
    model, x = network(name)
    before = copy.deepcopy(model.state_dict())
    result = jp.shrink(model, x, energy="60%", profile="eyeriss-65nm")
    plan = result.plan
    assert jp.estimate(result.model, x, profile="eyeriss-65nm").energy_j == result.energy_j <= plan.budget_j
    assert plan.budget_j == pytest.approx(0.6 * jp.estimate(model, x, profile="eyeriss-65nm").energy_j)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert result.model(x).shape == model(x).shape
    assert sum(p.numel() for p in result.model.parameters()) < sum(p.numel() for p in model.parameters())
    for choice in plan.choices:  # one more unit of any group is over the budget
        if choice.kept < choice.units:
            others = {other.name: other.kept / other.units for other in plan.choices if other is not choice}
            floors = {**others, choice.name: (choice.kept + 1) / choice.units}
            with pytest.raises(jp.BudgetError, match="below the least"):
                jp.shrink(model, x, energy=plan.budget_j, profile="eyeriss-65nm", min_density=floors)


@pytest.mark.parametrize("name", NAMES)
def test_units_that_nobody_reads_go_without_a_trace(name):
    """Muted channels have no importance: they go first, and the outputs stay."""
    model, x = network(name)
    groups, _ = channel_groups(model, x)
    assert groups
    for group in groups:
        muted = copy.deepcopy(model)
        stay = torch.arange(group.channels).reshape(group.parts, -1)[:, 1:]
        from jouleprune.structured.graph import places_of
        from jouleprune.structured.recurrent import Recurrent
        from jouleprune.structured.sides import is_depthwise, sides_of

        gone = torch.arange(group.channels).reshape(group.parts, -1)[:, 0].tolist()
        for member in group.members:
            module, positions = muted.get_submodule(member.module), torch.tensor(group.at(member, gone))
            if member.side == "in" and not is_depthwise(module):
                sides_of(module).mute(module, positions)
            if isinstance(module, nn.RNNBase) and member.side == "out":
                Recurrent().mute_hidden(module, positions)
        places = places_of(model, [(group, stay)])
        structure = Structure(
            {name: tuple(kept.out.tolist()) for name, kept in places.items() if kept.out is not None},
            {name: tuple(kept.into.tolist()) for name, kept in places.items() if kept.into is not None},
        )
        smaller, _ = smaller_copy(muted.double(), structure)
        torch.testing.assert_close(smaller(x.double()), muted(x.double()), rtol=1e-9, atol=1e-9)
        assert not torch.allclose(muted(x.double()), model.double()(x.double()), rtol=1e-3, atol=1e-3)
        model.float()


def test_least_important_units_go():
    """Neuron i has the magnitude i + 1 in everything: the last ones stay."""
    model = nn.Sequential(nn.Linear(6, 10), nn.ReLU(), nn.Linear(10, 3))
    with torch.no_grad():
        model[0].weight.copy_((torch.arange(10.0) + 1).unsqueeze(1).expand(10, 6))
        model[2].weight.copy_((torch.arange(10.0) + 1).expand(3, 10))
    result = jp.shrink(model, torch.randn(2, 6), energy="50%", profile="eyeriss-65nm", importance="magnitude")
    kept = result.plan.choices[0].kept
    assert 0 < kept < 10
    assert result.plan.structure.out["0"] == tuple(range(10 - kept, 10))
    assert result.plan.choices[0].importance_lost == pytest.approx(sum(9 * (i + 1) ** 2 for i in range(10 - kept)))


def test_heads_go_and_the_rest_of_attention_is_unchanged():
    model, x = network("transformer")
    muted = copy.deepcopy(model)
    for layer in muted.encoder.layers:
        layer.self_attn.out_proj.weight.data[:, 6:12] = 0  # head 1 of 4
    heads = {f"encoder.layers.{i}.self_attn": (0, 2, 3) for i in range(2)}
    smaller, _ = smaller_copy(muted, Structure(heads=heads))
    torch.testing.assert_close(smaller(x), muted(x))
    assert smaller.encoder.layers[0].self_attn.out_proj.weight.shape == (24, 18)
    pruned = jp.shrink(model, x, energy="80%", profile="eyeriss-65nm", pattern="head")
    assert {choice.kind for choice in pruned.plan.choices} == {"head"}
    assert jp.estimate(pruned.model, x, profile="eyeriss-65nm").energy_j == pruned.energy_j <= pruned.plan.budget_j
    assert torch.isfinite(pruned.model(x)).all()


def test_fewer_heads_keep_the_interface_of_attention():
    """Masks, weights, unbatched inputs and other keys: as the whole module with zeros for the absent heads."""
    torch.manual_seed(0)
    for options in ({}, {"kdim": 10, "vdim": 14}, {"add_bias_kv": True, "add_zero_attn": True}, {"bias": False}):
        whole = nn.MultiheadAttention(12, 3, batch_first=True, **options).eval()
        narrow = jp.nn.NarrowMultiheadAttention(whole, [0, 2]).eval()
        whole.out_proj.weight.data[:, 4:8] = 0
        q, k, v = (
            torch.randn(2, 5, 12),
            torch.randn(2, 6, options.get("kdim", 12)),
            torch.randn(2, 6, options.get("vdim", 12)),
        )
        mask = torch.rand(5, 6) > 0.7
        padding = torch.tensor([[False] * 6, [False] * 4 + [True] * 2])
        for call in (
            {"need_weights": False},
            {"attn_mask": mask},
            {"key_padding_mask": padding, "need_weights": False},
        ):
            torch.testing.assert_close(narrow(q, k, v, **call)[0], whole(q, k, v, **call)[0])
        weights = narrow(q, k, v, average_attn_weights=False)[1]
        torch.testing.assert_close(weights, whole(q, k, v, average_attn_weights=False)[1][:, [0, 2]])
        torch.testing.assert_close(narrow(q[0], k[0], v[0])[0], whole(q[0], k[0], v[0])[0])
        torch.testing.assert_close(torch.export.export(narrow, (q, k, v)).module()(q, k, v), narrow(q, k, v))
    with pytest.raises(ValueError, match="heads"):
        jp.nn.NarrowMultiheadAttention(whole, [0, 3])
    with pytest.raises(jp.PatternError, match="expected a torch"):
        jp.nn.NarrowMultiheadAttention(narrow, [0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated
        scripted = torch.jit.script(narrow)
    torch.testing.assert_close(scripted(q, k, v)[0], narrow(q, k, v)[0])


def test_a_layer_goes_where_a_residual_path_runs_around_it():
    for name, layers in (
        ("residual", ["blocks.0", "blocks.1"]),
        ("transformer", ["encoder.layers.0", "encoder.layers.1"]),
    ):
        model, x = network(name)
        result = jp.shrink(model, x, energy="70%", profile="eyeriss-65nm", pattern="layer")
        assert [choice.name for choice in result.plan.choices] == layers
        assert len(result.plan.structure.removed) == 1
        assert result.model(x).shape == model(x).shape
    model, x = network("cnn")
    with pytest.raises(jp.BudgetError):
        jp.shrink(model, x, energy="70%", profile="eyeriss-65nm", pattern="layer")


def test_removing_a_block_is_removing_its_branch():
    model, x = network("residual")
    silent = copy.deepcopy(model)
    silent.blocks[1].two.weight.data.zero_(), silent.blocks[1].two.bias.data.zero_()
    smaller, _ = smaller_copy(model, Structure(removed=("blocks.1",)))
    torch.testing.assert_close(smaller(x), silent(x))


def test_groups_that_normalise_over_channels_stay_whole():
    model, x = network("transformer")
    plan = jp.plan_structure(model, x, energy="80%", profile="eyeriss-65nm")
    assert any("LayerNorm" in sentence for sentence in plan.whole)


def test_a_softmax_over_channels_is_found_out():
    """The graph takes softmax for an op on single numbers; the trial does not."""

    class Soft(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(5, 8), nn.Linear(8, 3)

        def forward(self, x):
            return self.two(torch.softmax(self.one(x), 1))

    groups, refused = channel_groups(Soft(), torch.randn(4, 5))
    assert not groups
    assert any("others depend on its channels" in sentence for sentence in refused)


@pytest.mark.parametrize("make", [lambda p: torch.optim.SGD(p, 0.1, momentum=0.9), lambda p: torch.optim.Adam(p, 0.01)])
def test_training_goes_on_with_the_momentum_of_what_stays(make):
    """Where what goes has no influence, the next step of the smaller network is that of the whole one."""
    model, x = network("cnn")
    model[2].weight.data[:, 3] = 0  # channel 3 of the first layer is read by nobody
    optimizer = make(model.parameters())
    target = torch.tensor([0, 1])

    def step(network, optimizer):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(x), target).backward()
        if network[2].weight.shape[1] == 10:
            network[2].weight.grad[:, 3] = 0
        optimizer.step()

    step(model, optimizer)
    whole, other = copy.deepcopy((model, optimizer))
    stays = tuple(channel for channel in range(10) if channel != 3)
    plan = jp.plan_structure(model, x, energy="99.9%", profile="eyeriss-65nm")
    plan = jp.StructurePlan(**{**vars(plan), "structure": Structure({"0": stays}, {"2": stays})})
    smaller = jp.shrink(model, plan=plan, optimizer=optimizer).model
    assert {id(p) for group in optimizer.param_groups for p in group["params"]} == {id(p) for p in smaller.parameters()}
    step(smaller, optimizer), step(whole, other)
    torch.testing.assert_close(smaller[0].weight, whole[0].weight[list(stays)])
    torch.testing.assert_close(smaller[2].weight, whole[2].weight[:, list(stays)])
    torch.testing.assert_close(smaller(x), whole(x))


def test_the_search_is_exact_on_small_cases_and_close_on_others():
    """Against all combinations: affine and coupled joules, random importance."""
    generator = torch.Generator().manual_seed(0)
    for case in range(200):
        sizes = torch.randint(2, 7, (3,), generator=generator).tolist()
        gains = [sorted(torch.rand(size, generator=generator).tolist(), reverse=True) for size in sizes]
        weights = torch.rand(4, generator=generator).tolist()

        def joules(kept, weights=weights):
            a, b, c = kept
            return 1 + weights[0] * a + weights[1] * a * b + weights[2] * b * c + weights[3] * c

        def lost_of(choice, gains=gains):
            return lambda stays: sum(gains[choice][stays:])

        widths = [range(1, size + 1) for size in sizes]
        full, least = joules(sizes), joules((1, 1, 1))
        budget = least + (full - least) * float(torch.rand((), generator=generator))
        lost = [lost_of(choice) for choice in range(3)]
        found = search(joules, widths, lost, budget)
        best = min(
            sum(lost[choice](kept[choice]) for choice in range(3))
            for kept in itertools.product(*widths) if joules(kept) <= budget
        )  # fmt: skip
        mine = sum(lost[choice](found.kept[choice]) for choice in range(3))
        assert joules(found.kept) == found.energy_j <= budget and found.maximal
        if len(widths[0]) * len(widths[1]) * len(widths[2]) <= 64:
            assert mine == pytest.approx(best)
        else:
            assert mine <= best + 0.75 * max(map(sum, gains)), case


def test_a_plateau_is_crossed():
    """Joules that fall only every fourth unit."""
    found = search(lambda kept: float(kept[0] // 4 + kept[1] // 4), [range(1, 33)] * 2, [lambda k: 32 - k] * 2, 9.0)
    assert found.energy_j <= 9.0 and found.maximal


def test_round_to_comes_from_the_profile():
    model = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10))
    x = torch.randn(8, 64)
    widths = {}
    for profile, step in (("systolic-12x14", 14), ("tpu-like", 32), ("generic-cpu", 16), ("eyeriss-65nm", 1)):
        result = jp.shrink(model, x, energy="80%", profile=profile)
        widths[profile] = result.model[0].out_features
        assert result.plan.round_to == step and widths[profile] % step == 0
    assert jp.shrink(model, x, energy="80%", profile="eyeriss-65nm", round_to=10).model[0].out_features % 10 == 0


def test_plans_travel_as_json_and_convert_takes_them():
    model, x = network("residual")
    plan = jp.plan_structure(model, x, energy="60%", profile="eyeriss-65nm", pattern="structured")
    again = jp.StructurePlan.from_json(plan.to_json())
    assert again == plan
    converted = jp.convert(model, x, plan=again)
    assert jp.estimate(converted, x, profile="eyeriss-65nm").energy_j == plan.energy_j
    assert "stay" in str(plan)
    with pytest.raises(ValueError, match="expected a structure plan of schema 1"):
        jp.StructurePlan.from_json('{"schema": 2}')


def test_bad_arguments_are_named():
    model, x = network("mlp")
    for match, options in {
        "pattern: expected some of": {"pattern": "channels"},
        "round_to: expected a whole number": {"round_to": 0},
        "min_density: expected shares": {"min_density": 2.0},
        "min_density: expected 0": {"min_density": {"nowhere": 0.5}},
        "ignored_layers": {"ignored_layers": ["nowhere"]},
        "optimizer: expected a torch.optim": {"optimizer": 3},
        "importance": {"importance": "size"},
    }.items():
        with pytest.raises(ValueError, match=match):
            jp.shrink(model, x, energy="50%", profile="eyeriss-65nm", **options)
    for energy in ("101%", "0%", "half", -1.0, float("nan"), True, 1e9):
        with pytest.raises(jp.BudgetError, match="energy"):
            jp.shrink(model, x, energy=energy, profile="eyeriss-65nm")
    with pytest.raises(jp.BudgetError) as error:
        jp.shrink(model, x, energy="0.1%", profile="eyeriss-65nm")
    smallest = nn.Sequential(nn.Linear(30, 1), nn.ReLU(), nn.Linear(1, 7))
    assert error.value.minimum_j == jp.estimate(smallest, x, profile="eyeriss-65nm").energy_j
    with pytest.raises(jp.PatternError, match=r"jouleprune\.shrink"):
        jp.plan(model, x, energy="50%", profile="eyeriss-65nm", pattern="channel")
    with pytest.raises(ValueError, match="trains none"):
        jp.shrink(
            model, x, energy="50%", profile="eyeriss-65nm", optimizer=torch.optim.SGD(Encoder().parameters(), 0.1)
        )


def test_ignored_layers_keep_their_shape():
    model, x = network("cnn")
    result = jp.shrink(model, x, energy="80%", profile="eyeriss-65nm", ignored_layers=[model[0]])
    assert result.model[0].weight.shape == model[0].weight.shape
    assert result.model[2].out_channels < 12


class Tied(nn.Module):
    """An embedding whose weight makes the outputs too; the width between may go, and the tie must stay."""

    def __init__(self, tie: bool = True) -> None:
        super().__init__()
        self.table, self.inner = nn.Embedding(11, 12), nn.Linear(12, 12, bias=False)
        self.out = nn.Linear(12, 11, bias=False)
        if tie:
            self.out.weight = self.table.weight

    def forward(self, x):
        hidden = self.table(x)
        return self.out(hidden + torch.tanh(self.inner(hidden)))


def test_tied_weights_stay_tied():
    model, x = Tied(), torch.arange(8).reshape(2, 4)
    result = jp.shrink(model, x, energy="70%", profile="eyeriss-65nm")
    assert result.model.out.weight is result.model.table.weight
    assert result.model.table.embedding_dim == result.model.out.in_features < 12
    assert result.model(x).shape == (2, 4, 11)


def test_a_tie_that_would_break_is_refused():
    """The same matrix reads one width and writes another: only one of them can be cut."""

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two, self.head = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 3)
            self.two.weight = self.one.weight

        def forward(self, x):
            return self.head(torch.relu(self.two(torch.relu(self.one(x)))))

    groups, refused = channel_groups(Twice(), torch.randn(2, 8))
    assert not groups and sum("shared" in sentence for sentence in refused) == 2


def test_computed_weights_are_refused():
    model, x = network("mlp")
    nn.utils.prune.l1_unstructured(model[0], "weight", amount=0.5)
    with pytest.raises(ValueError, match="its weight is computed"):
        jp.shrink(model, x, energy="50%", profile="eyeriss-65nm")


def test_a_layer_called_twice_stays_whole():
    layer = nn.Linear(16, 16)
    model = nn.Sequential(nn.Linear(5, 16), nn.ReLU(), layer, nn.ReLU(), layer, nn.ReLU(), nn.Linear(16, 3))
    groups, refused = channel_groups(model, torch.randn(2, 5))
    assert not groups and any(sentence.startswith("2: ") for sentence in refused)


def test_a_smaller_network_is_read_back(tmp_path):
    model, x = network("depthwise")
    result = jp.shrink(model, x, energy="60%", profile="eyeriss-65nm")
    torch.save(result.model.state_dict(), tmp_path / "smaller.pt")
    fresh = jp.convert(type(model)().eval(), x, plan=jp.StructurePlan.from_json(result.plan.to_json()))
    fresh.load_state_dict(torch.load(tmp_path / "smaller.pt"))
    torch.testing.assert_close(fresh(x), result.model(x))


def test_a_network_with_fewer_heads_is_saved_and_loaded(tmp_path):
    model, x = network("transformer")
    result = jp.shrink(model, x, energy="80%", profile="eyeriss-65nm", pattern="head")
    assert result.plan.structure.heads
    jp.save(result.model, tmp_path / "m.safetensors")
    fresh = jp.convert(network("transformer")[0], x, plan=result.plan)
    with torch.no_grad():
        for parameter in fresh.parameters():
            parameter.zero_()
    assert torch.equal(jp.load(fresh, tmp_path / "m.safetensors")(x), result.model(x))


def test_all_of_the_joules_leave_the_network_whole():
    torch.manual_seed(0)
    for sizes in ((12, 3), (7, 5), (13, 11)):
        model, x = nn.Linear(*sizes), torch.randn(1, sizes[0])
        result = jp.shrink(model, x, energy="100%", profile="eyeriss-65nm")
        assert result.plan.budget_j == result.plan.dense_j == result.energy_j
        assert result.model.weight.shape == model.weight.shape


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.inner(x)


@pytest.mark.parametrize("pattern", ["layer", "structured"])
@pytest.mark.parametrize("name", ["blocks", "encoder"])
def test_a_network_of_nothing_but_residual_layers_keeps_one(name, pattern):
    torch.manual_seed(0)
    if name == "blocks":
        model, x = nn.Sequential(Block(8), Block(8), Block(8)), torch.randn(2, 8)
        with torch.no_grad():
            model[1].inner.weight.mul_(10)
    else:
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0)
        model, x = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), torch.randn(2, 3, 8)
    result = jp.shrink(model, x, energy="60%", profile="eyeriss-65nm", pattern=pattern)
    assert jp.estimate(result.model, x, profile="eyeriss-65nm").energy_j == result.energy_j <= result.plan.budget_j
    assert result.model(x).shape == x.shape
    whole = [sentence for sentence in result.plan.whole if "it stays, as the most important layer" in sentence]
    assert len(whole) == 1 and (name == "encoder" or whole[0].startswith("1: "))
    if pattern == "layer":
        with pytest.raises(
            jp.BudgetError, match=r"below the least that layer can reach.*it stays, as the most important"
        ):
            jp.shrink(model, x, energy="1%", profile="eyeriss-65nm", pattern=pattern)


def test_a_cascade_through_residual_layers():
    torch.manual_seed(0)
    model, x = nn.Sequential(Block(8), Block(8)), torch.randn(2, 8)
    result = jp.cascade(model, x, energy="60%", profile="eyeriss-65nm", structure=("layer", "neuron"))
    assert result.energy_j <= 0.6 * result.structure.dense_j


def test_channels_in_circles_are_refused_at_once():
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=56, num_attention_heads=4, num_key_value_heads=2,
        num_hidden_layers=1,
    )  # fmt: skip
    model = transformers.LlamaForCausalLM(config).eval()
    inputs = {"input_ids": torch.arange(8)[None]}
    with pytest.raises(RuntimeError, match=r"channels run in circles: more than \d+ steps.*shrink_checkpoint"):
        jp.plan_structure(model, inputs, energy="50%", profile="eyeriss-65nm", pattern="neuron")
