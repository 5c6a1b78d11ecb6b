"""Fill a PostgreSQL database from plain rows: how the demo and the tests put their tables in place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, LiteralString, cast

from psycopg import sql

from indexes.postgres.connection import connect

TableRows = tuple[str, Sequence[str], Iterable[Sequence[Any]]]
"""A table's name, its column names, and rows with values in that order."""


def load_tables(dsn: str, schema_sql: str, tables: Iterable[TableRows]) -> dict[str, int]:
    """Drop these tables, run `schema_sql`, and fill them by COPY, all in one transaction; rows a table, by name.

    `schema_sql` is trusted: it is run as it is.
    """
    listed = list(tables)
    counts: dict[str, int] = {}
    with connect(dsn) as connection, connection.cursor() as cursor:
        for name, _, _ in listed:
            cursor.execute(sql.SQL("DROP TABLE IF EXISTS {} CASCADE").format(sql.Identifier(name)))
        cursor.execute(cast("LiteralString", schema_sql))
        for name, columns, rows in listed:
            names = sql.SQL(", ").join(sql.Identifier(column) for column in columns)
            with cursor.copy(sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(name), names)) as copy:
                counts[name] = 0
                for row in rows:
                    copy.write_row(row)
                    counts[name] += 1
    return counts
