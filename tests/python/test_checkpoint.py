"""Saving and loading: whole files or none, a fresh model filled or left alone."""

from __future__ import annotations

import json

import pytest
import torch
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


def rewrite(path, *, metadata=None, tensors=None):
    from safetensors import safe_open

    with safe_open(str(path), framework="pt") as file:
        old = dict(file.metadata())
    save_file({**load_file(path), **(tensors or {})}, path, metadata={**old, **(metadata or {})})


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
}


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
