"""The ledger's logs in PostgreSQL, for several servers: appended by a unique key, announced by NOTIFY."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import psycopg
from psycopg import sql

from indexes.durable import create_exclusively, json_bytes, parse_json
from indexes.ledger import FOLDER, FORMAT, LOGS, MOVED, NumberedLog
from indexes.postgres.connection import Connection, Pool, connect, said, shown, unavailable
from semantic_layer.errors import (
    CorruptGeneration,
    EditionConflict,
    EngineUnavailable,
    UnknownName,
    WellheadError,
)

LEDGER_SECONDS = 5.0
"""The most one read or append may take, a server that restarts meanwhile included."""

CONNECTIONS = 8

T = TypeVar("T")

_LATEST = "SELECT coalesce(max(number), 0) FROM {table} WHERE log = %s"
_READ = "SELECT entry FROM {table} WHERE log = %s AND number = %s"
_APPEND = """
WITH added AS (
    INSERT INTO {table} (log, number, entry)
    SELECT %(log)s, %(number)s, %(entry)s
    WHERE (SELECT coalesce(max(number), 0) FROM {table} WHERE log = %(log)s) = %(number)s - 1
    ON CONFLICT DO NOTHING
    RETURNING number
)
SELECT number, pg_notify(%(channel)s, %(log)s) FROM added
"""
_CREATE = """
SELECT pg_advisory_xact_lock(hashtext({name}));
CREATE SCHEMA IF NOT EXISTS {schema};
CREATE TABLE IF NOT EXISTS {table} (
    log text NOT NULL, number bigint NOT NULL CHECK (number > 0), entry text NOT NULL, PRIMARY KEY (log, number)
)
"""


class PostgresLogs:
    """The logs of one ledger as rows of `<schema>.ledger`. Thread-safe.

    The table is made with the first append, by whoever may create it; the entries that the home's files hold are
    taken over then, and the files are marked as the past. Servers need SELECT and INSERT, nothing else.
    """

    def __init__(self, home: Path, dsn: str, schema: str) -> None:
        self._home = home
        self._pool = Pool(dsn, size=CONNECTIONS, options="-c synchronous_commit=on")
        self._schema = schema
        self._table = sql.Identifier(schema, "ledger")
        self.channel = f"{schema}_ledger"
        self._listening = threading.Lock()
        self._listener: Connection | None = None

    def log(self, name: str) -> PostgresLog:
        """See Logs."""
        return PostgresLog(self, name)

    def wait(self, seconds: float) -> None:
        """Return when an entry was announced, or after `seconds`; a server that is down is waited for."""
        with self._listening:
            try:
                if self._listener is None:
                    self._listener = connect(self._pool.dsn, autocommit=True)
                    self._listener.execute(sql.SQL("LISTEN {}").format(sql.Identifier(self.channel)))
                    return  # what was announced before is not told again: look now
                for _ in self._listener.notifies(timeout=seconds, stop_after=1):
                    return
            except (psycopg.Error, WellheadError):
                self._deaf()
                threading.Event().wait(seconds)

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()
        if self._listening.acquire(timeout=LEDGER_SECONDS):
            try:
                self._deaf()
            finally:
                self._listening.release()

    def run(self, work: Callable[[Connection], T], *, missing: T) -> T:
        """What `work` returns; `missing` where there is no ledger yet. It must be safe to repeat.

        Raises CorruptGeneration where the ledger that this home's files were moved to is gone.
        """
        with self._named():
            try:
                return self._pool.run(work, LEDGER_SECONDS)
            except psycopg.errors.UndefinedTable:
                self._require_not_moved()
                return missing

    def statement(self, text: str) -> sql.Composed:
        """One of this module's statements on this ledger's table."""
        return sql.SQL(text).format(table=self._table)  # pyright: ignore[reportArgumentType]

    def create(self) -> None:
        """Make the table and take over what the home's files hold, all at once or not at all."""
        statement = sql.SQL(_CREATE).format(
            name=sql.Literal(self.channel), schema=sql.Identifier(self._schema), table=self._table
        )
        insert = self.statement("INSERT INTO {table} (log, number, entry) VALUES (%s, %s, %s)")

        def make(connection: Connection) -> None:
            with connection.transaction():
                connection.execute(statement)
                for name, number, entry in self._in_files(connection):
                    connection.execute(insert, (name, number, entry))

        with self._named():
            self._pool.run(make, LEDGER_SECONDS)
        folder = self._home / FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        create_exclusively(folder / MOVED, json_bytes({"format": FORMAT, "to": shown(self._pool.dsn)}))

    def _require_not_moved(self) -> None:
        moved = self._home / FOLDER / MOVED
        if moved.exists():
            raise CorruptGeneration(
                f"PostgreSQL ({shown(self._pool.dsn)}) has lost the ledger of {self._home}.",
                hint=f"Restore the database; or remove {moved} to begin again from the files' past.",
            )

    def _in_files(self, connection: Connection) -> list[tuple[str, int, str]]:
        """The entries of the home's files, where the table is new and they were not taken over before."""
        folder = self._home / FOLDER
        held = connection.execute(self.statement("SELECT EXISTS (SELECT FROM {table})")).fetchone()
        if (folder / MOVED).exists() or (held and held[0]):
            return []
        # Not by FileLogs: whoever made the table just before us may mark the files as the past at this moment.
        files = {name: NumberedLog(folder / name) for name in LOGS}
        return [
            (name, number, json_bytes(log.read(number)).decode())
            for name, log in files.items()
            for number in range(1, log.latest() + 1)
        ]

    def _deaf(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    @contextlib.contextmanager
    def _named(self) -> Generator[None]:
        """Driver errors as ours, saying that it is the ledger's server."""
        try:
            yield
        except psycopg.OperationalError as error:
            raise unavailable(self._pool.dsn, error) from error
        except psycopg.Error as error:
            raise EngineUnavailable(
                f"the ledger in PostgreSQL ({shown(self._pool.dsn)}) cannot be used: {said(error)}.",
                hint=f"Its user needs SELECT and INSERT on {self._schema}.ledger, and CREATE for the first publish.",
            ) from error


class PostgresLog:
    """One log of a ledger. Never goes back: a table that holds less than it did is named, not believed."""

    def __init__(self, logs: PostgresLogs, name: str) -> None:
        self._logs = logs
        self._name = name
        self._last = 0

    def latest(self) -> int:
        """See Log. Raises CorruptGeneration where numbers that were seen are gone."""
        statement = self._logs.statement(_LATEST)

        def ask(connection: Connection) -> int:
            row = connection.execute(statement, (self._name,)).fetchone()
            return int(row[0]) if row else 0

        newest = self._logs.run(ask, missing=0)
        if newest < self._last:
            raise CorruptGeneration(
                f"the ledger's {self._name} ended at {self._last} and now at {newest}.",
                hint="Restore the PostgreSQL database; or, where this past is meant, restart the servers.",
            )
        self._last = newest
        return newest

    def read(self, number: int) -> dict[str, Any]:
        """See Log."""
        statement = self._logs.statement(_READ)

        def ask(connection: Connection) -> str | None:
            row = connection.execute(statement, (self._name, number)).fetchone()
            return str(row[0]) if row else None

        found = self._logs.run(ask, missing=None)
        if found is None:
            raise UnknownName(self._name.rstrip("s"), str(number), hint=f"The newest is {self.latest()}.")
        where = f"{self._name} {number} of the ledger in PostgreSQL"
        entry = parse_json(found, FORMAT, where)
        if entry.get("number") != number:
            raise CorruptGeneration(f"{where} says it is number {entry.get('number')}.")
        return entry

    def append(self, after: int, entry: Mapping[str, Any]) -> int:
        """See Log. Committed and flushed when it returns."""
        number = after + 1
        numbered = json_bytes({**entry, "format": FORMAT, "number": number}).decode()
        values = {"log": self._name, "number": number, "entry": numbered, "channel": self._logs.channel}
        if not self._appended(values):
            raise EditionConflict(
                f"{self._name} moved past {after} meanwhile.", hint="Read the newest and try again."
            )
        self._last = max(self._last, number)
        return number

    def _appended(self, values: Mapping[str, Any]) -> bool:
        """Whether this entry has the number now, also where the connection broke before it was confirmed."""
        append, read = self._logs.statement(_APPEND), self._logs.statement(_READ)
        attempts = 0

        def add(connection: Connection) -> bool | None:
            nonlocal attempts
            attempts += 1
            if connection.execute(append, values).fetchone() is not None:
                return True
            if attempts == 1:
                return False
            standing = connection.execute(read, (values["log"], values["number"])).fetchone()
            return standing is not None and standing[0] == values["entry"]

        added = self._logs.run(add, missing=None)
        if added is None:
            self._logs.create()
            added = self._logs.run(add, missing=None)
        return bool(added)
