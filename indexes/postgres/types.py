"""Which PostgreSQL types a contract's column may have, and how each is selected so that it arrives typed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from psycopg import sql

from indexes.postgres.json_columns import alias, is_inside
from indexes.postgres.relation import identifier
from semantic_layer.errors import SourceFailed, close_names
from semantic_layer.product import Column, ColumnType

_INTEGERS = frozenset({"int2", "int4", "int8", "oid"})
_FLOATS = frozenset({"float4", "float8"})
_TEXTS = frozenset({"text", "varchar", "bpchar", "char", "name", "citext", "uuid", "xml"})
_WRITTEN = frozenset({"inet", "cidr", "macaddr", "macaddr8", "bit", "varbit"})
"""Types that have one text each, which stands for the value."""

ACCEPTED: Mapping[ColumnType, frozenset[str]] = {
    ColumnType.STRING: _TEXTS | _WRITTEN,
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
"""PostgreSQL's internal type names for each contract type. Enum types count as strings, domains as what they are
made of, arrays by element."""

_VIEW = "in a view or the dataset's `query`"
_SYSTEM = "is of the system's own making and means nothing elsewhere"
_SHAPE = f"has no contract type; select what is needed of it as numbers or text {_VIEW}"

REFUSED: Mapping[str, str] = {
    "money": f"depends on the server's locale; cast it to numeric {_VIEW}",
    "interval": f"is no fixed length of time; select extract(epoch FROM …) {_VIEW}",
    "timetz": f"has a zone and no day; cast it to time {_VIEW}",
    "bytea": "holds bytes, which cannot be searched, filtered or shown; leave it out",
    **dict.fromkeys(("point", "line", "lseg", "box", "path", "polygon", "circle"), _SHAPE),
    **dict.fromkeys(("int4range", "int8range", "numrange", "tsrange", "tstzrange", "daterange"), _SHAPE),
    **dict.fromkeys(
        ("int4multirange", "int8multirange", "nummultirange", "tsmultirange", "tstzmultirange", "datemultirange"),
        _SHAPE,
    ),
    **dict.fromkeys(("tsvector", "tsquery"), "is a search index of its own; name the column it was made of"),
    "jsonpath": _SYSTEM,
    **dict.fromkeys(("xid", "xid8", "cid", "tid", "pg_lsn", "pg_snapshot", "txid_snapshot", "refcursor"), _SYSTEM),
    **dict.fromkeys(
        (
            "regproc",
            "regprocedure",
            "regoper",
            "regoperator",
            "regclass",
            "regcollation",
            "regtype",
            "regrole",
            "regnamespace",
            "regconfig",
            "regdictionary",
            "aclitem",
            "int2vector",
            "oidvector",
            "gtsvector",
            "pg_node_tree",
            "pg_ndistinct",
            "pg_dependencies",
            "pg_mcv_list",
            "pg_brin_bloom_summary",
            "pg_brin_minmax_multi_summary",
        ),
        _SYSTEM,
    ),
}
"""Built-in types that no contract type fits, and why. A type that stands in neither list is refused as unknown."""

_CASTS: Mapping[ColumnType, sql.SQL] = {
    ColumnType.STRING: sql.SQL("{}::text"),
    ColumnType.INTEGER: sql.SQL("{}::int8"),
    ColumnType.NUMBER: sql.SQL("{}::float8"),
    ColumnType.DECIMAL: sql.SQL("{}::numeric"),
}


_TEXT_ARRAY = sql.SQL("to_jsonb({})")
"""Arrays of enums and other types that the driver does not know arrive as lists of text, as JSON arrays do."""

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
        if found is None:
            near = close_names(name, physical)
            wrong.append(f"column {name!r} is missing" + (f" (there is {near[0]!r})" if near else ""))
        elif not fits(column, found):
            wrong.append(
                f"column {name!r} is {found.shown} and the contract says {column.type.value}{_why(found)}"
            )
    if wrong:
        raise SourceFailed(
            f"{where} does not fit its contract: " + "; ".join(wrong) + ".",
            hint="Mend the contract, or give the table a view with the promised columns.",
        )


def fits(column: Column, found: PhysicalColumn) -> bool:
    """Whether a column of this PostgreSQL type can hold what the contract declares."""
    if found.array:
        element = column.items or ColumnType.STRING
        return column.type is ColumnType.ARRAY and _accepts(element, found) and found.type not in _WRITTEN
    return _accepts(column.type, found)


def _why(found: PhysicalColumn) -> str:
    """What is the matter with a type that fits no contract type at all; empty for one that fits another."""
    if found.enum or any(found.type in accepted for accepted in ACCEPTED.values()):
        return ""
    return f" (a type that {REFUSED.get(found.type, 'is not known here; cast it ' + _VIEW)})"


def _accepts(kind: ColumnType, found: PhysicalColumn) -> bool:
    return found.type in ACCEPTED[kind] or (found.enum and kind is ColumnType.STRING)


def physical_name(column: Column) -> str:
    """The column's name in its table; one inside a JSON column has the name that it is extracted under."""
    if is_inside(column):
        return alias(column)
    step = _ONE_STEP.fullmatch(column.path)
    if step is not None:
        return step[1] or step[2]
    return column.path or column.physical_name or column.name


def typed(column: Column, name: str, table: str = "") -> sql.Composable:
    """The column called `name` here, cast to what the contract says: psycopg then gives one Python type.

    For statements with parameters; `table` qualifies the name.
    """
    cast, named = _CASTS.get(column.type), identifier(*([table] if table else []), name)
    if column.type is ColumnType.ARRAY and column.items in (None, ColumnType.STRING):
        cast = _TEXT_ARRAY
    return cast.format(named) if cast else named
