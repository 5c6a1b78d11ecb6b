"""Whether the audit log is whole: every line in its place, every segment as long as its anchors and links say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mcp_server.audit_anchor import Anchor
from mcp_server.audit_chain import FORMAT, OPENED, SUFFIX, TORN, Head, digest, lines_of, parsed, segments
from semantic_layer.errors import AuditBroken


@dataclass(frozen=True)
class BadRecord:
    """The first record of a segment that is not as it was written; `line` counts from 1, 0 is the whole segment."""

    segment: str
    line: int
    problem: str
    audit_id: str = ""

    def __str__(self) -> str:
        named = f" (audit id {self.audit_id})" if self.audit_id else ""
        return f"{self.segment}{SUFFIX}:{self.line}{named}: {self.problem}" if self.line else (
            f"{self.segment}{SUFFIX}: {self.problem}"
        )  # fmt: skip


@dataclass(frozen=True)
class Verification:
    """What was found. `bad` is in the order of segments; `torn` are lines that a killed writer left, unanswered.

    `unchained` are files written before there was a chain, which nothing can vouch for.
    """

    segments: int
    records: int
    bad: tuple[BadRecord, ...]
    torn: tuple[BadRecord, ...]
    unchained: tuple[str, ...]

    @property
    def whole(self) -> bool:
        """Whether nothing was edited, deleted, reordered or cut off."""
        return not self.bad

    def to_json(self) -> dict[str, Any]:
        """The findings as JSON."""
        return {
            "whole": self.whole,
            "segments": self.segments,
            "records": self.records,
            "bad": [vars(one) for one in self.bad],
            "torn": [vars(one) for one in self.torn],
            "unchained": list(self.unchained),
        }


@dataclass
class _Read:
    """One segment as it lies there: the hash of each record by its number, and what is wrong with it."""

    name: str
    hashes: list[str] = field(default_factory=list[str])
    links: list[Head] = field(default_factory=list[Head])
    bad: BadRecord | None = None
    torn: list[BadRecord] = field(default_factory=list[BadRecord])


def verify_log(folder: Path, anchors: Sequence[Anchor]) -> Verification:
    """Read the whole log against its anchors and the links between its segments. It may be written meanwhile."""
    bad: list[BadRecord] = []
    anchored: list[Mapping[str, Head]] = []
    for anchor in anchors:  # before the segments: a head noted while they are read must not look ahead of them
        try:
            anchored.append(anchor.heads())
        except AuditBroken as unsigned:
            bad.append(BadRecord("anchors", 0, unsigned.message))
    read = [_read(path) for path in segments(folder) if not _unchained(path)]
    by_name = {one.name: one for one in read}
    expected = [("its anchor", head) for heads in anchored for head in heads.values()]
    expected += [(f"segment {one.name}", link) for one in read for link in one.links]
    bad += _compared(by_name, expected)
    for heads in anchored:
        bad += [
            BadRecord(one.name, 0, "no head of it is anchored.")
            for one in read
            if one.hashes and one.name not in heads
        ]
    return Verification(
        segments=len(read),
        records=sum(len(one.hashes) for one in read),
        bad=tuple(sorted(bad, key=lambda one: (one.segment, one.line))),
        torn=tuple(torn for one in read for torn in one.torn),
        unchained=tuple(path.name for path in segments(folder) if _unchained(path)),
    )


def _unchained(path: Path) -> bool:
    """Whether the file is of the form that had no chain (format 1, one file a day)."""
    return path.stem.isdigit()


def _compared(read: Mapping[str, _Read], expected: Sequence[tuple[str, Head]]) -> list[BadRecord]:
    """Each segment's first fault: in itself, or against what anchors and links say of it."""
    found = {name: [one.bad] if one.bad else [] for name, one in read.items()}
    for witness, head in expected:
        one = read.get(head.segment)
        if one is None:
            found.setdefault(head.segment, []).append(
                BadRecord(head.segment, 0, f"the segment is gone; {witness} knows {head.seq + 1} records of it.")
            )
        elif head.seq >= len(one.hashes):
            problem = f"cut off: {witness} knows a record {head.seq}, the last one here is {len(one.hashes) - 1}."
            found[head.segment].append(BadRecord(head.segment, len(one.hashes) + 1, problem))
        elif one.hashes[head.seq] != head.sha256:
            problem = f"edited: it is not the record {head.seq} that {witness} knows."
            found[head.segment].append(BadRecord(head.segment, head.seq + 1, problem))
    return [min(faults, key=lambda one: one.line) for faults in found.values() if faults]


def _read(path: Path) -> _Read:
    """The segment up to its first fault. Lines that a killed writer left do not count as records."""
    read = _Read(path.stem)
    previous, torn = "", b""
    for number, line in enumerate(lines_of(path), 1):
        record = parsed(line) if line.endswith(b"\n") else None
        if torn:
            if record is None or record.get("kind") != TORN or record.get("sha256") != digest(torn):
                read.bad = BadRecord(read.name, number - 1, "edited: it is no record of the log.")
                return read
            read.torn.append(BadRecord(read.name, number - 1, "half a record: its writer was killed."))
            torn = b""
        if record is None or "seq" not in record:
            torn = line
            continue
        fault = _fault(read, record, previous)
        if fault:
            read.bad = BadRecord(read.name, _blamed(number, fault), fault, str(record.get("id", "")))
            return read
        previous = digest(line)
        read.hashes.append(previous)
        if len(read.hashes) == 1:
            read.links = [Head(one["segment"], one["seq"], one["sha256"]) for one in record.get("heads", [])]
    if torn:
        read.torn.append(BadRecord(read.name, len(read.hashes) + len(read.torn) + 1, _half(torn)))
        if torn.endswith(b"\n"):
            read.bad = BadRecord(read.name, read.torn.pop().line, "edited: it is no record of the log.")
    return read


def _half(_: bytes) -> str:
    return "half a record: its writer was killed, or is at work."


def _fault(read: _Read, record: Mapping[str, Any], previous: str) -> str:
    """What is wrong with a record in its place; empty where nothing is."""
    place = len(read.hashes)
    if record.get("segment") != read.name or record.get("format") != FORMAT:
        return "foreign: it belongs to another segment."
    if record["seq"] != place:
        return f"out of place: it is record {record['seq']}, record {place} is missing here."
    if record["prev"] != previous:
        return _EDITED
    if place == 0 and record.get("kind") != OPENED:
        return "the segment's first record is missing."
    return ""


_EDITED = "edited: the record after it knows another one."


def _blamed(number: int, fault: str) -> int:
    """A record that does not fit the hash in the next one is itself the edited one."""
    return number - 1 if fault == _EDITED else number
