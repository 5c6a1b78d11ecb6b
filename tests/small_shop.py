"""A small shop in two products with the traps of joins: one-to-many, NULL and orphan keys, two facts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import duckdb

from semantic_layer.findings import Findings
from semantic_layer.metric import SemanticModel
from semantic_layer.plan.query import MetricQuery
from semantic_layer.policy import Action, ColumnChoice, Grant, Policy, Rule, decide
from semantic_layer.predicate import TRUE, Predicate
from semantic_layer.principal import Principal
from semantic_layer.product import Column, ColumnType, DataProduct, Dataset
from semantic_layer.semantics import read_semantics
from semantic_layer.sql.compile import CompiledQuery, compile_query
from semantic_layer.yaml_file import parse_yaml

NOON = datetime(2025, 6, 1, 12, tzinfo=UTC)
CALLER = Principal("ana", frozenset({"analyst"}))

SHOP = """
version: 0.2.0.dev0
semantic_model:
- name: shop
  datasets:
  - name: orders
    source: shop.orders
    primary_key: [order_id]
    fields:
    - {name: status, expression: {dialects: [{dialect: ANSI_SQL, expression: status}]}, dimension: {}}
    - {name: ordered_at, expression: {dialects: [{dialect: ANSI_SQL, expression: ordered_at}]}, dimension: {}}
    - {name: amount, expression: {dialects: [{dialect: ANSI_SQL, expression: amount}]}}
    - {name: note, expression: {dialects: [{dialect: ANSI_SQL, expression: note}]}, dimension: {}}
    custom_extensions:
    - {vendor_name: WELLHEAD, data: '{"primary_entity": "order", "default_time": "ordered_at"}'}
  - name: items
    source: shop.items
    primary_key: [order_id, line]
    fields:
    - {name: food, expression: {dialects: [{dialect: ANSI_SQL, expression: food}]}, dimension: {}}
    - {name: quantity, expression: {dialects: [{dialect: ANSI_SQL, expression: quantity}]}}
    custom_extensions:
    - {vendor_name: WELLHEAD, data: '{"primary_entity": "item"}'}
  - name: stores
    source: shop.stores
    primary_key: [store_id]
    fields:
    - {name: city, expression: {dialects: [{dialect: ANSI_SQL, expression: city}]}, dimension: {}}
    - {name: employees, expression: {dialects: [{dialect: ANSI_SQL, expression: employees}]}}
    custom_extensions:
    - {vendor_name: WELLHEAD, data: '{"primary_entity": "store"}'}
  - name: levels
    source: shop.levels
    primary_key: [day, store_id]
    fields:
    - {name: day, expression: {dialects: [{dialect: ANSI_SQL, expression: day}]}, dimension: {}}
    - {name: units, expression: {dialects: [{dialect: ANSI_SQL, expression: units}]}}
    custom_extensions:
    - {vendor_name: WELLHEAD, data: '{"default_time": "day"}'}
  relationships:
  - {name: order_of_item, from: items, to: orders, from_columns: [order_id], to_columns: [order_id]}
  - {name: buyer, from: orders, to: crm.customers, from_columns: [customer_id], to_columns: [customer_id]}
  - {name: store_of_order, from: orders, to: stores, from_columns: [store_id], to_columns: [store_id]}
  - {name: store_of_level, from: levels, to: stores, from_columns: [store_id], to_columns: [store_id]}
  metrics:
  - {name: revenue, expression: {dialects: [{dialect: ANSI_SQL, expression: SUM(orders.amount)}]}}
  - {name: amount, expression: {dialects: [{dialect: ANSI_SQL, expression: SUM(orders.amount)}]}}
  - {name: order_count, expression: {dialects: [{dialect: ANSI_SQL, expression: COUNT(orders.order_id)}]}}
  - {name: average_amount, expression: {dialects: [{dialect: ANSI_SQL, expression: AVG(orders.amount)}]}}
  - {name: median_amount, expression: {dialects: [{dialect: ANSI_SQL, expression: MEDIAN(orders.amount)}]}}
  - {name: buyers, expression: {dialects: [{dialect: ANSI_SQL, expression: COUNT(DISTINCT orders.customer_id)}]}}
  - name: paid_revenue
    expression: {dialects: [{dialect: ANSI_SQL, expression: SUM(orders.amount)}]}
    custom_extensions:
    - vendor_name: WELLHEAD
      data: '{"filter": {"field": "orders.status", "op": "eq", "value": "paid"}, "unit": "EUR"}'
  - name: units
    expression: {dialects: [{dialect: ANSI_SQL, expression: SUM(items.quantity)}]}
    custom_extensions: [{vendor_name: WELLHEAD, data: '{"default_time": "orders.ordered_at"}'}]
  - {name: paid_share, expression: {dialects: [{dialect: ANSI_SQL, expression: paid_revenue / revenue}]}}
  - {name: amount_per_unit, expression: {dialects: [{dialect: ANSI_SQL, expression: revenue / units}]}}
  - {name: per_customer, expression: {dialects: [{dialect: ANSI_SQL,
      expression: SUM(orders.amount) / COUNT(DISTINCT crm.customers.customer_id)}]}}
  - {name: staff, expression: {dialects: [{dialect: ANSI_SQL, expression: SUM(stores.employees)}]}}
  - name: stock
    expression: {dialects: [{dialect: ANSI_SQL, expression: SUM(levels.units)}]}
    custom_extensions:
    - {vendor_name: WELLHEAD, data: '{"non_additive": {"time": "levels.day", "choice": "max"}}'}
  custom_extensions:
  - {vendor_name: WELLHEAD, data: '{"time_zone": "Europe/Berlin", "fiscal_year_start_month": 2}'}
"""

CRM = """
version: 0.2.0.dev0
semantic_model:
- name: crm
  datasets:
  - name: customers
    source: crm.customers
    primary_key: [customer_id]
    fields:
    - {name: region, expression: {dialects: [{dialect: ANSI_SQL, expression: region}]}, dimension: {}}
    - {name: segment, expression: {dialects: [{dialect: ANSI_SQL, expression: segment}]}, dimension: {}}
    - {name: email, expression: {dialects: [{dialect: ANSI_SQL, expression: email}]}, dimension: {}}
    custom_extensions:
    - {vendor_name: WELLHEAD, data: '{"primary_entity": "customer"}'}
  metrics:
  - {name: customer_count, expression: {dialects: [{dialect: ANSI_SQL, expression: COUNT(customers.customer_id)}]}}
  - {name: emails, expression: {dialects: [{dialect: ANSI_SQL, expression: COUNT(customers.email)}]}}
  - name: certified_emails
    expression: {dialects: [{dialect: ANSI_SQL, expression: COUNT(customers.email)}]}
    custom_extensions:
    - {vendor_name: WELLHEAD, data: '{"certification": {"state": "certified", "by": "Kim"}}'}
"""

TEXT, WHOLE, DAY, MOMENT = ColumnType.STRING, ColumnType.INTEGER, ColumnType.DATE, ColumnType.TIMESTAMP
MONEY = Column("amount", ColumnType.DECIMAL, precision=12, scale=2)


def table(name: str, *columns: Column) -> Dataset:
    """A table dataset."""
    return Dataset(name, "table", columns)


PRODUCTS: Mapping[str, DataProduct] = {
    "shop": DataProduct("shop", "1", "shop", "active", "1", datasets=(
        table("orders", Column("order_id", WHOLE), Column("customer_id", WHOLE), Column("store_id", WHOLE),
              Column("status", TEXT), Column("ordered_at", MOMENT), MONEY, Column("note", TEXT)),
        table("items", Column("order_id", WHOLE), Column("line", WHOLE), Column("food", ColumnType.BOOLEAN),
              Column("quantity", WHOLE)),
        table("stores", Column("store_id", WHOLE), Column("city", TEXT), Column("employees", WHOLE)),
        table("levels", Column("day", DAY), Column("store_id", WHOLE), Column("units", WHOLE)),
    )),
    "crm": DataProduct("crm", "1", "crm", "active", "1", datasets=(
        table("customers", Column("customer_id", WHOLE), Column("region", TEXT), Column("segment", TEXT),
              Column("email", TEXT, classification="personal")),
    )),
}  # fmt: skip

Row = tuple[Any, ...]
Tables = dict[str, list[Row]]

ROWS: Tables = {
    "shop.orders": [
        (1, 10, 1, "paid", datetime(2025, 1, 31, 22, 59), Decimal("10.00"), None),
        (2, 10, 1, "paid", datetime(2025, 1, 31, 23, 1), Decimal("20.00"), "late"),
        (3, 11, 2, "open", datetime(2025, 3, 3, 9), Decimal("40.00"), None),
        (4, None, 2, "paid", datetime(2025, 3, 9, 9), Decimal("80.00"), None),
        (5, 99, None, "open", datetime(2025, 3, 10, 9), Decimal("160.00"), None),
    ],
    "shop.items": [
        (1, 1, True, 1),
        (1, 2, True, 2),
        (1, 3, False, 4),
        (2, 1, False, 8),
        (3, 1, True, 16),
        (77, 1, True, 32),
    ],
    "shop.stores": [(1, "Bonn", 5), (2, "Paris", 7), (3, "Rome", 11)],
    "shop.levels": [
        (date(2025, 1, 30), 1, 5),
        (date(2025, 1, 31), 1, 6),
        (date(2025, 1, 31), 2, 7),
        (date(2025, 2, 1), 1, 9),
    ],
    "crm.customers": [(10, "EU", "club", "a@x.org"), (11, "US", "plain", None), (12, "EU", "plain", "c@x.org")],
}


def read_model(text: str, product: str) -> SemanticModel:
    """The model in an Ossie text, which must have no mistake."""
    findings = Findings()
    model = read_semantics(
        [parse_yaml(text, shown_as="semantics.yaml")], product=PRODUCTS[product], findings=findings
    )
    assert not findings.problems, findings.problems
    assert model is not None
    return model


MODELS: Mapping[str, SemanticModel] = {"shop": read_model(SHOP, "shop"), "crm": read_model(CRM, "crm")}

EVERYTHING = Rule("all", frozenset({"*"}), frozenset(Action))


def rule(
    name: str,
    *,
    datasets: Iterable[str] = ("*",),
    columns: Iterable[str] = ("*",),
    rows: Predicate = TRUE,
    metrics: Iterable[str] = ("*",),
    **options: Any,
) -> Rule:
    """A rule for everybody and the action metric."""
    choice = ColumnChoice(frozenset(columns))
    return Rule(name, frozenset({"*"}), frozenset({Action.METRIC}), datasets=frozenset(datasets), columns=choice,
                rows=rows, metrics=frozenset(metrics), **options)  # fmt: skip


def grants(action: Action = Action.METRIC, **policies: Policy) -> dict[str, Grant]:
    """A grant a product; a product without a policy of its own allows everything."""
    open_policy = {name: Policy(name, (EVERYTHING,)) for name in PRODUCTS}
    return {
        name: decide(CALLER, product, action, policies.get(name, open_policy[name]))
        for name, product in PRODUCTS.items()
    }


def policy(product: str, *rules: Rule, **options: Any) -> Policy:
    """A policy of these rules."""
    return Policy(product, rules, **options)


_SQL_TYPES = {
    TEXT: "VARCHAR",
    WHOLE: "BIGINT",
    DAY: "DATE",
    MOMENT: "TIMESTAMP",
    ColumnType.BOOLEAN: "BOOLEAN",
    ColumnType.DECIMAL: "DECIMAL(12, 2)",
}


def fill(connection: duckdb.DuckDBPyConnection, rows: Tables) -> None:
    """Put rows into the shop's tables, replacing what was there."""
    for product in PRODUCTS.values():
        connection.execute(f"ATTACH IF NOT EXISTS ':memory:' AS {product.name}")
        for dataset in product.datasets:
            declared = ", ".join(f'"{column.name}" {_SQL_TYPES[column.type]}' for column in dataset.columns)
            name = f"{product.name}.main.{dataset.name}"
            connection.execute(f"CREATE TABLE IF NOT EXISTS {name} ({declared})")
            connection.execute(f"DELETE FROM {name}")
            given = rows.get(f"{product.name}.{dataset.name}", [])
            marks = ", ".join(f"({', '.join('?' for _ in dataset.columns)})" for _ in given)
            if given:
                connection.execute(f"INSERT INTO {name} VALUES {marks}", [value for row in given for value in row])


def compiled(query: Mapping[str, Any], given: Mapping[str, Grant] | None = None, **options: Any) -> CompiledQuery:
    """The query for this caller; with everything granted by default."""
    asked = MetricQuery.from_json(query)
    return compile_query(asked, MODELS, PRODUCTS, given or grants(), as_of=NOON, **options)


def answer(
    connection: duckdb.DuckDBPyConnection,
    query: Mapping[str, Any],
    given: Mapping[str, Grant] | None = None,
    **options: Any,
) -> list[Row]:
    """The rows of the answer, in order."""
    statement = compiled(query, given, **options).statement
    found = connection.execute(statement.sql, dict(statement.parameters)).fetchall()
    return [row[:-1] for row in found]


def totals(
    connection: duckdb.DuckDBPyConnection, query: Mapping[str, Any], given: Mapping[str, Grant] | None = None
) -> Row:
    """The row of totals."""
    statement = compiled(query, given).totals()
    found = connection.execute(statement.sql, dict(statement.parameters)).fetchone()
    assert found is not None
    return found
