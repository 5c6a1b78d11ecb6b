"""What runs on DuckDB is written otherwise than what a receipt shows, and gives the same: periods and sums."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semantic_layer.sql.beginnings import quick_beginnings
from semantic_layer.sql.order_of_sums import by_size

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.duckdb.sql"))
CUT = """SELECT CAST(CAST(DATE_TRUNC('{unit}', "given"."at") AS DATE) AS VARCHAR) FROM given"""
DATES = st.dates(date(1, 1, 1), date(9999, 12, 31))
MOMENTS = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31))


@pytest.fixture(scope="module")
def connection() -> Iterator[Any]:
    with duckdb.connect() as connection:
        yield connection


def both(connection: Any, kind: str, unit: str, values: list[Any]) -> tuple[list[Any], list[Any]]:
    """The beginnings as shown, and as they are run."""
    rows = ", ".join(f"(CAST('{value}' AS {kind}))" for value in values)
    connection.execute(f'CREATE OR REPLACE TEMP TABLE given AS FROM (VALUES {rows}, (NULL)) t ("at")')
    shown = CUT.format(unit=unit)
    assert quick_beginnings(shown) != shown
    return connection.execute(shown).fetchall(), connection.execute(quick_beginnings(shown)).fetchall()


@pytest.mark.parametrize("unit", ["month", "year"])
@settings(max_examples=40)
@given(values=st.lists(DATES, min_size=1, max_size=20))
def test_dates_fall_in_the_same_periods(connection: Any, unit: str, values: list[date]) -> None:
    shown, run = both(connection, "DATE", unit, values)
    assert run == shown


@pytest.mark.parametrize("unit", ["month", "year"])
@settings(max_examples=40)
@given(values=st.lists(MOMENTS, min_size=1, max_size=20))
def test_moments_fall_in_the_same_periods(connection: Any, unit: str, values: list[datetime]) -> None:
    shown, run = both(connection, "TIMESTAMP", unit, values)
    assert run == shown


@pytest.mark.parametrize("kind", ["DATE", "TIMESTAMP"])
def test_days_before_the_common_era_leap_days_and_days_without_end_do_too(connection: Any, kind: str) -> None:
    values = ["infinity", "-infinity", "0044-03-15 (BC)", "2024-02-29", "1900-12-31", "1582-10-10"]
    for unit in ("month", "year"):
        shown, run = both(connection, kind, unit, values)
        assert run == shown


@pytest.mark.parametrize(
    "kept",
    [
        """SELECT CAST(DATE_TRUNC('week', "a"."at") AS DATE)""",
        """SELECT DATE_TRUNC('month', "a"."at")""",
        """SELECT CAST(DATE_TRUNC('month', "a"."at" AT TIME ZONE 'UTC' AT TIME ZONE 'Asia/Tokyo') AS DATE)""",
        """SELECT 'CAST(DATE_TRUNC(''month'', "a"."at") AS DATE)'""",
    ],
)
def test_nothing_else_is_rewritten(kept: str) -> None:
    assert quick_beginnings(kept) == kept


def test_every_sum_of_a_golden_query_can_be_taken_by_size() -> None:
    texts = [path.read_text() for path in GOLDEN]
    summed = sum(text.count("SUM(") + text.count("AVG(") for text in texts)
    assert 0 < summed == sum(by_size(text).count(" ORDER BY ") - text.count(" ORDER BY ") for text in texts)


def test_sums_by_size_are_the_same_but_for_rounding(connection: Any) -> None:
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE given AS SELECT i, 1e16 * (i % 3 - 1) + i AS wide, CAST(i AS DECIMAL(9, 2)) "
        "AS exact FROM range(3000) t(i)"
    )
    for column, alike in (("wide", False), ("exact", True), ("i", True)):
        shown = f'SELECT SUM("v0") FROM (SELECT {column} AS "v0" FROM given) AS "r"'
        found = [connection.execute(text).fetchone()[0] for text in (shown, by_size(shown))]
        assert (found[0] == found[1]) is alike, column
