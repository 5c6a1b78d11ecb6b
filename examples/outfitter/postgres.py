"""The order database: its tables as an OLTP system would hold them, for any loader that speaks COPY."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from examples.outfitter.sales import LegacyOrder, Order, OrderLine, OrderStatus, Return, Sales

SCHEMA = """\
CREATE TABLE orders (
    order_id        text PRIMARY KEY,
    customer_id     text,                       -- NULL for guests; a few name accounts that no longer exist
    region          text NOT NULL,
    channel         text NOT NULL,
    status          text NOT NULL,
    ordered_at      timestamptz NOT NULL,
    shipping_cents  integer NOT NULL,
    promo_code      text
);

CREATE TABLE order_lines (
    order_id        text NOT NULL,
    line_number     integer NOT NULL,
    region          text NOT NULL,
    product_id      text NOT NULL,
    sku             text NOT NULL,
    quantity        integer NOT NULL,
    gross_cents     bigint NOT NULL,
    discount_cents  bigint NOT NULL,
    vat_cents       bigint NOT NULL,
    net_cents       bigint NOT NULL,
    PRIMARY KEY (order_id, line_number)
);

CREATE TABLE order_status (
    order_id        text PRIMARY KEY,
    region          text NOT NULL,
    status          text NOT NULL,
    carrier         text,
    tracking_number text,
    updated_at      timestamptz NOT NULL
);

CREATE TABLE returns (
    return_id        text PRIMARY KEY,
    order_id         text NOT NULL,             -- some orders are known to the retired shop system only
    line_number      integer NOT NULL,
    region           text NOT NULL,
    returned_at      timestamptz NOT NULL,
    quantity         integer NOT NULL,
    refund_net_cents bigint NOT NULL,
    reason           text NOT NULL
);

CREATE TABLE orders_legacy (
    order_id     text PRIMARY KEY,
    customer_id  text,
    amount_cents bigint NOT NULL,               -- doubled by the migration: do not use
    ordered_at   timestamptz NOT NULL
);
"""
"""The DDL; no foreign keys, because the data have orphans that a contract must report and not refuse."""


@dataclass(frozen=True)
class PostgresTable:
    """One table with its rows in primary key order; values are str, int, datetime in UTC or None."""

    name: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[Any, ...]]


def tables_of(sales: Sales) -> Iterator[PostgresTable]:
    """The five tables that SCHEMA declares, in its order."""
    yield PostgresTable("orders", Order._fields, sales.orders)
    yield PostgresTable("order_lines", OrderLine._fields, sales.lines)
    yield PostgresTable("order_status", OrderStatus._fields, sales.statuses)
    yield PostgresTable("returns", Return._fields, sales.returns)
    yield PostgresTable("orders_legacy", LegacyOrder._fields, sales.legacy)


def copy_script() -> str:
    """SCHEMA and one `\\copy` a table, for psql run beside the CSV files."""
    names = ("orders", "order_lines", "order_status", "returns", "orders_legacy")
    copies = "\n".join(f"\\copy {name} FROM '{name}.csv' WITH (FORMAT csv, HEADER true)" for name in names)
    return f"{SCHEMA}\n{copies}\n"
