"""Heads of the audit chain as rows in PostgreSQL that are only ever added to: servers need SELECT and INSERT."""

from __future__ import annotations

import psycopg
from psycopg import errors, sql

from indexes.postgres.connection import Connection, Pool, unavailable

SECONDS = 5.0
_CREATE = """
CREATE SCHEMA IF NOT EXISTS {schema};
CREATE TABLE IF NOT EXISTS {table} (
    segment text NOT NULL, seq bigint NOT NULL, note text NOT NULL, at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (segment, seq)
)
"""
_ADD = "INSERT INTO {table} (segment, seq, note) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"
_NEWEST = "SELECT DISTINCT ON (segment) note FROM {table} ORDER BY segment, seq DESC"


class AuditHeads:
    """The table `<schema>.audit_heads`, made with the first row by whoever may create it. Thread-safe."""

    def __init__(self, dsn: str, schema: str) -> None:
        self._pool = Pool(dsn, size=2, options="-c synchronous_commit=on")
        self._schema = sql.Identifier(schema)
        self._table = sql.Identifier(schema, "audit_heads")

    def add(self, segment: str, seq: int, note: str) -> None:
        """Add a head. Raises EngineUnavailable by name."""

        def insert(connection: Connection) -> None:
            connection.execute(self._statement(_ADD), (segment, seq, note))

        try:
            try:
                self._pool.run(insert, SECONDS)
            except errors.UndefinedTable:
                with self._pool.connection(SECONDS) as connection, connection.transaction():
                    connection.execute(self._statement(_CREATE))
                self._pool.run(insert, SECONDS)
        except psycopg.Error as error:
            raise unavailable(self._pool.dsn, error) from error

    def newest(self) -> list[str]:
        """The note of each segment's newest head. Raises EngineUnavailable by name."""

        def read(connection: Connection) -> list[str]:
            return [row[0] for row in connection.execute(self._statement(_NEWEST)).fetchall()]

        try:
            return self._pool.run(read, SECONDS)
        except errors.UndefinedTable:
            return []
        except psycopg.Error as error:
            raise unavailable(self._pool.dsn, error) from error

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()

    def _statement(self, text: str) -> sql.Composed:
        return sql.SQL(text).format(table=self._table, schema=self._schema)  # pyright: ignore[reportArgumentType]
