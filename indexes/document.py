"""Document, Chunk and Hit: what is read, what is searched, and what is found. Ids come from content."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


def sha256_of(text: str) -> str:
    """The hex SHA-256 of a text's UTF-8 bytes."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True)
class Block:
    """A run of a document's text with its place: a heading, paragraph, list, table or code block.

    `start` is the offset of the block's first character in `Document.text`; `page` counts from 1, None where
    the format has no pages. `level` is the heading level (1–6) of a heading, else 0.
    """

    kind: str
    start: int
    end: int
    page: int | None = None
    level: int = 0


@dataclass(frozen=True)
class Document:
    """One source item with its text: a file, or one row or record with its text columns.

    `name` is unique in its dataset and is what citations and evaluation cases name: a file's path relative to
    its server's folder, or the row's key. `columns` holds the values that filters, policies and citations use.
    `text_columns` names the columns the text came from; a caller must see all of them to see a chunk.
    """

    dataset: str
    name: str
    text: str
    sha256: str
    title: str = ""
    media_type: str = "text/plain"
    pages: int = 0
    blocks: tuple[Block, ...] = ()
    columns: Mapping[str, Any] = field(default_factory=dict[str, Any])
    text_columns: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Chunk:
    """A passage that fits the embedder whole. `[start, end)` are character offsets in its document's text.

    `number` is 0..n-1 inside a generation; engines speak numbers, callers see `id`. `headings` is the path of
    headings above the passage, outermost first. `text_column` is the row column the passage came from.
    """

    number: int
    id: str
    dataset: str
    document: str
    title: str
    text: str
    start: int
    end: int
    sha256: str
    page: int | None = None
    headings: tuple[str, ...] = ()
    text_column: str = ""

    @property
    def embedded_text(self) -> str:
        """What the embedder reads: title and innermost heading give the passage its context."""
        context = [part for part in dict.fromkeys((self.title, *self.headings[-1:])) if part]
        return "\n".join([*context, self.text])


def chunk_id(product: str, dataset: str, document: str, start: int, text_sha256: str) -> str:
    """A chunk's id: 16 hex digits of SHA-256 over product, dataset, document, offset and text digest.

    Equal content at an equal place keeps its id over generations, so links and judgments survive a re-ingest.
    """
    key = "\x1f".join((product, dataset, document, str(start), text_sha256))
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:16]


@dataclass(frozen=True)
class Hit:
    """A chunk that was found, with its citation. `score` is the fused score, `ranks` the place in each leg."""

    product: str
    generation: str
    chunk_id: str
    dataset: str
    document: str
    title: str
    text: str
    start: int
    end: int
    sha256: str
    score: float
    page: int | None = None
    headings: tuple[str, ...] = ()
    ranks: Mapping[str, int] = field(default_factory=dict[str, int])
    scores: Mapping[str, float] = field(default_factory=dict[str, float])
    columns: Mapping[str, Any] = field(default_factory=dict[str, Any])
    before: str = ""
    after: str = ""
