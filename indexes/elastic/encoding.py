"""How a cell is held in Elasticsearch so that its order and equality are exactly those of the Predicate.

Integers, timestamps (microseconds since 1970, UTC), times (microseconds of the day), numbers (their sortable bits,
as Lucene holds a double) and decimals of at most 18 digits (unscaled) are longs; wider decimals are padded digits.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from decimal import ROUND_FLOOR, Context, Decimal
from itertools import pairwise
from typing import Any, cast

from semantic_layer.product import Column, ColumnType

LONGEST_STRING = 8_000
"""Characters of a string that are held as they are: at most 32,000 bytes, and a Lucene term has 32,766."""

DIGITS_IN_LONG = 18
_ASCII_BLANKS = {ord(char): f"\\{ord(char):x};" for char in map(chr, range(0x21))} | {ord("\\"): "\\5c;"}
_WIDE = Context(prec=100)

Stored = str | int | bool


def element_type(column: Column) -> ColumnType:
    """The type of what a cell's comparisons look at: an array's elements."""
    return (column.items or ColumnType.STRING) if column.type is ColumnType.ARRAY else column.type


def field_type(column: Column) -> str:
    """The Elasticsearch type of a column's field."""
    match element_type(column):
        case ColumnType.BOOLEAN:
            return "boolean"
        case ColumnType.DATE:
            return "date"
        case ColumnType.STRING:
            return "keyword"
        case ColumnType.DECIMAL:
            return "long" if column.precision <= DIGITS_IN_LONG else "keyword"
        case _:
            return "long"


def stored_cell(column: Column, cell: Any) -> list[Stored]:
    """What a cell offers to compare with, as it is held; nothing for NULL, NaN and arrays without elements."""
    items: Sequence[Any] = cast("Sequence[Any]", cell) if isinstance(cell, (list, tuple)) else [cell]
    present = [one for one in items if one is not None and not (isinstance(one, float) and math.isnan(one))]
    return [stored(column, one) for one in present]


def stored(column: Column, value: Any) -> Stored:
    """One value of the column's element type as it is held. Decimals must fit the column's scale."""
    match element_type(column):
        case ColumnType.STRING:
            return stored_string(value)
        case ColumnType.INTEGER:
            return int(value)
        case ColumnType.NUMBER:
            return sortable_bits(float(value))
        case ColumnType.DECIMAL:
            return unscaled(column, value)[0]
        case ColumnType.BOOLEAN:
            return bool(value)
        case ColumnType.DATE:
            return date.isoformat(value)
        case ColumnType.TIMESTAMP:
            return microseconds(value)
        case ColumnType.TIME:
            return microseconds_of_day(value)
        case other:
            raise ValueError(f"a column of type {other.value} is not carried")


def stored_string(text: str) -> str:
    """The string itself; a very long one is its beginning and its hash, which keeps equality and order.

    Order only against strings of at most LONGEST_STRING characters.
    """
    if len(text) <= LONGEST_STRING:
        return text
    return text[:LONGEST_STRING] + hashlib.sha256(text.encode()).hexdigest()


def sortable_bits(number: float) -> int:
    """A double as a signed integer of the same order (Lucene's NumericUtils.doubleToSortableLong); -0 is 0."""
    bits = struct.unpack(">q", struct.pack(">d", number + 0.0))[0]
    return bits ^ 0x7FFF_FFFF_FFFF_FFFF if bits < 0 else bits


def unscaled(column: Column, value: Decimal | int) -> tuple[Stored, bool]:
    """The decimal without its point, floored to the column's scale, and whether nothing was cut off.

    A value outside what the column can hold becomes one just outside.
    """
    scaled = Decimal(value).scaleb(column.scale, context=_WIDE)
    limit = 10**column.precision
    if abs(scaled) >= limit:
        return _held(column, -limit - 1 if scaled < 0 else limit + 1), False
    floored = scaled.to_integral_value(ROUND_FLOOR, context=_WIDE)
    return _held(column, int(floored)), floored == scaled


def _held(column: Column, number: int) -> Stored:
    if column.precision <= DIGITS_IN_LONG:
        return number
    return f"{number + 2 * 10**column.precision:0{column.precision + 1}d}"


def microseconds(moment: datetime) -> int:
    """Microseconds since 1970 in UTC; a naive moment is in UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    since = aware - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def microseconds_of_day(moment: time) -> int:
    """Microseconds since midnight."""
    return ((moment.hour * 60 + moment.minute) * 60 + moment.second) * 1_000_000 + moment.microsecond


def grams(text: str) -> str:
    """The text as pairs of neighbouring characters, parted by blanks, and its last character by itself.

    A substring of two characters or more is a phrase of its own pairs; one of a single character is the beginning
    of a pair. Characters that a whitespace tokenizer would part at are written as their code.
    """
    written = [_written(char) for char in text]
    return " ".join([*(a + b for a, b in pairwise(written)), *written[-1:]])


def gram_phrase(text: str) -> str:
    """The pairs that a text holding `text` (of two characters or more) has in a row."""
    written = [_written(char) for char in text]
    return " ".join(a + b for a, b in pairwise(written))


def gram_prefix(char: str) -> str:
    """What every pair that begins with this character begins with."""
    return _written(char)


def _written(char: str) -> str:
    code = ord(char)
    if code < 128:
        return _ASCII_BLANKS.get(code, char)
    return f"\\{code:x};" if char.isspace() else char
