"""Saving and loading: whole files or none, a fresh model filled or left alone."""

from __future__ import annotations

import json
import math
import warnings

import pytest
import torch
from checkpoint_files import metadata_in, rewrite
from networks import NETWORKS, lenet, mlp
from safetensors.torch import load_file, save_file

import jouleprune as jp
from jouleprune.checkpoint import read_plan


def deployed(network: str = "lenet", energy: str = "20%"):
    model, x = NETWORKS[network]()
    pruner = jp.Pruner(model, x, energy=energy, profile="eyeriss-65nm")
    pruner.prune_now()
    return jp.convert(model, x, plan=pruner.plan, force=True).eval(), x, pruner.plan


def test_round_trip_of_a_converted_model(tmp_path):
    model, x, plan = deployed()
    jp.save(model, tmp_path / "m.safetensors", plan=plan)
    fresh = jp.load(lenet()[0].eval(), tmp_path / "m.safetensors")
    assert torch.equal(fresh(x), model(x))
    assert jp.explain(fresh) == jp.explain(model)
    assert jp.estimate(fresh, x, profile="eyeriss-65nm").energy_j == plan.energy_j
    kept = read_plan(tmp_path / "m.safetensors")
    assert kept.to_json() == plan.to_json()
    assert all(torch.equal(kept.masks[name], bits) for name, bits in plan.masks.items())


def test_round_trip_of_a_dense_model(tmp_path):
    model, x = mlp()
    jp.save(model, tmp_path / "m.safetensors")
    torch.manual_seed(9)
    fresh = mlp()[0]
    with torch.no_grad():
        fresh[1].weight.zero_()
    jp.load(fresh, tmp_path / "m.safetensors")
    assert torch.equal(fresh(x), model(x))
    assert read_plan(tmp_path / "m.safetensors") is None


def test_loading_twice_into_a_sparse_model(tmp_path):
    model, x, _ = deployed()
    other = deployed(energy="10%")[0]
    jp.save(other, tmp_path / "other.safetensors")
    jp.load(model, tmp_path / "other.safetensors")
    assert torch.equal(model(x), other(x))


def test_tied_weights(tmp_path):
    def tied():
        torch.manual_seed(4)
        a, b = torch.nn.Linear(6, 6), torch.nn.Linear(6, 6)
        b.weight = a.weight
        return torch.nn.Sequential(a, b)

    model = tied()
    jp.save(model, tmp_path / "m.safetensors")
    fresh = tied()
    with torch.no_grad():
        fresh[0].weight.zero_()
    jp.load(fresh, tmp_path / "m.safetensors")
    assert torch.equal(fresh[0].weight, model[0].weight) and fresh[0].weight is fresh[1].weight


DAMAGE = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-7]),
    "empty": lambda path: path.write_bytes(b""),
    "header length": lambda path: path.write_bytes(b"\xff" * 8 + path.read_bytes()[8:]),
    "not json": lambda path: path.write_bytes(path.read_bytes()[:8] + b"}" + path.read_bytes()[9:]),
    "a pickle": lambda path: torch.save({"a": torch.zeros(2)}, path),
    "another format": lambda path: rewrite(path, metadata={"format": "pt"}),
    "another schema": lambda path: rewrite(path, metadata={"schema": "99"}),
    "layers are no object": lambda path: rewrite(path, metadata={"layers": "[1, 2]"}),
    "layers nest": lambda path: rewrite(path, metadata={"layers": "[" * 100000}),
    "unknown class": lambda path: rewrite(path, metadata={"layers": json.dumps({"3": "os.system"})}),
    "unknown layer": lambda path: rewrite(path, metadata={"layers": json.dumps({"99": "SparseLinearCSR"})}),
    "wrong class": lambda path: rewrite(path, metadata={"layers": json.dumps({"3": "SparseLinearCSR"})}),
    "index out of range": lambda path: rewrite(path, tensors={"7.col_indices": load_file(path)["7.col_indices"] + 800}),
    "negative index": lambda path: rewrite(path, tensors={"7.col_indices": -load_file(path)["7.col_indices"] - 1}),
    "offsets": lambda path: rewrite(path, tensors={"7.row_offsets": load_file(path)["7.row_offsets"].flip(0)}),
    "huge offsets": lambda path: rewrite(path, tensors={"7.row_offsets": load_file(path)["7.row_offsets"] + 2**30}),
    "wrong key": lambda path: rewrite(path, tensors={"7.key": load_file(path)["7.key"] + 1}),
    "values missing": lambda path: rewrite(path, tensors={"7.values": load_file(path)["7.values"][:-1].clone()}),
    "another dtype": lambda path: rewrite(path, tensors={"0.bias": torch.zeros(20, dtype=torch.float64)}),
    "another shape": lambda path: rewrite(path, tensors={"0.bias": torch.zeros(21)}),
    "one tensor more": lambda path: rewrite(path, tensors={"extra.weight": torch.zeros(2)}),
    "decisions a list of numbers": lambda path: rewrite(path, metadata={"decisions": "[1]"}),
    "decisions an object": lambda path: rewrite(path, metadata={"decisions": '{"a": 1}'}),
    "decisions null": lambda path: rewrite(path, metadata={"decisions": "null"}),
    "decisions a number": lambda path: rewrite(path, metadata={"decisions": "5"}),
    "decisions not json": lambda path: rewrite(path, metadata={"decisions": "["}),
    "decision of wrong types": lambda path: edit_decision(path, name=1, weight=2, layout=3, kernel=4, reason=None),
    "decision with a density in words": lambda path: edit_decision(path, density="x"),
    "decision with a time that is none": lambda path: edit_decision(path, dense_s=math.nan),
    "decision with another field": lambda path: edit_decision(path, colour="red"),
    "identity of an activation": lambda path: rewrite(path, metadata={"identities": '{"1": "Identity"}'}),
    "identity of a pooling": lambda path: rewrite(path, metadata={"identities": '{"2": "Identity"}'}),
    "identity of a sparse layer": lambda path: rewrite(path, metadata={"identities": '{"0": "Identity"}'}),
    "activation of no layer": lambda path: rewrite(path, metadata={"activations": '{"2": "relu"}'}),
    "activation that nobody gave up": lambda path: rewrite(path, metadata={"activations": '{"0": "relu"}'}),
    "fused is no object": lambda path: rewrite(path, metadata={"fused": "[]"}),
    "fused without the class": lambda path: rewrite(path, metadata={"fused": '{"1": {"layer": "0"}}'}),
    "fused a number": lambda path: fuse_in(path, "1", layer="0", was=3),
    "fused a missing module": lambda path: fuse_in(path, "77", layer="0", was="ReLU"),
    "fused a pooling": lambda path: fuse_in(path, "2", layer="0", was="MaxPool2d"),
    "fused another activation": lambda path: fuse_in(path, "1", layer="0", was="SiLU"),
    "fused a sparse layer": lambda path: fuse_in(path, "3", layer="0", was="ReLU"),
    "fused into a layer that is not sparse": lambda path: fuse_in(path, "1", layer="2", was="ReLU"),
    "fused two activations into one layer": lambda path: rewrite(
        path, metadata={"fused": json.dumps({name: {"layer": "0", "was": "ReLU"} for name in ("1", "4")})}
    ),
    "plan of wrong types": lambda path: edit_plan(path, energy_j="x"),
    "plan without a workload": lambda path: edit_plan(path, workload=None),
    "plan not json": lambda path: rewrite(path, metadata={"plan": "{"}),
    "plan of another network": lambda path: rewrite(path, metadata=metadata_of(other_plan())),
    "profile of another plan": lambda path: rewrite(path, metadata={"profile": "horowitz-45nm"}),
    "mask of another size": lambda path: rewrite(path, tensors={"mask:7.weight": torch.zeros(3, dtype=torch.uint8)}),
    "mask of another dtype": lambda path: rewrite(path, tensors={"mask:7.weight": torch.zeros(50000)}),
    "mask that keeps all": lambda path: rewrite(
        path, tensors={"mask:7.weight": torch.full((50000,), 255, dtype=torch.uint8)}
    ),
    "mask of an unknown weight": lambda path: rewrite(path, tensors={"mask:x": torch.zeros(3, dtype=torch.uint8)}),
    "another model class": lambda path: rewrite(path, metadata={"model_class": "LeNet5"}),
}


def edit_decision(path, **changes):
    made = json.loads(metadata_in(path)["decisions"])
    rewrite(path, metadata={"decisions": json.dumps([{**made[0], **changes}, *made[1:]])})


def edit_plan(path, **changes):
    rewrite(path, metadata={"plan": json.dumps({**json.loads(metadata_in(path)["plan"]), **changes})})


def fuse_in(path, name, **fusion):
    rewrite(path, metadata={"fused": json.dumps({name: fusion})})


def other_plan():
    model, x = mlp()
    return jp.plan(model, x, energy="50%", profile="eyeriss-65nm")


def metadata_of(plan):
    return {"plan": plan.to_json(), "profile": plan.profile, "profile_hash": plan.profile_hash}


@pytest.mark.parametrize("damage", DAMAGE)
def test_hostile_files_are_refused_and_change_nothing(tmp_path, damage):
    model, _, plan = deployed()
    path = tmp_path / "m.safetensors"
    jp.save(model, path, plan=plan)
    DAMAGE[damage](path)
    fresh = lenet()[0]
    before = {name: value.clone() for name, value in fresh.state_dict().items()}
    classes = [type(module) for module in fresh.modules()]
    with pytest.raises(ValueError, match="load"):
        jp.load(fresh, path)
    assert [type(module) for module in fresh.modules()] == classes
    assert all(torch.equal(before[name], value) for name, value in fresh.state_dict().items())


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    model, _, plan = deployed()
    path = tmp_path / "m.safetensors"
    jp.save(model, path, plan=plan)
    old = path.read_bytes()

    def breaks(*_args, **_kwargs):
        raise OSError("disk full")

    monkeypatch.setattr("jouleprune.checkpoint.os.replace", breaks)
    with pytest.raises(ValueError, match="disk full"):
        jp.save(model, path)
    assert path.read_bytes() == old
    assert [file.name for file in tmp_path.iterdir()] == ["m.safetensors"]


def test_a_saved_file_has_the_permissions_of_any_other(tmp_path):
    (tmp_path / "other").touch()
    jp.save(mlp()[0], tmp_path / "m.safetensors")
    assert (tmp_path / "m.safetensors").stat().st_mode == (tmp_path / "other").stat().st_mode
    assert len(list(tmp_path.iterdir())) == 2


def test_no_such_file_or_folder(tmp_path):
    with pytest.raises(ValueError, match="no such file"):
        jp.load(mlp()[0], tmp_path / "none.safetensors")
    with pytest.raises(ValueError, match="cannot write"):
        jp.save(mlp()[0], tmp_path / "no" / "folder.safetensors")


@pytest.mark.parametrize(
    "damage", ["plan not json", "plan of wrong types", "mask of another size", "mask that keeps all"]
)
def test_a_damaged_plan_is_not_read(tmp_path, damage):
    model, _, plan = deployed()
    jp.save(model, tmp_path / "m.safetensors", plan=plan)
    DAMAGE[damage](tmp_path / "m.safetensors")
    with pytest.raises(ValueError, match="load"):
        read_plan(tmp_path / "m.safetensors")


def test_what_is_no_model_no_path_or_no_plan_of_it(tmp_path):
    path = tmp_path / "m.safetensors"
    model, _ = mlp()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.script(model)
    lazy, meta = torch.nn.Sequential(torch.nn.LazyLinear(3)), torch.nn.Linear(3, 3, device="meta")
    for call, message in [
        (lambda: jp.save(model, path, plan="x"), "save: plan: expected a Plan, got str"),
        (lambda: jp.save(model, path, plan=deployed()[2]), r"save: plan: names the weight '0\.weight'"),
        (lambda: jp.save(None, path), "save: model: expected a torch.nn.Module, got NoneType"),
        (lambda: jp.save(scripted, path), "save: model: expected an eager module"),
        (lambda: jp.save(lazy, path), "save: model: .* has no data"),
        (lambda: jp.save(meta, path), "save: model: .* has no data"),
        (lambda: jp.save(model, None), "save: path: expected the path of a file, got None"),
        (lambda: jp.load(model, None), "load: path: expected the path of a file, got None"),
        (lambda: jp.load(model, b"m.safetensors"), "load: path: expected the path"),
        (lambda: jp.load(scripted, path), "load: model: expected an eager module"),
        (lambda: jp.load(3, path), "load: model: expected a torch.nn.Module, got int"),
        (lambda: read_plan(3), "read_plan: path: expected the path of a file, got 3"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
    assert not path.exists()


def test_a_bias_that_the_model_lacks_is_refused(tmp_path):
    path = tmp_path / "m.safetensors"

    def network(bias):
        layer = torch.nn.Linear(6, 4, bias=bias)
        with torch.no_grad():
            layer.weight[0] = 0
        return torch.nn.Sequential(layer).eval()

    for saved in (True, False):
        jp.save(jp.convert(network(saved), torch.randn(2, 6), force=True), path)
        fresh = network(not saved)
        with pytest.raises(ValueError, match="bias"):
            jp.load(fresh, path)
        assert type(fresh[0]) is torch.nn.Linear


def test_decisions_of_another_file_do_not_stay(tmp_path):
    model = deployed()[0]
    jp.save(lenet()[0], tmp_path / "dense.safetensors")
    jp.save(model, tmp_path / "sparse.safetensors")
    fresh = jp.load(lenet()[0], tmp_path / "sparse.safetensors")
    rewrite(tmp_path / "sparse.safetensors", metadata={"decisions": "[]"})
    jp.load(fresh, tmp_path / "sparse.safetensors")
    lines = jp.explain(fresh).splitlines()
    assert len(lines) == 3 and all(line.endswith("sparse before, kept as it is") for line in lines)


def test_files_from_before_fusions_were_told_are_read(tmp_path):
    model, x, plan = deployed()
    path = tmp_path / "m.safetensors"
    jp.save(model, path, plan=plan)
    old = {"identities": "{}", "activations": json.dumps(dict.fromkeys("0379", "none"))}
    metadata = {name: value for name, value in metadata_in(path).items() if name != "fused"}
    save_file(load_file(path), path, metadata={**metadata, **old})
    assert torch.equal(jp.load(lenet()[0].eval(), path)(x), model(x))
