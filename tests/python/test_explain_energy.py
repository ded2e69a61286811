"""One number taken apart: the terms are the addends, and each coefficient has its source."""

from __future__ import annotations

import copy
import json

import pytest
from networks import NETWORKS, shared

import jouleprune as jp
from jouleprune.cli import main


def added(values) -> float:
    """Term by term: Python's sum compensates from 3.12 on."""
    total = 0.0
    for value in values:
        total += value
    return total


@pytest.mark.parametrize("profile", jp.energy.profiles())
@pytest.mark.parametrize("network", NETWORKS)
def test_terms_add_up_exactly_to_every_layer_of_the_report(network, profile):
    model, x = NETWORKS[network]()
    report = jp.estimate(model, x, profile=profile)
    for layer in report.layers:
        (call,) = (found := report.explain(layer.name)).calls
        assert call.layer == type(layer)(**{**vars(layer), "share": 0.0})
        parts = [
            added(term.energy_j for term in call.terms if term.part == part)
            for part in ("compute", "memory", "metadata", "static")
        ]
        assert parts == list(layer.parts._to_dict().values())
        assert added(parts) == layer.energy_j == found.energy_j
        assert (found.low_j, found.high_j) == (layer.low_j, layer.high_j)
        sources = {number.pointer: number for number in call.coefficients}
        assert all(number.source and number.kind for number in sources.values())
        assert all(pointer in sources for term in call.terms for pointer in (term.pointer, *term.behind))


def test_a_layer_that_is_called_twice_has_two_calls():
    model, x = shared()
    report = jp.estimate(model, x, profile="generic-cpu")
    found = report.explain("0")
    assert len(found.calls) == 2
    assert found.energy_j == added(layer.energy_j for layer in report.layers if layer.name == "0")
    assert "call 2 of 2" in str(found)


def test_text_and_json():
    model, x = NETWORKS["lenet"]()
    found = jp.estimate(model, x, profile="eyeriss-65nm").explain("3")
    text = str(found)
    assert "modelled" in text and "interval" in text and "/compute/int16/mac_pj = 1.694" in text
    assert "Chen et al., JSSC 2017" in text and "published" in text
    data = json.loads(found.to_json())
    bits = next(term["count"] for term in data["calls"][0]["terms"] if term["what"] == "reads of RF")
    assert bits > 1e6 and f"{bits:,.0f} bits" in text  # all digits
    assert data["schema"] == 1 and data["energy_j"] == found.energy_j
    assert added(term["energy_j"] for term in data["calls"][0]["terms"]) == pytest.approx(found.energy_j)


def test_what_cannot_be_explained_says_why():
    model, x = NETWORKS["mlp"]()
    report = jp.estimate(model, x, profile="generic-cpu")
    with pytest.raises(ValueError, match=r"layer: expected one of 1, elementwise_0, 3, got 'fc9'"):
        report.explain("fc9")
    with pytest.raises(ValueError, match="read from JSON"):
        type(report).from_json(report.to_json()).explain("1")
    assert type(report).from_json(report.to_json()) == report
    assert copy.deepcopy(report).explain("1") == report.explain("1")


def test_command(capsys):
    arguments = ["estimate", "networks:lenet", "--profile", "generic-cpu", "--explain", "7"]
    assert main(arguments) == 0
    assert "numbers of the profile, by source:" in capsys.readouterr().out
    assert main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "7"
    assert main([*arguments[:-1], "nothing"]) == 1
    assert "layer: expected one of" in capsys.readouterr().err
