"""Hardened DuckDB connections: no file, no network and no changed setting beyond what was opened."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any, cast

import duckdb

from semantic_layer.errors import CorruptGeneration, OutOfSpace

Connection = duckdb.DuckDBPyConnection

_SEALED: Mapping[str, str] = {
    "threads": "1",
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
}
"""One thread: point reads of ten rows cost more to spread than to do."""
_FREEZING = threading.Lock()
"""Two threads that open one file share an engine, and only one of them may freeze it."""


def keep_pandas_out() -> None:
    """Have this process take pandas for not installed, for good.

    DuckDB looks for it at each bound value, and would load it, 60 MB, where it is. No value of ours is one of its.
    """
    sys.modules.setdefault("pandas", cast(Any, None))


def open_sealed(path: Path) -> Connection:
    """One sealed database, read-only, that reaches nothing else; its settings cannot be changed.

    Connections of one process to one file share the engine. Raises CorruptGeneration where it does not open.
    """
    try:
        connection = duckdb.connect(str(path), read_only=True, config=dict(_SEALED))
    except duckdb.Error as error:
        raise CorruptGeneration(
            f"{path} does not open as a DuckDB database ({_first_line(error)}).",
            hint="Ingest the product again, or roll back.",
        ) from error
    _lock(connection)
    return connection


def attach_sealed(databases: Mapping[str, Path], *, threads: int, memory_bytes: int) -> Connection:
    """An in-memory engine with sealed databases attached read-only under their names, then locked."""
    connection = duckdb.connect(":memory:", config={**_SEALED, "enable_external_access": "true"})
    connection.execute(f"SET threads = {int(threads)}")
    connection.execute(f"SET memory_limit = '{int(memory_bytes)}B'")
    connection.execute("SET temp_directory = ''")
    connection.execute("PRAGMA enable_profiling = 'no_output'")
    connection.execute("""PRAGMA custom_profiling_settings = '{"CUMULATIVE_ROWS_SCANNED": "true"}'""")
    for name, path in databases.items():
        try:
            connection.execute(f"ATTACH {literal(str(path))} AS {quoted(name)} (READ_ONLY)")
        except duckdb.Error as error:
            connection.close()
            raise CorruptGeneration(
                f"{path} does not open as a DuckDB database ({_first_line(error)}).",
                hint="Ingest the product again, or roll back.",
            ) from error
    connection.execute("SET enable_external_access = false")
    _lock(connection)
    return connection


def open_stage(path: Path) -> Connection:
    """A database to build in; it reaches no other file, so contract SQL can run on it."""
    connection = duckdb.connect(str(path), config={**_SEALED, "threads": "2"})
    _lock(connection)
    return connection


def quoted(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as an SQL string literal; for the few statements that take no parameters."""
    return "'" + text.replace("'", "''") + "'"


@contextlib.contextmanager
def disk_full_named(path: Path) -> Generator[None]:
    """Turn DuckDB's "no space left" into OutOfSpace that names the file."""
    try:
        yield
    except duckdb.Error as error:
        if "No space left" in str(error) or "File too large" in str(error):
            raise OutOfSpace(
                f"no space left while writing {path}.", hint="Free some space and run the same command again."
            ) from error
        raise


def _lock(connection: Connection) -> None:
    """Freeze the settings. A second connection to a file finds them frozen already."""
    with _FREEZING:
        settings = connection.execute("SELECT current_setting('lock_configuration')").fetchone()
        if settings is None or not settings[0]:
            connection.execute("SET GLOBAL TimeZone = 'UTC'")
            connection.execute("SET lock_configuration = true")


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
