"""Saving and loading networks whose sparse layers took over norms and activations."""

from __future__ import annotations

import json

import pytest
import torch
from checkpoint_files import metadata_in, rewrite

import jouleprune as jp


def normed(seed=0):
    """Linear, norm, activation, twice; the second ends in a norm alone."""
    torch.manual_seed(seed)
    layers = [
        torch.nn.Linear(12, 8, bias=False), torch.nn.BatchNorm1d(8), torch.nn.GELU(),
        torch.nn.Linear(8, 8), torch.nn.BatchNorm1d(8), torch.nn.ReLU(), torch.nn.BatchNorm1d(8),
    ]  # fmt: skip
    with torch.no_grad():
        layers[0].weight[:, 3] = 0
        layers[3].weight[2] = 0
        for norm in (layers[1], layers[4], layers[6]):
            norm.running_mean.normal_()
            norm.weight.uniform_(0.5, 2)
    return torch.nn.Sequential(*layers).eval()


@pytest.fixture
def fused(tmp_path):
    x = torch.randn(5, 12)
    model = jp.convert(normed(), x, force=True, fuse=True)
    jp.save(model, tmp_path / "fused.safetensors")
    return model, x, tmp_path / "fused.safetensors"


def test_fusions_are_told_and_believed(fused):
    model, x, path = fused
    assert {name: item["layer"] for name, item in json.loads(metadata_in(path)["fused"]).items()} == {
        "1": "0", "2": "0", "4": "3", "5": "3",
    }  # fmt: skip
    fresh = jp.load(normed(seed=1), path)
    assert torch.equal(fresh(x), model(x))
    again = jp.load(jp.load(fresh, path), path)  # into a fused model, too
    assert torch.equal(again(x), model(x))
    jp.save(again, path.with_name("again.safetensors"))
    assert metadata_in(path.with_name("again.safetensors"))["fused"] == metadata_in(path)["fused"]


FUSIONS = {
    "a norm that does not follow in kind": {"1": {"layer": "0", "was": "BatchNorm2d"}},
    "an activation as a norm": {"2": {"layer": "0", "was": "BatchNorm1d"}},
    "an activation of another kind": {"2": {"layer": "0", "was": "ReLU"}},
    "two norms in one layer": {"6": {"layer": "3", "was": "BatchNorm1d"}},
    "two activations in one layer": {"5": {"layer": "0", "was": "ReLU"}},
    "a layer outside": {"2": {"layer": "9", "was": "GELU"}},
}


@pytest.mark.parametrize("fusion", FUSIONS)
def test_fusions_that_do_not_fit_are_refused(fused, fusion):
    _, _, path = fused
    told = json.loads(metadata_in(path)["fused"])
    rewrite(path, metadata={"fused": json.dumps({**told, **FUSIONS[fusion]})})
    (name,) = FUSIONS[fusion]
    fresh = normed()
    kinds = [type(module) for module in fresh]
    with pytest.raises(ValueError, match=r"load: metadata 'fused' of .*: "):
        jp.load(fresh, path)
    assert [type(module) for module in fresh] == kinds and name in FUSIONS[fusion]


def test_a_norm_that_the_file_does_not_give_up_is_missing(fused):
    _, _, path = fused
    told = json.loads(metadata_in(path)["fused"])
    for name in ("1", "4"):
        rewrite(path, metadata={"fused": json.dumps({key: item for key, item in told.items() if key != name})})
        with pytest.raises(ValueError, match=r"bias|missing"):
            jp.load(normed(), path)


def test_a_fused_activation_is_not_lost(fused, tmp_path):
    """Neither by loading an unfused file into a fused model, nor by saving a model that lacks its place."""
    model, x, _ = fused

    def plain():
        return torch.nn.Sequential(torch.nn.Linear(12, 8), torch.nn.ReLU()).eval()

    pruned = plain()
    with torch.no_grad():
        pruned[0].weight[0] = 0
    jp.save(jp.convert(pruned, x, force=True), tmp_path / "plain.safetensors")
    with pytest.raises(ValueError, match=r"its ReLU '1' was fused"):
        jp.load(jp.convert(pruned, x, force=True, fuse=True), tmp_path / "plain.safetensors")
    with pytest.raises(ValueError, match="'0' applies gelu"):
        jp.save(torch.nn.Sequential(model[0]), tmp_path / "m.safetensors")
    with pytest.raises(ValueError, match="outside the model"):
        jp.save(torch.nn.Sequential(model[2]), tmp_path / "m.safetensors")
    moved = torch.nn.Sequential(torch.nn.Flatten(), *model)  # other names, the same modules
    jp.save(moved, tmp_path / "m.safetensors")
    fresh = jp.load(torch.nn.Sequential(torch.nn.Flatten(), *normed()).eval(), tmp_path / "m.safetensors")
    assert torch.equal(fresh(x), moved(x))
