"""One segment of the audit log as a chain: each line names its place and the hash of the line before it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semantic_layer.errors import NewerFormat

FORMAT = 2
SUFFIX = ".jsonl"
OPENED, TORN, CLOSED = "segment", "torn", "closed"
"""Kinds of records that the log writes of itself: a segment begins, half a line was found, a segment ends."""
TORN_MARK = b" ~torn"
"""Ends half a line, so that it can never pass for a whole one."""
_TAIL_BYTES = 1 << 16


@dataclass(frozen=True)
class Head:
    """The last record of a segment: its number, counted from 0, and the SHA-256 of its line without the newline."""

    segment: str
    seq: int
    sha256: str


def digest(line: bytes) -> str:
    """The hex SHA-256 of a line without its newline."""
    return hashlib.sha256(line.rstrip(b"\n")).hexdigest()


def chained(records: Sequence[Mapping[str, Any]], segment: str, after: Head | None) -> tuple[bytes, Head]:
    """The records as lines that go on from `after`, and the head they end in. At least one record."""
    lines: list[bytes] = []
    seq, previous = (after.seq + 1, after.sha256) if after else (0, "")
    for record in records:
        placed = {**record, "format": FORMAT, "segment": segment, "seq": seq, "prev": previous}
        line = json.dumps(placed, ensure_ascii=True, sort_keys=True, default=str).encode()
        lines.append(line + b"\n")
        seq, previous = seq + 1, digest(line)
    return b"".join(lines), Head(segment, seq - 1, previous)


def parsed(line: bytes) -> dict[str, Any] | None:
    """The record in a line; None where it is none. Raises NewerFormat where a newer version wrote it."""
    try:
        record: Any = json.loads(line)
    except ValueError:
        return None
    if not isinstance(record, dict):
        return None
    found: dict[str, Any] = record
    number = found.get("format")
    if isinstance(number, int) and number > FORMAT:
        raise NewerFormat(
            f"the audit log holds records of format {number}; this version reads up to {FORMAT}.",
            hint="Upgrade wellhead.",
        )
    return found


def segments(folder: Path) -> list[Path]:
    """The segments of a log, oldest first; days written before there were segments come as they are."""
    return sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else []


def lines_of(path: Path) -> Iterator[bytes]:
    """The lines of a segment, the last one without a newline where it was cut short."""
    with path.open("rb") as file:
        yield from file


@dataclass(frozen=True)
class Tail:
    """The end of a segment: its last whole line, and what a killed writer left after it."""

    line: bytes
    torn: bytes

    @property
    def record(self) -> dict[str, Any]:
        """The last whole record; empty where it is none of this format."""
        record = parsed(self.line) if self.line else None
        return record if record is not None and record.get("format") == FORMAT else {}

    @property
    def head(self) -> Head | None:
        """The head that the last record is; None where there is none."""
        found = self.record
        return Head(str(found["segment"]), int(found["seq"]), digest(self.line)) if "seq" in found else None


def tail_of(path: Path) -> Tail:
    """The end of a segment, read from its end."""
    with path.open("rb") as file:
        size, room = file.seek(0, 2), _TAIL_BYTES
        while True:
            file.seek(max(0, size - room))
            held = file.read()
            end = held.rfind(b"\n") + 1
            before = held.rfind(b"\n", 0, max(0, end - 1)) + 1
            if before or room >= size:
                return Tail(held[before:end].rstrip(b"\n"), held[end:])
            room *= 4


def links_of(path: Path) -> list[Head]:
    """The heads of other segments that a segment's first record holds."""
    record = parsed(next(lines_of(path), b""))
    held: list[dict[str, Any]] = record.get("heads", []) if record else []
    return [Head(one["segment"], one["seq"], one["sha256"]) for one in held]


def unlinked_heads(folder: Path) -> list[Head]:
    """The heads that no segment's first record holds yet: what the next segment links to."""
    paths = segments(folder)
    linked = {link for path in paths for link in links_of(path)}
    heads = [head for path in paths if (head := tail_of(path).head) is not None]
    return [head for head in heads if head not in linked]
