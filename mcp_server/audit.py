"""One record a call, refused ones too, on disk before the answer leaves; no record, no answer."""

from __future__ import annotations

import queue
import secrets
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mcp_server.audit_anchor import Anchor
from mcp_server.audit_chain import lines_of, parsed, segments
from mcp_server.audit_segment import Segment
from semantic_layer.errors import EngineUnavailable, UnknownName

MAX_GROUP = 256
APART_SECONDS = 0.0015
"""Groups begin so far apart at least: a busy log signs and flushes for several calls at once, an idle one at once."""
_STAMP = "%Y%m%dT%H%M%S"


def new_audit_id() -> str:
    """An id that says when: `a-20251122T101500-9f2c41d07b3e`."""
    return f"a-{datetime.now(UTC):{_STAMP}}-{secrets.token_hex(6)}"


@dataclass(frozen=True)
class _Entry:
    record: Mapping[str, Any]
    written: Future[None]


class AuditLog:
    """Chained JSON lines in segments under `audit/`, appended by one writer thread that flushes a group at a time.

    `append` returns when its record is on disk and its head anchored. Calls that arrive while a flush runs share the
    next one, so concurrent calls pay one flush together. Each process writes a segment of its own.
    """

    def __init__(self, home: Path, anchors: Sequence[Anchor] = ()) -> None:
        self.folder = home / "audit"
        self.anchors = tuple(anchors)
        self._segment: Segment | None = None
        self._queue: queue.SimpleQueue[_Entry | None] = queue.SimpleQueue()
        self._writer: threading.Thread | None = None
        self._lock = threading.Lock()
        self._closed = False
        self.failing = False
        """Whether the last write failed."""

    def append(self, record: Mapping[str, Any]) -> None:
        """Write one record down. Raises EngineUnavailable where it cannot be flushed: the call must fail."""
        self.submit(record).result()

    def submit(self, record: Mapping[str, Any]) -> Future[None]:
        """Have one record written down. What comes back is done once it is on disk; it cannot be cancelled, and
        holds EngineUnavailable where the record cannot be flushed."""
        entry = _Entry(record, Future())
        entry.written.set_running_or_notify_cancel()
        with self._lock:
            if self._closed:
                entry.written.set_exception(_sink_down("it is closed"))
                return entry.written
            if self._writer is None:
                self._writer = threading.Thread(target=self._write_groups, name="audit", daemon=True)
                self._writer.start()
            self._queue.put(entry)
        return entry.written

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
        if self._segment is not None:
            self._segment.close()
            self._segment = None
        for anchor in self.anchors:
            anchor.close()

    def _records_since(self, audit_id: str) -> Iterator[dict[str, Any]]:
        day = audit_id[2:10] if audit_id[:2] == "a-" and audit_id[2:10].isdigit() else "99999999"
        for path in segments(self.folder):
            if path.stem < day:
                continue
            for line in lines_of(path):
                if line.endswith(b"\n") and audit_id.encode() in line:
                    yield parsed(line) or {}

    def _write_groups(self) -> None:
        began = 0.0
        while True:
            entry = self._queue.get()
            if entry is None:
                return
            if (early := began + APART_SECONDS - time.monotonic()) > 0:
                time.sleep(early)
            began = time.monotonic()
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
            self._append_durably([entry.record for entry in group])
        except OSError as error:
            self.failing = True
            failure = _sink_down(error.strerror or str(error) or "it cannot be written")
            for entry in group:
                entry.written.set_exception(failure)
        else:
            self.failing = False
            for entry in group:
                entry.written.set_result(None)

    def _append_durably(self, records: Sequence[Mapping[str, Any]]) -> None:
        if self._segment is not None and self._segment.finished:
            ended, self._segment = self._segment, None
            ended.close(ended=True)
            self._anchor(ended)
        if self._segment is None:
            self._segment = Segment.open(self.folder)
        self._segment.append(records)
        self._anchor(self._segment)

    def _anchor(self, segment: Segment) -> None:
        if segment.head is not None:
            for anchor in self.anchors:
                anchor.note(segment.head)


def _sink_down(why: str) -> EngineUnavailable:
    return EngineUnavailable(
        f"the audit log cannot take a record: {why}.",
        hint="No call is answered unrecorded; free space or mend the home's `audit` folder.",
    )
