"""Warm reading processes, each over one cut of sealed tables; a deadline or a cancelled call ends in a kill."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa

from indexes.cancellation import Cancellation
from indexes.duck.untrusted import Untrusted
from indexes.duck.wire import HEADER_BYTES, decode, encode
from semantic_layer.errors import (
    Busy,
    Cancelled,
    CorruptGeneration,
    DeadlineExceeded,
    EngineUnavailable,
    InvalidArgument,
    Refused,
    WellheadError,
)

Databases = Mapping[str, Path]
"""Sealed database files by the name they are attached under."""

START_SECONDS = 30.0
_ROOT = Path(__file__).resolve().parents[2]
_KEPT_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "SYSTEMROOT")


@dataclass(frozen=True)
class Limits:
    """What one reading process may use. `processes` bounds how many run at once; `idle` how many stay warm.

    Fewer warm than run at once would start and end a process, a second of work, whenever calls cross on a busy server.
    """

    processes: int = 4
    idle: int = 4
    threads: int = 2
    memory_bytes: int = 1_000_000_000
    address_space_bytes: int = 6_000_000_000
    rows: int = 100_000


@dataclass(frozen=True)
class Fetched:
    """An answer: an Arrow table, whether it holds all rows, what it cost."""

    table: Any
    complete: bool
    milliseconds: float
    rows_scanned: int


class _Process:
    """One reading process and its pipes."""

    def __init__(self, databases: Databases, limits: Limits) -> None:
        self._killed = False
        environment = {name: os.environ[name] for name in _KEPT_ENVIRONMENT if name in os.environ}
        self._popen = subprocess.Popen(
            [sys.executable, "-m", "indexes.duck.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**environment, "PYTHONPATH": str(_ROOT), "OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        self._input, self._output = self._popen.stdin, self._popen.stdout.fileno()
        opening = {
            "databases": {name: str(path.resolve()) for name, path in databases.items()},
            "threads": limits.threads,
            "memory_bytes": limits.memory_bytes,
            "address_space_bytes": limits.address_space_bytes,
        }
        try:
            answer, _ = self.ask(opening, time.monotonic() + START_SECONDS)
        except BaseException:
            self.close()
            raise
        if "failed" in answer:
            self.close()
            raise CorruptGeneration(answer["message"], hint="Ingest the product again, or roll back.")

    @property
    def id(self) -> int:
        """The system's number of the process."""
        return self._popen.pid

    @property
    def alive(self) -> bool:
        """Whether it can take a statement."""
        return not self._killed and self._popen.poll() is None

    def ask(self, message: Mapping[str, Any], deadline: float) -> tuple[dict[str, Any], bytes]:
        """Send a message; its answer's header and content. Raises TimeoutError, or EOFError where it died."""
        try:
            self._input.write(encode(message))
            self._input.flush()
        except OSError as error:
            raise EOFError from error
        header = decode(self._read(int.from_bytes(self._read(HEADER_BYTES, deadline), "big"), deadline))
        return header, self._read(header["bytes"], deadline)

    def _read(self, count: int, deadline: float) -> bytes:
        parts = bytearray()
        while len(parts) < count:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._output], [], [], left)[0]:
                raise TimeoutError
            part = os.read(self._output, min(count - len(parts), 1 << 20))
            if not part:
                raise EOFError
            parts += part
        return bytes(parts)

    def kill(self) -> None:
        """End it at once, whatever it does. Safe from any thread."""
        self._killed = True  # the system may take a moment, in which it would still look alive
        self._popen.kill()

    def close(self) -> None:
        """End it and release its pipes."""
        self._popen.kill()
        self._popen.wait()
        with contextlib.suppress(OSError):
            self._input.close()
        if self._popen.stdout is not None:
            self._popen.stdout.close()


@dataclass
class Workers:
    """A pool of reading processes. Thread-safe; `close` when done.

    A process is warm for the databases it has attached; a new edition needs a new one, and the oldest idle ones of
    other editions make room.
    """

    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        self._idle: list[tuple[tuple[tuple[str, str], ...], _Process]] = []
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(self.limits.processes)

    def bound(self, processes: int) -> None:
        """Have at most so many run, and stay warm. To be called before the first use."""
        self.limits = replace(self.limits, processes=processes, idle=min(processes, self.limits.idle))
        self._slots = threading.BoundedSemaphore(processes)

    def run(
        self,
        databases: Databases,
        sql: str,
        parameters: Mapping[str, Any],
        *,
        deadline_seconds: float,
        cancellation: Cancellation | None = None,
        again: bool = True,
        untrusted: Untrusted | None = None,
    ) -> Fetched:
        """The rows of one statement over these databases, attached under their names.

        `untrusted` says that a caller wrote the statement, and what it may name. A process whose DuckDB broke is
        replaced; `again` asks its successor once more.

        Raises DeadlineExceeded, Cancelled, Busy where no process is free in time, Refused where the statement
        needs more memory than it may use, and EngineUnavailable where the process could not be had.
        """
        deadline = time.monotonic() + deadline_seconds
        if not self._slots.acquire(timeout=deadline_seconds):
            raise Busy("every reading process is at work.", hint="Ask again in a moment.")
        try:
            with self._process(databases) as process, (cancellation or Cancellation()).over(process.kill):
                request = {
                    "sql": sql,
                    "parameters": dict(parameters),
                    "seconds": deadline_seconds,
                    "max_rows": self.limits.rows,
                    "untrusted": untrusted.to_json() if untrusted else None,
                }
                header, content = self._asked(process, request, deadline, deadline_seconds, cancellation)
                if header.get("failed") == "engine":
                    process.kill()
        finally:
            self._slots.release()
        if header.get("failed") == "engine" and again:
            # DuckDB 1.5.5 now and then trips over itself where two threads share a window; a new process answers.
            left = deadline - time.monotonic()
            return self.run(
                databases,
                sql,
                parameters,
                deadline_seconds=left,
                cancellation=cancellation,
                again=False,
                untrusted=untrusted,
            )
        if "failed" in header:
            raise _failure(header, self.limits) if untrusted is None else _told(header, self.limits)
        with pa.ipc.open_stream(BytesIO(content)) as reader:
            table = reader.read_all()
        return Fetched(table, header["complete"], header["milliseconds"], header["rows_scanned"])

    def _asked(
        self,
        process: _Process,
        request: Mapping[str, Any],
        deadline: float,
        deadline_seconds: float,
        cancellation: Cancellation | None,
    ) -> tuple[dict[str, Any], bytes]:
        try:
            return process.ask(request, deadline)
        except TimeoutError as error:
            process.kill()
            raise DeadlineExceeded(
                f"the query ran past its deadline of {deadline_seconds:g} s and was stopped.",
                hint="Ask for less: a shorter time, fewer dimensions, or a filter.",
            ) from error
        except EOFError as error:
            process.kill()
            if cancellation is not None and cancellation.cancelled:
                raise Cancelled("the call was cancelled.", hint="Ask again.") from error
            if request["untrusted"]:
                raise Refused(
                    "the statement ended its process: it needs more memory or processor time than it may use.",
                    rule="memory_limit",
                    hint="Ask for less: fewer rows joined, or a filter.",
                ) from error
            raise EngineUnavailable(
                "the reading process ended in the middle of a query (out of memory or processor time).",
                hint="Ask for less, or ask again.",
            ) from error

    @contextlib.contextmanager
    def _process(self, databases: Databases) -> Generator[_Process]:
        """A process over these databases; back to the idle ones afterwards if it still lives."""
        key = tuple(sorted((name, str(path)) for name, path in databases.items()))
        with self._lock:
            found = next((pair for pair in reversed(self._idle) if pair[0] == key), None)
            if found is not None:
                self._idle.remove(found)
        process = found[1] if found is not None else None
        if process is not None and not process.alive:
            process.close()
            process = None
        process = process or _started(databases, self.limits)
        whole = False
        try:
            yield process
            whole = True
        finally:
            if whole and process.alive:
                self._keep(key, process)
            else:
                process.close()

    def _keep(self, key: tuple[tuple[str, str], ...], process: _Process) -> None:
        with self._lock:
            self._idle.append((key, process))
            surplus = [self._idle.pop(0)[1] for _ in range(len(self._idle) - self.limits.idle)]
        for one in surplus:
            one.close()

    @property
    def process_ids(self) -> tuple[int, ...]:
        """The idle processes, longest idle first."""
        with self._lock:
            return tuple(process.id for _, process in self._idle)

    def warm(self, databases: Databases) -> None:
        """Have a process ready for these databases, so that the next query does not wait for its start."""
        with self._process(databases):
            pass

    def close(self) -> None:
        """End every idle process."""
        with self._lock:
            idle, self._idle = self._idle, []
        for _, process in idle:
            process.close()


@functools.cache
def shared_workers() -> Workers:
    """This process's own pool, with the default limits; ended with the process."""
    workers = Workers()
    atexit.register(workers.close)
    return workers


def _started(databases: Databases, limits: Limits) -> _Process:
    try:
        return _Process(databases, limits)
    except (TimeoutError, EOFError, OSError) as error:
        raise EngineUnavailable(
            "a reading process did not start.", hint="See the server's log; ask again."
        ) from error


def _failure(header: Mapping[str, Any], limits: Limits) -> Exception:
    if header["failed"] == "memory":
        return Refused(
            f"the query needs more than the {limits.memory_bytes // 1_000_000} MB it may use.",
            rule="memory_limit",
            hint="Ask for less: a shorter time, fewer dimensions, or a filter.",
        )
    if header["failed"] == "engine":
        return EngineUnavailable(
            f"DuckDB broke on the query: {header['message']}",
            hint="Ask again; report it with its SQL if it stays.",
        )
    return WellheadError(f"the query could not be computed: {header['message']}", hint="Report it with its SQL.")


def _told(header: Mapping[str, Any], limits: Limits) -> Exception:
    """What the author of a statement is told: the engine read only what it may see, so its words are its own."""
    said = str(header["message"])[:300]
    match header["failed"]:
        case "not_announced":
            return Refused(
                f"SQL: {said} is not allowed.", rule="sql_allow_list", hint="Write one plain SELECT over datasets."
            )
        case "size":
            return Refused(f"SQL: {said}", rule="size_limit", hint="Select fewer columns, or aggregate.")
        case "query":
            return InvalidArgument(f"DuckDB cannot run the statement: {said}", hint="Mend it and call again.")
        case _:
            return _failure(header, limits)
