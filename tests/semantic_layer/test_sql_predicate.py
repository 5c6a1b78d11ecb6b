"""A predicate's SQL keeps exactly the rows that the plain evaluation keeps, on real engines."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

import duckdb
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from semantic_layer.errors import InvalidFilter, UnknownName
from semantic_layer.predicate import (
    And,
    Attribute,
    Compare,
    Constant,
    Contains,
    In,
    IsNull,
    Not,
    Or,
    Predicate,
    Range,
    evaluate,
)
from semantic_layer.product import Column, ColumnType
from semantic_layer.sql.build import Dialect
from semantic_layer.sql.predicate import Parameters, predicate_sql, render, where_text

LETTERS = "aAzZäß\u00e9e\u0301漢😀 %'\"_\\"

VALUES: dict[ColumnType, st.SearchStrategy[Any]] = {
    ColumnType.STRING: st.text(LETTERS, max_size=3),
    ColumnType.INTEGER: st.integers(-3, 3) | st.sampled_from([2**63 - 1, -(2**63)]),
    ColumnType.NUMBER: st.sampled_from([0.0, -0.0, 1.5, -2.25, 1e300, 0.1]),
    ColumnType.DECIMAL: st.sampled_from([Decimal("0"), Decimal("1.5"), Decimal("-2.25"), Decimal("9999999.99")]),
    ColumnType.BOOLEAN: st.booleans(),
    ColumnType.DATE: st.sampled_from([date(2024, 2, 29), date(2025, 1, 1), date(1, 1, 1), date(9999, 12, 31)]),
    ColumnType.TIMESTAMP: st.sampled_from(
        [
            datetime(2025, 3, 30, 0, 59, 59, 999_999),
            datetime(2025, 3, 30, 1),
            datetime(1969, 12, 31, 23, 59, 59, 1),
        ]
    ),
    ColumnType.TIME: st.sampled_from([time(0), time(12, 30, 0, 1), time(23, 59, 59)]),
}
ASKED: dict[ColumnType, st.SearchStrategy[Any]] = {
    **VALUES,
    ColumnType.DECIMAL: VALUES[ColumnType.DECIMAL]
    | st.sampled_from([Decimal("1.500000000000000000000000000000000000000001"), Decimal("1e60"), Decimal("-1e60")])
    | st.decimals(-5, 5, places=4),
    ColumnType.TIMESTAMP: st.sampled_from(
        [
            datetime(2025, 3, 30, 1, tzinfo=UTC),
            datetime(2025, 3, 30, 3, tzinfo=timezone(timedelta(hours=2))),
            datetime(1970, 1, 1, tzinfo=UTC),
        ]
    ),
}
COLUMNS = {kind.value: Column(kind.value, kind, precision=9, scale=2) for kind in VALUES} | {
    f"{kind.value}s": Column(f"{kind.value}s", ColumnType.ARRAY, items=kind, precision=9, scale=2)
    for kind in VALUES
}
SQL_TYPES = {
    "string": "VARCHAR",
    "integer": "BIGINT",
    "number": "DOUBLE PRECISION",
    "decimal": "DECIMAL(9, 2)",
    "boolean": "BOOLEAN",
    "date": "DATE",
    "timestamp": "TIMESTAMP",
    "time": "TIME",
}


def cells(column: Column) -> st.SearchStrategy[Any]:
    kind = column.items or column.type
    value = VALUES[kind] | st.none()
    if kind is ColumnType.NUMBER:
        value = value | st.just(math.nan)
    return st.none() | st.lists(value, max_size=3) if column.type is ColumnType.ARRAY else value


rows = st.fixed_dictionaries({name: cells(column) for name, column in COLUMNS.items()})


@st.composite
def leaf_predicates(draw: st.DrawFn) -> Predicate:
    name = draw(st.sampled_from(sorted(COLUMNS)))
    column = COLUMNS[name]
    kind = column.items or column.type
    value = ASKED[kind]
    forms: list[Callable[[], Predicate]] = [
        lambda: IsNull(name),
        lambda: In(name, tuple(draw(st.lists(value, max_size=3)))),
        lambda: Compare(name, "eq", draw(value)),
    ]
    if kind is not ColumnType.BOOLEAN:
        forms.append(lambda: Compare(name, draw(st.sampled_from(["lt", "le", "gt", "ge"])), draw(value)))
        ends = value | st.none()
        forms.append(
            lambda: Range(name, draw(ends), draw(ends), draw(st.booleans()), draw(st.booleans())),
        )
    if kind is ColumnType.STRING:
        forms.append(lambda: Contains(name, draw(value)))
    return draw(st.sampled_from(forms))()


predicates = st.recursive(
    leaf_predicates() | st.builds(Constant, st.booleans()),
    lambda inner: (
        st.builds(And, st.lists(inner, max_size=3).map(tuple))
        | st.builds(Or, st.lists(inner, max_size=3).map(tuple))
        | st.builds(Not, inner)
    ),
    max_leaves=5,
)


def table_sql(dialect: str) -> str:
    parts = []
    for name, column in COLUMNS.items():
        listed = "[]" if column.type is ColumnType.ARRAY else ""
        parts.append(f'"{name}" {SQL_TYPES[(column.items or column.type).value]}{listed}')
    return f"CREATE {'TEMP ' if dialect == 'postgres' else ''}TABLE facts (n INTEGER, {', '.join(parts)})"


def expected(predicate: Predicate, table: list[dict[str, Any]]) -> list[int]:
    return [number for number, row in enumerate(table) if evaluate(predicate, row)]


@pytest.fixture(scope="module")
def duck() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'America/New_York'")
        connection.execute(table_sql("duckdb"))
        yield connection


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(table=st.lists(rows, min_size=1, max_size=4), predicate=predicates)
def test_duckdb_keeps_exactly_the_rows_where_the_predicate_is_true(
    duck: duckdb.DuckDBPyConnection, table: list[dict[str, Any]], predicate: Predicate
) -> None:
    duck.execute("DELETE FROM facts")
    marks = ", ".join("?" for _ in range(len(COLUMNS) + 1))
    duck.executemany(
        f"INSERT INTO facts VALUES ({marks})",
        [[number, *(row[name] for name in COLUMNS)] for number, row in enumerate(table)],
    )
    text, values = where_text(predicate, COLUMNS, "duckdb")
    found = duck.execute(f"SELECT n FROM facts WHERE {text} ORDER BY n", values).fetchall()
    assert [number for (number,) in found] == expected(predicate, table), text


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(predicate=predicates, dialect=st.sampled_from(["duckdb", "postgres"]))
def test_a_condition_whose_shape_was_written_before_reads_as_if_it_were_written_anew(
    predicate: Predicate, dialect: Dialect
) -> None:
    parameters = Parameters()
    anew = render(predicate_sql(predicate, COLUMNS, parameters, dialect=dialect), dialect)
    assert where_text(predicate, COLUMNS, dialect) == (anew, parameters.values)


@pytest.fixture(scope="module")
def postgres(postgres_dsn: str) -> Iterator[Any]:
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute("SET TIME ZONE 'America/New_York'")
        connection.execute(table_sql("postgres"))
        yield connection


@pytest.mark.postgres
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(table=st.lists(rows, min_size=1, max_size=4), predicate=predicates)
def test_postgres_keeps_exactly_the_rows_where_the_predicate_is_true(
    postgres: Any, table: list[dict[str, Any]], predicate: Predicate
) -> None:
    postgres.execute("DELETE FROM facts")
    marks = ", ".join(
        f"%s::{SQL_TYPES[(column.items or column.type).value]}{'[]' if column.type is ColumnType.ARRAY else ''}"
        for column in COLUMNS.values()
    )
    with postgres.cursor() as cursor:
        cursor.executemany(
            f"INSERT INTO facts VALUES (%s, {marks})",
            [[number, *(row[name] for name in COLUMNS)] for number, row in enumerate(table)],
        )
    text, values = where_text(predicate, COLUMNS, "postgres")
    found = postgres.execute(f"SELECT n FROM facts WHERE {text} ORDER BY n", values).fetchall()
    assert [number for (number,) in found] == expected(predicate, table), text


@pytest.mark.postgres
def test_postgres_compares_timestamps_in_utc_whatever_their_column_type(postgres: Any) -> None:
    postgres.execute("CREATE TEMP TABLE moments (naive timestamp, aware timestamptz)")
    postgres.execute("INSERT INTO moments VALUES ('2025-06-01 12:00', '2025-06-01 12:00+00')")
    for name, physical in (("naive", ""), ("naive", "timestamp"), ("aware", ""), ("aware", "timestamptz")):
        column = Column(name, ColumnType.TIMESTAMP, physical_type=physical)
        text, values = where_text(Compare(name, "eq", "2025-06-01T12:00:00Z"), {name: column}, "postgres")
        assert postgres.execute(f"SELECT count(*) FROM moments WHERE {text}", values).fetchone() == (1,)


@pytest.mark.postgres
def test_postgres_reads_names_with_per_cent_signs_and_values_with_nul(postgres: Any) -> None:
    postgres.execute('CREATE TEMP TABLE shares ("100%" text)')
    postgres.execute("""INSERT INTO shares VALUES ('a'), ('b')""")
    columns = {"100%": Column("100%", ColumnType.STRING)}
    for predicate, count in (
        (Compare("100%", "gt", "a\0z"), 1),
        (Compare("100%", "le", "a\0z"), 1),
        (Compare("100%", "eq", "a\0"), 0),
        (Not(Contains("100%", "a\0")), 2),
        (In("100%", ("a", "b\0")), 1),
    ):
        text, values = where_text(predicate, columns, "postgres")
        assert postgres.execute(f"SELECT count(*) FROM shares WHERE {text}", values).fetchone() == (count,)


@pytest.mark.postgres
def test_postgres_compares_decimals_of_any_size(postgres: Any) -> None:
    postgres.execute("CREATE TEMP TABLE amounts (amount numeric)")
    postgres.execute("INSERT INTO amounts VALUES (1.0005), (1e60)")
    columns = {"amount": Column("amount", ColumnType.DECIMAL)}
    for value, count in ((Decimal("1e60"), 1), (Decimal("1.0005"), 1), (Decimal("1.00050001"), 0)):
        text, values = where_text(Compare("amount", "eq", value), columns, "postgres")
        assert postgres.execute(f"SELECT count(*) FROM amounts WHERE {text}", values).fetchone() == (count,)


def test_a_value_never_becomes_sql_text() -> None:
    hostile = "x' OR 1=1 --"
    text, values = where_text(Compare("string", "eq", hostile), COLUMNS, "duckdb")
    assert text == '"string" = CAST($p0 AS TEXT)'
    assert values == {"p0": hostile}


def test_a_column_name_is_always_quoted() -> None:
    columns = {'a" OR 1=1 --': Column('a" OR 1=1 --', ColumnType.INTEGER)}
    text, _ = where_text(Compare('a" OR 1=1 --', "eq", 1), columns, "duckdb")
    assert text == '"a"" OR 1=1 --" = CAST($p0 AS BIGINT)'


def test_columns_carry_their_table() -> None:
    parameters = Parameters()
    expression = predicate_sql(IsNull("string"), COLUMNS, parameters, table="orders")
    assert expression.sql("duckdb") == '"orders"."string" IS NULL'


def test_an_unknown_column_a_wrong_value_and_an_unfilled_attribute_are_errors() -> None:
    with pytest.raises(UnknownName, match="integer"):
        where_text(IsNull("integr"), COLUMNS, "duckdb")
    with pytest.raises(InvalidFilter, match="whole number"):
        where_text(Compare("integer", "eq", "many"), COLUMNS, "duckdb")
    with pytest.raises(InvalidFilter, match="region"):
        where_text(Compare("string", "eq", Attribute("region")), COLUMNS, "duckdb")
