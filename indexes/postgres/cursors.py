"""One consistent view of a PostgreSQL database, read in batches: all tables of a product from one moment."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator, Sequence
from typing import Any

import psycopg
from psycopg import sql

from indexes.postgres.connection import Connection, connect, said, shown, unavailable
from indexes.postgres.relation import ALIAS, Relation, identifier
from indexes.postgres.types import PhysicalColumn, check_columns, physical_name, typed
from indexes.postgres.watchdog import watched
from semantic_layer.errors import DeadlineExceeded, SourceFailed, close_names
from semantic_layer.product import Column

BATCH_ROWS = 5_000
STATEMENT_SECONDS = 3_600.0
"""The most one statement on a source may take, where its server states no `timeout`."""

Rows = list[tuple[Any, ...]]

_SNAPSHOT = "-c idle_in_transaction_session_timeout=0 -c row_security=off"
"""Building may pause between batches; and rows that a row-level policy hides are an error, never left out."""

_TYPES = """
SELECT coalesce(e.typname, t.typname), format_type(t.oid, asked.modifier), e.oid IS NOT NULL,
       coalesce(e.typtype, t.typtype) = 'e'
FROM unnest(%s::oid[], %s::int[]) WITH ORDINALITY AS asked(oid, modifier, place)
JOIN pg_type t ON t.oid = asked.oid
LEFT JOIN pg_type e ON e.oid = t.typelem AND t.typcategory = 'A'
    AND t.oid NOT IN ('int2vector'::regtype, 'oidvector'::regtype)
ORDER BY asked.place
"""

_DIGEST = """
SELECT count(*), coalesce(sum(('x' || substr(d, 1, 15))::bit(60)::bigint), 0)::text,
       coalesce(sum(('x' || substr(d, 16, 15))::bit(60)::bigint), 0)::text
FROM (SELECT encode(sha256(convert_to(ROW({columns})::text, 'UTF8')), 'hex') AS d FROM {relation}) rows
"""

_RELATIONS = """
SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relkind IN ('r', 'v', 'm', 'p', 'f')
"""


class Snapshot:
    """The database as it stood when the snapshot began. Not thread-safe; used under `snapshot`."""

    def __init__(self, connection: Connection, dsn: str, seconds: float) -> None:
        self._connection = connection
        self._dsn = dsn
        self._seconds = seconds

    def columns(self, relation: Relation) -> dict[str, PhysicalColumn]:
        """The relation's columns by name, in order; a domain counts as what it is made of.

        Raises SourceFailed where there is no such table or view, or the query does not run.
        """
        if not relation.query:
            self._require(relation)
        with self._named(relation):
            query = sql.SQL("SELECT * FROM {} LIMIT 0").format(relation.sql)
            described = self._connection.execute(query, ())
            names = [column.name for column in described.description or ()]
            result = described.pgresult
            assert result is not None, "a SELECT has a result"
            places = range(len(names))
            asked = ([result.ftype(place) for place in places], [result.fmod(place) for place in places])
            types = self._connection.execute(_TYPES, asked).fetchall()
        return {name: PhysicalColumn(name, *kind) for name, kind in zip(names, types, strict=True)}

    def check(self, relation: Relation, declared: Sequence[Column]) -> dict[str, PhysicalColumn]:
        """The relation's columns. Raises SourceFailed that names every declared one that is not as promised."""
        found = self.columns(relation)
        check_columns(f"PostgreSQL {relation.shown}", declared, found)
        return found

    def digest(self, relation: Relation, columns: Sequence[Column]) -> tuple[str, int]:
        """What the rows are in these columns, whatever their order, and how many: (hex digest, count).

        The digest sums two 60-bit parts of each row's SHA-256; equal sets of rows give equal digests.
        """
        listed = _listed(sorted(columns, key=lambda one: one.name))
        query = sql.SQL(_DIGEST).format(columns=listed, relation=relation.sql)
        with self._named(relation):
            row = self._connection.execute(query, ()).fetchone()
        count, first, second = row if row is not None else (0, "0", "0")
        return f"{int(first):020x}{int(second):020x}", int(count)

    def rows(self, relation: Relation, columns: Sequence[Column]) -> Iterator[Rows]:
        """The rows in batches of at most BATCH_ROWS, values in the order of `columns`, memory bounded."""
        query = sql.SQL("SELECT {} FROM {}").format(_listed(columns), relation.sql)
        with self._connection.cursor(name="wellhead_rows") as cursor:
            with self._named(relation):
                cursor.execute(query, ())
            while True:
                with self._named(relation):
                    batch = cursor.fetchmany(BATCH_ROWS)
                if not batch:
                    return
                yield batch

    def rows_of(self, relation: Relation, columns: Sequence[Column], key: Sequence[Column], wanted: Rows) -> Rows:
        """The rows whose key is among `wanted`, which are values in the order of the columns of `key`."""
        physical = self.columns(relation)
        names = [physical_name(column) for column in key]
        arrays = sql.SQL(", ").join(
            sql.SQL(f"%s::{_array_of(physical[name])}")  # pyright: ignore[reportArgumentType]
            for name in names
        )
        held = sql.SQL(", ").join(identifier(f"k{place}") for place in range(len(names)))
        matches = sql.SQL(" AND ").join(
            sql.SQL("{} = {}").format(identifier(ALIAS, name), identifier("wanted", f"k{place}"))
            for place, name in enumerate(names)
        )
        query = sql.SQL("SELECT {} FROM {} JOIN unnest({}) AS wanted({}) ON {}").format(
            _listed(columns), relation.sql, arrays, held, matches
        )
        with self._named(relation):
            return self._connection.execute(
                query, [list(values) for values in zip(*wanted, strict=True)]
            ).fetchall()

    def _require(self, relation: Relation) -> None:
        with self._named(relation):
            known = [row[0] for row in self._connection.execute(_RELATIONS, (relation.schema,)).fetchall()]
        if relation.name not in known:
            near = close_names(relation.name, known)
            raise SourceFailed(
                f"PostgreSQL ({shown(self._dsn)}) has no {relation.shown}.",
                hint=f"Did you mean {near[0]!r}?" if near else "Mend `physicalName` or the server's schema.",
            )

    @contextlib.contextmanager
    def _named(self, relation: Relation) -> Generator[None]:
        """Driver errors as ours: a lost server is unavailable, everything else is the relation's fault."""
        try:
            with watched(self._connection, self._seconds, shown(self._dsn)):
                yield
        except psycopg.errors.QueryCanceled as error:
            raise DeadlineExceeded(
                f"reading the {relation.shown} took PostgreSQL ({shown(self._dsn)}) longer than {self._seconds:g} s.",
                hint="Give the contract's server a longer `timeout`, in seconds, or read less.",
            ) from error
        except psycopg.OperationalError as error:
            raise unavailable(self._dsn, error) from error
        except psycopg.Error as error:
            raise SourceFailed(
                f"PostgreSQL {relation.shown} cannot be read: {said(error)}.",
                hint="Check the contract, and the rights of the user that reads it.",
            ) from error


@contextlib.contextmanager
def snapshot(dsn: str, seconds: float = STATEMENT_SECONDS) -> Generator[Snapshot]:
    """One REPEATABLE READ, read-only transaction over the whole database, until the block ends.

    A statement may take `seconds`. Raises EngineUnavailable where the server cannot be reached.
    """
    options = f"{_SNAPSHOT} -c statement_timeout={int(seconds * 1000)}"
    connection = connect(dsn, options=options)
    try:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        yield Snapshot(connection, dsn, seconds)
    finally:
        connection.close()


def _listed(columns: Sequence[Column]) -> sql.Composable:
    return sql.SQL(", ").join(typed(column, physical_name(column), ALIAS) for column in columns)


def _array_of(column: PhysicalColumn) -> str:
    return f"{column.shown.replace('%', '%%')}[]"
