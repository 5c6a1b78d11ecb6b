"""dbt's semantic files, read as they are: the manifest, the legacy YAML, and what is refused by its name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any

import duckdb
import pytest
from small_shop import NOON, PRODUCTS, ROWS, fill, grants

from semantic_layer.errors import InvalidArgument, Refused
from semantic_layer.findings import Findings
from semantic_layer.metric import SemanticModel
from semantic_layer.plan.query import MetricQuery
from semantic_layer.predicate import And, Compare, Contains, In, IsNull, Not, Or, Predicate, Range
from semantic_layer.semantics import read_semantics
from semantic_layer.semantics.templates import cut_field, field_of
from semantic_layer.sql.compile import compile_query
from semantic_layer.sql.filters import read_filter
from semantic_layer.yaml_file import parse_yaml

LEGACY = """
semantic_models:
  - name: orders
    model: ref('orders')
    defaults: {agg_time_dimension: ordered_at}
    entities:
      - {name: order, type: primary, expr: order_id}
      - {name: store, type: foreign, expr: store_id}
    dimensions:
      - {name: status, type: categorical}
      - {name: ordered_at, type: time, type_params: {time_granularity: day}}
    measures:
      - {name: revenue, agg: sum, expr: amount, create_metric: true}
      - {name: orders, agg: count, expr: order_id}
      - {name: late, agg: sum_boolean, expr: note = 'late'}
      - {name: middle, agg: percentile, expr: amount, agg_params: {percentile: 0.5, use_discrete_percentile: true}}
  - name: stores
    model: ref('shop', 'stores')
    entities:
      - {name: store, type: primary, expr: store_id}
    dimensions:
      - {name: city, type: categorical}
  - name: levels
    model: ref('levels')
    defaults: {agg_time_dimension: day}
    entities:
      - {name: store, type: foreign, expr: store_id}
    dimensions:
      - {name: day, type: time, type_params: {time_granularity: day}}
    measures:
      - name: units
        agg: sum
        non_additive_dimension: {name: day, window_choice: max, window_groupings: [store]}
metrics:
  - {name: orders, label: Orders, type: simple, type_params: {measure: orders}}
  - {name: late, type: simple, type_params: {measure: {name: late}}}
  - {name: middle, type: simple, type_params: {measure: middle}}
  - {name: stock, type: simple, type_params: {measure: units}}
  - name: paid
    type: simple
    filter: "{{ Dimension('order__status') }} = 'paid'"
    type_params: {measure: {name: revenue, filter: "{{ Dimension('store__city') }} IS NOT NULL"}}
  - {name: paid_share, type: ratio, type_params: {numerator: paid, denominator: {name: revenue}}}
  - name: per_order
    type: derived
    type_params: {expr: money / n, metrics: [{name: revenue, alias: money}, {name: orders, alias: n}]}
  - {name: so_far, type: cumulative, type_params: {measure: revenue}}
  - name: growth
    type: derived
    type_params: {expr: revenue - before, metrics: [revenue, {name: revenue, alias: before, offset_window: 1 month}]}
  - {name: filled, type: simple, type_params: {measure: {name: orders, fill_nulls_with: 0}}}
  - {name: big, type: simple, type_params: {measure: revenue}, filter: "{{ Metric('orders', group_by=['store']) }} > 1"}
saved_queries:
  - name: by_city
    query_params:
      metrics: [revenue, orders]
      group_by: ["Dimension('store__city')"]
      where: "{{ TimeDimension('metric_time', 'month') }} = '2025-03-01'"
      order_by: ["Metric('revenue').descending(True)"]
"""


def read(text: str) -> tuple[SemanticModel | None, Findings]:
    findings = Findings()
    node = parse_yaml(text, shown_as="semantics.yaml")
    return read_semantics([node], product=PRODUCTS["shop"], findings=findings), findings


def model_of(text: str = LEGACY) -> SemanticModel:
    model, findings = read(text)
    assert not findings.problems, findings.problems
    assert model is not None
    return model


MODEL = model_of()


@pytest.fixture(scope="module")
def shop() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        fill(connection, ROWS)
        yield connection


def answer(
    connection: duckdb.DuckDBPyConnection, query: dict[str, Any], model: SemanticModel = MODEL
) -> list[Any]:
    compiled = compile_query(MetricQuery.from_json(query), {"shop": model}, PRODUCTS, grants(), as_of=NOON)
    rows = connection.execute(compiled.statement.sql, dict(compiled.statement.parameters)).fetchall()
    return [row[:-1] for row in rows]


def test_simple_ratio_and_derived_metrics_by_an_entitys_dimension(shop: duckdb.DuckDBPyConnection) -> None:
    query = {"metrics": ["revenue", "orders", "paid", "paid_share", "per_order"], "dimensions": ["store__city"]}
    assert answer(shop, query) == [
        ("Bonn", Decimal("30.00"), 2, Decimal("30.00"), 1.0, 15.0),
        ("Paris", Decimal("120.00"), 2, Decimal("80.00"), 80 / 120, 60.0),
        (None, Decimal("160.00"), 1, None, None, 160.0),
    ]


def test_counts_are_null_over_no_rows_as_in_metricflow(shop: duckdb.DuckDBPyConnection) -> None:
    none = {"field": "order__status", "op": "eq", "value": "none"}
    assert answer(shop, {"metrics": ["orders", "late"], "filters": none}) == [(None, None)]
    assert answer(shop, {"metrics": ["late", "middle"]}) == [(1, Decimal("40.00"))]


def test_a_time_dimension_is_cut_to_its_own_grain(shop: duckdb.DuckDBPyConnection) -> None:
    rows = answer(shop, {"metrics": ["orders"], "dimensions": ["metric_time"]})
    assert rows[0] == (date(2025, 1, 31), 2)
    assert answer(shop, {"metrics": ["orders"], "dimensions": ["order__ordered_at"]}) == rows


def test_an_entity_is_a_dimension_and_the_same_for_all_that_hold_it(shop: duckdb.DuckDBPyConnection) -> None:
    rows = answer(shop, {"metrics": ["orders", "stock"], "dimensions": ["store"]})
    assert rows == [(1, 2, 9), (2, 2, 7), (None, 1, None)]


def test_a_level_counts_at_the_last_moment_of_each_grouping(shop: duckdb.DuckDBPyConnection) -> None:
    assert answer(shop, {"metrics": ["stock"]}) == [(16,)]


def test_a_saved_query_is_asked_by_its_name(shop: duckdb.DuckDBPyConnection) -> None:
    rows = answer(shop, {"saved_query": "by_city"})
    assert rows == [(None, Decimal("160.00"), 1), ("Paris", Decimal("120.00"), 2)]
    eu = {"field": "store__city", "op": "is_null", "value": False}
    assert answer(shop, {"saved_query": "by_city", "filters": eu}) == [("Paris", Decimal("120.00"), 2)]


@pytest.mark.parametrize(
    "condition",
    [
        "CAST({{ TimeDimension('order__ordered_at', 'hour') }} AS DATE) = '2025-01-31'",
        "{{ Dimension('order__ordered_at').grain('hour') }}::DATE = DATE '2025-02-01' - INTERVAL 1 DAY",
        "DATE_TRUNC('day', {{ TimeDimension('order__ordered_at', 'hour') }}) = TIMESTAMP '2025-01-31 00:00:00'",
        "EXTRACT(month FROM {{ TimeDimension('order__ordered_at', 'hour') }}) = 1",
    ],
)
def test_a_filter_that_casts_a_moment_to_a_date_means_all_of_that_day(
    shop: duckdb.DuckDBPyConnection, condition: str
) -> None:
    hourly = LEGACY.replace("time_granularity: day}}\n    measures", "time_granularity: hour}}\n    measures", 1)
    assert hourly != LEGACY
    model = model_of(hourly + f'  - {{name: extra, query_params: {{metrics: [orders], where: "{condition}"}}}}\n')
    of_that_day = "SELECT COUNT(*) FROM shop.main.orders WHERE CAST(ordered_at AS DATE) = DATE '2025-01-31'"
    assert answer(shop, {"saved_query": "extra"}, model) == shop.execute(of_that_day).fetchall() == [(2,)]


@pytest.mark.parametrize("metric", ["so_far", "growth"])
def test_without_a_time_spine_what_needs_one_is_refused(shop: duckdb.DuckDBPyConnection, metric: str) -> None:
    with pytest.raises(Refused, match="no time spine of days") as caught:
        answer(shop, {"metrics": [metric], "dimensions": ["metric_time__day"]})
    assert caught.value.rule == "no_time_spine"
    assert "time_spines" in caught.value.hint


def test_a_filter_on_a_metric_counts_each_entity_by_its_own_value(shop: duckdb.DuckDBPyConnection) -> None:
    assert answer(shop, {"metrics": ["big"]}) == [(Decimal("150.00"),)]
    assert answer(shop, {"metrics": ["filled"]}) == [(5,)]


def test_the_manifest_gives_the_same_model_as_the_yaml(shop: duckdb.DuckDBPyConnection) -> None:
    manifest = parse_yaml(LEGACY).plain()
    for one in manifest["semantic_models"]:
        alias = one.pop("model").split("'")[-2]
        one["node_relation"] = {"alias": alias, "schema_name": "main", "relation_name": f"main.{alias}"}
    for one in manifest["metrics"]:
        if isinstance(one.get("filter"), str):
            one["filter"] = {"where_filters": [{"where_sql_template": one["filter"]}]}
    manifest["project_configuration"] = {"time_spine_table_configurations": []}
    model = model_of(json.dumps(manifest))
    assert [one.name for one in model.metrics] == [one.name for one in MODEL.metrics]
    query = {"metrics": ["paid_share", "per_order"], "dimensions": ["store__city"]}
    assert answer(shop, query, model) == answer(shop, query)


def test_a_partitioned_key_joins_each_of_its_copies_where_no_partition_is_meant(
    shop: duckdb.DuckDBPyConnection,
) -> None:
    split = LEGACY.replace("      - {name: city, type: categorical}",
                           "      - {name: city, type: categorical}\n"
                           "      - {name: employees, type: categorical, is_partition: true}")  # fmt: skip
    query = {"metrics": ["orders"], "dimensions": ["store__city"]}
    assert answer(shop, query, model_of(split)) == answer(shop, query)  # each store has one copy here


def test_rows_that_are_valid_for_a_time_need_the_moment_of_a_metric() -> None:
    times = """
      - {name: opened, type: time, expr: city, type_params: {time_granularity: day, validity_params: {is_start: true}}}
      - {name: closed, type: time, expr: city, type_params: {time_granularity: day, validity_params: {is_end: true}}}
"""
    text = LEGACY.replace(
        "      - {name: city, type: categorical}\n", "      - {name: city, type: categorical}" + times
    )
    text = text.replace("    defaults: {agg_time_dimension: ordered_at}\n", "")
    query = MetricQuery.from_json({"metrics": ["orders"], "dimensions": ["store__city"]})
    with pytest.raises(Refused, match="valid for a time"):
        compile_query(query, {"shop": model_of(text)}, PRODUCTS, grants(), as_of=NOON)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "agg: sum, expr: amount,",
            "agg: sum, expr: amont,",
            "no column of orders 'amont'. Did you mean 'amount'?",
        ),
        ("agg: count,", "agg: cnt,", "no aggregation 'cnt'"),
        ("ref('levels')", "ref('level')", "no dataset of the contract 'level'. Did you mean 'levels'?"),
        ("measure: orders}", "measure: order}", "no measure 'order'"),
        ("numerator: paid,", "numerator: payed,", "no metric 'payed'. Did you mean 'paid'?"),
        ("expr: money / n", "expr: money / m", "names 'm', which is none of its metrics"),
        ("type: cumulative", "type: cumulated", "no metric type 'cumulated'"),
        ("}} = 'paid'", "}} = lower('PAID')", "is not read in a filter"),
        ("Dimension('order__status')", "Dimensions('order__status')", "is not read"),
        ("note = 'late'", "(select 1)", "may not stand in an expression"),
    ],
)
def test_a_mistake_names_its_place(old: str, new: str, said: str) -> None:
    assert LEGACY.count(old) == 1
    _, findings = read(LEGACY.replace(old, new))
    assert any(said in str(one) for one in findings.problems), findings.problems
    assert all(one.line > 1 for one in findings.problems)


# -- filters and templates ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "predicate"),
    [
        ("a = 1", Compare("a", "eq", 1)),
        ("1 < a", Compare("a", "gt", 1)),
        ("a <> 'x'", Not(Compare("a", "eq", "x"))),
        ("a != -1.5", Not(Compare("a", "eq", Decimal("-1.5")))),
        ("a IN ('x', 'y') AND NOT b", And((In("a", ("x", "y")), Not(Compare("b", "eq", True))))),
        ("a IS NOT NULL OR (b IS NULL)", Or((Not(IsNull("a")), IsNull("b")))),
        ("a BETWEEN 1 AND 2", Range("a", 1, 2)),
        ("a LIKE '%x%'", Contains("a", "x")),
        ("CAST(t AS TIMESTAMP) >= CAST('2025-01-01' AS TIMESTAMP)", Compare("t", "ge", "2025-01-01")),
        ("t >= DATE '2025-01-01'", Compare("t", "ge", "2025-01-01")),
        ("a IS TRUE", And((Not(IsNull("a")), Compare("a", "eq", True)))),
        ("orders.status = 'paid'", Compare("orders.status", "eq", "paid")),
        ("t >= TIMESTAMP '2025-01-01 00:00:00'", Compare("t", "ge", "2025-01-01")),
        ("t >= TIMESTAMP '2025-01-01 08:30:00'", Compare("t", "ge", "2025-01-01T08:30:00")),
        ("t < DATE '2025-01-01' + INTERVAL 1 DAY", Compare("t", "lt", "2025-01-02")),
        ("t > CAST('2025-01-08' AS TIMESTAMP) - INTERVAL '2' HOUR", Compare("t", "gt", "2025-01-07T22:00:00")),
        ("CAST(t AS DATE) = '2025-01-01'", Compare("t__day", "eq", "2025-01-01")),
        ("t__hour::DATE = '2025-01-01'", Compare("t__day", "eq", "2025-01-01")),
        ("CAST(t__month AS DATE) = '2025-01-01'", Compare("t__month", "eq", "2025-01-01")),
        ("DATE_TRUNC('month', t__day) = '2025-01-01'", Compare("t__month", "eq", "2025-01-01")),
        ("EXTRACT(year FROM CAST(t AS TIMESTAMP)) IN (2024, 2025)", In("t__extract_year", (2024, 2025))),
        ("EXTRACT(isodow FROM t__day) = 1", Compare("t__extract_dow", "eq", 1)),
        ("COALESCE(b, FALSE)", And((Not(IsNull("b")), Compare("b", "eq", True)))),
        ("COALESCE(a, 'none') = 'none'", Or((IsNull("a"), Compare("a", "eq", "none")))),
        ("COALESCE(a, 0) > 1", And((Not(IsNull("a")), Compare("a", "gt", 1)))),
        ("COALESCE(a, 0) IN (0, 1)", Or((IsNull("a"), In("a", (0, 1))))),
    ],
)
def test_a_filter_in_sql_becomes_a_predicate(text: str, predicate: Predicate) -> None:
    assert read_filter(text, dialect="duckdb", cut=cut_field) == predicate


@pytest.mark.parametrize(
    "text",
    [
        "a = b",
        "lower(a) = 'x'",
        "a + 1 > 2",
        "EXTRACT(dow FROM t) = 0",
        "DATE_TRUNC('month', t__week) = '2025-01-01'",
        "EXTRACT(day FROM t__month) = 1",
        "t < DATE '2025-01-01' + INTERVAL 1 MONTH",
        "t < DATE 'soon'",
        "COALESCE(a, 'x') > 1",
        "COALESCE(a, b) = 1",
        "a IN (SELECT b FROM c)",
        "EXISTS (SELECT 1)",
        "a LIKE 'x_y%'",
        "a = current_date",
        "a = 1; DROP TABLE b",
        "a =",
        "read_text('/etc/passwd') = 'x'",
        "{{ Dimension('a') }} = 1",
    ],
)
def test_a_filter_that_is_more_than_a_comparison_is_an_error(text: str) -> None:
    with pytest.raises(InvalidArgument):
        read_filter(text, cut=cut_field)


def test_a_cast_to_a_date_is_never_left_out() -> None:
    with pytest.raises(InvalidArgument, match="is not read"):
        read_filter("CAST(t AS DATE) = '2025-01-01'")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Dimension('order__status')", "order__status"),
        ("TimeDimension('metric_time', 'month')", "metric_time__month"),
        ("Dimension('order__at').grain('week')", "order__at__week"),
        ("Entity('store')", "store"),
        ("Dimension('city', entity_path=['order', 'store'])", "order__store__city"),
        ("TimeDimension('metric_time', 'day').descending(True)", "metric_time__day"),
        ("Dimension('city', ['order', 'store'])", "order__store__city"),
        ("Dimension(name='order__status', entity_path=())", "order__status"),
        ("TimeDimension('store__opened', 'month', ['order'])", "order__store__opened__month"),
        ("TimeDimension(time_dimension_name='metric_time', time_granularity_name='MONTH')", "metric_time__month"),
        ("TimeDimension('metric_time', None, date_part_name='year')", "metric_time__extract_year"),
        ("Dimension('order__at').grain('month').date_part('year')", "order__at__extract_year"),
        ("Dimension('order__at').date_part('year').grain('month')", "order__at__extract_year"),
        ("Entity('store', ['order'])", "order__store"),
        ("Metric(metric_name='orders', group_by=['store'])", "orders by store"),
    ],
)
def test_a_template_is_a_name(text: str, name: str) -> None:
    assert field_of(text) == name


@pytest.mark.parametrize(
    "text",
    [
        "Dimension(x)",
        "__import__('os').system('x')",
        "Dimension('a') or 1",
        "",
        "1 +",
        "Dimension()",
        "Dimension('a', ['b'], 'c')",
        "Dimension('a', entity_path=['b'], grain='day')",
        "Dimension('a', name='b')",
        "Dimension('a').grain()",
        "Dimension('a').lower()",
        "Entity('a', **{})",
    ],
)
def test_a_template_is_never_run(text: str) -> None:
    with pytest.raises(InvalidArgument, match="is not read"):
        field_of(text)


def test_a_metric_in_a_template_is_its_value_by_entities() -> None:
    assert field_of("Metric('orders', group_by=['store', 'user'])") == "orders by store, user"
    assert field_of("Metric('orders', ['store'])") == "orders by store"
    assert field_of("TimeDimension('metric_time', date_part_name='dow')") == "metric_time__extract_dow"
    with pytest.raises(InvalidArgument, match="is not read"):
        field_of("Metric('orders', grouped=['store'])")
