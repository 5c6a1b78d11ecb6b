"""Columns that a contract finds inside a JSON column of a table, by path: extracted and typed in SQL."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import LiteralString, cast

from psycopg import sql

from semantic_layer.json_path import steps_of
from semantic_layer.product import Column, ColumnType

_LONGEST_NAME = 63
"""Bytes of a PostgreSQL name; a longer one is cut in silence."""

_TYPES: Mapping[ColumnType, LiteralString] = {
    ColumnType.STRING: "text",
    ColumnType.INTEGER: "int8",
    ColumnType.NUMBER: "float8",
    ColumnType.DECIMAL: "numeric",
    ColumnType.BOOLEAN: "boolean",
    ColumnType.DATE: "date",
    ColumnType.TIME: "time",
}

_MOMENT = (
    "CASE WHEN {text} ~ '(Z|[+-][0-9][0-9](:?[0-9][0-9])?)$' THEN {text}::timestamptz "
    "ELSE {text}::timestamp AT TIME ZONE {zone} END"
)
_LIST = (
    "CASE WHEN jsonb_typeof({held}) = 'array' THEN coalesce((SELECT array_agg({element} ORDER BY place) "
    "FROM jsonb_path_query({held}, {path}) WITH ORDINALITY AS found(value, place){present}), '{{}}') END"
)
_OBJECTS = "CASE WHEN jsonb_typeof({held}) = 'array' THEN jsonb_path_query_array({held}, {path}) END"


def is_inside(column: Column) -> bool:
    """Whether the column's path goes into a JSON column, and not only to a column of the table."""
    return bool(column.path) and len(steps_of(column.name, column.path)) > 1


def alias(column: Column) -> str:
    """What the extracted column is called beside the table's own: its path, which no table has."""
    if len(column.path.encode()) <= _LONGEST_NAME:
        return column.path
    return f"$.{hashlib.sha256(column.path.encode()).hexdigest()[:32]}"


def extracting(columns: Sequence[Column], inner: str) -> str:
    """A SELECT of everything in `inner`, which stands after FROM, and of each column inside a JSON column.

    The cast fails where a document holds something else: PostgreSQL then names the value.
    """
    parts = [sql.SQL("{} AS {}").format(_extracted(one), sql.Identifier(alias(one))) for one in columns]
    listed = sql.SQL(", ").join([sql.SQL("source.*"), *parts]).as_string()
    return f"SELECT {listed} FROM {inner} AS source"


def _extracted(column: Column) -> sql.Composable:
    steps = steps_of(column.name, column.path)
    document = sql.SQL("{}::jsonb").format(sql.Identifier("source", str(steps[0])))
    many = column.type is ColumnType.ARRAY
    names = [step for step in steps[1 : steps.index(None) if None in steps else None] if step is not None]
    held = sql.SQL("({} #> {})").format(document, sql.Literal(names))
    if column.type is ColumnType.OBJECT or (many and column.items is ColumnType.OBJECT and None not in steps):
        return held
    if not many:
        return _cast(column, column.type, sql.SQL("({} #>> {})").format(document, sql.Literal(names)))
    rest = steps[steps.index(None) :] if None in steps else (None,)
    path = sql.Literal("lax $" + "".join("[*]" if step is None else f".{_quoted(step)}" for step in rest))
    if column.items is ColumnType.OBJECT:
        return _sql(_OBJECTS).format(held=held, path=path)
    element = _cast(column, column.items or ColumnType.STRING, sql.SQL("(value #>> '{{}}')").format())
    present = " WHERE value <> 'null'" if None in steps else ""
    return _sql(_LIST).format(held=held, path=path, element=element, present=_sql(present))


def _cast(column: Column, kind: ColumnType, text: sql.Composable) -> sql.Composable:
    if kind is ColumnType.TIMESTAMP:
        return sql.SQL("({})").format(_sql(_MOMENT).format(text=text, zone=sql.Literal(column.time_zone or "UTC")))
    return sql.SQL("{}::{}").format(text, sql.SQL(_TYPES[kind]))


def _quoted(name: str) -> str:
    """A name in an SQL/JSON path."""
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _sql(text: str) -> sql.SQL:
    return sql.SQL(cast("LiteralString", text))
