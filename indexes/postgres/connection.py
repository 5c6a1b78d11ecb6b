"""Connections to PostgreSQL: how a server's DSN is found, and what is said when it does not answer."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Generator, Mapping
from functools import cached_property, partial
from typing import Any, TypeVar

import psycopg
from psycopg import conninfo
from psycopg.pq import TransactionStatus

from indexes.cancellation import current_cancellation
from indexes.postgres.watchdog import watched
from semantic_layer.environment import filled
from semantic_layer.errors import (
    Busy,
    EngineUnavailable,
    InvalidArgument,
    OutOfSpace,
    WellheadError,
)
from semantic_layer.product import Server

CONNECT_SECONDS = 5
POOL_CONNECTIONS = 4
CANCEL_SECONDS = 2.0
SESSION = "-c timezone=UTC -c datestyle=ISO -c intervalstyle=iso_8601 -c extra_float_digits=1 -c bytea_output=hex"
"""Settings that change how values are written; fixed, so that digests and texts depend on the data alone."""

READ_ONLY = "-c default_transaction_read_only=on"

_KEEPALIVE: Mapping[str, Any] = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}
"""A network that went away is noticed within half a minute, also by a statement that has no deadline."""

_REFUSED = (
    "authentication failed",
    "no password",
    "does not exist",
    "pg_hba.conf",
    "permission denied",
    "not permitted",
)

Connection = psycopg.Connection[tuple[Any, ...]]
T = TypeVar("T")


def server_dsn(server: Server, environment: Mapping[str, str]) -> str:
    """The DSN of a contract's server: its hint `dsn`, else its host, port and database, `${NAME}` filled in.

    The hint `role` is what every session becomes (SET ROLE). Without a user or password the driver looks at
    PGUSER, PGPASSWORD and the password file, as libpq does. Raises InvalidArgument where a variable is not set
    or the server names neither.
    """
    where = f"server {server.name!r}"
    given = {key: filled(str(value), environment, where=where) for key, value in server.options.items()}
    dsn = given.get("dsn")
    if not dsn:
        if not given.get("host"):
            raise InvalidArgument(
                f"{where} names no host.", hint='Give it host, port and database, or the hint dsn: "${NAME}".'
            )
        dsn = conninfo.make_conninfo(
            host=given["host"], port=given.get("port"), dbname=given.get("database"), user=given.get("user")
        )
    return _with_options(dsn, f"-c role={given['role']}") if given.get("role") else dsn


def schema_of(server: Server) -> str:
    """The schema that holds a server's tables, `public` where the contract names none."""
    return str(server.options.get("schema") or "public")


def shown(dsn: str) -> str:
    """Where a DSN points to, without its password: `database at host:port`."""
    parts = _parts(dsn)
    host, port = parts.get("host") or "localhost", parts.get("port") or "5432"
    database = parts.get("dbname") or parts.get("user") or "postgres"
    return f"{database} at {host}" if host.startswith("/") else f"{database} at {host}:{port}"


def connect(
    dsn: str, *, seconds: float = CONNECT_SECONDS, autocommit: bool = False, options: str = ""
) -> Connection:
    """A connection whose session always writes values the same way; `options` are libpq's.

    Raises EngineUnavailable naming the server where it cannot be reached within `seconds` or lets nobody in,
    InvalidArgument for a malformed DSN.
    """
    try:
        return psycopg.connect(_with_session(_with_options(dsn, options), seconds), autocommit=autocommit)
    except psycopg.OperationalError as error:
        raise unavailable(dsn, error) from error


def said(error: Exception) -> str:
    """The driver's own words on one line, without a final full stop, and without the questions that libpq ends with."""
    lines = (" ".join(line.split()) for line in str(error).splitlines())
    told = " ".join(line for line in lines if line and not line.startswith("Is the server running"))
    return (told or type(error).__name__).removesuffix(".")


def unavailable(dsn: str, error: Exception) -> WellheadError:
    """The error for a server that does not answer, or refuses, with the driver's own first words."""
    where = f"PostgreSQL ({shown(dsn)})"
    if isinstance(error, psycopg.errors.DiskFull):
        return OutOfSpace(f"{where} has no space left: {said(error)}.", hint="Free some there and run it again.")
    if any(words in str(error) for words in _REFUSED):
        return EngineUnavailable(
            f"{where} lets nobody in: {said(error)}.",
            hint="Mend user, password, role or database in the environment variable that holds the DSN.",
        )
    if "too many" in str(error) or "connection slots are reserved" in str(error):
        return EngineUnavailable(
            f"{where} takes no more connections: {said(error)}.",
            hint="Try again in a moment; or raise its max_connections, or the limit of its role or database.",
        )
    return EngineUnavailable(
        f"{where} does not answer: {said(error)}.",
        hint="Start it, or mend the contract's server and the environment variable it names.",
    )


class Pool:
    """At most `size` connections to one server, each opened when it is first needed. Thread-safe.

    They are in autocommit mode; `options` are libpq's, such as READ_ONLY. A server that is down is told at once: no
    call waits for it to come back.
    """

    def __init__(self, dsn: str, *, size: int = POOL_CONNECTIONS, options: str = "") -> None:
        self.dsn = _with_options(dsn, options)
        self._size = size
        self._free = threading.BoundedSemaphore(size)
        self._idle: list[Connection] = []

    @cached_property
    def _shown(self) -> str:
        return shown(self.dsn)

    @contextlib.contextmanager
    def connection(self, deadline_seconds: float) -> Generator[Connection]:
        """A connection for one block, which is cut off GRACE_SECONDS after the deadline.

        Raises EngineUnavailable or Busy within the deadline, DeadlineExceeded for a block that was cut off. The
        connection may have died since it was last used; `run` hides that.
        """
        started = time.monotonic()
        held = self._taken(min(deadline_seconds, float(CONNECT_SECONDS)))
        rest = max(0.0, deadline_seconds - (time.monotonic() - started))
        try:
            with watched(held, rest, self._shown):
                yield held
        finally:
            self._given_back(held)

    def run(self, work: Callable[[Connection], T], deadline_seconds: float) -> T:
        """What `work` returns, run once more on a new connection where its own died: it must be safe to repeat.

        So a server that restarted is no failure, and no call pays for asking first whether its connection lives.
        """
        started = time.monotonic()
        for last in (False, True):
            rest = max(0.01, deadline_seconds - (time.monotonic() - started))
            with self.connection(rest) as held, current_cancellation().over(partial(_stopped, held)):
                try:
                    return work(held)
                except psycopg.OperationalError:
                    if last or not held.closed or time.monotonic() - started >= deadline_seconds:
                        raise
            self.close()
        raise AssertionError("unreachable")

    def close(self) -> None:
        """Close every idle connection: where one died, the others are of the same dead server."""
        while self._idle:
            with contextlib.suppress(IndexError):
                self._idle.pop().close()

    def _taken(self, seconds: float) -> Connection:
        if not self._free.acquire(timeout=seconds):
            raise Busy(
                f"all {self._size} connections to PostgreSQL ({self._shown}) are in use.",
                hint="Try again in a moment.",
            )
        try:
            with contextlib.suppress(IndexError):
                return self._idle.pop()
            return connect(self.dsn, seconds=seconds, autocommit=True)
        except BaseException:
            self._free.release()
            raise

    def _given_back(self, held: Connection) -> None:
        """Keep the connection for the next block, unless it died or was left in the middle of something."""
        if not held.closed and held.info.transaction_status == TransactionStatus.IDLE:
            self._idle.append(held)
        else:
            held.close()
        self._free.release()


def _stopped(connection: Connection) -> None:
    """Have the server stop what the connection is doing; returns when it was told."""
    with contextlib.suppress(psycopg.Error):
        connection.cancel_safe(timeout=CONNECT_SECONDS)


def _with_options(dsn: str, options: str) -> str:
    if not options:
        return dsn
    held = str(_parts(dsn).get("options") or "")
    return conninfo.make_conninfo(dsn, options=" ".join(part for part in (held, options) if part))


def _with_session(dsn: str, seconds: float) -> str:
    """The DSN with what every session has; libpq counts whole seconds, and at least two."""
    parts = _parts(dsn)
    timeout = min(int(parts.get("connect_timeout") or CONNECT_SECONDS), max(2, round(seconds)))
    settings = {**_KEEPALIVE, "connect_timeout": timeout, "application_name": "wellhead"}
    return conninfo.make_conninfo(_with_options(dsn, SESSION), **settings)


def _parts(dsn: str) -> dict[str, Any]:
    try:
        return dict(conninfo.conninfo_to_dict(dsn))
    except psycopg.ProgrammingError as error:
        raise InvalidArgument(
            "the PostgreSQL DSN cannot be read.", hint="Write postgresql://user:password@host:port/database."
        ) from error
