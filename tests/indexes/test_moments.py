"""The years of a sealed column are asked once, and make the statement of a reporting zone short."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pytest

from indexes.moments import years_of
from semantic_layer.plan.plan import Source
from semantic_layer.predicate import TRUE
from semantic_layer.product import Column, ColumnType
from semantic_layer.sql.zones import quick

SQL = """SELECT "orders"."at" AT TIME ZONE 'UTC' AT TIME ZONE 'Europe/Berlin' FROM "shop"."main"."sales" AS "orders" """


class Tables:
    """A product's sealed tables, and what was asked of them."""

    def __init__(self, rows: str) -> None:
        self.connection = duckdb.connect()
        self.connection.execute("ATTACH ':memory:' AS shop")
        self.connection.execute(f'CREATE TABLE shop.main.sales AS SELECT * FROM (VALUES {rows}) t ("at")')
        self.asked: list[str] = []

    def run(self, sql: str) -> Any:
        self.asked.append(sql)
        return self.connection.execute(sql).to_arrow_table()


def source(alias: str) -> Source:
    column = Column("at", ColumnType.TIMESTAMP)
    return Source(alias, "shop.sales", "shop", "sales", TRUE, TRUE, False, {"at": column})


@pytest.fixture
def tables() -> Tables:
    return Tables("(TIMESTAMP '2023-12-31 23:30:00'), (TIMESTAMP '2025-07-01'), (NULL)")


def test_the_years_are_asked_once_a_sealed_file(tables: Tables, tmp_path: Path) -> None:
    databases = {"shop": tmp_path / "a.duckdb"}
    expected = (('"orders"."at"', 2023, 2026),)
    assert years_of(SQL, [source("orders")], databases, tables.run) == expected
    assert years_of(SQL, [source("orders")], databases, tables.run) == expected
    assert len(tables.asked) == 1
    years_of(SQL, [source("orders")], {"shop": tmp_path / "b.duckdb"}, tables.run)
    assert len(tables.asked) == 2


def test_a_statement_without_a_zone_asks_nothing(tables: Tables, tmp_path: Path) -> None:
    assert years_of("SELECT 1", [source("orders")], {"shop": tmp_path}, tables.run) == ()
    assert years_of(SQL, [source("others")], {"shop": tmp_path}, tables.run) == ()
    assert tables.asked == []


@pytest.mark.parametrize("rows", ["(TIMESTAMP '2024-03-31 01:00:00')", "(CAST(NULL AS TIMESTAMP))"])
def test_answers_are_the_calendars(rows: str, tmp_path: Path) -> None:
    tables = Tables(rows)
    years = years_of(SQL, [source("orders")], {"shop": tmp_path / rows[:9]}, tables.run)
    rewritten = quick(SQL, years)
    assert tables.connection.execute(rewritten).fetchall() == tables.connection.execute(SQL).fetchall()
    assert len(rewritten) < len(quick(SQL))
