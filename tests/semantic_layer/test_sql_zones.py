"""The wall clock computed from a zone's offsets is the one that DuckDB's own calendar gives."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_layer.sql.zones import quick, zone_offsets

ZONES = [
    "Europe/Berlin", "Europe/London", "Europe/Moscow", "America/New_York", "America/Sao_Paulo", "America/Caracas",
    "Asia/Kolkata", "Asia/Kathmandu", "Asia/Tehran", "Australia/Lord_Howe", "Pacific/Apia", "Africa/Casablanca",
    "Asia/Pyongyang", "Etc/GMT+5",
]  # fmt: skip


@pytest.fixture(scope="module")
def connection() -> Iterator[Any]:
    with duckdb.connect() as connection:
        yield connection


def local(connection: Any, zone: str, moments: list[datetime]) -> tuple[list[Any], list[Any]]:
    """By DuckDB's calendar, and as it is rewritten."""
    connection.execute("CREATE OR REPLACE TEMP TABLE given (moment TIMESTAMP)")
    connection.executemany("INSERT INTO given VALUES (?)", [[one.replace(tzinfo=None)] for one in moments])
    sql = f"""SELECT "given"."moment" AT TIME ZONE 'UTC' AT TIME ZONE '{zone}' FROM given ORDER BY moment"""
    assert quick(sql) != sql
    return connection.execute(sql).fetchall(), connection.execute(quick(sql)).fetchall()


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
