"""Which logical types a value could have, so that a column gets the narrowest that fits all of its values."""

from __future__ import annotations

import re
from datetime import date, datetime, time
from decimal import Decimal
from functools import lru_cache
from typing import Any

from semantic_layer.product import ColumnType

Kinds = frozenset[ColumnType]

PREFERENCE = (
    ColumnType.BOOLEAN,
    ColumnType.INTEGER,
    ColumnType.NUMBER,
    ColumnType.DATE,
    ColumnType.TIMESTAMP,
    ColumnType.TIME,
    ColumnType.STRING,
    ColumnType.ARRAY,
    ColumnType.OBJECT,
)
"""The narrowest first."""

EVERY = frozenset(PREFERENCE)
_INTEGER = re.compile(r"[+-]?(0|[1-9][0-9]{0,17})")
_NUMBER = re.compile(r"[+-]?(0|[1-9][0-9]*)?\.?[0-9]+([eE][+-]?[0-9]+)?|[+-]?(0|[1-9][0-9]*)\.")
_LEADING_ZERO = re.compile(r"[+-]?0[0-9]")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIMESTAMP = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?(Z|[+-][0-9]{2}:?[0-9]{2})?"
)
_TIME = re.compile(r"[0-9]{2}:[0-9]{2}(:[0-9]{2})?")
_COMMA_NUMBER = re.compile(r"[+-]?[0-9]{1,3}(\.?[0-9]{3})*,[0-9]+|[+-]?[0-9]{1,3}(,[0-9]{3})+(\.[0-9]+)?")
_UNIT_NUMBER = re.compile(r"[$€£¥]\s*[+-]?[0-9][0-9.,]*|[+-]?[0-9][0-9.,]*\s*([$€£¥%]|[A-Za-z]{1,3})")
_LOCAL_DATE = re.compile(r"[0-9]{1,2}([./-])[0-9]{1,2}\1([0-9]{4}|[0-9]{2})([ T].*)?")
_BOOLEANS = frozenset({"true", "false", "yes", "no"})

_TEXT = frozenset({ColumnType.STRING})
_BOOLEAN = frozenset({ColumnType.BOOLEAN})
_TEXT_BOOLEAN = frozenset({ColumnType.BOOLEAN, ColumnType.STRING})
_TEXT_INTEGER = frozenset({ColumnType.INTEGER, ColumnType.NUMBER, ColumnType.STRING})
_TEXT_NUMBER = frozenset({ColumnType.NUMBER, ColumnType.STRING})
_TEXT_DATE = frozenset({ColumnType.DATE, ColumnType.TIMESTAMP, ColumnType.STRING})
_TEXT_TIMESTAMP = frozenset({ColumnType.TIMESTAMP, ColumnType.STRING})
_TEXT_TIME = frozenset({ColumnType.TIME, ColumnType.STRING})


def kinds_of(value: Any, *, untyped: bool) -> Kinds:
    """The types that hold the value without loss; none for a value that no contract can declare, such as bytes.

    `untyped` values come from CSV, where a number is text too; elsewhere text that looks like a number is text,
    and only moments, which JSON has no form for, are looked for in it.
    """
    if isinstance(value, str):
        return _kinds_of_text(value.strip()) if untyped else _kinds_of_text(value) & (_TEXT_DATE | _TEXT_TIME)
    if isinstance(value, bool):
        return _BOOLEAN
    if isinstance(value, int):
        return _TEXT_INTEGER if -(2**63) <= value < 2**63 else _TEXT
    if isinstance(value, float):
        return _TEXT_INTEGER if value.is_integer() and abs(value) < 2**53 else frozenset({ColumnType.NUMBER})
    if isinstance(value, Decimal):
        return _TEXT_NUMBER
    return _kinds_of_moment(value)


def _kinds_of_moment(value: Any) -> Kinds:
    if isinstance(value, datetime):
        midnight = value.tzinfo is None and value.time() == time()
        return _TEXT_DATE if midnight else _TEXT_TIMESTAMP
    if isinstance(value, date):
        return _TEXT_DATE
    if isinstance(value, time):
        return _TEXT_TIME
    if isinstance(value, list):
        return frozenset({ColumnType.ARRAY, ColumnType.OBJECT})
    return frozenset({ColumnType.OBJECT}) if isinstance(value, dict) else frozenset()


@lru_cache(maxsize=1 << 16)
def _kinds_of_text(text: str) -> Kinds:
    if len(text) > 40:
        return _TEXT
    if text.casefold() in _BOOLEANS:
        return _TEXT_BOOLEAN
    if _LEADING_ZERO.match(text):
        return _moment_in(text) if "-" in text or ":" in text else _TEXT
    if _INTEGER.fullmatch(text):
        return _TEXT_INTEGER
    if text.lstrip("+-").isdecimal():
        return _TEXT  # more digits than a number keeps exactly: a code
    return _TEXT_NUMBER if _NUMBER.fullmatch(text) else _moment_in(text)


def _moment_in(text: str) -> Kinds:
    """A date or time in ISO form that exists: 2025-02-30 is text."""
    try:
        if _DATE.fullmatch(text):
            date.fromisoformat(text)
            return _TEXT_DATE
        if _TIMESTAMP.fullmatch(text):
            datetime.fromisoformat(text)
            return _TEXT_TIMESTAMP
        if _TIME.fullmatch(text):
            time.fromisoformat(text)
            return _TEXT_TIME
    except ValueError:
        pass
    return _TEXT


@lru_cache(maxsize=1 << 14)
def near_miss(text: str) -> str:
    """What a text would be but for how it is written, in words; empty for other texts."""
    if len(text) > 40:
        return ""
    if _LOCAL_DATE.fullmatch(text):
        return "dates that are not written as 2026-01-31"
    if _COMMA_NUMBER.fullmatch(text):
        return "numbers with commas"
    if ColumnType.NUMBER in _kinds_of_text(text):
        return "numbers"
    return "numbers with a unit" if _UNIT_NUMBER.fullmatch(text) else ""
