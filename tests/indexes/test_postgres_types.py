"""Every PostgreSQL type is either read as the contract says, exactly, or refused by its name."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import pytest

from indexes.postgres.connection import connect
from indexes.postgres.cursors import snapshot
from indexes.postgres.relation import Relation
from indexes.postgres.types import ACCEPTED, REFUSED
from semantic_layer.errors import SourceFailed
from semantic_layer.product import Column, ColumnType

pytestmark = pytest.mark.postgres

MAPPED = frozenset().union(*ACCEPTED.values())
BUILT_IN = """
SELECT typname FROM pg_type JOIN pg_namespace n ON n.oid = typnamespace
WHERE nspname = 'pg_catalog' AND typisdefined
  AND (typtype IN ('r', 'm') OR (typtype = 'b' AND (typcategory <> 'A' OR typname IN ('int2vector', 'oidvector'))))
ORDER BY typname
"""
READ: list[tuple[str, ColumnType, Any]] = [
    ("'a'::\"char\"", ColumnType.STRING, "a"),
    ("'ab '::char(4)", ColumnType.STRING, "ab"),
    ("'ab'::varchar(4)", ColumnType.STRING, "ab"),
    ("'ab'::name", ColumnType.STRING, "ab"),
    ("'É'::text", ColumnType.STRING, "É"),
    ("'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'::uuid", ColumnType.STRING, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    ("'10.0.0.1'::inet", ColumnType.STRING, "10.0.0.1/32"),
    ("'10.0.0.0/8'::cidr", ColumnType.STRING, "10.0.0.0/8"),
    ("'08:00:2B:01:02:03'::macaddr", ColumnType.STRING, "08:00:2b:01:02:03"),
    ("'08:00:2B:01:02:03:04:05'::macaddr8", ColumnType.STRING, "08:00:2b:01:02:03:04:05"),
    ("B'101'::bit(3)", ColumnType.STRING, "101"),
    ("B'1'::varbit", ColumnType.STRING, "1"),
    ("7::int2", ColumnType.INTEGER, 7),
    ("7::int4", ColumnType.INTEGER, 7),
    ("9223372036854775807", ColumnType.INTEGER, 2**63 - 1),
    ("4000000000::oid", ColumnType.INTEGER, 4_000_000_000),
    ("0.1::float4", ColumnType.NUMBER, pytest.approx(0.1)),
    ("0.1::float8", ColumnType.NUMBER, 0.1),
    ("7::int4", ColumnType.NUMBER, 7.0),
    ("1.5::numeric", ColumnType.NUMBER, 1.5),
    ("12345678901234567890.12", ColumnType.DECIMAL, Decimal("12345678901234567890.12")),
    ("7::int8", ColumnType.DECIMAL, Decimal(7)),
    ("true", ColumnType.BOOLEAN, True),
    ("DATE '2025-03-01'", ColumnType.DATE, date(2025, 3, 1)),
    ("TIME '12:30:00.000001'", ColumnType.TIME, time(12, 30, 0, 1)),
    ("TIMESTAMP '2025-03-01 12:00'", ColumnType.TIMESTAMP, datetime(2025, 3, 1, 12)),
    ("TIMESTAMPTZ '2025-03-01 12:00+02'", ColumnType.TIMESTAMP, datetime(2025, 3, 1, 10, tzinfo=UTC)),
    ("""'{"a": [1]}'::jsonb""", ColumnType.OBJECT, {"a": [1]}),
    ("'[1, 2]'::json", ColumnType.ARRAY, [1, 2]),
    ("ARRAY['a', NULL]", ColumnType.ARRAY, ["a", None]),
]


def test_every_built_in_type_is_mapped_or_refused_and_none_is_both(postgres_dsn: str) -> None:
    with connect(postgres_dsn) as connection:
        built_in = {row[0] for row in connection.execute(BUILT_IN).fetchall()}
    assert len(built_in) > 70
    assert built_in - MAPPED - set(REFUSED) == set()
    assert MAPPED & set(REFUSED) == set()


def test_a_column_of_any_type_is_read_or_named_with_what_to_do(postgres_dsn: str) -> None:
    with connect(postgres_dsn) as connection:
        names = [row[0] for row in connection.execute(BUILT_IN).fetchall()]
        columns = ", ".join(f'"{name}" pg_catalog."{name}"' for name in names)
        connection.execute(f"CREATE TABLE every ({columns})")  # pyright: ignore[reportArgumentType]
    relation = Relation("public", "every")
    with snapshot(postgres_dsn) as view:
        for name in names:
            for kind in ColumnType:
                column = Column(name, kind, items=ColumnType.OBJECT if kind is ColumnType.ARRAY else None)
                if name in ACCEPTED[kind]:
                    view.check(relation, (column,))
                    continue
                with pytest.raises(SourceFailed) as failure:
                    view.check(relation, (column,))
                assert f"column '{name}' is " in failure.value.message
                assert REFUSED.get(name, f"the contract says {kind.value}") in failure.value.message


def test_values_arrive_exactly_as_the_contracts_type_says(postgres_dsn: str) -> None:
    listed = ", ".join(f"{literal} AS c{place}" for place, (literal, _, _) in enumerate(READ))
    columns = [
        Column(f"c{place}", kind, items=ColumnType.STRING if literal.startswith("ARRAY") else ColumnType.INTEGER)
        for place, (literal, kind, _) in enumerate(READ)
    ]
    relation = Relation("public", "values", f"SELECT {listed}")
    with snapshot(postgres_dsn) as view:
        view.check(relation, columns)
        [[row]] = view.rows(relation, columns)
    for (literal, _, expected), value in zip(READ, row, strict=True):
        assert value == expected, literal
        assert isinstance(value, type(expected)) or not isinstance(expected, (str, int, Decimal)), literal


def test_enums_count_as_text_and_domains_as_what_they_are_made_of(postgres_dsn: str) -> None:
    with connect(postgres_dsn) as connection:
        connection.execute(
            "CREATE TYPE mood AS ENUM ('good', 'bad'); CREATE DOMAIN cents AS int4 CHECK (value >= 0);"
            "CREATE TYPE pair AS (a int, b int); CREATE TABLE moods (mood mood, moods mood[], price cents, pair pair);"
            "INSERT INTO moods VALUES ('good', '{good,bad}', 5, ROW(1, 2))"
        )
    relation = Relation("public", "moods")
    read = (
        Column("mood", ColumnType.STRING),
        Column("moods", ColumnType.ARRAY, items=ColumnType.STRING),
        Column("price", ColumnType.INTEGER),
    )
    with snapshot(postgres_dsn) as view:
        view.check(relation, read)
        assert list(view.rows(relation, read)) == [[("good", ["good", "bad"], 5)]]
        with pytest.raises(SourceFailed, match=r"'pair' is pair .* is not known here; cast it"):
            view.check(relation, (Column("pair", ColumnType.OBJECT),))


def test_a_moment_that_no_calendar_holds_is_refused_and_not_guessed(postgres_dsn: str) -> None:
    relation = Relation("public", "ends", "SELECT 'infinity'::timestamptz AS at")
    column = (Column("at", ColumnType.TIMESTAMP),)
    with snapshot(postgres_dsn) as view, pytest.raises(SourceFailed, match="query of 'ends' cannot be read"):
        list(view.rows(relation, column))
