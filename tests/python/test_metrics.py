"""Figures of a network: each against its definition, computed another way."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import pytest
import torch
from networks import lenet, mlp
from torch import nn

import jouleprune as jp
from jouleprune.metrics import classification, latency
from jouleprune.size import size_of


class Given(nn.Module):
    """Puts the examples into the classes it is asked for."""

    def forward(self, classes):
        assert not self.training
        return nn.functional.one_hot(classes, 4).float() * 5


def test_classification_by_hand():
    # Class 3 occurs nowhere; class 2 is predicted but never true.
    true, predicted = torch.tensor([0, 0, 0, 1, 1]), torch.tensor([0, 0, 1, 1, 2])
    found = classification(Given(), [(predicted[:2], true[:2]), (predicted[2:], true[2:])])
    assert found.accuracy == 3 / 5 and found.examples == 5
    assert found.precision == pytest.approx((1 + 1 / 2 + 0) / 3)
    assert found.recall == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    assert found.f1 == pytest.approx((4 / 5 + 1 / 2 + 0) / 3)
    whole = nn.functional.cross_entropy(nn.functional.one_hot(predicted, 4).float() * 5, true)
    assert found.loss == pytest.approx(float(whole))


def test_classification_as_scikit_learn_has_it():
    learn = pytest.importorskip("sklearn.metrics")
    generator = torch.Generator().manual_seed(0)
    true, predicted = (torch.randint(0, 4, (200,), generator=generator) for _ in range(2))
    found = classification(Given(), [(predicted, true)])
    options = {"average": "macro", "zero_division": 0}
    assert found.accuracy == pytest.approx(learn.accuracy_score(true, predicted))
    assert found.precision == pytest.approx(learn.precision_score(true, predicted, **options))
    assert found.recall == pytest.approx(learn.recall_score(true, predicted, **options))
    assert found.f1 == pytest.approx(learn.f1_score(true, predicted, **options))


def test_size_of_dense_masked_and_converted_networks():
    model, x = mlp()
    dense = size_of(model)
    assert dense.parameters == 784 * 128 + 128 + 128 * 10 + 10 and dense.nnz == dense.parameters
    assert dense.memory_bytes == dense.dense_bytes == 4 * dense.parameters and dense.compression_rate == 1
    assert 0 <= dense.disk_bytes - 4 * dense.parameters < 4096  # a header of names
    pruner = jp.Pruner(model, x, energy="40%", profile="generic-cpu")
    pruner.prune_now()
    masked = size_of(model)
    zeros = sum(int((parameter == 0).sum()) for parameter in model.parameters())
    weights = 784 * 128 + 128 * 10
    assert zeros > 0 and masked.nnz == masked.parameters - zeros
    assert masked.sparsity == pytest.approx(zeros / masked.parameters) and masked.density == 1 - masked.sparsity
    assert masked.pruning_rate == pytest.approx(zeros / weights)
    assert masked.compression_rate == 1  # zeros that are stored take as much room
    converted = jp.convert(model, x, plan=pruner.plan, force=True)
    found = size_of(converted)
    assert (found.parameters, found.nnz, found.pruning_rate) == (masked.parameters, masked.nnz, masked.pruning_rate)
    held = {tensor.data_ptr(): tensor.nbytes for tensor in [*converted.parameters(), *converted.buffers()]}
    assert found.memory_bytes == sum(held.values()) and found.dense_bytes == masked.dense_bytes
    assert (
        found.compression_rate == pytest.approx(found.dense_bytes / found.memory_bytes) and found.compression_rate > 1
    )


def test_sizes_of_layers_of_several_weights():
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.LSTM(12, 20, num_layers=2)
            self.head = nn.Linear(20, 3)
            self.tied = nn.Linear(20, 3)
            self.tied.weight = self.head.weight

        def forward(self, x):
            y = self.rnn(x)[0][-1]
            return self.head(y) + self.tied(y)

    net = Net()
    assert size_of(net).parameters == sum(parameter.numel() for parameter in net.parameters())
    with torch.no_grad():
        for name, parameter in net.rnn.named_parameters():
            if name.startswith("weight"):
                parameter.masked_fill_(torch.rand_like(parameter) < 0.5, 0.0)
    masked = size_of(net)
    net.rnn = jp.nn.SparseLSTM.from_dense(net.rnn)
    sparse = size_of(net)
    assert (sparse.parameters, sparse.nnz) == (masked.parameters, masked.nnz)
    assert size_of(nn.ReLU()).density == 1 and size_of(nn.ReLU()).compression_rate == 1


def test_all_together():
    model, _ = lenet()
    x, classes = torch.randn(6, 1, 28, 28), torch.arange(6)
    model.train()
    found = jp.metrics(model, x, profile="eyeriss-65nm", data=[(x, classes)], seconds=0.1)
    report = jp.estimate(model, x, profile="eyeriss-65nm")
    assert (found.energy_j, found.low_j, found.high_j) == (report.energy_j, report.low_j, report.high_j)
    assert found.macs_issued == sum(layer.macs_issued for layer in report.layers) / 6
    assert found.eer == found.quality.accuracy / found.energy_j
    assert model.training and found.single.batch == 1 and found.batch.batch == 6
    data = json.loads(found.to_json())
    assert data["schema"] == 1 and data["labels"]["energy_j"] == "modelled" and data["labels"]["single"] == "measured"
    text = str(found)
    assert "no rank" in text and "measured" in text and "counted" in text
    without = jp.metrics(model, x, profile="eyeriss-65nm", seconds=0)
    assert without.quality is None and without.eer is None and without.single is None
    assert str(without).count("unavailable") == 2


def test_latency_is_of_single_passes(monkeypatch):
    """19 passes of 0.5 s and one of 9 s by a clock that only passes move."""
    module = sys.modules["jouleprune.metrics"]
    now, calls = [0.0], []

    def run(*_):
        calls.append(1)
        now[0] += 9.0 if len(calls) == 12 else 0.5

    net = nn.Identity()
    net.register_forward_hook(run)
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    found = latency(net, torch.ones(5, 1), seconds=1.0)
    assert found.runs == 20 and len(calls) == 22  # two before the clock starts
    assert found.median_s == pytest.approx(0.5) and found.throughput == pytest.approx(5 / 0.5)
    assert found.p95_s == pytest.approx(0.5 + 0.05 * (9 - 0.5))  # rank 18.05 of 0..19, interpolated
    assert found.low_s <= found.median_s <= found.high_s < 9


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "data: expected at least one example"),
        ([(torch.tensor([0]), torch.tensor([4]))], "data: expected classes from 0 to 3, got 4 to 4"),
        ([(torch.tensor([0]), torch.tensor([0.5]))], "whole numbers"),
        ([(torch.tensor([0, 1]), torch.tensor([0]))], r"got \[2, 4\], \[1\]"),
    ],
)
def test_data_that_does_not_fit(data, message):
    with pytest.raises(ValueError, match=message):
        classification(Given(), data)


@pytest.mark.parametrize(("options", "message"), [({"seconds": -1}, "seconds: expected"), ({"profile": "no"}, "no")])
def test_bad_arguments_are_named(options, message):
    model, x = mlp()
    with pytest.raises(ValueError, match=message):
        jp.metrics(model, x, **{"profile": "generic-cpu", **options})
    with pytest.raises(ValueError, match=r"model: expected a torch\.nn\.Module"):
        jp.metrics(lambda x: x, x, profile="generic-cpu")
