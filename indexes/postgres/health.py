"""What `wellhead doctor` asks of a PostgreSQL: its version and clock, its disk, and what its user may do there.

Rights and disk are tried, not read from catalogues: in a transaction that is rolled back.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, LiteralString, cast

import psycopg
from psycopg import sql

from indexes.postgres.connection import connect, said, shown, unavailable
from indexes.postgres.relation import Relation
from semantic_layer.errors import EngineUnavailable, WellheadError

OLDEST = 14
"""The oldest major version that PostgreSQL's own people still mend; tested is 18."""

TRIED_BYTES = 4 * 2**20
_SECONDS = 10
_TRIED = f"-c statement_timeout={_SECONDS}s -c lock_timeout=3s"
_FACTS = """
SELECT current_setting('server_version_num')::int, current_setting('server_version'), clock_timestamp(),
       pg_is_in_recovery(), current_user::text
"""
_FILL = """
CREATE TEMPORARY TABLE wellhead_doctor ON COMMIT DROP AS
SELECT string_agg(md5(n::text), '') AS filling FROM generate_series(1, %s / 32) AS n
"""


@dataclass(frozen=True)
class Trial:
    """A table that servers keep: what is asked of it, the rights that takes, and how its first user makes it."""

    table: str
    rights: str
    made: LiteralString
    tried: tuple[LiteralString, ...]


LEDGER = Trial(
    "ledger",
    "SELECT and INSERT",
    "CREATE TABLE {table} (log text NOT NULL, number bigint NOT NULL, entry text NOT NULL, PRIMARY KEY (log, number))",
    (
        "INSERT INTO {table} (log, number, entry) VALUES ('doctor', 1, '{{}}')",
        "SELECT max(number) FROM {table}",
    ),
)
LIMITS = Trial(
    "budgets",
    "SELECT, INSERT, UPDATE and DELETE",
    "CREATE UNLOGGED TABLE {table} (name text PRIMARY KEY, held text NOT NULL, at timestamptz DEFAULT now())",
    (
        "INSERT INTO {table} (name, held) VALUES ('doctor', '') ON CONFLICT (name) DO UPDATE SET held = ''",
        "UPDATE {table} SET held = '' WHERE name = 'doctor'",
        "DELETE FROM {table} WHERE name = 'doctor'",
    ),
)
AUDIT = Trial(
    "audit_heads",
    "SELECT and INSERT",
    "CREATE TABLE {table} (segment text NOT NULL, seq bigint NOT NULL, note text NOT NULL, PRIMARY KEY (segment, seq))",
    (
        "INSERT INTO {table} (segment, seq, note) VALUES ('doctor', 1, '')",
        "SELECT max(seq) FROM {table}",
    ),
)


@dataclass(frozen=True)
class ServerFacts:
    """What a server says of itself; `clock` was read just now, `standby` takes no writes."""

    where: str
    major: int
    version: str
    clock: datetime
    standby: bool
    user: str


class Examined:
    """One connection to a server, for some questions. Each raises EngineUnavailable or OutOfSpace by name."""

    def __init__(self, dsn: str) -> None:
        """Raises EngineUnavailable where it cannot be reached, InvalidArgument for a malformed DSN."""
        self._dsn = dsn
        self._connection = connect(dsn, options=_TRIED)

    def facts(self) -> ServerFacts:
        """Version, clock, and whether it may be written at all."""
        try:
            row = self._connection.execute(_FACTS).fetchone()
        except psycopg.Error as error:
            raise unavailable(self._dsn, error) from error
        finally:
            self._connection.rollback()
        assert row is not None
        number, version, clock, standby, user = row
        return ServerFacts(shown(self._dsn), int(number) // 10_000, str(version), clock, bool(standby), str(user))

    def free_bytes(self) -> int | None:
        """The free bytes of the disk that its data lie on; None where it is not this machine's, or may not be told."""
        try:
            row = self._connection.execute("SHOW data_directory").fetchone()
            return shutil.disk_usage(Path(str(row[0]))).free if row and self._local() else None
        except (psycopg.Error, OSError):
            return None
        finally:
            self._connection.rollback()

    def write(self) -> None:
        """Put TRIED_BYTES into a temporary table, and take them away again."""
        self._tried([(sql.SQL(_FILL), (TRIED_BYTES,))], "Grant its user TEMPORARY on the database.")

    def keep(self, schema: str, trial: Trial) -> bool:
        """Use a table as servers do, and take it back; whether it was there. It is made else."""
        table = sql.Identifier(schema, trial.table)
        standing = bool(self._told("SELECT to_regclass(%s)::text", (table.as_string(),)))
        needed = f"{trial.rights} on {schema}.{trial.table}" if standing else "CREATE on the database"
        made = () if standing else ("CREATE SCHEMA IF NOT EXISTS {schema}", trial.made)
        named = {"schema": sql.Identifier(schema), "table": table}
        wanted = [(sql.SQL(one).format(**named), ()) for one in (*made, *trial.tried)]
        self._tried(wanted, f"Grant its user {needed}.")
        return standing

    def keep_vectors(self, schema: str) -> str:
        """Make a table of vectors as an ingest does, and take it back; returns the version of pgvector."""
        table = sql.Identifier(schema, "wellhead_doctor")
        statements = (
            "CREATE EXTENSION IF NOT EXISTS vector",
            "CREATE SCHEMA IF NOT EXISTS {schema}",
            "CREATE TABLE {table} (n int4 PRIMARY KEY, v vector(3))",
        )
        named = {"schema": sql.Identifier(schema), "table": table}
        self._tried(
            [(sql.SQL(one).format(**named), ()) for one in statements],
            "Install pgvector 0.8 or newer there, have the extension `vector` created, and grant its user CREATE.",
        )
        asked = "SELECT coalesce(installed_version, default_version) FROM pg_available_extensions WHERE name = 'vector'"
        return self._told(asked)

    def read(self, relation: Relation) -> None:
        """Ask for no row of a table, view or query that a contract names, as an ingest would for all."""
        query = sql.SQL("SELECT * FROM {} LIMIT 0").format(relation.sql)
        said_so = f"Grant its user SELECT on {relation.shown}, and BYPASSRLS where policies hide rows."
        options = sql.SQL("SELECT set_config('row_security', 'off', true)")
        self._tried([(options, ()), (query, ())], said_so)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _tried(self, statements: Sequence[tuple[sql.Composable, tuple[Any, ...]]], mended_by: str) -> None:
        """Run these in one transaction and roll it back."""
        try:
            for statement, values in statements:
                self._connection.execute(cast("sql.Composed", statement), values or None)
        except psycopg.Error as error:
            raise self._failure(error, mended_by) from error
        finally:
            with contextlib.suppress(psycopg.Error):
                self._connection.rollback()

    def _told(self, query: LiteralString, values: tuple[Any, ...] = ()) -> str:
        """The one text that a query gives, empty where that is NULL or no row."""
        try:
            row = self._connection.execute(query, values).fetchone()
        except psycopg.Error as error:
            raise self._failure(error, "Grant its user USAGE on the schema.") from error
        finally:
            self._connection.rollback()
        return str(row[0]) if row and row[0] is not None else ""

    def _failure(self, error: psycopg.Error, mended_by: str) -> WellheadError:
        if isinstance(error, psycopg.OperationalError):
            return unavailable(self._dsn, error)
        words = said(error).split(" LINE ")[0]
        if isinstance(error, psycopg.errors.UndefinedTable):
            return EngineUnavailable(
                f"PostgreSQL ({shown(self._dsn)}): {words}.",
                hint="Mend `physicalName`, the server's `schema` or the `query` in the contract, or make the table.",
            )
        return EngineUnavailable(f"PostgreSQL ({shown(self._dsn)}) does not allow this: {words}.", hint=mended_by)

    def _local(self) -> bool:
        host = self._connection.info.host
        return host.startswith("/") or host in ("localhost", "127.0.0.1", "::1")
