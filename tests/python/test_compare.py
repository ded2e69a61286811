"""One table of networks on devices."""

from __future__ import annotations

import json

import pytest
import torch
from networks import NETWORKS, lenet, mlp
from torch import nn

import jouleprune as jp

DEVICES = ["generic-cpu", "generic-gpu-hbm", "eyeriss-65nm", "tpu-like", "horowitz-45nm"]


def levels_of(name):
    return json.loads(jp.energy.load_profile(name).to_json())["levels"]


def test_rows_are_estimates():
    model, x = lenet()
    found = jp.compare(model, x, profiles=DEVICES, batches=(1, 6))
    assert [(row.profile, row.batch) for row in found.rows] == [(name, batch) for name in DEVICES for batch in (1, 6)]
    for row in found.rows:
        alone = jp.estimate(model, torch.randn(row.batch, 1, 28, 28), profile=row.profile)
        assert (row.energy_j, row.low_j, row.high_j) == (alone.energy_j, alone.low_j, alone.high_j)
        assert row.label == "modelled"
        assert row.macs == sum(layer.macs_issued for layer in alone.layers)
        for level in row.levels:
            assert level.bytes == pytest.approx(sum(layer.bytes[level.name] for layer in alone.layers))
        if row.profile == "horowitz-45nm":
            assert row.latency_s is None and row.multiplier_share is None
        else:
            assert row.latency_s == pytest.approx(alone.latency_s)
            assert row.latency_low_s <= row.latency_s <= row.latency_high_s
            assert 0 < row.multiplier_share <= 1 + 1e-9
    assert "unavailable" in str(found) and "modelled" in str(found)
    fast = [name for name in DEVICES if not any(level.get("bytes_s") for level in levels_of(name))]
    (told,) = found.assumptions  # profiles with a speed and without bandwidths
    assert told.split(": ")[-1].split(", ") == [name for name in fast if name != "horowitz-45nm"]
    assert told in str(found) and json.loads(found.to_json())["assumptions"] == [told]
    assert not jp.compare(model, x, profiles="generic-cpu").assumptions


def test_networks_side_by_side():
    (small, x), (large, _) = mlp(), lenet()
    found = jp.compare({"mlp": small, "lenet": large}, x, profiles="generic-cpu", batches=None)
    assert [row.network for row in found.rows] == ["mlp", "lenet"]
    assert [row.batch for row in found.rows] == [4, 4]
    first, second = found.rows
    assert found.over_first(first) == 1
    assert found.over_first(second) == second.energy_j / first.energy_j
    data = json.loads(found.to_json())
    assert data["schema"] == 1
    assert [row["energy_j"] for row in data["rows"]] == [first.energy_j, second.energy_j]
    unnamed = jp.compare([small, large, nn.ReLU()], x, profiles="generic-cpu", batches=None)
    assert [row.network for row in unnamed.rows] == ["Sequential 1", "Sequential 2", "ReLU"]


def test_each_network_may_have_its_own_inputs():
    models = {"mlp": mlp()[0], "residual": NETWORKS["residual"]()[0]}
    inputs = {"mlp": mlp()[1], "residual": NETWORKS["residual"]()[1]}
    assert len(jp.compare(models, inputs, profiles=["generic-cpu"], batches=(2,)).rows) == 2


def test_batches_resize_nested_inputs():
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(8, 4), nn.Linear(6, 4)

        def forward(self, pair, *, scale):
            return (self.first(pair[0]) + self.second(pair[1])) * scale

    inputs = {"pair": [torch.randn(3, 8), torch.randn(3, 6)], "scale": torch.tensor(2.0)}
    found = jp.compare(Two(), inputs, profiles="generic-cpu", batches=(1, 3, 7))
    assert [row.batch for row in found.rows] == [1, 3, 7]
    assert [row.macs for row in found.rows] == [batch * (8 + 6) * 4 for batch in (1, 3, 7)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batches": (0,)}, "batches: expected whole numbers"),
        ({"batches": ()}, "batches: expected whole numbers"),
        ({"batches": (True,)}, "batches: expected whole numbers"),
        ({"profiles": []}, "profiles: expected at least one"),
        ({"profiles": ["nowhere"]}, "nowhere"),
        ({"models": {}}, "models: expected at least one"),
        ({"models": {1: nn.Linear(2, 2)}}, "models: expected names"),
    ],
)
def test_bad_arguments_are_named(change, message):
    model, x = mlp()
    arguments = {"models": model, "profiles": "generic-cpu", **change}
    with pytest.raises(ValueError, match=message):
        jp.compare(arguments.pop("models"), x, **arguments)


def test_inputs_without_a_batch_ask_for_none():
    layer, x = nn.Linear(4, 4), torch.tensor(1.0)
    with pytest.raises(ValueError, match="pass batches=None"):
        jp.compare(lambda scale: layer(torch.ones(2, 4) * scale), x, profiles="generic-cpu", batches=(5,))
