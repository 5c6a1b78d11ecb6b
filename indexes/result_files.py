"""The rows of an answer as a file that other programs read: CSV, Arrow IPC stream or Parquet, types kept."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from indexes.file_format import FileFormat
from semantic_layer.product import ColumnType

_INTEGER_BOUND = 2**63

_TYPES: Mapping[ColumnType, Any] = {
    ColumnType.STRING: pa.string(),
    ColumnType.NUMBER: pa.float64(),
    ColumnType.BOOLEAN: pa.bool_(),
    ColumnType.DATE: pa.date32(),
    ColumnType.TIME: pa.time64("us"),
}


@dataclass(frozen=True)
class FileColumn:
    """A column of the file. Moments are kept in `zone`, to the microsecond."""

    name: str
    type: ColumnType | None = None
    zone: str = ""


def encoded_rows(columns: Sequence[FileColumn], rows: Sequence[Mapping[str, Any]], form: FileFormat) -> bytes:
    """The rows in this format. In CSV (RFC 4180, UTF-8) NULL is an empty cell and moments carry their offset."""
    if form == "csv":
        return _csv(columns, rows)
    table = arrow_table(columns, rows)
    sink = io.BytesIO()
    if form == "parquet":
        pq.write_table(table, sink)
    else:
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
    return sink.getvalue()


def arrow_table(columns: Sequence[FileColumn], rows: Sequence[Mapping[str, Any]]) -> Any:
    """The rows as an Arrow table: exact decimals stay exact, whole numbers past 64 bits become decimals."""
    values = {column.name: [_plain(row.get(column.name)) for row in rows] for column in columns}
    arrays = [pa.array(values[column.name], _type(column, values[column.name])) for column in columns]
    return pa.table(arrays, names=[column.name for column in columns])


def _type(column: FileColumn, values: Sequence[Any]) -> Any:
    if column.type is ColumnType.TIMESTAMP:
        return pa.timestamp("us", tz=column.zone or "UTC")
    if column.type is ColumnType.INTEGER:
        far = any(one is not None and not -_INTEGER_BOUND <= one < _INTEGER_BOUND for one in values)
        return pa.decimal128(38, 0) if far else pa.int64()
    if column.type is ColumnType.DECIMAL:
        return None  # told from the values, whose scale is the aggregate's own
    return _TYPES.get(column.type) if column.type is not None else None


def _plain(value: Any) -> Any:
    """Text without its marks: a file is no prompt."""
    return str(value) if isinstance(value, str) else value


def _csv(columns: Sequence[FileColumn], rows: Sequence[Mapping[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow([column.name for column in columns])
    for row in rows:
        writer.writerow([_cell(row.get(column.name)) for column in columns])
    return text.getvalue().encode("utf-8", "surrogatepass")


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case datetime() | date():
            return value.isoformat()
        case Decimal():
            return format(value, "f")
        case _:
            return str(value)
