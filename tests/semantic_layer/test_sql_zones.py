"""The wall clock computed from a zone's offsets is the one that DuckDB's own calendar gives."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_layer.sql.zones import Years, quick, zone_offsets, zoned_columns

ZONES = [
    "Europe/Berlin", "Europe/London", "Europe/Moscow", "America/New_York", "America/Sao_Paulo", "America/Caracas",
    "Asia/Kolkata", "Asia/Kathmandu", "Asia/Tehran", "Australia/Lord_Howe", "Pacific/Apia", "Africa/Casablanca",
    "Asia/Pyongyang", "Etc/GMT+5",
]  # fmt: skip


@pytest.fixture(scope="module")
def connection() -> Iterator[Any]:
    with duckdb.connect() as connection:
        yield connection


def local(connection: Any, zone: str, moments: list[datetime], years: Years = ()) -> tuple[list[Any], list[Any]]:
    """By DuckDB's calendar, and as it is rewritten."""
    connection.execute("CREATE OR REPLACE TEMP TABLE given (moment TIMESTAMP)")
    connection.executemany("INSERT INTO given VALUES (?)", [[one.replace(tzinfo=None)] for one in moments])
    sql = f"""SELECT "given"."moment" AT TIME ZONE 'UTC' AT TIME ZONE '{zone}' FROM given ORDER BY moment"""
    assert years or quick(sql) != sql
    return connection.execute(sql).fetchall(), connection.execute(quick(sql, years)).fetchall()


@pytest.mark.parametrize("zone", ZONES)
def test_every_change_of_a_zone_falls_on_the_same_moment(connection: Any, zone: str) -> None:
    near = [
        timedelta(0),
        timedelta(microseconds=-1),
        timedelta(hours=-1),
        timedelta(minutes=30),
        timedelta(days=40),
    ]
    moments = [change + step for change, _ in zone_offsets(zone) for step in near]
    by_calendar, rewritten = local(connection, zone, moments)
    assert rewritten == by_calendar


@given(
    zone=st.sampled_from(ZONES),
    moments=st.lists(st.datetimes(datetime(1990, 1, 1), datetime(2060, 1, 1), timezones=st.just(UTC)), min_size=1),
)
def test_any_moment_reads_the_same_on_both_clocks(zone: str, moments: list[datetime]) -> None:
    with duckdb.connect() as connection:
        by_calendar, rewritten = local(connection, zone, moments)
    assert rewritten == by_calendar


@given(
    zone=st.sampled_from(ZONES),
    first=st.integers(1995, 2045),
    count=st.integers(0, 20),
    moments=st.lists(st.datetimes(datetime(1990, 1, 1), datetime(2060, 1, 1), timezones=st.just(UTC)), min_size=1),
)
def test_years_make_it_short_and_change_no_moment_inside_or_outside_of_them(
    connection: Any, zone: str, first: int, count: int, moments: list[datetime]
) -> None:
    years = (('"given"."moment"', first, first + count),)
    by_calendar, rewritten = local(connection, zone, moments, years)
    assert rewritten == by_calendar


def test_four_years_take_a_quarter_of_the_text_of_forty() -> None:
    sql = """SELECT "given"."moment" AT TIME ZONE 'UTC' AT TIME ZONE 'Europe/Berlin' FROM given"""
    assert zoned_columns(sql) == ('"given"."moment"',)
    assert len(quick(sql, (('"given"."moment"', 2022, 2026),))) < len(quick(sql)) / 4


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT '\"a\" AT TIME ZONE ''UTC'' AT TIME ZONE ''Europe/Berlin'''",
        """SELECT "a"" AT TIME ZONE 'UTC' AT TIME ZONE 'Europe/Berlin'" FROM t""",
        """SELECT "a" AT TIME ZONE 'UTC' AT TIME ZONE 'Mars/Olympus' FROM t""",
        """SELECT "a" AT TIME ZONE 'UTC' FROM t""",
    ],
)
def test_nothing_else_is_touched(sql: str) -> None:
    assert quick(sql) == sql
