"""Which semantic files are read, what they mean, and what is said of a mistake in one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest
from small_shop import CRM, NOON, PRODUCTS, SHOP

from semantic_layer.findings import Findings
from semantic_layer.metric import Aggregation, SemanticModel
from semantic_layer.plan.query import MetricQuery
from semantic_layer.policy import Action, Policy, Rule, decide
from semantic_layer.predicate import Compare
from semantic_layer.principal import Principal
from semantic_layer.product import Column, ColumnType, DataProduct, Dataset
from semantic_layer.semantics import read_semantics
from semantic_layer.semantics.checks import check_across
from semantic_layer.semantics.forms import form_of
from semantic_layer.sql.compile import compile_query
from semantic_layer.yaml_file import parse_yaml, read_yaml
from semantic_layer.yaml_text import yaml_text


def read(text: str, product: str = "shop") -> tuple[SemanticModel | None, Findings]:
    findings = Findings()
    node = parse_yaml(text, shown_as="semantics.yaml")
    return read_semantics([node], product=PRODUCTS[product], findings=findings), findings


def problem(text: str) -> str:
    """The one problem of a file, as a person reads it."""
    _, findings = read(text)
    assert len(findings.problems) == 1, findings.problems
    return str(findings.problems[0])


def changed(old: str, new: str) -> str:
    assert SHOP.count(old) == 1, old
    return SHOP.replace(old, new)


def metric(expression: str, extension: str = "") -> str:
    """The shop with one more metric, `extra`."""
    line = f"  - {{name: extra, expression: {{dialects: [{{dialect: ANSI_SQL, expression: {json.dumps(expression)}"
    line += "}]}"
    line += f", custom_extensions: [{{vendor_name: WELLHEAD, data: {json.dumps(extension)}}}]" if extension else ""
    return SHOP.replace("  - {name: revenue,", line + "}\n  - {name: revenue,")


# -- what is read ------------------------------------------------------------------------------------------


def test_every_form_of_ossie_gives_the_same_model() -> None:
    listed, _ = read(SHOP)
    content = parse_yaml(SHOP).plain()
    as_json, _ = read(json.dumps(content))
    flat, _ = read(json.dumps({"version": "0.1.1", **content["semantic_model"][0]}))
    assert listed is not None
    assert as_json is not None
    assert flat is not None
    names = [one.name for one in listed.metrics]
    assert [one.name for one in as_json.metrics] == names
    assert [one.name for one in flat.metrics] == names
    assert flat.time_zone == "Europe/Berlin"
    assert flat.fiscal_year_start_month == 2


@pytest.mark.parametrize("version", ["0.1.0", "0.1.1", "0.2.0.dev0"])
@pytest.mark.parametrize("shape", ["a list", "one model", "flat"])
@pytest.mark.parametrize("notation", [json.dumps, yaml_text])
def test_every_version_shape_and_notation_of_ossie_is_one_model(
    version: str, shape: str, notation: Callable[[Any], str]
) -> None:
    (model,) = parse_yaml(SHOP).plain()["semantic_model"]
    document = {
        "a list": {"version": version, "semantic_model": [model]},
        "one model": {"version": version, "semantic_model": model},
        "flat": {"version": version, **model},
    }[shape]
    found, findings = read(notation(document))
    assert not findings.problems
    forms = [form_of(replace(one, kept={})) for one in (found, read(SHOP)[0]) if one is not None]
    assert forms[0] == forms[1]


def test_unknown_keys_and_other_vendors_extensions_are_tolerated() -> None:
    ours = '  custom_extensions:\n  - {vendor_name: WELLHEAD, data: \'{"time_zone"'
    other = "  - {vendor_name: SALESFORCE, data: 'not even json'}\n"
    head, rest = ours.split("\n")
    text = changed(ours, f"  x_future: [1]\n{head}\n{other}{rest}")
    model, findings = read(text)
    assert model is not None
    assert model.time_zone == "Europe/Berlin"
    assert not findings.problems


def test_a_formula_becomes_aggregates_each_at_its_own_dataset() -> None:
    model, _ = read(
        metric("SUM(orders.amount) FILTER (WHERE orders.status = 'paid') / COUNT(DISTINCT stores.city)")
    )
    assert model is not None
    extra = model.metric("extra")
    assert extra is not None
    assert extra.kind == "ratio"
    summed, counted = (one.measure for one in extra.inputs)
    assert summed is not None
    assert counted is not None
    assert (summed.dataset, summed.aggregation, summed.root) == ("orders", Aggregation.SUM, "")
    assert (counted.dataset, counted.aggregation, counted.root) == ("stores", Aggregation.COUNT_DISTINCT, "orders")
    assert summed.expression == """CASE WHEN "orders"."status" = 'paid' THEN "orders"."amount" END"""


def test_a_metrics_extension_says_what_ossie_cannot() -> None:
    said = {
        "label": "Extra", "unit": "EUR", "owner": "Kim", "default_time": "orders.ordered_at",
        "filter": {"field": "orders.status", "op": "eq", "value": "paid"},
        "certification": {"state": "certified", "by": "Kim", "at": "2026-01-15"},
    }  # fmt: skip
    model, findings = read(metric("SUM(orders.amount)", json.dumps(said)))
    assert model is not None
    assert not findings.problems
    extra = model.metric("extra")
    assert extra is not None
    assert (extra.label, extra.unit, extra.owner, extra.certified) == ("Extra", "EUR", "Kim", True)
    assert extra.filter == Compare("orders.status", "eq", "paid")


def test_the_types_of_fields_come_from_the_contract_or_their_expression() -> None:
    note = "- {name: note, expression: {dialects: [{dialect: ANSI_SQL, expression: note}]}, dimension: {}}"
    big = note.replace("name: note", "name: big").replace("expression: note", "expression: amount > 100")
    name = note.replace("name: note", "name: name").replace(
        "expression: note", "expression: status || ' ' || note"
    )
    text = changed(note, "\n    ".join((note, big, name)))
    model, _ = read(text)
    assert model is not None
    orders = model.dataset("orders")
    assert orders is not None
    kinds = {one.name: one.type for one in orders.dimensions}
    assert kinds == {
        "status": ColumnType.STRING, "ordered_at": ColumnType.TIMESTAMP, "amount": ColumnType.DECIMAL,
        "note": ColumnType.STRING, "big": ColumnType.BOOLEAN, "name": ColumnType.STRING,
    }  # fmt: skip


def test_a_field_over_a_column_that_the_contract_lacks_is_left_out_with_a_warning() -> None:
    model, findings = read(changed("expression: note}", "expression: notes}"))
    assert model is not None
    assert not findings.problems
    assert [str(one) for one in findings.warnings] == [
        "semantics.yaml:13: the field 'note' is left out: no column of orders 'notes'. Did you mean 'note'?"
    ]


# -- mistakes ----------------------------------------------------------------------------------------------


MISTAKES = [
    (changed("version: 0.2.0.dev0", "version: 0.9.0"), "semantics.yaml:2: Ossie '0.9.0' is not supported."),
    (
        changed("source: shop.stores", "source: shop.store"),
        "no dataset of the contract 'store'. Did you mean 'stores'?",
    ),
    (changed("from: levels, to: stores", "from: level, to: stores"), "no dataset 'level'. Did you mean 'levels'?"),
    (changed("from_columns: [order_id]", "from_columns: [orderid]"), "Did you mean 'order_id'?"),
    (changed("primary_key: [store_id]", "primary_key: [storeid]"), "no column of stores 'storeid'"),
    (
        changed('"default_time": "day"', '"default_tme": "day"'),
        "has no key 'default_tme'. Did you mean 'default_time'?",
    ),
    (changed('"default_time": "day"', '"default_time": "days"'), "no time field 'days'. Did you mean 'day'?"),
    (changed('"time_zone": "Europe/Berlin"', '"time_zone": "Berlin"'), "no time zone 'Berlin'"),
    (changed("paid_revenue / revenue", "paid_revenue / revenu"), "no metric 'revenu'. Did you mean 'revenue'?"),
    (changed('"field": "orders.status"', '"field": "orders.state"'), "no field 'orders.state'"),
    (changed('"value": "paid"', '"value": 3'), "3 is not a string"),
    (changed("SUM(levels.units)", "SUM(levels.unit)"), "no field of levels 'unit'. Did you mean 'units'?"),
    (changed("SUM(levels.units)", "SUM(level.units)"), "no dataset 'level'. Did you mean 'levels'?"),
    (changed("SUM(levels.units)", "SUM(levels.units"), "is not SQL"),
    (changed("SUM(levels.units)", "1 + 1"), "aggregates nothing"),
    (changed('"choice": "max"', '"choice": "last"'), "`choice` cannot be 'last'"),
    (metric("SUM(orders.amount) + extra"), "computed from itself: extra → extra"),
    (metric("COUNT(*)"), "COUNT(*) does not say of which dataset"),
    (metric("SUM(levels.units * items.quantity)"), "which no relationship joins"),
    (metric("SUM(orders.amount) OVER ()"), "may not stand in an expression"),
    (metric("SUM((SELECT 1))"), "may not stand in an expression"),
    (metric("MAX(read_text('/etc/passwd'))"), "may not stand in an expression"),
    (metric("SUM(getenv('HOME'))"), "'GETENV(…)' may not stand in an expression"),
    (metric("SUM(orders.amount); DROP TABLE orders"), "must be one SQL expression"),
    (
        metric("SUM(orders.amount)", '{"certification": {"state": "certified"}}'),
        "needs the name of who certified it",
    ),
    (metric("SUM(orders.amount)", '{"lable": "x"}'), "Did you mean 'label'?"),
    (
        SHOP.replace(
            "name: amount, expression: {dialects: [{dialect: ANSI_SQL, expression: SUM",
            "name: revenue, expression: {dialects: [{dialect: ANSI_SQL, expression: SUM",
        ),
        "the metric 'revenue' stands twice",
    ),
    (SHOP.replace("    primary_key: [store_id]\n", ""), "rows of 'levels' could count twice"),
]


@pytest.mark.parametrize(("text", "said"), MISTAKES)
def test_a_mistake_names_file_line_and_what_would_be_right(text: str, said: str) -> None:
    _, findings = read(text)
    assert findings.problems
    assert any(said in str(one) for one in findings.problems), findings.problems
    assert all(str(one).startswith("semantics.yaml:") and one.line > 1 for one in findings.problems)


def test_all_mistakes_come_at_once() -> None:
    text = changed("source: shop.stores", "source: shop.store").replace("SUM(levels.units)", "SUM(levels.unit)")
    _, findings = read(text)
    assert len(findings.problems) == 2


def test_names_of_another_product_are_checked_where_all_products_are_known() -> None:
    shop, _ = read(changed("to: crm.customers", "to: crm.custmers"))
    crm, _ = read(CRM, "crm")
    assert shop is not None
    assert crm is not None
    (found,) = check_across({"shop": shop, "crm": crm}, PRODUCTS)
    assert str(found).endswith(
        "a relationship leads to 'crm.custmers', which does not exist. Did you mean 'crm.customers'?"
    )


def test_what_is_no_semantic_file_says_so() -> None:
    assert "no semantic file that is read" in problem("cubes: []")


# -- the official TPC-DS model -----------------------------------------------------------------------------

TRUTH = Path(__file__).parents[3] / "shared" / "truth" / "ossie"
TPCDS_QUERIES: Mapping[str, dict[str, Any]] = {
    "total_sales": {"metrics": ["total_sales"]},
    "total_profit": {"metrics": ["total_profit"]},
    "total_sales_by_year": {"metrics": ["total_sales"], "dimensions": ["d_year"]},
    "sales_by_brand_top5": {
        "metrics": ["sales_by_brand"],
        "dimensions": ["i_brand"],
        "order": ["-sales_by_brand"],
        "limit": 5,
    },
    "customer_lifetime_value": {"metrics": ["customer_lifetime_value"]},
    "store_productivity__correct_employees_at_store_grain_all_stores": {"metrics": ["store_productivity"]},
    "store_productivity__stores_with_sales": {"metrics": ["store_productivity"]},
}


def tpcds(connection: duckdb.DuckDBPyConnection) -> DataProduct:
    """The tables, and a contract that says what they hold."""
    connection.execute("ATTACH ':memory:' AS tpcds")
    kinds = {"BIGINT": ColumnType.INTEGER, "INTEGER": ColumnType.INTEGER, "DOUBLE": ColumnType.NUMBER,
             "DATE": ColumnType.DATE}  # fmt: skip
    datasets: list[Dataset] = []
    for path in sorted((TRUTH / "tpcds").glob("*.parquet")):
        connection.execute(f"CREATE TABLE tpcds.main.{path.stem} AS FROM read_parquet('{path}')")
        described = connection.execute(f"DESCRIBE tpcds.main.{path.stem}").fetchall()
        columns = tuple(
            Column(name, ColumnType.DECIMAL if kind.startswith("DECIMAL") else kinds.get(kind, ColumnType.STRING))
            for name, kind, *_ in described
        )
        datasets.append(Dataset(path.stem, "table", columns))
    return DataProduct("tpcds", "1", "tpcds", "active", "1", datasets=tuple(datasets))


@pytest.mark.truth
@pytest.mark.skipif(not TRUTH.is_dir(), reason="the folder of truth is not here")
def test_the_official_tpcds_model_loads_unchanged_and_gives_the_expected_numbers() -> None:
    with duckdb.connect() as connection:
        product = tpcds(connection)
        findings = Findings()
        node = read_yaml(TRUTH / "tpcds_semantic_model.yaml")
        model = read_semantics([node], product=product, findings=findings)
        assert not findings.problems
        assert model is not None
        rule = Rule("all", frozenset({"*"}), frozenset({Action.METRIC}))
        grant = decide(Principal("x"), product, Action.METRIC, Policy("tpcds", (rule,)))
        expected = json.loads((TRUTH / "tpcds" / "expected.json").read_text())["result"]
        for name, query in TPCDS_QUERIES.items():
            compiled = compile_query(
                MetricQuery.from_json(query), {"tpcds": model}, {"tpcds": product}, {"tpcds": grant},
                as_of=NOON,
            )  # fmt: skip
            rows = connection.execute(compiled.statement.sql, dict(compiled.statement.parameters)).fetchall()
            assert [[comparable(value) for value in row[:-1]] for row in rows] == [
                [comparable(value) for value in row] for row in expected[name]
            ], name


def comparable(value: Any) -> Any:
    try:
        return pytest.approx(float(value), rel=1e-12) if value is not None else None
    except ValueError:
        return value
