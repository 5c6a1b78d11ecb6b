"""A contract's column types in DuckDB and Arrow, and source values brought into them exactly or refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any, cast
from uuid import UUID
from zoneinfo import ZoneInfo

import pyarrow as pa

from semantic_layer.errors import SourceFailed
from semantic_layer.product import Column, ColumnType

_SQL_NAMES: Mapping[ColumnType, str] = {
    ColumnType.STRING: "VARCHAR",
    ColumnType.INTEGER: "BIGINT",
    ColumnType.NUMBER: "DOUBLE",
    ColumnType.BOOLEAN: "BOOLEAN",
    ColumnType.DATE: "DATE",
    ColumnType.TIMESTAMP: "TIMESTAMP",
    ColumnType.TIME: "TIME",
    ColumnType.OBJECT: "JSON",
}

_ARROW_TYPES: Mapping[ColumnType, Any] = {
    ColumnType.STRING: pa.string(),
    ColumnType.INTEGER: pa.int64(),
    ColumnType.NUMBER: pa.float64(),
    ColumnType.BOOLEAN: pa.bool_(),
    ColumnType.DATE: pa.date32(),
    ColumnType.TIMESTAMP: pa.timestamp("us"),
    ColumnType.TIME: pa.time64("us"),
    ColumnType.OBJECT: pa.string(),
}

_EXACT_TYPES: Mapping[ColumnType, frozenset[type]] = {
    ColumnType.STRING: frozenset({str}),
    ColumnType.INTEGER: frozenset({int}),
    ColumnType.NUMBER: frozenset({float, int}),
    ColumnType.DECIMAL: frozenset({Decimal, int}),
    ColumnType.BOOLEAN: frozenset({bool}),
    ColumnType.DATE: frozenset({date}),
    ColumnType.TIME: frozenset({time}),
}
"""Python types Arrow converts without loss; others (it cuts 1.5 to the integer 1) go value by value."""


@dataclass(frozen=True)
class BadCell:
    """A source value that does not fit its contract. `row` counts from 1 in the order added."""

    dataset: str
    row: int
    column: str
    value: Any
    expected: str

    def error(self) -> SourceFailed:
        """The failure, naming dataset, row, column and value."""
        shown = repr(self.value)
        return SourceFailed(
            f"{self.dataset}, row {self.row}, column {self.column!r}: "
            f"{shown if len(shown) <= 80 else shown[:77] + '…'} is not {self.expected}.",
            hint="Mend the source or the contract's logicalType, or set `on_error: set_aside` for the dataset.",
        )


def sql_type(column: Column) -> str:
    """The DuckDB type. Timestamps are TIMESTAMP, naive and in UTC; objects are JSON; arrays are lists."""
    if column.type is ColumnType.ARRAY:
        return _element_sql(column.items or ColumnType.STRING, column) + "[]"
    return _element_sql(column.type, column)


def _element_sql(kind: ColumnType, column: Column) -> str:
    return f"DECIMAL({column.precision}, {column.scale})" if kind is ColumnType.DECIMAL else _SQL_NAMES[kind]


def arrow_type(column: Column) -> Any:
    """The Arrow type that DuckDB takes as `sql_type` without a change."""
    if column.type is ColumnType.ARRAY:
        return pa.list_(_element_arrow(column.items or ColumnType.STRING, column))
    return _element_arrow(column.type, column)


def _element_arrow(kind: ColumnType, column: Column) -> Any:
    return pa.decimal128(column.precision, column.scale) if kind is ColumnType.DECIMAL else _ARROW_TYPES[kind]


def arrow_array(column: Column, values: Sequence[Any]) -> tuple[Any, dict[int, Any]]:
    """The values in the column's type, and those that do not fit by position (NULL stands in their place).

    An Arrow array is in that type already.
    """
    if isinstance(values, pa.Array):
        return values, {}
    kinds = set(map(type, values)) - {type(None)}
    if kinds <= _EXACT_TYPES.get(column.type, frozenset()):
        try:
            return pa.array(values, arrow_type(column)), {}
        except (pa.ArrowInvalid, OverflowError, UnicodeEncodeError):
            pass  # one of them does not fit: find out which
    convert = _converter(column)
    fitting: list[Any] = []
    bad: dict[int, Any] = {}
    for position, value in enumerate(values):
        try:
            fitting.append(None if value is None else convert(value))
        except (ValueError, TypeError, KeyError, InvalidOperation, OverflowError, RecursionError):
            fitting.append(None)
            bad[position] = value
    return pa.array(fitting, arrow_type(column)), bad


def expected(column: Column) -> str:
    """What a value of the column must be, in words."""
    if column.type is ColumnType.DECIMAL:
        return f"a decimal of at most {column.precision - column.scale} and {column.scale} digits"
    if column.type is ColumnType.ARRAY:
        return f"an array of {(column.items or ColumnType.STRING).value}"
    return f"a value of type {column.type.value}"


def _converter(column: Column) -> Callable[[Any], Any]:
    if column.type is ColumnType.ARRAY:
        element = _element_converter(column.items or ColumnType.STRING, column)
        return lambda value: [None if item is None else element(item) for item in _items(value)]
    return _element_converter(column.type, column)


def _element_converter(kind: ColumnType, column: Column) -> Callable[[Any], Any]:
    if kind is ColumnType.DECIMAL:
        return lambda value: _decimal(value, column.precision, column.scale)
    if kind is ColumnType.TIMESTAMP:
        zone = ZoneInfo(column.time_zone) if column.time_zone else UTC
        return lambda value: _timestamp(value, zone)
    convert = _CONVERTERS[kind]
    if kind in (ColumnType.STRING, ColumnType.OBJECT):
        return convert
    return lambda value: None if value == "" else convert(value)


def _items(value: Any) -> Sequence[Any]:
    if isinstance(value, str):
        value = json.loads(value)
    if not isinstance(value, (list, tuple)):
        raise TypeError(value)
    return cast("Sequence[Any]", value)


def _string(value: Any) -> str:
    if isinstance(value, str):
        value.encode()  # lone surrogates raise
        return value
    if isinstance(value, (int, Decimal, UUID)) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # spreadsheets keep codes such as 10115 as floats
    if isinstance(value, (date, time)):
        return value.isoformat()
    raise TypeError(value)


def _integer(value: Any) -> int:
    number = int(_plain(value))
    if (not isinstance(value, str) and number != value) or not -(2**63) <= number < 2**63:
        raise ValueError(value)
    return number


def _number(value: Any) -> float:
    return float(_plain(value))


def _plain(value: Any) -> Any:
    """A value that may be a number: Python would also read True as 1 and "1_000" as 1000."""
    if isinstance(value, bool) or (isinstance(value, str) and "_" in value):
        raise ValueError(value)
    return value


def _decimal(value: Any, precision: int, scale: int) -> Decimal | None:
    if value == "":
        return None
    number = Decimal(repr(value) if isinstance(value, float) else _plain(value))
    digits = number.normalize().as_tuple()
    if not isinstance(digits.exponent, int) or -digits.exponent > scale:
        raise ValueError(value)
    if number and number.adjusted() + 1 > precision - scale:
        raise ValueError(value)
    return number


def _boolean(value: Any) -> bool:
    if isinstance(value, str):
        return _BOOLEANS[value.strip().casefold()]
    if isinstance(value, int) and value in (0, 1):
        return bool(value)
    raise TypeError(value)


_BOOLEANS: Mapping[str, bool] = {
    **dict.fromkeys(("true", "t", "yes", "1"), True),
    **dict.fromkeys(("false", "f", "no", "0"), False),
}


def _date(value: Any) -> date:
    if isinstance(value, str):
        text = value.strip()
        value = datetime.fromisoformat(text) if len(text) > 10 else date.fromisoformat(text)
    if isinstance(value, datetime):
        if value.time() != time():
            raise ValueError(value)
        return value.date()
    if not isinstance(value, date):
        raise TypeError(value)
    return value


def _timestamp(value: Any, zone: Any) -> datetime | None:
    """In UTC, naive. A value without a zone is in the column's own zone, UTC where the contract names none."""
    if value == "":
        return None
    if isinstance(value, str):
        value = datetime.fromisoformat(value.strip())
    elif isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    if not isinstance(value, datetime):
        raise TypeError(value)
    aware = value.replace(tzinfo=zone) if value.tzinfo is None else value
    return aware.astimezone(UTC).replace(tzinfo=None)


def _time(value: Any) -> time:
    if isinstance(value, str):
        value = time.fromisoformat(value.strip())
    if not isinstance(value, time) or value.tzinfo is not None:
        raise TypeError(value)
    return value


def _object(value: Any) -> str:
    if isinstance(value, str):
        value = json.loads(value)
    if not isinstance(value, (dict, list)):
        raise TypeError(value)
    return json.dumps(value, ensure_ascii=False, default=str)


_CONVERTERS: Mapping[ColumnType, Callable[[Any], Any]] = {
    ColumnType.STRING: _string,
    ColumnType.INTEGER: _integer,
    ColumnType.NUMBER: _number,
    ColumnType.BOOLEAN: _boolean,
    ColumnType.DATE: _date,
    ColumnType.TIME: _time,
    ColumnType.OBJECT: _object,
}


def shown_cell(column: Column, value: Any) -> Any:
    """A cell as readers get it from one of `arrow_type`: moments aware, in UTC, and objects out of their JSON."""
    if value is None:
        return None
    if column.type is ColumnType.TIMESTAMP:
        return value.replace(tzinfo=UTC)
    if column.type is ColumnType.OBJECT:
        return json.loads(value)
    if column.type is ColumnType.ARRAY and column.items is ColumnType.TIMESTAMP:
        return [item and item.replace(tzinfo=UTC) for item in value]
    if column.type is ColumnType.ARRAY and column.items is ColumnType.OBJECT:
        return [item and json.loads(item) for item in value]
    return value


def to_json(value: Any) -> Any:
    """A cell as JSON holds it: decimals and moments as text."""
    if isinstance(value, list):
        return [to_json(item) for item in cast("list[Any]", value)]
    if isinstance(value, (Decimal, date, time)):
        return str(value) if isinstance(value, Decimal) else value.isoformat()
    return value


def json_decoder(column: Column) -> Callable[[Any], Any] | None:
    """How a cell comes back from `to_json`; None where JSON holds it as it is. Timestamps are aware, in UTC."""
    decode = _DECODERS.get((column.items or ColumnType.STRING) if column.type is ColumnType.ARRAY else column.type)
    if decode is None or column.type is not ColumnType.ARRAY:
        return decode
    return lambda cell: [item if item is None else decode(item) for item in cell]


_DECODERS: Mapping[ColumnType, Callable[[Any], Any]] = {
    ColumnType.DECIMAL: Decimal,
    ColumnType.DATE: date.fromisoformat,
    ColumnType.TIME: time.fromisoformat,
    ColumnType.TIMESTAMP: lambda text: datetime.fromisoformat(text).replace(tzinfo=UTC),
}
