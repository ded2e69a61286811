"""The report: text, JSON, and a page that needs nothing else."""

from __future__ import annotations

import json
import os
import re
from html.parser import HTMLParser
from xml.dom import minidom

import pytest
import torch
from networks import lenet, mlp
from torch import nn

import jouleprune as jp
from jouleprune.cli import main

VOID = {"meta", "br"}


class Page(HTMLParser):
    """Tags that do not match, or that could load something, are errors."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        assert tag not in ("script", "link", "img", "iframe", "object", "embed", "base", "form"), tag
        for name, value in attrs:
            assert name not in ("src", "href", "onload", "onclick", "action"), (tag, name, value)
            assert not name.startswith("on") and "url(" not in (value or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def drawings(html: str) -> list[str]:
    found = re.findall(r"<svg.*?</svg>", html, re.DOTALL)
    for drawing in found:
        minidom.parseString(drawing)
    return found


@pytest.fixture(scope="module")
def found():
    model, x = lenet()
    return jp.report(model, x, profiles=["generic-cpu", "eyeriss-65nm", "horowitz-45nm"], energy="40%")


def test_page_is_whole_and_alone(found):
    html = found.to_html()
    text = " ".join(Page(html).texts)
    assert html.count("http") == html.count('xmlns="http://www.w3.org/2000/svg"') + html.count("http-equiv")
    assert "default-src 'none'" in html
    for word in ("modelled", "unavailable", "no measurement was given", "Break-even", "Before and after", "assumed"):
        assert word in text, word
    assert len(drawings(html)) == 6  # layers and curves of three devices
    assert found.to_html() == html
    model, x = lenet()
    assert (
        jp.report(model, x, profiles=["generic-cpu", "eyeriss-65nm", "horowitz-45nm"], energy="40%").to_html() == html
    )


def test_before_and_after_are_the_plans(found):
    cpu = found.sections[0]
    model, x = lenet()
    plan = jp.plan(model, x, energy="40%", profile="generic-cpu")
    assert cpu.pruned.before.energy_j == pytest.approx(plan.dense_j, rel=1e-12)
    assert cpu.pruned.after.energy_j == plan.energy_j
    assert cpu.pruned.plan.to_json() == plan.to_json()
    horowitz = found.sections[2]
    assert horowitz.pruned is None or horowitz.pruned.after.energy_j <= 0.4 * horowitz.now.energy_j
    with_plans = jp.report(model, x, profiles=["generic-cpu", "eyeriss-65nm"], plans=[plan])
    assert with_plans.sections[0].pruned.after.energy_j == plan.energy_j
    assert with_plans.sections[1].pruned is None


def test_curves_meet_the_break_evens():
    """Of a network of one layer the curve crosses where the layer's break-even is."""
    model, x = nn.Sequential(nn.Linear(300, 500)), torch.randn(8, 300)
    section = jp.report(model, x, profiles="generic-cpu", batches=None).sections[0]
    exact = {row.kernel: row.density for row in section.break_evens}
    assert {curve.kernel for curve in section.curves.curves} == set(exact)
    for curve in section.curves.curves:
        assert curve.density == pytest.approx(exact[curve.kernel], abs=0.0011), curve.kernel
        for density, energy_j in zip(section.curves.densities, curve.energy_j, strict=True):
            if abs(density - curve.density) > 0.002:
                assert (energy_j <= section.curves.dense_j) == (density <= curve.density)


def test_a_device_on_which_zeros_save_nothing():
    number = {"value": 1.0, "low": 1.0, "high": 1.0}
    device = {
        "schema": 1,
        "name": "plain",
        "kind": "asic",
        "dataflow": "op-count",
        "compute": {"float32": {"mac_pj": number, "op_pj": number}},
        "levels": [{"name": "memory", "read_pj_per_bit": number, "write_pj_per_bit": number}],
        "provenance": {"": {"source": "made up for this test", "kind": "assumed"}},
    }
    model, x = mlp()
    found = jp.report(model, x, profiles=[device])
    assert found.sections[0].curves.curves == ()
    html = found.to_html()
    assert len(drawings(html)) == 1 and "save nothing on this device" in html and "made up for this test" in html


def test_names_are_escaped():
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleDict({"<script>alert(1)</script> & \"x\" 'y'": nn.Linear(8, 8)})

        def forward(self, x):
            for layer in self.layers.values():
                x = layer(x)
            return x

    html = jp.report({"<b>net</b>": Odd()}, torch.randn(2, 8), profiles="generic-cpu", energy="50%").to_html()
    text = " ".join(Page(html).texts)
    assert "<b>net</b>" in text and "alert(1)" in text
    drawings(html)


@pytest.mark.parametrize("depth", [1, 500])
def test_networks_of_any_depth(depth):
    model = nn.Sequential(*(nn.Linear(16, 16) for _ in range(depth)))
    found = jp.report(model, torch.randn(2, 16), profiles=["generic-cpu", "tpu-like"], batches=None)
    html = found.to_html()
    Page(html)
    assert all(drawing.count("<g ") <= 40 for drawing in drawings(html))
    assert html.count(">linear<") >= 2 * depth
    assert json.loads(found.to_json())["sections"][0]["now"]["layers"][-1]["name"] == str(depth - 1)


def test_a_network_without_weights():
    found = jp.report(nn.ReLU(), torch.randn(2, 16), profiles=["generic-cpu", "eyeriss-65nm"])
    Page(found.to_html())
    assert found.sections[0].curves.curves == ()


def test_measured_numbers_are_labelled():
    model, x = mlp()
    measured = jp.energy.measure(lambda: model(x), max_s=0.2, min_windows=4)
    found = jp.report({"a": model, "b": model}, x, profiles="generic-cpu", measurements={"a": measured})
    text = " ".join(Page(found.to_html()).texts)
    assert "measured" in text and "95 % interval" in text and "no measurement was given" in text
    if not measured.totals:
        assert measured.why_unavailable in text
    assert json.loads(found.to_json())["measurements"]["a"]["time_s"] == measured.time_s
    with pytest.raises(ValueError, match="measurements: expected a dict"):
        jp.report({"a": model, "b": model}, x, profiles="generic-cpu", measurements=measured)
    with pytest.raises(ValueError, match="measurements: expected names among a, got 'c'"):
        jp.report({"a": model}, x, profiles="generic-cpu", measurements={"c": measured})


def test_budgets_out_of_reach_are_told(found):
    model, x = lenet()
    told = jp.report(model, x, profiles="generic-cpu", energy="0.1%", batches=None)
    assert told.sections[0].pruned is None and "budget" in told.sections[0].why_not_pruned
    assert "Not pruned" in told.to_html() and "not pruned" in str(told)
    with pytest.raises(jp.BudgetError):
        jp.report(model, x, profiles="generic-cpu", energy="much")


def test_plans_of_something_else_are_refused():
    model, x = lenet()
    plan = jp.plan(model, x, energy="40%", profile="generic-cpu")
    with pytest.raises(ValueError, match="plans: made for generic-cpu"):
        jp.report(model, x, profiles="eyeriss-65nm", plans=[plan])
    with pytest.raises(ValueError, match="plans: expected one for this network and batch"):
        jp.report(model, torch.randn(8, 1, 28, 28), profiles="generic-cpu", plans=[plan])
    with pytest.raises(ValueError, match="plans: expected for one network and without energy"):
        jp.report(model, x, profiles="generic-cpu", plans=[plan], energy="50%")


def test_file_is_replaced_as_a_whole(tmp_path, found, monkeypatch):
    file = tmp_path / "report.html"
    file.write_text("before")
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        found.write_html(file)
    assert file.read_text() == "before" and os.listdir(tmp_path) == ["report.html"]
    monkeypatch.undo()
    found.write_html(file)
    assert file.read_text() == found.to_html() and os.listdir(tmp_path) == ["report.html"]


def test_command(capsys, tmp_path):
    page = tmp_path / "out.html"
    arguments = ["report", "networks:lenet", "networks:mlp", "--profile", "generic-cpu", "--profile", "tpu-like"]
    assert main([*arguments, "--html", str(page), "--energy", "50%", "--explain", "7"]) == 1
    assert "layer: expected one of" in capsys.readouterr().err  # mlp has no layer 7
    assert main([*arguments, "--html", str(page), "--energy", "50%", "--measure", "0.1"]) == 0
    assert "written" in capsys.readouterr().out
    assert "networks:mlp on tpu-like" in " ".join(Page(page.read_text()).texts)
    assert main([*arguments, "--json", "--batches", "1"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert len(data["sections"]) == 4 and len(data["comparison"]["rows"]) == 4
    assert main([*arguments, "--compare"]) == 0
    assert capsys.readouterr().out.count("networks:lenet") == 4
    assert main([*arguments]) == 0
    assert "== networks:lenet on tpu-like ==" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--batches", "1,x"], "--batches"),
        (["--energy", "half"], "--energy"),
        (["--compare", "--html", "x.html"], "--compare"),
        (["networks:lenet"], "model: expected different ones"),
        (["--profile", "nowhere"], "nowhere"),
    ],
)
def test_bad_commands(capsys, options, message):
    assert main(["report", "networks:lenet", *options]) == 1
    assert message in capsys.readouterr().err
