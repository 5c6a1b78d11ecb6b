"""Semantic files of other tools, read as they are: dbt 1.12, Snowflake and Databricks, over one small shop."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any

import duckdb
import pytest
from small_shop import NOON, PRODUCTS, ROWS, fill, grants

from semantic_layer.errors import InvalidArgument, Refused
from semantic_layer.findings import Findings
from semantic_layer.metric import Cumulative, Grain, SemanticModel, Window
from semantic_layer.plan.query import MetricQuery
from semantic_layer.predicate import Compare
from semantic_layer.product import ColumnType
from semantic_layer.semantics import form_of_files, read_semantics
from semantic_layer.sql.compile import compile_query
from semantic_layer.yaml_file import parse_yaml

EMBEDDED = """
version: 2
models:
  - name: orders
    description: One row an order.
    semantic_model: {enabled: true, name: sales}
    agg_time_dimension: ordered_at
    columns:
      - {name: order_id, entity: {type: primary, name: order}}
      - {name: store_id, entity: {type: foreign, name: store}}
      - {name: status, description: How far it is., dimension: categorical}
      - {name: ordered_at, granularity: day, dimension: {type: time}}
      - {name: note}
    derived_semantics:
      dimensions: [{name: large, type: categorical, expr: amount > 50, label: Large}]
    metrics:
      - {name: revenue, type: simple, agg: sum, expr: amount, label: Revenue}
      - {name: orders, type: simple, agg: count, expr: order_id}
      - {name: middle, type: simple, agg: percentile, expr: amount, percentile: 50.0, percentile_type: discrete}
      - {name: paid, type: simple, agg: sum, expr: amount, filter: "{{ Dimension('order__status') }} = 'paid'"}
      - {name: paid_share, type: ratio, numerator: paid, denominator: {name: revenue}}
  - name: stores
    semantic_model: true
    columns:
      - {name: store_id, entity: {type: primary, name: store}}
      - {name: city, dimension: categorical}
      - name: employees
  - name: levels
    semantic_model: true
    agg_time_dimension: day
    columns:
      - {name: store_id, entity: {type: foreign, name: store}}
      - {name: day, granularity: day, dimension: {type: time}}
    metrics:
      - name: stock
        type: simple
        agg: sum
        expr: units
        non_additive_dimension: {name: day, window_agg: max, group_by: [store]}
  - name: items
    semantic_model: false
    metrics: [{name: never, type: simple, agg: sum, expr: nothing}]
  - name: customers
    columns: [{name: anything}]
metrics:
  - name: per_order
    type: derived
    expr: money / n
    input_metrics: [{name: revenue, alias: money}, {name: orders, alias: n}]
"""

SNOWFLAKE = """
name: shop_view
description: The shop.
tables:
  - name: orders
    synonyms: [purchases]
    base_table: {database: PROD, schema: PUBLIC, table: ORDERS}
    primary_key: {columns: [order_id]}
    dimensions:
      - {name: status, expr: status, data_type: VARCHAR(20), synonyms: [state], sample_values: [paid, open]}
      - {name: store_id, expr: store_id, data_type: "NUMBER(38,0)"}
    time_dimensions:
      - {name: ordered_at, expr: ordered_at, data_type: TIMESTAMP_NTZ}
    facts:
      - {name: amount, expr: amount, data_type: "NUMBER(12,2)"}
      - {name: doubled, expr: amount * 2}
    metrics:
      - {name: revenue, expr: SUM(amount), synonyms: [turnover]}
      - {name: twice, expr: SUM(doubled)}
      - {name: how_many, expr: COUNT(*)}
  - name: stores
    base_table: {database: PROD, schema: PUBLIC, table: STORES}
    primary_key: {columns: [store_id]}
    dimensions:
      - {name: city, expr: city, data_type: VARCHAR}
    metrics:
      - {name: staff, expr: SUM(employees)}
      - {name: how_many, expr: COUNT(*), access_modifier: private_access}
  - name: levels
    base_table: {database: PROD, schema: PUBLIC, table: LEVELS}
    time_dimensions:
      - {name: day, expr: day, data_type: DATE}
    metrics:
      - {name: stock, expr: SUM(units), non_additive_dimensions: [{table: levels, dimension: day}]}
      - {name: ranked, expr: "SUM(units) OVER (PARTITION BY day)"}
relationships:
  - name: order_store
    left_table: orders
    right_table: stores
    relationship_columns: [{left_column: store_id, right_column: store_id}]
    relationship_type: many_to_one
metrics:
  - {name: per_head, expr: orders.revenue / stores.staff}
verified_queries:
  - {name: q, question: How much?, sql: SELECT 1}
"""

DATABRICKS = """
version: '1.1'
source: prod.shop.orders
comment: Orders with their store.
filter: status = 'paid'
joins:
  - name: store
    source: prod.shop.stores
    on: source.store_id = store.store_id
    rely: {at_most_one_match: true}
dimensions:
  - {name: Order Date, expr: "DATE_TRUNC('DAY', ordered_at)", display_name: Day, synonyms: [date]}
  - {name: Order Month, expr: "DATE_TRUNC('MONTH', ordered_at)"}
  - {name: Town, expr: store.city, comment: Where the store is.}
  - {name: Both, expr: "CONCAT(status, store.city)"}
measures:
  - {name: Total, expr: SUM(source.amount), comment: Euros., format: {type: currency, currency_code: EUR}}
  - {name: Orders, expr: COUNT(*)}
  - {name: Staff seen, expr: SUM(store.employees)}
  - {name: Average, expr: MEASURE(Total) / MEASURE(`Orders`)}
  - name: Trailing
    expr: SUM(amount)
    window: [{order: Order Date, range: trailing 7 day, semiadditive: last}]
  - name: Trailing with today
    expr: MEASURE(Total)
    window: [{order: Order Date, range: trailing 7 day inclusive, semiadditive: last}]
  - name: So far
    expr: SUM(amount)
    window: [{order: Order Date, range: cumulative, semiadditive: last}]
  - name: Month to date
    expr: SUM(amount)
    window:
      - {order: Order Date, range: cumulative, semiadditive: last}
      - {order: Order Month, range: current, semiadditive: last}
  - name: At the end
    expr: SUM(amount)
    window: [{order: Order Date, range: current, semiadditive: last}]
  - name: Last year
    expr: SUM(amount)
    window: [{order: Order Date, range: current, semiadditive: last, offset: -1 year}]
"""


def read(text: str) -> tuple[SemanticModel | None, Findings]:
    findings = Findings()
    node = parse_yaml(text, shown_as="file.yaml")
    return read_semantics([node], product=PRODUCTS["shop"], findings=findings), findings


def model_of(text: str) -> SemanticModel:
    model, findings = read(text)
    assert not findings.problems, findings.problems
    assert model is not None
    return model


def problems(text: str) -> list[str]:
    return [str(one) for one in read(text)[1].problems]


@pytest.fixture(scope="module")
def shop() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        fill(connection, ROWS)
        yield connection


def answer(connection: duckdb.DuckDBPyConnection, model: SemanticModel, **query: Any) -> list[Any]:
    compiled = compile_query(MetricQuery.from_json(query), {"shop": model}, PRODUCTS, grants(), as_of=NOON)
    rows = connection.execute(compiled.statement.sql, dict(compiled.statement.parameters)).fetchall()
    return [row[:-1] for row in rows]


def test_each_form_is_told_by_its_own_keys() -> None:
    forms = [form_of_files([parse_yaml(text)]) for text in (EMBEDDED, SNOWFLAKE, DATABRICKS, "cubes: []")]
    assert forms == ["dbt", "a Snowflake semantic view", "a Databricks metric view", ""]


# -- dbt 1.12 ----------------------------------------------------------------------------------------------


def test_semantics_embedded_in_models_give_the_numbers_of_the_legacy_form(
    shop: duckdb.DuckDBPyConnection,
) -> None:
    model = model_of(EMBEDDED)
    assert [one.name for one in model.datasets] == ["sales", "stores", "levels"]
    assert "never" not in [one.name for one in model.metrics]
    metrics = ["revenue", "orders", "paid", "paid_share", "per_order"]
    assert answer(shop, model, metrics=metrics, dimensions=["store__city"]) == [
        ("Bonn", Decimal("30.00"), 2, Decimal("30.00"), 1.0, 15.0),
        ("Paris", Decimal("120.00"), 2, Decimal("80.00"), 80 / 120, 60.0),
        (None, Decimal("160.00"), 1, None, None, 160.0),
    ]
    assert answer(shop, model, metrics=["stock"]) == [(16,)]
    assert answer(shop, model, metrics=["middle"]) == [(Decimal("40.00"),)]


def test_a_derived_dimension_and_the_time_of_the_model_are_read(shop: duckdb.DuckDBPyConnection) -> None:
    model = model_of(EMBEDDED)
    assert answer(shop, model, metrics=["orders"], dimensions=["order__large"]) == [(False, 3), (True, 2)]
    assert answer(shop, model, metrics=["orders"], dimensions=["metric_time"])[0] == (date(2025, 1, 31), 2)
    sales = model.dataset("sales")
    assert sales is not None
    status = sales.dimension("status")
    assert status is not None
    assert status.description == "How far it is."


def test_a_metric_named_like_its_measure_is_a_metric_of_its_own(shop: duckdb.DuckDBPyConnection) -> None:
    legacy = """
semantic_models:
  - name: orders
    model: ref('orders')
    defaults: {agg_time_dimension: ordered_at}
    entities: [{name: order, type: primary, expr: order_id}]
    dimensions: [{name: ordered_at, type: time, type_params: {time_granularity: day}}]
    measures: [{name: amount, agg: sum}, {name: revenue, agg: sum, expr: amount}]
metrics:
  - {name: amount, type: simple, type_params: {measure: revenue}}
  - {name: revenue, type: derived, type_params: {expr: amount * 2, metrics: [amount]}}
"""
    assert answer(shop, model_of(legacy), metrics=["amount", "revenue"]) == [(Decimal(310), Decimal(620))]


def test_a_simple_metric_outside_its_model_is_named_with_its_line() -> None:
    lost = EMBEDDED + "  - {name: lonely, type: simple, agg: sum, expr: amount}\n"
    line = lost.count("\n")
    assert problems(lost)[0] == (
        f"file.yaml:{line}: the simple metric 'lonely' belongs to no model. Write it under its model's metrics."
    )


def test_a_model_can_be_a_time_spine_with_grains_of_its_own() -> None:
    spine = """  - name: levels
    time_spine: {standard_granularity_column: day, custom_granularities: [{name: shop_week, column_name: units}]}
    columns: [{name: day, granularity: day}]
"""
    text = EMBEDDED.replace("metrics:\n  - name: per_order", spine + "metrics:\n  - name: per_order")
    (found,) = model_of(text).time_spines
    assert (found.table, found.column, found.grain) == ("levels", "day", Grain.DAY)
    assert [(one.name, one.column) for one in found.custom_grains] == [("shop_week", "units")]


def test_files_of_a_dbt_project_that_say_nothing_of_metrics_are_passed_over() -> None:
    sources = parse_yaml("version: 2\nsources: [{name: raw}]\nmodels: [{name: customers}]")
    findings = Findings()
    model = read_semantics([sources, parse_yaml(EMBEDDED)], product=PRODUCTS["shop"], findings=findings)
    assert not findings.problems
    assert model is not None
    assert model.metric("revenue") is not None


# -- Snowflake ---------------------------------------------------------------------------------------------


def test_a_semantic_view_is_read_with_its_tables_in_any_case(shop: duckdb.DuckDBPyConnection) -> None:
    model = model_of(SNOWFLAKE)
    assert answer(shop, model, metrics=["revenue", "twice"], dimensions=["city"]) == [
        ("Bonn", Decimal("30.00"), Decimal("60.00")),
        ("Paris", Decimal("120.00"), Decimal("240.00")),
        (None, Decimal("160.00"), Decimal("320.00")),
    ]
    orders = model.dataset("orders")
    assert orders is not None
    assert (orders.table, orders.default_time, orders.synonyms) == ("orders", "ordered_at", ("purchases",))


def test_a_metric_over_metrics_of_tables_aggregates_each_at_its_own_rows(shop: duckdb.DuckDBPyConnection) -> None:
    assert answer(shop, model_of(SNOWFLAKE), metrics=["per_head"], dimensions=["city"])[:2] == [
        ("Bonn", 30 / 5),
        ("Paris", 120 / 7),
    ]


def test_a_name_that_two_tables_use_is_written_with_its_table(shop: duckdb.DuckDBPyConnection) -> None:
    model, findings = read(SNOWFLAKE)
    assert model is not None
    assert answer(shop, model, metrics=["orders_how_many", "stores_how_many"]) == [(5, 3)]
    assert ["private to its view" in str(one) for one in findings.warnings] == [True]


def test_a_level_of_a_semantic_view_counts_at_its_last_day(shop: duckdb.DuckDBPyConnection) -> None:
    assert answer(shop, model_of(SNOWFLAKE), metrics=["stock"]) == [(9,)]


def test_a_window_function_is_read_and_refused_by_that_name(shop: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(Refused, match="window function"):
        answer(shop, model_of(SNOWFLAKE), metrics=["ranked"])


def test_what_a_semantic_view_says_beyond_the_model_is_kept() -> None:
    model = model_of(SNOWFLAKE)
    assert "verified_queries" in str(model.kept)
    orders = model.dataset("orders")
    assert orders is not None
    assert "sample_values" in str(orders.dimensions[0].kept)


def test_a_mistake_in_a_semantic_view_is_named_with_its_line() -> None:
    wrong = SNOWFLAKE.replace("SUM(employees)", "SUM(employes)").replace("table: ORDERS", "table: ORDER")
    found = problems(wrong)
    assert any("no dataset of the contract 'ORDER'. Did you mean 'orders'" in one for one in found)
    line = wrong[: wrong.index("SUM(employes)")].count("\n") + 1
    assert any(one.startswith(f"file.yaml:{line}: ") and "Did you mean 'employees'?" in one for one in found)


# -- Databricks --------------------------------------------------------------------------------------------


def test_a_metric_view_counts_the_rows_of_its_source_under_its_filter(shop: duckdb.DuckDBPyConnection) -> None:
    model = model_of(DATABRICKS)
    assert answer(shop, model, metrics=["Total", "Orders", "Average"], dimensions=["Town"]) == [
        ("Bonn", Decimal("30.00"), 2, 15.0),
        ("Paris", Decimal("80.00"), 1, 80.0),
    ]


@pytest.mark.parametrize(
    ("condition", "orders"),
    [
        ("CAST(ordered_at AS DATE) = '{day}'", "CAST(ordered_at AS DATE) = DATE '{day}'"),
        ("DATE(ordered_at) <= '{day}'", "CAST(ordered_at AS DATE) <= DATE '{day}'"),
        ("ordered_at <= '{day}'", "ordered_at <= TIMESTAMP '{day}'"),
        ("COALESCE(status, 'open') = 'open'", "status = 'open' OR status IS NULL"),
    ],
)
def test_a_cast_to_a_date_in_a_filter_means_all_of_that_day(
    shop: duckdb.DuckDBPyConnection, condition: str, orders: str
) -> None:
    (day,) = shop.execute("SELECT CAST(MAX(ordered_at) AS DATE) FROM shop.main.orders").fetchall()[0]
    model = model_of(DATABRICKS.replace("status = 'paid'", condition.format(day=day)))
    by_hand = shop.execute(f"SELECT COUNT(*) FROM shop.main.orders WHERE {orders.format(day=day)}").fetchall()
    assert answer(shop, model, metrics=["Orders"]) == by_hand


def test_a_measure_over_a_joined_column_counts_it_once_a_source_row(shop: duckdb.DuckDBPyConnection) -> None:
    """Databricks joins first: the five people of Bonn are summed for each of its two paid orders."""
    assert answer(shop, model_of(DATABRICKS), metrics=["Staff seen"]) == [(5 + 5 + 7,)]


def test_a_trailing_window_leaves_out_the_current_day_unless_it_says_inclusive() -> None:
    model = model_of(DATABRICKS)
    week = Window(7, Grain.DAY)
    said = {name: getattr(model.metric(name), "cumulative", None) for name in ("Trailing", "Trailing with today")}
    assert said == {
        "Trailing": Cumulative(week, period_aggregation="last", leaves_out_current=True, needs_time=True),
        "Trailing with today": Cumulative(week, period_aggregation="last", needs_time=True),
    }


def test_windows_of_a_metric_view_run_over_the_days_in_its_data(shop: duckdb.DuckDBPyConnection) -> None:
    model = model_of(DATABRICKS)
    days = ["Order Date"]
    assert answer(shop, model, metrics=["Trailing"], dimensions=days) == [(date(2025, 3, 10), Decimal("80.00"))]
    assert answer(shop, model, metrics=["Trailing with today"], dimensions=days) == [
        (date(2025, 1, 31), Decimal("30.00")),
        (date(2025, 3, 9), Decimal("80.00")),
        (date(2025, 3, 10), Decimal("80.00")),
    ]
    assert answer(shop, model, metrics=["So far"], dimensions=["metric_time__month"]) == [
        (date(2025, 1, 1), Decimal("30.00")),
        (date(2025, 3, 1), Decimal("110.00")),
    ]


def test_a_window_without_a_time_is_refused_where_databricks_would_show_its_last_day(
    shop: duckdb.DuckDBPyConnection,
) -> None:
    with pytest.raises(InvalidArgument, match="has a value for each period, and the query has none"):
        answer(shop, model_of(DATABRICKS), metrics=["Trailing"])


def test_running_totals_and_levels_of_a_metric_view_mean_the_same_here() -> None:
    model = model_of(DATABRICKS)
    so_far, to_date, level = (model.metric(name) for name in ("So far", "Month to date", "At the end"))
    assert so_far is not None
    assert so_far.cumulative == Cumulative(period_aggregation="last", needs_time=True)
    assert to_date is not None
    assert to_date.cumulative == Cumulative(grain_to_date=Grain.MONTH, period_aggregation="last", needs_time=True)
    assert level is not None
    assert level.inputs[0].measure is not None
    non_additive = level.inputs[0].measure.non_additive
    assert non_additive is not None
    assert (non_additive.time, non_additive.choice) == ("orders.Order Date", "max")


def test_a_window_that_has_no_meaning_here_is_refused_and_never_computed_differently(
    shop: duckdb.DuckDBPyConnection,
) -> None:
    with pytest.raises(Refused, match="shifts its window by an offset"):
        answer(shop, model_of(DATABRICKS), metrics=["Last year"])


def test_a_dimension_over_two_tables_is_left_out_with_a_warning_and_formats_are_kept() -> None:
    model, findings = read(DATABRICKS)
    assert model is not None
    assert [str(one) for one in findings.warnings] == [
        "file.yaml:15: the dimension 'Both' is left out: it reads orders and store. "
        "A dimension here is a value of one table's row."
    ]
    total = model.metric("Total")
    assert total is not None
    assert total.filter == Compare("orders.status", "eq", "paid")
    assert "currency_code" in str(total.kept)
    day = model.datasets[0].dimension("Order Date")
    assert day is not None
    assert (day.label, day.synonyms, day.grain, day.type) == ("Day", ("date",), Grain.DAY, ColumnType.TIMESTAMP)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("filter: status = 'paid'", "filter: LENGTH(status) > 3", "is not read in a filter"),
        (
            "filter: status = 'paid'",
            "filter: DATE_TRUNC('MONTH', ordered_at) > '2025-01-01'",
            "not read in a filter",
        ),
        ("filter: status = 'paid'", "filter: 1 = 1; DROP TABLE orders", "must be one SQL expression"),
        ("version: '1.1'", "version: '9'", "a metric view of version '9' is not read. Use 1.1."),
        ("source.store_id = store.store_id", "source.store_id > store.store_id", "the join condition"),
        ("source: prod.shop.orders", "source: SELECT * FROM orders", "a source that is a query is not read"),
        ("SUM(source.amount)", "SUM(source.amounts)", "no field of orders 'amounts'. Did you mean 'amount'"),
        ("expr: store.city", "expr: shop.city", "there is no join 'shop'"),
        ("expr: COUNT(*)", "expr: PIVOT(amount)", "may not stand in an expression"),
    ],
)
def test_what_cannot_be_read_of_a_metric_view_is_named_with_its_line(old: str, new: str, said: str) -> None:
    changed = DATABRICKS.replace(old, new)
    line = changed[: changed.index(new)].count("\n") + 1
    found = problems(changed)
    assert any(said in one and one.startswith(f"file.yaml:{line}: ") for one in found), found
