"""Writes golden rows and relevant documents into evals.yaml: `python -m examples.outfitter.refresh_evals`.

Only `expect` and empty or computed `relevant` lists are replaced; comments, questions and order stay as written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from examples.outfitter.generate import ORDERS, SEED
from examples.outfitter.golden import Rows, expected, relevant
from examples.outfitter.shop import make_shop

PRODUCTS = Path(__file__).parent / "products"

_CASE = re.compile(r"^  - id: (?P<id>[\w-]+)$")
_EXPECT = re.compile(r"^    expect:.*$")
_RELEVANT = re.compile(r"^    relevant: \[.*\]$")
_ROW = re.compile(r"^      - \{.*\}$")


def refreshed(text: str, rows: Mapping[str, Rows], documents: Mapping[str, Sequence[str]]) -> str:
    """The text of an evals.yaml with the rows and documents of the cases named, everything else unchanged.

    Raises KeyError for a metric case without golden rows: none may be written by hand.
    """
    lines: list[str] = []
    case = ""
    for line in text.splitlines():
        if match := _CASE.match(line):
            case = match["id"]
        if _EXPECT.match(line):
            lines += ["    expect:", *(f"      - {_flow(row)}" for row in rows[case])]
        elif _RELEVANT.match(line) and case in documents:
            lines.append(f"    relevant: [{', '.join(json.dumps(name) for name in documents[case])}]")
        elif not _ROW.match(line):
            lines.append(line)
    return "\n".join(lines) + "\n"


def _flow(row: Mapping[str, Any]) -> str:
    return "{" + ", ".join(f"{name}: {_scalar(value)}" for name, value in row.items()) + "}"


def _scalar(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, float):
        return repr(float(f"{value:.15g}"))
    if isinstance(value, date):
        return value.isoformat()
    return str(value)


def main() -> None:
    """Refresh every evals.yaml of the workspace in place."""
    shop = make_shop(SEED, ORDERS)
    rows, documents = expected(shop), relevant(shop)
    for file in sorted(PRODUCTS.glob("*/evals.yaml")):
        product = file.parent.name
        text = file.read_text(encoding="utf-8")
        file.write_text(refreshed(text, rows.get(product, {}), documents.get(product, {})), encoding="utf-8")


if __name__ == "__main__":
    main()
