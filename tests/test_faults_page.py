"""docs/engines.md says what a user sees of each fault, and every test that it names is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
FAULTS = (TESTS.parent / "docs/engines.md").read_text(encoding="utf-8").partition("\n## Faults\n")[2]
ROWS = re.findall(r"^\| ((?!Fault|---).*) \|$", FAULTS, flags=re.MULTILINE)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.partition(" |")[0])
def test_the_tests_that_a_fault_names_are_there(row: str) -> None:
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", row)
    assert named, "a fault names the test that shows it"
    for file, function in named:
        tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
        assert function in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
