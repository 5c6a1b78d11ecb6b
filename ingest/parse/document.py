"""A file becomes a Document: its whole text with blocks, title and built-in columns, or one clear failure."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import Any

from indexes.document import Document
from ingest.parse.docx import parse_docx
from ingest.parse.html import parse_html
from ingest.parse.media import MEDIA_TYPES, format_of
from ingest.parse.pdf import parse_pdf
from ingest.parse.pieces import CODE, TABLE, Parsed, Piece, assemble, markdown_table
from ingest.parse.pptx import parse_pptx
from ingest.parse.tabular import read_rows
from ingest.parse.text import parse_markdown, parse_text
from ingest.parse.workbook import parse_xlsx, shown
from semantic_layer.errors import SourceFailed

PARSER_VERSION = "1"
"""Part of a generation's recipe: raised whenever the same file would give another text."""

LARGEST_FILE = 256 * 1024 * 1024
"""The default bound on a file's size in bytes."""

_BINARY: Mapping[str, Callable[[Path], Parsed]] = {
    "pdf": parse_pdf,
    "docx": parse_docx,
    "pptx": parse_pptx,
    "xlsx": parse_xlsx,
}
_TEXT: Mapping[str, Callable[[Path, str | None], Parsed]] = {
    "md": parse_markdown,
    "txt": parse_text,
    "html": parse_html,
}


def parse_document(
    path: Path, dataset: str, name: str, *, encoding: str | None = None, largest: int = LARGEST_FILE
) -> Document:
    """Read one file as a Document called `name` (its path relative to its server's folder, with `/`).

    The text is cleaned first (NFC, no hidden characters); every offset refers to the text as stored. `sha256`
    is that of the file's bytes. Columns are `path`, `media_type`, `title`, the front matter's, and `modified_at`
    (UTC; the file's time unless the front matter says one). `encoding` is for text that is neither UTF-8 nor
    marked. Raises SourceFailed that names the file, the place in it and the next step: unknown or wrong ending,
    more than `largest` bytes, undecodable, damaged, encrypted, without text, without a text layer.
    """
    kind = format_of(path)
    size = path.stat().st_size
    if size > largest:
        raise SourceFailed(
            f"{path} has {size / 1048576:,.1f} MiB, more than {largest / 1048576:,.0f} MiB.",
            hint="Split it, or leave it out of the path.",
        )
    if kind in _BINARY:
        parsed = _BINARY[kind](path)
    elif kind in _TEXT:
        parsed = _TEXT[kind](path, encoding)
    else:
        parsed = _parse_rows(path, kind, encoding)
    if not parsed.text.strip():
        raise SourceFailed(f"{path} holds no text.", hint="Leave it out of the path, or fill it.")
    return _document(path, dataset, name, kind, parsed)


def _document(path: Path, dataset: str, name: str, kind: str, parsed: Parsed) -> Document:
    title = parsed.title or path.stem
    modified = dt.datetime.fromtimestamp(path.stat().st_mtime, dt.UTC)
    built_in = {"path": name, "media_type": MEDIA_TYPES[kind], "title": title}
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Document(
        dataset=dataset,
        name=name,
        text=parsed.text,
        sha256=digest,
        title=title,
        media_type=MEDIA_TYPES[kind],
        pages=parsed.pages,
        blocks=parsed.blocks,
        columns={"modified_at": modified, **parsed.columns, **built_in},
        warnings=parsed.warnings,
    )


def _parse_rows(path: Path, kind: str, encoding: str | None) -> Parsed:
    """A row file as a document: one table where its records are flat, else one block of JSON a record."""
    records = list(read_rows(path, kind, encoding=encoding))
    header = list(dict.fromkeys(chain.from_iterable(records)))
    if any(isinstance(value, dict | list) for record in records for value in record.values()):
        return assemble(Piece(CODE, _json(record)) for record in records)
    rows = [[shown(record.get(column)) for column in header] for record in records]
    return assemble([Piece(TABLE, markdown_table([header, *rows]))])


def _json(record: Mapping[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False, indent=1, default=_plain)


def _plain(value: Any) -> Any:
    """Values that JSON has no form for: exact numbers stay numbers, all else as text."""
    if isinstance(value, Decimal):
        return float(value)
    return list(value) if isinstance(value, Iterable) and not isinstance(value, str | bytes) else str(value)
