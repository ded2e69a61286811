"""A sweep prints and plots itself."""

from __future__ import annotations

import json
import re
from xml.dom import minidom

import pytest
from networks import lenet

import jouleprune as jp
from jouleprune.report import si


@pytest.fixture(scope="module")
def sweep():
    model, x = lenet()
    return jp.sweep(model, x, profile="eyeriss-65nm", budgets=["80%", "40%", "0.001%"])


def test_points_have_their_interval(sweep):
    for point in sweep[:2]:
        assert point.low_j <= point.energy_j == point.plan.energy_j <= point.high_j
    assert sweep[2].plan is None and sweep[2].low_j is None
    text = str(sweep)
    assert "modelled" in text and "not below" in text and len(text.splitlines()) == 3 + len(sweep)
    data = json.loads(sweep.to_json())
    assert [point["energy_j"] for point in data["points"]] == [point.energy_j for point in sweep]


@pytest.mark.parametrize(("prune_for", "unit"), [("bytes", "B"), ("macs", "multiply-adds")])
def test_other_budgets_are_told_in_what_they_count(prune_for, unit):
    model, x = lenet()
    budgets = ["40%", "0.001%"]
    found = jp.sweep(model, x, profile="generic-cpu", budgets=budgets, prune_for=prune_for, min_density=0.1)
    amounts = found[0].plan.amounts
    assert (found[0].used, found[0].minimum_j) == (amounts.used, amounts.minimum)
    assert found[1].plan is None and found[1].used is None and found[1].minimum_j == amounts.minimum
    head, reached, not_reached = (
        line.split("  ") for line in [str(found).splitlines()[1], *str(found).splitlines()[3:]]
    )
    assert [part.strip() for part in head if part][:3] == ["budget", prune_for, "energy"]
    assert si(amounts.used, unit) in "  ".join(reached) and si(found[0].energy_j, "J") in "  ".join(reached)
    assert f"not below {si(amounts.minimum, unit)}" in "  ".join(not_reached)
    assert json.loads(found.to_json())["prune_for"] == prune_for


def test_plot(sweep, tmp_path):
    file = tmp_path / "sweep.svg"
    sweep.plot(file)
    text = file.read_text()
    minidom.parseString(text)
    assert text == sweep.to_svg()
    assert text.count("<circle") == 2 and "importance lost" in text and "modelled" in text
    # Less energy lies further left and loses more importance, which is drawn further up.
    (left, up), (right, down) = ((float(x), float(y)) for x, y in re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', text))
    assert left < right and up < down


def test_metrics_are_plotted_where_every_point_has_one(tmp_path):
    model, x = lenet()
    values = iter([0.97, 0.95])
    found = jp.sweep(model, x, profile="eyeriss-65nm", budgets=["80%", "40%"], evaluate=lambda _: next(values))
    text = found.to_svg()
    assert "metric over energy" in text and "metric 0.97" in text and "metric 0.95" in text


def test_what_cannot_be_plotted(sweep, tmp_path):
    with pytest.raises(ValueError, match=r"ends with \.svg, got .*sweep\.png"):
        sweep.plot(tmp_path / "sweep.png")
    model, x = lenet()
    nothing = jp.sweep(model, x, profile="eyeriss-65nm", budgets=["0.001%"])
    with pytest.raises(ValueError, match="no budget of this sweep could be reached"):
        nothing.plot(tmp_path / "none.svg")
    assert list(tmp_path.iterdir()) == []
