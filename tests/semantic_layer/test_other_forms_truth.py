"""The official TPC-DS model in the forms of other tools gives the numbers of its Ossie form."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from small_shop import NOON
from test_semantics import TPCDS_QUERIES, TRUTH, comparable, tpcds

from semantic_layer.exchange import import_files
from semantic_layer.findings import Findings
from semantic_layer.metric import SemanticModel
from semantic_layer.plan.query import MetricQuery
from semantic_layer.policy import Action, Policy, Rule, decide
from semantic_layer.principal import Principal
from semantic_layer.product import DataProduct
from semantic_layer.semantics import read_semantics
from semantic_layer.sql.compile import compile_query
from semantic_layer.yaml_file import parse_yaml, read_yaml

pytestmark = [
    pytest.mark.truth,
    pytest.mark.skipif(not TRUTH.is_dir(), reason="the folder of truth is not here"),
]
FIXTURES = TRUTH / "fixtures"
SNOWFLAKE = FIXTURES / "snowflake" / "example_converted_tpcds_semantic_model.yaml"
Warehouse = tuple[duckdb.DuckDBPyConnection, DataProduct]


@pytest.fixture(scope="module")
def warehouse() -> Iterator[Warehouse]:
    with duckdb.connect() as connection:
        yield connection, tpcds(connection)


def answer(warehouse: Warehouse, model: SemanticModel, query: dict[str, Any]) -> list[list[Any]]:
    connection, product = warehouse
    rule = Rule("all", frozenset({"*"}), frozenset({Action.METRIC}))
    grant = decide(Principal("x"), product, Action.METRIC, Policy("tpcds", (rule,)))
    compiled = compile_query(
        MetricQuery.from_json(query), {"tpcds": model}, {"tpcds": product}, {"tpcds": grant}, as_of=NOON
    )
    rows = connection.execute(compiled.statement.sql, dict(compiled.statement.parameters)).fetchall()
    return [[comparable(value) for value in row[:-1]] for row in rows]


def read(path: Path, product: DataProduct) -> SemanticModel:
    findings = Findings()
    model = read_semantics([read_yaml(path)], product=product, findings=findings)
    assert not findings.problems, findings.problems
    assert model is not None
    return model


def test_the_snowflake_form_gives_every_expected_number(warehouse: Warehouse) -> None:
    model = read(SNOWFLAKE, warehouse[1])
    expected = json.loads((TRUTH / "tpcds" / "expected.json").read_text())["result"]
    for name, query in TPCDS_QUERIES.items():
        assert answer(warehouse, model, query) == [
            [comparable(value) for value in row] for row in expected[name]
        ], name


def test_the_databricks_form_sums_the_sources_rows_under_its_filter(warehouse: Warehouse) -> None:
    connection, product = warehouse
    model = read(FIXTURES / "databricks" / "tpcds_metric_view.yaml", product)
    by_hand = connection.execute("""
        SELECT i_category, SUM(ss_ext_sales_price), SUM(ss_quantity)
        FROM tpcds.main.store_sales LEFT JOIN tpcds.main.item ON ss_item_sk = i_item_sk
        WHERE ss_net_profit > 0 GROUP BY ALL ORDER BY ALL NULLS LAST""").fetchall()
    query = {"metrics": ["total_sales", "total_quantity"], "dimensions": ["item_category"]}
    assert answer(warehouse, model, query) == [[comparable(value) for value in row] for row in by_hand]


READ = [path for path in sorted(FIXTURES.glob("*/*.yaml")) if path.stem not in ("sales.gsf", "tpcds_as_obml")]


@pytest.mark.parametrize("path", READ, ids=lambda path: path.stem)
def test_every_fixture_of_a_form_that_is_read_is_imported_and_reads_back(path: Path) -> None:
    product = DataProduct("tpcds", "", "", "", "")
    imported = import_files([path], product)
    findings = Findings()
    read_semantics([parse_yaml(imported.text)], product=product, findings=findings)
    assert not findings.problems
    assert all("could count twice" in one.message for one in imported.lost), imported.lost
