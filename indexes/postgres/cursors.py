"""One consistent view of a PostgreSQL database, read in batches: all tables of a product from one moment."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator, Sequence
from typing import Any

import psycopg
from psycopg import sql

from indexes.postgres.connection import Connection, connect, said, shown, unavailable
from indexes.postgres.types import PhysicalColumn, check_columns, physical_name, typed
from semantic_layer.errors import SourceFailed, close_names
from semantic_layer.product import Column

BATCH_ROWS = 5_000

_COLUMNS = """
SELECT a.attname, coalesce(e.typname, t.typname), format_type(a.atttypid, a.atttypmod),
       e.oid IS NOT NULL, coalesce(e.typtype, t.typtype) = 'e'
FROM pg_attribute a
JOIN pg_class c ON c.oid = a.attrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_type e ON e.oid = t.typelem AND t.typcategory = 'A'
WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'v', 'm', 'p', 'f')
  AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
"""

_DIGEST = """
SELECT count(*), coalesce(sum(('x' || substr(d, 1, 15))::bit(60)::bigint), 0)::text,
       coalesce(sum(('x' || substr(d, 16, 15))::bit(60)::bigint), 0)::text
FROM (SELECT encode(sha256(convert_to(ROW({columns})::text, 'UTF8')), 'hex') AS d FROM {table}) rows
"""


class Snapshot:
    """The database as it stood when the snapshot began. Not thread-safe; used under `snapshot`."""

    def __init__(self, connection: Connection, dsn: str) -> None:
        self._connection = connection
        self._dsn = dsn

    def columns(self, schema: str, table: str) -> dict[str, PhysicalColumn]:
        """The table's columns by name, in order. Raises SourceFailed where there is no such table or view."""
        with self._named(schema, table):
            found = self._connection.execute(_COLUMNS, (schema, table)).fetchall()
        if not found:
            near = close_names(table, self._tables(schema))
            raise SourceFailed(
                f"PostgreSQL ({shown(self._dsn)}) has no table {schema}.{table}.",
                hint=f"Did you mean {near[0]!r}?" if near else "Mend `physicalName` or the server's schema.",
            )
        return {row[0]: PhysicalColumn(row[0], row[1], row[2], row[3], row[4]) for row in found}

    def check(self, schema: str, table: str, declared: Sequence[Column]) -> None:
        """Raise SourceFailed that names every declared column which the table does not have as promised."""
        check_columns(f"PostgreSQL table {schema}.{table}", declared, self.columns(schema, table))

    def digest(self, schema: str, table: str, columns: Sequence[Column]) -> tuple[str, int]:
        """What the rows are, whatever their order, and how many: (hex digest, count).

        The digest sums two 60-bit parts of each row's SHA-256; equal sets of rows give equal digests.
        """
        listed = sql.SQL(", ").join(
            typed(column, physical_name(column)) for column in sorted(columns, key=lambda one: one.name)
        )
        query = sql.SQL(_DIGEST).format(columns=listed, table=sql.Identifier(schema, table))
        with self._named(schema, table):
            row = self._connection.execute(query).fetchone()
        count, first, second = row if row is not None else (0, "0", "0")
        return f"{int(first):020x}{int(second):020x}", int(count)

    def rows(self, schema: str, table: str, columns: Sequence[Column]) -> Iterator[list[tuple[Any, ...]]]:
        """The rows in batches of at most BATCH_ROWS, values in the order of `columns`, memory bounded."""
        listed = sql.SQL(", ").join(typed(column, physical_name(column)) for column in columns)
        query = sql.SQL("SELECT {} FROM {}").format(listed, sql.Identifier(schema, table))
        with self._named(schema, table), self._connection.cursor(name="wellhead_rows") as cursor:
            cursor.execute(query)
            while batch := cursor.fetchmany(BATCH_ROWS):
                yield batch

    def _tables(self, schema: str) -> list[str]:
        found = self._connection.execute(
            "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE n.nspname = %s AND c.relkind IN ('r', 'v', 'm', 'p', 'f')",
            (schema,),
        )
        return [row[0] for row in found.fetchall()]

    @contextlib.contextmanager
    def _named(self, schema: str, table: str) -> Generator[None]:
        """Driver errors as ours: a lost server is unavailable, everything else is the table's fault."""
        try:
            yield
        except psycopg.OperationalError as error:
            raise unavailable(self._dsn, error) from error
        except psycopg.Error as error:
            raise SourceFailed(
                f"PostgreSQL table {schema}.{table} cannot be read: {said(error)}.",
                hint="Check the table and the rights of the user that reads it.",
            ) from error


@contextlib.contextmanager
def snapshot(dsn: str) -> Generator[Snapshot]:
    """One REPEATABLE READ, read-only transaction over the whole database, until the block ends.

    Raises EngineUnavailable where the server cannot be reached.
    """
    connection = connect(dsn)
    try:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        yield Snapshot(connection, dsn)
    finally:
        connection.close()
