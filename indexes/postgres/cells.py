"""Small texts by name that several servers change, each alone: what callers have left, for one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from typing import TypeVar

import psycopg
from psycopg import sql

from indexes.postgres.connection import Connection, Pool, unavailable

SECONDS = 5.0
CONNECTIONS = 8

T = TypeVar("T")

_CREATE = """
SELECT pg_advisory_xact_lock(hashtext({label}));
CREATE SCHEMA IF NOT EXISTS {schema};
CREATE UNLOGGED TABLE IF NOT EXISTS {table} (
    name text PRIMARY KEY, held text NOT NULL, at timestamptz NOT NULL DEFAULT now()
)
"""
_HOLD = """
INSERT INTO {table} AS cell (name, held) VALUES (%s, '') ON CONFLICT (name) DO UPDATE SET at = now() RETURNING held
"""
_PUT = "UPDATE {table} SET held = %s WHERE name = %s"
_FORGET = "DELETE FROM {table} WHERE at < now() - make_interval(secs => %s)"


class PostgresCells:
    """Rows of the table `<schema>.<name>`, which is made with the first use. Thread-safe.

    The table is UNLOGGED: after a crash of the server it is empty.
    """

    def __init__(self, dsn: str, schema: str, name: str) -> None:
        self._pool = Pool(dsn, size=CONNECTIONS)
        self._label = sql.Literal(f"{schema}.{name}")
        self._schema = sql.Identifier(schema)
        self._table = sql.Identifier(schema, name)

    def change(self, name: str, step: Callable[[str], tuple[str, T]]) -> T:
        """Hand what the cell holds (empty at first) to `step`, alone among all servers, and keep what it returns.

        Where the connection died, `step` runs once more on what is held then. Raises EngineUnavailable by name.
        """

        def turn(connection: Connection) -> T:
            with connection.transaction():
                row = connection.execute(self._statement(_HOLD), (name,)).fetchone()
                text, result = step(str(row[0]) if row else "")
                connection.execute(self._statement(_PUT), (text, name))
                return result

        return self._run(turn)

    def forget(self, seconds: float) -> None:
        """Remove cells that nobody changed for so long."""
        self._run(lambda connection: connection.execute(self._statement(_FORGET), (seconds,)).rowcount)

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()

    def _run(self, turn: Callable[[Connection], T]) -> T:
        with self._named():
            try:
                return self._pool.run(turn, SECONDS)
            except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
                self._pool.run(self._create, SECONDS)
                return self._pool.run(turn, SECONDS)

    def _create(self, connection: Connection) -> None:
        with connection.transaction():
            connection.execute(self._statement(_CREATE))

    @contextlib.contextmanager
    def _named(self) -> Generator[None]:
        try:
            yield
        except psycopg.Error as error:
            raise unavailable(self._pool.dsn, error) from error

    def _statement(self, text: str) -> sql.Composed:
        template = sql.SQL(text)  # pyright: ignore[reportArgumentType]
        return template.format(label=self._label, schema=self._schema, table=self._table)
