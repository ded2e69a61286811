"""Complexity of convolutions, whole and halved, against loops and against what a report counts."""

from __future__ import annotations

import itertools

import pytest
import torch
from networks import lenet, residual
from torch import nn

import jouleprune as jp


def counted(conv: nn.Conv2d, size: tuple[int, int]) -> int:
    """One by one: an output pixel of an output channel reads each tap of each channel of its group."""
    count = 0
    for _pixel in itertools.product(*map(range, size)):
        for _out in range(conv.out_channels):
            count += conv.weight[0].numel()
    return count


@pytest.mark.parametrize(
    "options",
    [
        {"in_channels": 3, "out_channels": 4, "kernel_size": (3, 2)},
        {"in_channels": 4, "out_channels": 6, "kernel_size": (3, 3), "groups": 2, "stride": 2, "padding": 1},
        {"in_channels": 6, "out_channels": 6, "kernel_size": (3, 3), "groups": 6, "dilation": 2},
    ],
)
def test_the_formula_is_the_loops_and_the_report(options):
    conv, x = nn.Conv2d(**options), torch.randn(1, options["in_channels"], 9, 8)
    size = tuple(conv(x).shape[2:])
    given = {"groups": conv.groups, "out_channels": conv.out_channels, "in_channels": conv.in_channels}
    whole = jp.energy.conv_macs(kernel_size=conv.kernel_size, output_size=size, **given)
    assert whole == counted(conv, size)
    assert jp.energy.conv_macs(kernel_size=conv.kernel_size, output_size=size, form="halved", **given) == whole / 2
    report = jp.estimate(nn.Sequential(conv), x, profile="eyeriss-65nm")
    assert jp.energy.macs(report) == {"0": whole}
    assert jp.energy.macs(report, form="halved") == {"0": whole / 2}


def test_lenet():
    """288,000, 1,600,000, 400,000 and 5,000 multiply-adds, as published for these widths; halved by name."""
    model, x = lenet()
    report = jp.estimate(model, x, profile="eyeriss-65nm")
    named = {"0": 288_000, "3": 1_600_000, "7": 400_000, "9": 5_000}
    whole, halved = jp.energy.macs(report), jp.energy.macs(report, form="halved")
    assert {name: whole[name] for name in named} == named
    assert {name: halved[name] for name in named} == {name: count / 2 for name, count in named.items()}
    assert sum(jp.energy.macs(jp.estimate(*residual(), profile="generic-cpu")).values()) > 0


def test_a_layer_called_twice_counts_twice():
    layer = nn.Linear(5, 5)
    report = jp.estimate(nn.Sequential(layer, layer), torch.ones(2, 5), profile="eyeriss-65nm")
    assert jp.energy.macs(report, form="halved") == {"0": 2 * 2 * 25 / 2}


@pytest.mark.parametrize(
    ("match", "options"),
    [
        ("form: expected one of whole, halved, got 'half'", {"form": "half"}),
        ("form: expected one of", {"form": 2}),
        ("kernel_size: expected one number per", {"kernel_size": 3}),
        ("kernel_size: expected whole numbers", {"kernel_size": (3, 0)}),
        ("output_size: expected as many dimensions", {"output_size": (3,)}),
        ("groups: expected a divisor of 4 and 6 channels, got 4", {"groups": 4}),
        ("in_channels: expected whole numbers of at least 1, got True", {"in_channels": True}),
    ],
)
def test_bad_sizes(match, options):
    sizes = {"out_channels": 6, "in_channels": 4, "kernel_size": (3, 3), "output_size": (2, 2), **options}
    with pytest.raises(ValueError, match=match):
        jp.energy.conv_macs(**sizes)
