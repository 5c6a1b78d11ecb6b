"""Connections to PostgreSQL: how a server's DSN is found, and what is said when it does not answer."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Generator, Mapping
from typing import Any

import psycopg
from psycopg import conninfo
from psycopg_pool import ConnectionPool, PoolTimeout, TooManyRequests

from semantic_layer.environment import filled
from semantic_layer.errors import Busy, EngineUnavailable, InvalidArgument
from semantic_layer.product import Server

CONNECT_SECONDS = 5
POOL_CONNECTIONS = 4

SESSION = "-c timezone=UTC -c datestyle=ISO -c intervalstyle=iso_8601 -c extra_float_digits=1 -c bytea_output=hex"
"""Settings that change how values are written; fixed, so that digests and texts depend on the data alone."""

Connection = psycopg.Connection[tuple[Any, ...]]


def server_dsn(server: Server, environment: Mapping[str, str]) -> str:
    """The DSN of a contract's server: its hint `dsn`, else its host, port and database, `${NAME}` filled in.

    Without a user or password the driver looks at PGUSER, PGPASSWORD and the password file, as libpq does.
    Raises InvalidArgument where a variable is not set or the server names neither.
    """
    where = f"server {server.name!r}"
    given = {key: filled(str(value), environment, where=where) for key, value in server.options.items()}
    if given.get("dsn"):
        return given["dsn"]
    if not given.get("host"):
        raise InvalidArgument(
            f"{where} names no host.", hint='Give it host, port and database, or the hint dsn: "${NAME}".'
        )
    return conninfo.make_conninfo(
        host=given["host"], port=given.get("port"), dbname=given.get("database"), user=given.get("user")
    )


def schema_of(server: Server) -> str:
    """The schema that holds a server's tables, `public` where the contract names none."""
    return str(server.options.get("schema") or "public")


def shown(dsn: str) -> str:
    """Where a DSN points to, without its password: `database at host:port`."""
    parts = _parts(dsn)
    host, port = parts.get("host") or "localhost", parts.get("port") or "5432"
    database = parts.get("dbname") or parts.get("user") or "postgres"
    return f"{database} at {host}" if host.startswith("/") else f"{database} at {host}:{port}"


def connect(dsn: str) -> Connection:
    """A connection whose session always writes values the same way.

    Raises EngineUnavailable naming the server where it cannot be reached, InvalidArgument for a malformed DSN.
    """
    try:
        return psycopg.connect(_with_session(dsn))
    except psycopg.OperationalError as error:
        raise unavailable(dsn, error) from error


def said(error: Exception) -> str:
    """The driver's own words on one line, without a final full stop."""
    return (" ".join(str(error).split()) or type(error).__name__).removesuffix(".")


def unavailable(dsn: str, error: Exception) -> EngineUnavailable:
    """The error for a server that does not answer, with the driver's own first words."""
    return EngineUnavailable(
        f"PostgreSQL ({shown(dsn)}) does not answer: {said(error)}.",
        hint="Start it, or mend the contract's server and the environment variable it names.",
    )


class Pool:
    """At most `POOL_CONNECTIONS` connections to one server, opened when first needed. Thread-safe."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self._lock = threading.Lock()
        self._pool: ConnectionPool[Connection] | None = None

    @contextlib.contextmanager
    def connection(self, deadline_seconds: float) -> Generator[Connection]:
        """A connection for one block. Raises EngineUnavailable or Busy, both within the deadline."""
        pool = self._opened()
        try:
            held = pool.getconn(timeout=min(deadline_seconds, float(CONNECT_SECONDS)))
        except (PoolTimeout, TooManyRequests) as error:
            connect(self.dsn).close()
            raise Busy(
                f"all {POOL_CONNECTIONS} connections to PostgreSQL ({shown(self.dsn)}) are in use.",
                hint="Try again in a moment.",
            ) from error
        try:
            yield held
        finally:
            pool.putconn(held)

    def close(self) -> None:
        """Close every connection."""
        with self._lock:
            if self._pool is not None:
                self._pool.close()
                self._pool = None

    def _opened(self) -> ConnectionPool[Connection]:
        with self._lock:
            if self._pool is None:
                connect(self.dsn).close()
                self._pool = ConnectionPool(
                    _with_session(self.dsn),
                    min_size=0,
                    max_size=POOL_CONNECTIONS,
                    open=True,
                    check=ConnectionPool.check_connection,
                    reconnect_timeout=CONNECT_SECONDS,
                )
            return self._pool


def _with_session(dsn: str) -> str:
    parts = _parts(dsn)
    options = " ".join(part for part in (str(parts.get("options") or ""), SESSION) if part)
    timeout = parts.get("connect_timeout") or CONNECT_SECONDS
    return conninfo.make_conninfo(dsn, options=options, connect_timeout=timeout, application_name="wellhead")


def _parts(dsn: str) -> dict[str, Any]:
    try:
        return dict(conninfo.conninfo_to_dict(dsn))
    except psycopg.ProgrammingError as error:
        raise InvalidArgument(
            "the PostgreSQL DSN cannot be read.", hint="Write postgresql://user:password@host:port/database."
        ) from error
