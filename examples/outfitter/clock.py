"""The retailer's time: stored in UTC, reported in Berlin, in fiscal years that start in February."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

BERLIN = ZoneInfo("Europe/Berlin")
"""The reporting time zone of every business report."""

FISCAL_START_MONTH = 2

FIRST_DAY = date(2023, 2, 1)
LAST_DAY = date(2026, 1, 31)
"""The data cover the fiscal years 2023, 2024 and 2025, in Berlin days, both ends included."""

OPENING = datetime(2023, 2, 1, tzinfo=BERLIN).astimezone(UTC)
CLOSING = datetime(2026, 2, 1, tzinfo=BERLIN).astimezone(UTC)
"""The first moment of the data and the first moment after it."""


def berlin_day(moment: datetime) -> date:
    """The calendar day in Berlin of a UTC moment."""
    return moment.astimezone(BERLIN).date()


def month_start(day: date) -> date:
    """The first day of the day's month."""
    return day.replace(day=1)


def fiscal_year_start(day: date) -> date:
    """The first of February that opens the day's fiscal year: FY2025 is 2025-02-01 up to 2026-01-31."""
    year = day.year if day.month >= FISCAL_START_MONTH else day.year - 1
    return date(year, FISCAL_START_MONTH, 1)


def fiscal_quarter_start(day: date) -> date:
    """The first day of the day's fiscal quarter; quarters start in February, May, August and November."""
    months_in = (day.month - FISCAL_START_MONTH) % 12 // 3 * 3
    opening = fiscal_year_start(day)
    month = opening.month + months_in
    return date(opening.year + (month - 1) // 12, (month - 1) % 12 + 1, 1)


def days(first: date, last: date) -> list[date]:
    """Every day from first to last, both included."""
    return [first + timedelta(days=offset) for offset in range((last - first).days + 1)]
