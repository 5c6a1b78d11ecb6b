"""Semantic files of other tools in a product's folder, unchanged: ingested, described and asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from wellhead import cli

FILES = {
    "wellhead.yaml": "version: 1\nname: shop\ncli: {principal: {subject: ann, roles: [analyst]}}\n",
    "products/orders/contract.yaml": """\
apiVersion: v3.1.0
kind: DataContract
id: orders
version: "1.0.0"
status: active
servers: [{server: files, type: local, path: data, format: csv}]
schema:
  - name: orders
    physicalType: table
    properties:
      - {name: order_id, logicalType: integer, primaryKey: true}
      - {name: region, logicalType: string}
      - {name: ordered_on, logicalType: date}
      - {name: amount, logicalType: integer}
""",
    "products/orders/policy.yaml": """\
version: 1
rules: [{name: all, roles: ["*"], actions: [discover, metric], columns: "*"}]
""",
    "products/orders/data/orders.csv": """\
order_id,region,ordered_on,amount
1,EU,2025-01-01,10
2,EU,2025-01-02,20
3,US,2025-01-03,40
""",
}

DATABRICKS = """\
version: 1.1
source: main.sales.orders
fields:
  - {name: day, expr: ordered_on}
  - {name: area, expr: region}
measures:
  - {name: revenue, expr: SUM(amount)}
  - name: before
    expr: SUM(amount)
    window: [{order: day, range: trailing 7 day, semiadditive: last}]
"""

SNOWFLAKE = """\
name: sales
tables:
  - name: orders
    base_table: {database: MAIN, schema: SALES, table: ORDERS}
    primary_key: {columns: [ORDER_ID]}
    dimensions: [{name: area, expr: REGION, data_type: VARCHAR}]
    time_dimensions: [{name: day, expr: ORDERED_ON, data_type: DATE}]
    metrics: [{name: revenue, expr: SUM(AMOUNT)}]
"""

DBT = """\
models:
  - name: orders
    semantic_model: true
    agg_time_dimension: day
    columns:
      - {name: order_id, entity: {type: primary, name: order}}
      - {name: region, dimension: {type: categorical, name: area}}
      - {name: ordered_on, granularity: day, dimension: {type: time, name: day}}
    metrics: [{name: revenue, type: simple, agg: sum, expr: amount}]
"""


def live(root: Path, name: str, text: str) -> Path:
    for path, content in {**FILES, f"products/orders/{name}": text}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content)
    result = CliRunner().invoke(cli, ["--workspace", str(root), "ingest"])
    assert result.exit_code == 0, result.output
    return root


def rows(root: Path, *arguments: str) -> Any:
    result = CliRunner().invoke(cli, ["--workspace", str(root), "query", *arguments, "--json"])
    assert result.exit_code == 0, result.output
    return [list(row.values()) for row in json.loads(result.stdout)["data"]["rows"]]


@pytest.mark.parametrize(
    ("name", "text"),
    [("semantics.yaml", DATABRICKS), ("semantics.yaml", SNOWFLAKE), ("models/marts/orders.yml", DBT)],
    ids=["databricks", "snowflake", "dbt"],
)
def test_a_file_of_another_tool_is_ingested_and_asked_as_it_is(tmp_path: Path, name: str, text: str) -> None:
    root = live(tmp_path, name, text)
    assert rows(root, "revenue", "--by", "area") == [["EU", 30], ["US", 40]]
    assert rows(root, "revenue", "--grain", "month") == [["2025-01-01", 70]]
    if text is DATABRICKS:
        assert rows(root, "before", "--grain", "day") == [["2025-01-02", 10], ["2025-01-03", 30]]
