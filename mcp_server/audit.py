"""One record a call, refused ones too, on disk before the answer leaves; no record, no answer."""

from __future__ import annotations

import fcntl
import json
import os
import queue
import secrets
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from indexes.durable import fsync_folder
from semantic_layer.errors import EngineUnavailable, NewerFormat, UnknownName

FORMAT = 1
MAX_GROUP = 256
_STAMP = "%Y%m%dT%H%M%S"


def new_audit_id() -> str:
    """An id that says when: `a-20251122T101500-9f2c41d07b3e`."""
    return f"a-{datetime.now(UTC):{_STAMP}}-{secrets.token_hex(6)}"


@dataclass(frozen=True)
class _Entry:
    line: bytes
    written: Future[None]


class AuditLog:
    """JSON lines in `audit/<day>.jsonl`, appended by one writer thread that flushes a group at a time.

    `append` returns when its record is on disk. Calls that arrive while a flush runs share the next one, so
    concurrent calls pay one flush together. Several processes may write one file: each group is appended
    whole under a lock.
    """

    def __init__(self, home: Path) -> None:
        self.folder = home / "audit"
        self._queue: queue.SimpleQueue[_Entry | None] = queue.SimpleQueue()
        self._writer: threading.Thread | None = None
        self._lock = threading.Lock()
        self._closed = False
        self.failing = False
        """Whether the last write failed."""

    def append(self, record: Mapping[str, Any]) -> None:
        """Write one record down. Raises EngineUnavailable where it cannot be flushed: the call must fail."""
        line = json.dumps({"format": FORMAT, **record}, ensure_ascii=True, sort_keys=True, default=str)
        entry = _Entry(line.encode() + b"\n", Future())
        with self._lock:
            if self._closed:
                raise _sink_down("it is closed")
            if self._writer is None:
                self._writer = threading.Thread(target=self._write_groups, name="audit", daemon=True)
                self._writer.start()
            self._queue.put(entry)
        entry.written.result()

    def find(self, audit_id: str) -> dict[str, Any]:
        """The record of one call, with the feedback it got under `feedback`. Raises UnknownName."""
        found: dict[str, Any] | None = None
        feedback: list[dict[str, Any]] = []
        for record in self._records_since(audit_id):
            if record.get("id") == audit_id:
                found = record
            elif record.get("about") == audit_id:
                feedback.append(record)
        if found is None:
            raise UnknownName("answer", audit_id, hint="Give the audit_id of a receipt.")
        return {**found, "feedback": feedback}

    def close(self) -> None:
        """Flush what is waiting and stop."""
        with self._lock:
            self._closed = True
            writer, self._writer = self._writer, None
        if writer is not None:
            self._queue.put(None)
            writer.join()

    def _records_since(self, audit_id: str) -> Iterator[dict[str, Any]]:
        day = audit_id[2:10] if audit_id[:2] == "a-" and audit_id[2:10].isdigit() else "99999999"
        for path in sorted(self.folder.glob("*.jsonl")):
            if path.stem < day:
                continue
            with path.open("rb") as lines:
                for line in lines:
                    if line.endswith(b"\n") and audit_id.encode() in line:
                        yield _record(path, line)

    def _write_groups(self) -> None:
        while True:
            entry = self._queue.get()
            if entry is None:
                return
            group, stop = [entry], False
            while len(group) < MAX_GROUP and not self._queue.empty():
                following = self._queue.get()
                if following is None:
                    stop = True
                    break
                group.append(following)
            self._write(group)
            if stop:
                return

    def _write(self, group: list[_Entry]) -> None:
        try:
            self._append_durably(b"".join(entry.line for entry in group))
        except OSError as error:
            self.failing = True
            failure = _sink_down(error.strerror or "it cannot be written")
            for entry in group:
                entry.written.set_exception(failure)
        else:
            self.failing = False
            for entry in group:
                entry.written.set_result(None)

    def _append_durably(self, lines: bytes) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self.folder / f"{datetime.now(UTC):%Y%m%d}.jsonl"
        fresh = not path.exists()
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            start = os.lseek(descriptor, 0, os.SEEK_END)
            if start and os.pread(descriptor, 1, start - 1) != b"\n":
                lines = b"\n" + lines  # a writer was killed inside a line; what follows must stay readable
            written = os.write(descriptor, lines)
            if written != len(lines):
                os.ftruncate(descriptor, start)
                raise OSError(28, "No space left on device")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if fresh:
            fsync_folder(self.folder)


def _record(path: Path, line: bytes) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads(line)
    except ValueError:
        return {}
    if record.get("format", 0) > FORMAT:
        raise NewerFormat(
            f"{path} holds records of format {record['format']}; this version reads up to {FORMAT}.",
            hint="Upgrade wellhead.",
        )
    return record


def _sink_down(why: str) -> EngineUnavailable:
    return EngineUnavailable(
        f"the audit log cannot take a record: {why}.",
        hint="No call is answered unrecorded; free space or mend the home's `audit` folder.",
    )
