"""Which PostgreSQL types a contract's column may have, and how each is selected so that it arrives typed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from psycopg import sql

from semantic_layer.errors import SourceFailed, close_names
from semantic_layer.product import Column, ColumnType

_INTEGERS = frozenset({"int2", "int4", "int8"})
_FLOATS = frozenset({"float4", "float8"})
_TEXTS = frozenset({"text", "varchar", "bpchar", "name", "citext", "uuid"})

ACCEPTED: Mapping[ColumnType, frozenset[str]] = {
    ColumnType.STRING: _TEXTS,
    ColumnType.INTEGER: _INTEGERS,
    ColumnType.NUMBER: _INTEGERS | _FLOATS | {"numeric"},
    ColumnType.DECIMAL: _INTEGERS | {"numeric"},
    ColumnType.BOOLEAN: frozenset({"bool"}),
    ColumnType.DATE: frozenset({"date"}),
    ColumnType.TIMESTAMP: frozenset({"timestamp", "timestamptz"}),
    ColumnType.TIME: frozenset({"time"}),
    ColumnType.OBJECT: frozenset({"json", "jsonb"}),
    ColumnType.ARRAY: frozenset({"json", "jsonb"}),
}
"""PostgreSQL's internal type names for each contract type. Enum types count as strings; arrays by element."""

_CASTS: Mapping[ColumnType, sql.SQL] = {
    ColumnType.STRING: sql.SQL("{}::text"),
    ColumnType.INTEGER: sql.SQL("{}::int8"),
    ColumnType.NUMBER: sql.SQL("{}::float8"),
    ColumnType.DECIMAL: sql.SQL("{}::numeric"),
}


_ONE_STEP = re.compile(r"\$\.([A-Za-z_][\w-]*)|\$\['([^']+)'\]")


@dataclass(frozen=True)
class PhysicalColumn:
    """A column as PostgreSQL has it: `type` is the internal name (an array's element), `shown` as in SQL."""

    name: str
    type: str
    shown: str
    array: bool = False
    enum: bool = False


def check_columns(where: str, declared: Sequence[Column], physical: Mapping[str, PhysicalColumn]) -> None:
    """Raise SourceFailed that names every declared column which is missing or of a type that does not fit."""
    wrong: list[str] = []
    for column in declared:
        name = physical_name(column)
        found = physical.get(name)
        if name.startswith("$"):
            wrong.append(f"column {column.name!r} has the JSON path {name}, which only JSON documents can have")
        elif found is None:
            near = close_names(name, physical)
            wrong.append(f"column {name!r} is missing" + (f" (there is {near[0]!r})" if near else ""))
        elif not fits(column, found):
            wrong.append(f"column {name!r} is {found.shown} and the contract says {column.type.value}")
    if wrong:
        raise SourceFailed(
            f"{where} does not fit its contract: " + "; ".join(wrong) + ".",
            hint="Mend the contract, or give the table a view with the promised columns.",
        )


def fits(column: Column, found: PhysicalColumn) -> bool:
    """Whether a column of this PostgreSQL type can hold what the contract declares."""
    if found.array:
        element = column.items or ColumnType.STRING
        return column.type is ColumnType.ARRAY and _accepts(element, found)
    return _accepts(column.type, found)


def _accepts(kind: ColumnType, found: PhysicalColumn) -> bool:
    return found.type in ACCEPTED[kind] or (found.enum and kind is ColumnType.STRING)


def physical_name(column: Column) -> str:
    """The column's name in its table; a JSON path of more than one step stays a path, which no table has."""
    step = _ONE_STEP.fullmatch(column.path)
    if step is not None:
        return step[1] or step[2]
    return column.path or column.physical_name or column.name


def typed(column: Column, name: str) -> sql.Composable:
    """The column called `name` here, cast to what the contract says: psycopg then gives one Python type."""
    cast = _CASTS.get(column.type)
    return cast.format(sql.Identifier(name)) if cast else sql.Identifier(name)
