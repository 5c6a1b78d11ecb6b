"""A small workspace that tests change one line of, to see what a user would be told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import dedent

import pytest

from semantic_layer.errors import InvalidWorkspace
from semantic_layer.workspace import load_workspace

SETTINGS = """\
version: 1
name: shop
"""

CONTRACT = """\
apiVersion: v3.1.0
kind: DataContract
id: orders-contract
version: "1.0.0"
status: active
name: Orders
description: {purpose: What was sold.}
team: {members: [{username: ann@example.com, name: Ann, role: owner}]}
servers:
  - {server: files, type: local, path: data, format: csv}
schema:
  - name: orders
    physicalType: table
    description: One row an order.
    properties:
      - {name: order_id, logicalType: integer, primaryKey: true, required: true}
      - {name: region, logicalType: string, classification: public}
      - {name: ordered_on, logicalType: date}
      - {name: amount, logicalType: number, physicalType: "decimal(12,2)", classification: internal}
      - {name: email, logicalType: string, classification: personal, tags: [contact]}
      - {name: phone, logicalType: string, classification: personal, tags: [contact]}
  - name: returns
    physicalType: table
    properties:
      - {name: return_id, logicalType: integer, primaryKey: true}
      - {name: order_id, logicalType: integer, relationships: [{to: orders.order_id}]}
      - {name: reason, logicalType: string}
"""

POLICY = """\
version: 1
rules:
  - name: analysts
    roles: [analyst]
    actions: [discover, search, metric, lookup]
    datasets: [orders]
    columns: {classification: [public, internal, unclassified]}
    rows: {field: region, op: in, value: {principal: regions}}
"""

Write = Callable[..., Path]


@pytest.fixture
def workspace(tmp_path: Path) -> Write:
    """Writes a whole workspace: `workspace(contract=..., policy=..., files={...})`; None leaves a file out."""

    def write(
        contract: str | None = CONTRACT,
        policy: str | None = POLICY,
        settings: str | None = SETTINGS,
        product: str = "orders",
        files: Mapping[str, str] | None = None,
    ) -> Path:
        folder = tmp_path / "products" / product
        folder.mkdir(parents=True, exist_ok=True)
        named = {
            "../../wellhead.yaml": settings,
            "contract.yaml": contract,
            "policy.yaml": policy,
            **(files or {}),
        }
        for name, text in named.items():
            if text is not None:
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(dedent(text), encoding="utf-8")
        return tmp_path

    return write


def mistakes(root: Path) -> list[str]:
    """What `wellhead validate` would say, a line each; empty for a valid workspace."""
    try:
        load_workspace(root)
    except InvalidWorkspace as invalid:
        return [str(problem) for problem in invalid.problems]
    return []


def line_of(text: str, part: str) -> int:
    """The line, from 1, on which a part of a text stands."""
    return text[: text.index(part)].count("\n") + 1
