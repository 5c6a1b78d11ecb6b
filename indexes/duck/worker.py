"""The process that runs compiled SQL over sealed tables: no other file, no network, bounded memory and time.

Its parent may kill it at any moment. It is started as `python -m indexes.duck.worker`, and speaks frames on its
standard input and output: first what to open, then one statement at a time.
"""

from __future__ import annotations

import resource
import sys
import time
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import duckdb
import pyarrow as pa

from indexes.duck.connection import Connection, attach_sealed, keep_pandas_out
from indexes.duck.untrusted import NotAnnounced, prepare
from indexes.duck.wire import HEADER_BYTES, decode, encode
from semantic_layer.errors import WellheadError

BATCH_ROWS = 65_536


class _TooLarge(Exception):
    """An answer of more bytes than asked for."""


def main() -> None:
    """Serve until the parent closes the pipe."""
    keep_pandas_out()
    incoming, outgoing = sys.stdin.buffer, sys.stdout.buffer
    opening = _receive(incoming)
    if opening is None:
        return
    _limit_process(opening["address_space_bytes"])
    try:
        connection = attach_sealed(
            {name: Path(path) for name, path in opening["databases"].items()},
            threads=opening["threads"],
            memory_bytes=opening["memory_bytes"],
        )
    except WellheadError as error:
        _send(outgoing, {"failed": "corrupt", "message": error.message})
        return
    _send(outgoing, {"ready": True})
    while (request := _receive(incoming)) is not None:
        _limit_seconds(request["seconds"])
        _send(outgoing, *_answer(connection, request))


def _limit_process(address_space_bytes: int) -> None:
    """No file is written, no core is dumped, and memory beyond DuckDB's own limit ends in an error."""
    for kind, bound in (
        (resource.RLIMIT_AS, address_space_bytes),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (bound, bound))


def _limit_seconds(seconds: float) -> None:
    """Processor time for one statement, should the parent die before it can kill."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    cores = 16
    bound = int(used.ru_utime + used.ru_stime + seconds * cores) + 5
    resource.setrlimit(resource.RLIMIT_CPU, (bound, resource.RLIM_INFINITY))


def _answer(connection: Connection, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """The header and the Arrow stream of one statement."""
    started = time.perf_counter()
    try:
        table, complete, scanned = (_untrusted if request.get("untrusted") else _trusted)(connection, request)
    except NotAnnounced as error:
        return {"failed": "not_announced", "message": str(error)}, b""
    except _TooLarge as error:
        return {"failed": "size", "message": str(error)}, b""
    except (duckdb.OutOfMemoryException, MemoryError) as error:
        return {"failed": "memory", "message": _first_line(error)}, b""
    except (duckdb.InternalException, duckdb.FatalException) as error:
        # DuckDB gives up its database then: this process can answer nothing more, and the parent replaces it.
        return {"failed": "engine", "message": _first_line(error)}, b""
    except duckdb.Error as error:
        return {"failed": "query", "message": _first_line(error)}, b""
    header = {
        "milliseconds": (time.perf_counter() - started) * 1000,
        "rows_scanned": scanned,
        "complete": complete,
    }
    return header, _stream(table)


def _trusted(connection: Connection, request: dict[str, Any]) -> tuple[Any, bool, int]:
    """The rows of a statement that the planner compiled, whether these are all, and how many rows it read."""
    relation = connection.execute(request["sql"], request["parameters"])
    table, complete = _fetched(relation, request["max_rows"])
    return table, complete, _rows_scanned(connection)


def _untrusted(connection: Connection, request: dict[str, Any]) -> tuple[Any, bool, int]:
    """The rows of a statement that a caller wrote, on a connection of its own, whose relations end with it."""
    allowed = request["untrusted"]
    own = connection.cursor()
    try:
        prepare(own, request["sql"], allowed)
        table, complete = _fetched(own.execute(request["sql"]), allowed["rows"], allowed["bytes"])
    finally:
        own.close()
    return table, complete, 0


def _fetched(relation: Connection, max_rows: int, max_bytes: int = sys.maxsize) -> tuple[Any, bool]:
    """At most `max_rows` rows, and whether these are all. Raises _TooLarge past `max_bytes`."""
    reader = relation.to_arrow_reader(min(BATCH_ROWS, max_rows + 1))
    batches: list[Any] = []
    count = size = 0
    for batch in reader:
        batches.append(batch)
        count += batch.num_rows
        size += batch.nbytes
        if size > max_bytes:
            raise _TooLarge(f"the answer is larger than {max_bytes} bytes.")
        if count > max_rows:
            return pa.Table.from_batches(batches, reader.schema).slice(0, max_rows), False
    return pa.Table.from_batches(batches, reader.schema), True


def _stream(table: Any) -> bytes:
    sink = BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def _rows_scanned(connection: Connection) -> int:
    found = decode(connection.get_profiling_information(format="json").encode())
    return int(found.get("cumulative_rows_scanned", 0))


def _receive(stream: BinaryIO) -> dict[str, Any] | None:
    header = stream.read(HEADER_BYTES)
    return decode(stream.read(int.from_bytes(header, "big"))) if len(header) == HEADER_BYTES else None


def _send(stream: BinaryIO, header: dict[str, Any], content: bytes = b"") -> None:
    stream.write(encode({**header, "bytes": len(content)}))
    stream.write(content)
    stream.flush()


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


if __name__ == "__main__":
    main()
