"""Parsed and chunked files, kept by what they were made from, so that a re-ingest parses only what changed."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

from indexes.document import Chunk, Document
from indexes.durable import disk_full_named

FORMAT = 1
_TYPE = "$type"


@dataclass(frozen=True)
class ParsedFile:
    """A document with its chunks, numbered from 0; its blocks are gone, since chunking was what needed them."""

    document: Document
    chunks: tuple[Chunk, ...]


class ParsedCache:
    """One JSON file a parsed file, with a checksum; what is damaged or of another format counts as absent.

    `recipe` is everything but the file that decides the result: parser, chunker, tokenizer and limits.
    """

    def __init__(self, folder: Path, recipe: Mapping[str, Any]) -> None:
        self._folder = folder
        self._recipe = json.dumps(dict(recipe), sort_keys=True)
        self._used: set[str] = set()

    def get(self, dataset: str, name: str, key: str) -> ParsedFile | None:
        """What this file gave before, or None; `key` names its bytes and how they were to be read."""
        path = self._path(dataset, name, key)
        try:
            checksum, content = path.read_bytes().split(b"\n", 1)
            if hashlib.sha256(content).hexdigest().encode() != checksum:
                return None
            data = json.loads(content, object_hook=_typed)
        except (OSError, ValueError):
            return None
        self._used.add(path.name)
        return _parsed(data)

    def put(self, key: str, parsed: ParsedFile) -> None:
        """Keep a parsed file. It is not flushed: one lost in a crash is parsed again."""
        path = self._path(parsed.document.dataset, parsed.document.name, key)
        content = json.dumps(_plain(parsed), ensure_ascii=False, default=_tagged).encode("utf-8", "surrogatepass")
        checksum = hashlib.sha256(content).hexdigest().encode()
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{uuid.uuid4().hex}.tmp")
        with disk_full_named(self._folder):
            try:
                aside.write_bytes(checksum + b"\n" + content)
                aside.replace(path)
            except BaseException:
                aside.unlink(missing_ok=True)
                raise
        self._used.add(path.name)

    def prune(self) -> None:
        """Remove what this run neither found nor kept: files that changed or went away."""
        if self._folder.is_dir():
            for path in self._folder.iterdir():
                if path.name not in self._used:
                    path.unlink(missing_ok=True)

    def _path(self, dataset: str, name: str, key: str) -> Path:
        whole = json.dumps([FORMAT, self._recipe, dataset, name, key])
        return self._folder / f"{hashlib.sha256(whole.encode()).hexdigest()}.json"


def _plain(parsed: ParsedFile) -> dict[str, Any]:
    """Chunks leave out their text where it is the document's own, and what is the same for all."""
    text = parsed.document.text
    document = {**asdict(replace(parsed.document, blocks=())), "blocks": []}
    chunks = [
        {
            "id": chunk.id,
            "title": chunk.title,
            "start": chunk.start,
            "end": chunk.end,
            "sha256": chunk.sha256,
            "page": chunk.page,
            "headings": chunk.headings,
            "text_column": chunk.text_column,
            **({} if chunk.text == text[chunk.start : chunk.end] else {"text": chunk.text}),
        }
        for chunk in parsed.chunks
    ]
    return {"document": document, "chunks": chunks}


def _parsed(data: Mapping[str, Any]) -> ParsedFile:
    held: dict[str, Any] = dict(data["document"])
    for key in ("text_columns", "warnings", "blocks"):
        held[key] = tuple(held[key])
    document = Document(**held)
    return ParsedFile(document, tuple(_chunks(document, data["chunks"])))


def _chunks(document: Document, held: Sequence[Mapping[str, Any]]) -> list[Chunk]:
    chunks: list[Chunk] = []
    for number, one in enumerate(held):
        given: dict[str, Any] = {"text": document.text[one["start"] : one["end"]], **one}
        given["headings"] = tuple(given["headings"])
        chunks.append(Chunk(number=number, dataset=document.dataset, document=document.name, **given))
    return chunks


def _tagged(value: Any) -> Any:
    """Values that JSON has no form for, as front matter holds them."""
    if isinstance(value, datetime):
        return {_TYPE: "datetime", "value": value.isoformat()}
    if isinstance(value, date):
        return {_TYPE: "date", "value": value.isoformat()}
    return str(value)


def _typed(data: dict[str, Any]) -> Any:
    match data.get(_TYPE):
        case "datetime":
            return datetime.fromisoformat(data["value"])
        case "date":
            return date.fromisoformat(data["value"])
        case _:
            return data
