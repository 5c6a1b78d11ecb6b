"""Writes one segment of the audit log: one writer at a time, a record on disk before it is acknowledged."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from indexes.durable import fsync_folder
from mcp_server.audit_chain import (
    CLOSED,
    OPENED,
    SUFFIX,
    TORN,
    TORN_MARK,
    Head,
    chained,
    digest,
    segments,
    tail_of,
    unlinked_heads,
)

MAX_BYTES = 64 << 20
_TRIED = 8


class Segment:
    """An open segment, locked for this process until it is closed.

    `open` goes on with one of today's segments that no living process writes, so that short commands do not leave a
    file each; otherwise it begins one, whose first record links to the heads of the others. What a killed writer left
    of a line is kept, and the record after it says so.
    """

    def __init__(self, path: Path, descriptor: int, head: Head | None) -> None:
        self.path = path
        self.head = head
        self._descriptor = descriptor
        self._spoiled = False

    @classmethod
    def open(cls, folder: Path) -> Segment:
        """A segment of today. Raises OSError where the folder cannot be written."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        today = [path for path in segments(folder) if path.stem.startswith(f"{_now():%Y%m%dT}")]
        for path in sorted(today, reverse=True)[:_TRIED]:
            if (adopted := cls._adopted(path)) is not None:
                return adopted
        return cls._begun(folder)

    @classmethod
    def _adopted(cls, path: Path) -> Segment | None:
        """The segment to go on with; None where another writes it, it is full, closed or not whole."""
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            tail = tail_of(path)
            if tail.head is None or tail.record.get("kind") == CLOSED or os.fstat(descriptor).st_size >= MAX_BYTES:
                raise BlockingIOError
            segment = cls(path, descriptor, tail.head)
            if tail.torn:
                segment._mark(tail.torn)
        except (BlockingIOError, ValueError, KeyError):
            os.close(descriptor)
            return None
        return segment

    @classmethod
    def _begun(cls, folder: Path) -> Segment:
        name = f"{_now():%Y%m%dT%H%M%S%f}-{secrets.token_hex(4)}"
        heads = [{"segment": one.segment, "seq": one.seq, "sha256": one.sha256} for one in unlinked_heads(folder)]
        path = folder / f"{name}{SUFFIX}"
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
        segment = cls(path, descriptor, None)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            segment.append([{"kind": OPENED, "at": _stamp(), "process": os.getpid(), "heads": heads}])
            fsync_folder(folder)
        except OSError:
            os.close(descriptor)
            raise
        return segment

    @property
    def finished(self) -> bool:
        """Whether the next record belongs into a segment of its own: another day, or this one is full or gone."""
        if self._spoiled:
            return True
        try:
            standing = self.path.stat()
        except OSError:
            return True
        held = os.fstat(self._descriptor)
        moved = (standing.st_ino, standing.st_dev) != (held.st_ino, held.st_dev)
        return moved or held.st_size >= MAX_BYTES or not self.path.stem.startswith(f"{_now():%Y%m%dT}")

    def append(self, records: Sequence[Mapping[str, Any]]) -> Head:
        """Write the records down and flush them. Raises OSError where that fails; then none of them is there."""
        lines, head = chained(records, self.path.stem, self.head)
        self._write(lines)
        self.head = head
        return head

    def close(self, *, ended: bool = False) -> None:
        """Let go of the segment; `ended` writes that nothing follows, as far as it still can."""
        try:
            if ended and not self._spoiled and self.path.exists():
                self.append([{"kind": CLOSED, "at": _stamp()}])
        finally:
            os.close(self._descriptor)

    def _write(self, lines: bytes) -> None:
        start = os.lseek(self._descriptor, 0, os.SEEK_END)
        try:
            if os.write(self._descriptor, lines) != len(lines):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._descriptor)
        except OSError:
            self._spoiled = True  # what the disk holds is not known: the next record begins a segment
            os.ftruncate(self._descriptor, start)
            raise

    def _mark(self, torn: bytes) -> None:
        """End the line inside which a writer was killed, and say in the next record what it holds."""
        line = torn + TORN_MARK
        os.write(self._descriptor, TORN_MARK + b"\n")
        self.append([{"kind": TORN, "at": _stamp(), "bytes": len(torn), "sha256": digest(line)}])


def _now() -> datetime:
    return datetime.now(UTC)


def _stamp() -> str:
    return _now().isoformat(timespec="milliseconds")
