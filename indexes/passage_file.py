"""The passages of one generation in a flat file, so that a page of hits is read without a query.

It is read, not memory-mapped: mapped, the pages around each passage would count as the server's own memory.
"""

from __future__ import annotations

import json
import os
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from indexes.document import Chunk
from indexes.durable import disk_full_named
from semantic_layer.errors import CorruptGeneration

LINES = "passages.jsonl"
"""One JSON object a line, in number order: Chunk's fields without its number, and what the chunk carries."""

OFFSETS = "passages.offsets"
"""Where each line begins and the last one ends, in bytes: little-endian uint64, one more than there are lines."""

_OFFSET = np.dtype("<u8")

Passage = tuple[Chunk, dict[str, Any]]
"""A chunk and the columns it carries, as JSON has them."""


class PassageFileBuilder:
    """Writes both files into a stage's folder. Raises OutOfSpace when the disk fills up."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ends = [0]
        with disk_full_named(folder):
            self._file = (folder / LINES).open("wb")

    @property
    def count(self) -> int:
        """How many passages were added."""
        return len(self._ends) - 1

    def add(self, chunks: Sequence[Chunk], carried: Sequence[str]) -> None:
        """Append chunks, whose numbers must follow on, each with what it carries as a JSON object."""
        if [chunk.number for chunk in chunks] != list(range(self.count, self.count + len(chunks))):
            raise ValueError(f"chunk numbers must go on from {self.count}")
        lines = [_line(chunk, cells) for chunk, cells in zip(chunks, carried, strict=True)]
        with disk_full_named(self._folder):
            self._file.writelines(lines)
        for line in lines:
            self._ends.append(self._ends[-1] + len(line))

    def stored(self, at_once: int) -> Iterator[list[Chunk]]:
        """The chunks added so far, in number order, at most `at_once` at a time."""
        with disk_full_named(self._folder):
            self._file.flush()
        with (self._folder / LINES).open("rb") as lines:
            for start in range(0, self.count, at_once):
                numbers = range(start, min(start + at_once, self.count))
                yield [_passage(number, lines.readline())[0] for number in numbers]

    def seal(self) -> None:
        """Write the offsets and close."""
        with disk_full_named(self._folder):
            self._file.close()
            (self._folder / OFFSETS).write_bytes(np.array(self._ends, _OFFSET).tobytes())

    def close(self) -> None:
        """Give up: close without sealing."""
        self._file.close()


class PassageFile:
    """Reads passages by number. Thread-safe: no read moves a file position."""

    def __init__(self, folder: Path) -> None:
        self._offsets = _offsets(folder)
        self.count = len(self._offsets) - 1
        self._lines = _opened(folder / LINES, int(self._offsets[-1]))
        self._release = weakref.finalize(self, os.close, self._lines)

    def read(self, numbers: Sequence[int]) -> list[Passage]:
        """The passages of these numbers, in the order asked. Raises IndexError for a number that is not there."""
        return [_passage(number, self._line(number)) for number in numbers]

    def _line(self, number: int) -> bytes:
        if not 0 <= number < self.count:
            raise IndexError(f"there is no passage {number} of {self.count}")
        start, end = int(self._offsets[number]), int(self._offsets[number + 1])
        return os.pread(self._lines, end - start, start)

    def close(self) -> None:
        """Release the file; no thread may be reading."""
        self._release()


def _line(chunk: Chunk, carried: str) -> bytes:
    fields = {
        "id": chunk.id,
        "dataset": chunk.dataset,
        "document": chunk.document,
        "title": chunk.title,
        "text": chunk.text,
        "start": chunk.start,
        "end": chunk.end,
        "sha256": chunk.sha256,
        "page": chunk.page,
        "headings": chunk.headings,
        "text_column": chunk.text_column,
    }
    return f'{json.dumps(fields, ensure_ascii=False)[:-1]}, "carried": {carried}}}\n'.encode()


def _passage(number: int, line: bytes) -> Passage:
    fields: dict[str, Any] = json.loads(line)
    carried: dict[str, Any] = fields.pop("carried")
    headings = tuple(fields.pop("headings"))
    return Chunk(number, headings=headings, **fields), carried


def _offsets(folder: Path) -> Any:
    path = folder / OFFSETS
    try:
        offsets = np.fromfile(path, _OFFSET)
    except OSError as cause:
        raise _damaged(path, str(cause)) from cause
    if not len(offsets) or offsets[0] != 0 or not np.all(offsets[1:] > offsets[:-1]):
        raise _damaged(path, "it does not hold the offsets of lines")
    return offsets


def _opened(path: Path, size: int) -> int:
    """A descriptor of the file, which must have this size."""
    try:
        if path.stat().st_size != size:
            raise _damaged(path, f"it has {path.stat().st_size} bytes instead of {size}")
        return os.open(path, os.O_RDONLY)
    except OSError as cause:
        raise _damaged(path, str(cause)) from cause


def _damaged(path: Path, why: str) -> CorruptGeneration:
    return CorruptGeneration(
        f"the passages of a generation cannot be read from {path}: {why}.",
        hint="Run `wellhead ingest` for the product to build it anew, or `wellhead rollback`.",
    )
