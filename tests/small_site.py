"""A small web shop in dbt's form, with a time spine: what is accumulated, shifted, filled up and converted."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import duckdb

from semantic_layer.findings import Findings
from semantic_layer.metric import SemanticModel
from semantic_layer.plan.query import MetricQuery
from semantic_layer.policy import Action, Grant, Policy, Rule, decide
from semantic_layer.principal import Principal
from semantic_layer.product import Column, ColumnType, DataProduct, Dataset
from semantic_layer.semantics import read_semantics
from semantic_layer.sql.compile import CompiledQuery, compile_query
from semantic_layer.yaml_file import parse_yaml

NOON = datetime(2025, 6, 1, 12, tzinfo=UTC)
CALLER = Principal("ana", frozenset({"analyst"}))

SITE = """
semantic_models:
  - name: orders
    model: ref('orders')
    defaults: {agg_time_dimension: day}
    entities:
      - {name: order, type: primary, expr: order_id}
      - {name: user, type: foreign, expr: user_id}
    dimensions:
      - {name: day, type: time, type_params: {time_granularity: day}}
      - {name: channel, type: categorical}
    measures:
      - {name: revenue, agg: sum, expr: amount, create_metric: true}
      - {name: orders, agg: sum, expr: "1", create_metric: true}
      - {name: buyers, agg: count_distinct, expr: user_id, create_metric: true}
  - name: users
    model: ref('users')
    entities:
      - {name: user, type: primary, expr: user_id}
    dimensions:
      - {name: region, type: categorical}
    measures:
      - {name: users, agg: sum, expr: "1", create_metric: true}
  - name: plans
    model: ref('plans')
    entities:
      - {name: user, type: natural, expr: user_id}
    primary_entity: plan
    dimensions:
      - {name: since, type: time, type_params: {time_granularity: day, validity_params: {is_start: true}}}
      - {name: until, type: time, type_params: {time_granularity: day, validity_params: {is_end: true}}}
      - {name: tier, type: categorical}
  - name: visits
    model: ref('visits')
    defaults: {agg_time_dimension: day}
    entities:
      - {name: visit, type: primary, expr: visit_id}
      - {name: user, type: foreign, expr: user_id}
    dimensions:
      - {name: day, type: time, type_params: {time_granularity: day}}
      - {name: page, type: categorical}
    measures:
      - {name: visits, agg: count, expr: visit_id, create_metric: true}
metrics:
  - {name: revenue_so_far, type: cumulative, type_params: {measure: revenue}}
  - name: orders_3_days
    type: cumulative
    type_params: {measure: orders, cumulative_type_params: {window: 3 days, period_agg: last}}
  - {name: buyers_2_days, type: cumulative, type_params: {measure: buyers, window: 2 days}}
  - name: revenue_month_to_date
    type: cumulative
    type_params: {measure: revenue, cumulative_type_params: {grain_to_date: month, period_agg: average}}
  - name: filled
    type: simple
    type_params: {measure: {name: orders, join_to_timespine: true, fill_nulls_with: 0}}
  - name: every_day
    type: simple
    type_params: {measure: {name: revenue, join_to_timespine: true}}
  - name: before
    type: derived
    type_params: {expr: earlier, metrics: [{name: orders, alias: earlier, offset_window: 2 days}]}
  - name: month_before
    type: derived
    type_params: {expr: earlier, metrics: [{name: orders, alias: earlier, offset_window: 1 month}]}
  - name: twice_before
    type: derived
    type_params: {expr: 2 * before, metrics: [{name: before, offset_window: 1 day}]}
  - name: growth
    type: derived
    type_params: {expr: orders - before, metrics: [{name: orders}, {name: orders, alias: before, offset_window: 1 day}]}
  - name: at_month_start
    type: derived
    type_params: {expr: first, metrics: [{name: orders, alias: first, offset_to_grain: month}]}
  - name: season_before
    type: derived
    type_params: {expr: earlier, metrics: [{name: orders, alias: earlier, offset_window: 1 season}]}
  - name: conversion
    type: conversion
    type_params:
      conversion_type_params: {base_measure: visits, conversion_measure: orders, entity: user, window: 3 days}
  - name: conversions_ever
    type: conversion
    type_params:
      conversion_type_params:
        {base_measure: visits, conversion_measure: orders, entity: user, calculation: conversions,
         constant_properties: [{base_property: page, conversion_property: channel}]}
  - {name: loyal_revenue, type: simple, type_params: {measure: revenue}, filter: "{{ Metric('orders', ['user']) }} > 1"}
project_configuration:
  time_spines:
    - node_relation: {alias: days}
      primary_column: {name: day, time_granularity: day}
      custom_granularities: [{name: season}]
saved_queries: []
"""

TEXT, WHOLE, DAY = ColumnType.STRING, ColumnType.INTEGER, ColumnType.DATE
TABLES: Mapping[str, tuple[tuple[str, ColumnType], ...]] = {
    "orders": (("order_id", WHOLE), ("user_id", WHOLE), ("day", DAY), ("channel", TEXT), ("amount", WHOLE)),
    "users": (("user_id", WHOLE), ("region", TEXT)),
    "plans": (("user_id", WHOLE), ("since", DAY), ("until", DAY), ("tier", TEXT)),
    "visits": (("visit_id", WHOLE), ("user_id", WHOLE), ("day", DAY), ("page", TEXT)),
    "days": (("day", DAY), ("season", TEXT)),
}
PRODUCT = DataProduct("site", "1", "site", "active", "1", datasets=tuple(
    Dataset(name, "table", tuple(Column(column, kind) for column, kind in columns)) for name, columns in TABLES.items()
))  # fmt: skip
FIRST, LAST = date(2025, 1, 27), date(2025, 4, 2)
SPINE = [FIRST + timedelta(days=number) for number in range((LAST - FIRST).days + 1)]


def season(day: date) -> str:
    """The custom period of a day: ten days each."""
    return f"s{(day - FIRST).days // 10:02d}"


Row = tuple[Any, ...]
Rows = dict[str, list[Row]]
_SQL = {TEXT: "VARCHAR", WHOLE: "BIGINT", DAY: "DATE"}


def site_model(text: str = SITE) -> SemanticModel:
    """The model in a dbt text, which must have no mistake."""
    findings = Findings()
    model = read_semantics([parse_yaml(text, shown_as="semantics.yaml")], product=PRODUCT, findings=findings)
    assert not findings.problems, findings.problems
    assert model is not None
    return model


MODEL = site_model()
OPEN = Policy("site", (Rule("all", frozenset({"*"}), frozenset(Action)),))


def site_grants(policy: Policy = OPEN) -> dict[str, Grant]:
    """The caller's grant for metrics."""
    return {"site": decide(CALLER, PRODUCT, Action.METRIC, policy)}


def fill_site(connection: duckdb.DuckDBPyConnection, rows: Rows) -> None:
    """Put rows into the site's tables, replacing what was there; the days are always the same."""
    connection.execute("ATTACH IF NOT EXISTS ':memory:' AS site")
    for name, columns in TABLES.items():
        declared = ", ".join(f'"{column}" {_SQL[kind]}' for column, kind in columns)
        given = [(day, season(day)) for day in SPINE] if name == "days" else rows.get(name, [])
        if name == "days" and connection.execute(
            "SELECT count(*) FROM duckdb_tables() WHERE database_name = 'site' AND table_name = 'days'"
        ).fetchone() == (1,):
            continue
        connection.execute(f"CREATE OR REPLACE TABLE site.main.{name} ({declared})")
        marks = ", ".join(f"({', '.join('?' for _ in columns)})" for _ in given)
        if given:
            connection.execute(
                f"INSERT INTO site.main.{name} VALUES {marks}", [cell for row in given for cell in row]
            )


def compiled_site(
    query: Mapping[str, Any],
    given: Mapping[str, Grant] | None = None,
    model: SemanticModel = MODEL,
    **options: Any,
) -> CompiledQuery:
    """The query for this caller; with everything granted by default."""
    asked = MetricQuery.from_json(query)
    return compile_query(asked, {"site": model}, {"site": PRODUCT}, given or site_grants(), as_of=NOON, **options)


def site_answer(
    connection: duckdb.DuckDBPyConnection,
    query: Mapping[str, Any],
    given: Mapping[str, Grant] | None = None,
    model: SemanticModel = MODEL,
) -> list[Row]:
    """The rows of the answer, in order."""
    statement = compiled_site(query, given, model).statement
    found = connection.execute(statement.sql, dict(statement.parameters)).fetchall()
    return [row[:-1] for row in found]
