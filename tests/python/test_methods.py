"""docs/methods.md has a line for every method, whose functions and tests exist; what has none says so."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

import jouleprune as jp
from jouleprune import criteria
from jouleprune.importance import NAMES

ROOT = Path(__file__).resolve().parents[2]
IDS = [f"{kind}{number}" for kind, last in (("E", 5), ("P", 15), ("T", 6), ("R", 6)) for number in range(1, last + 1)]
ABSENT = "not in this version"


@cache
def rows() -> dict[str, list[str]]:
    """Cells of the tables, by id."""
    lines = (ROOT / "docs" / "methods.md").read_text().splitlines()
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in lines if re.match(r"\| [EPTR]\d+ \|", line)
    ]
    return {row[0]: row[1:] for row in cells}


def calls_in(cell: str) -> list[str]:
    """Dotted names such as ``jp.criteria.Norm``."""
    return re.findall(r"`jp\.([\w.]+)`", cell)


def named_tests(cell: str) -> list[tuple[str, str]]:
    return re.findall(r"`(tests/[\w/]+\.(?:py|cpp))::([\w.]+)`", cell)


def test_every_method_has_one_line():
    assert list(rows()) == IDS
    assert all(len(row) == 3 for row in rows().values())


@pytest.mark.parametrize("method", IDS)
def test_functions_and_tests_exist(method):
    what, call, test = rows()[method]
    if call.startswith(ABSENT):
        assert not test
        return
    assert what
    assert calls_in(call), "names no function"
    for name in calls_in(call):
        found = jp
        for part in name.split("."):
            assert hasattr(found, part), f"jp.{name} does not exist"
            found = getattr(found, part)
        assert callable(found), name
    assert named_tests(test), "names no test"
    for path, name in named_tests(test):
        text = (ROOT / path).read_text()
        if path.endswith(".py"):
            assert re.search(rf"^def {name}\(", text, re.MULTILINE), f"{path} has no {name}"
        else:
            suite, _, case = name.partition(".")
            assert re.search(rf"^TEST(_[FP])?\({suite}, {case}\)", text, re.MULTILINE), f"{path} has no {name}"


def test_every_criterion_has_its_name_on_the_page():
    page = (ROOT / "docs" / "methods.md").read_text()
    missing = [name for name in NAMES if f'"{name}"' not in page]
    assert not missing
    classes = {name for name in criteria.__all__ if isinstance(getattr(criteria, name), type) and name[0].isupper()}
    classes -= {"Context", "Criterion", "Significance"}  # what a criterion gets, is, and gives
    named = {name.rpartition(".")[2] for row in rows().values() for name in calls_in(row[1])}
    assert classes <= named, classes - named


def test_names_that_do_not_exist_would_be_found():
    assert calls_in('`jp.nowhere`, `jp.criteria.Norm`: `"l1"`') == ["nowhere", "criteria.Norm"]
    assert named_tests("`tests/python/test_x.py::test_y`, `tests/cpp/a/b.cpp::S.T`") == [
        ("tests/python/test_x.py", "test_y"), ("tests/cpp/a/b.cpp", "S.T"),
    ]  # fmt: skip
