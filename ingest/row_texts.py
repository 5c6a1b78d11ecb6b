"""The text columns of tables and records, a document for each row and column, read back from what was built."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from indexes.document import Chunk, Document, chunk_id, sha256_of
from indexes.duck.connection import quoted
from indexes.duck.quality import rows_of
from indexes.duck.table_builder import TableBuilder
from indexes.ports import Embedder
from ingest.chunk import chunk_document
from ingest.parse.cleaning import clean
from semantic_layer.product import Dataset

_ROWS_AT_ONCE = 2_000

RowTexts = tuple[Document, list[Chunk]]
"""A row as a document with all its texts, and the chunks of each text column in turn, numbered from 0."""


def row_texts(
    builder: TableBuilder, product: str, dataset: Dataset, embedder: Embedder
) -> Iterator[list[RowTexts]]:
    """The rows that hold text, in the order they were added, a batch at a time.

    A row is called by its key, its columns joined by `/`; by its place (`row 17`) where there is no key.
    """
    names = [column.name for column in dataset.columns]
    listed = ", ".join(quoted(name) for name in names)
    start = 0
    while True:
        place = f"rowid >= {start} AND rowid < {start + _ROWS_AT_ONCE}"
        query = f"SELECT rowid, {listed} FROM main.{quoted(dataset.name)} WHERE {place} ORDER BY rowid"
        found = rows_of(builder, query)
        if not found:
            return
        rows = ((int(row[0]), dict(zip(names, map(_aware, row[1:]), strict=True))) for row in found)
        texts = [_row_texts(product, dataset, number, row, embedder) for number, row in rows]
        yield [one for one in texts if one[1]]
        start += _ROWS_AT_ONCE


def _aware(value: Any) -> Any:
    """Moments in the tables are in UTC, whatever zone their column had at the source."""
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) else value


def _row_texts(product: str, dataset: Dataset, number: int, row: dict[str, Any], embedder: Embedder) -> RowTexts:
    key = _key([str(row[name]) for name in dataset.key]) or f"row {number + 1}"
    titles = [str(row[one.name]) for one in dataset.columns if one.is_title and row[one.name] is not None]
    title = clean(" ".join(titles))[0]
    texts = {name: clean(str(row[name]))[0] for name in dataset.text_columns if row[name] is not None}
    chunks: list[Chunk] = []
    for name, text in texts.items():
        document = Document(
            dataset.name, key, text, sha256_of(text), title, "text/plain", columns=row, text_columns=(name,)
        )
        if text.strip():
            chunks += chunk_document(document, product, embedder.count_tokens, embedder.max_tokens)
    chunks = [_own_id(product, chunk) for chunk in chunks] if len(texts) > 1 else chunks
    whole = "\n\n".join(texts.values())
    return Document(dataset.name, key, whole, sha256_of(whole), title, columns=row), chunks


def _key(parts: list[str]) -> str:
    """The key as one name; in a key of several columns, `/` inside a part is written %2F."""
    if len(parts) > 1:
        parts = [part.replace("%", "%25").replace("/", "%2F") for part in parts]
    return "/".join(parts)


def _own_id(product: str, chunk: Chunk) -> Chunk:
    """The chunk with an id of its own although another column of its row may hold the same text."""
    place = f"{chunk.document}#{chunk.text_column}"
    return replace(chunk, id=chunk_id(product, chunk.dataset, place, chunk.start, chunk.sha256))
