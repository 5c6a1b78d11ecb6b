"""docs/threats.md numbers every known attack, and every test that it names is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs/threats.md").read_text(encoding="utf-8")
CASES = 72
ROWS = {int(number): row for number, row in re.findall(r"^\| (\d+) \|(.*)\|$", PAGE, flags=re.MULTILINE)}


def test_every_case_has_its_row() -> None:
    assert sorted(ROWS) == list(range(1, CASES + 1))


@pytest.mark.parametrize("number", range(1, CASES + 1))
def test_the_test_that_a_case_names_is_there(number: int) -> None:
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", ROWS[number])
    assert named, "a case names the test that tries it"
    for file, function in named:
        tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
        assert function in {
            node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
