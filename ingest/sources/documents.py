"""The record sets of a contract's document servers: read once, kept aside in key order, and given from there."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
import tempfile
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from indexes.document_store import DocumentStore, StoredDocument
from indexes.generation import Input
from ingest.sources.rows import Note, record_rows
from semantic_layer.errors import SourceFailed
from semantic_layer.json_path import path_of, root_of
from semantic_layer.product import Dataset, Server


class DocumentSets:
    """One server's record sets as they were read when the sources were opened; used under `open_documents`.

    Such servers have no snapshot: what is digested and what is sealed is therefore the same one reading, and a
    document that came twice counts once, as it came last.
    """

    def __init__(self, server: Server, store: DocumentStore, spool: sqlite3.Connection) -> None:
        self._server = server
        self._store = store
        self._spool = spool

    def input(self, dataset: Dataset) -> Input:
        """Read the record set; its digest is of each document's key and declared parts, in the order of keys.

        Raises SourceFailed naming the document that cannot be read, EngineUnavailable for a server that is down.
        """
        if dataset.kind != "record":
            raise SourceFailed(
                f"dataset {dataset.name!r} is a {dataset.kind}, but a {self._server.type} server holds records.",
                hint="Declare it with physicalType: record, and its text columns with the hint `text: true`.",
            )
        self._store.require(dataset)
        declared = {root_of(path_of(column)) for column in dataset.columns}
        found = (
            (dataset.name, one.key, _text(one, declared, self.origin(dataset)))
            for one in self._store.documents(dataset)
        )
        with self._spool:
            self._spool.executemany("INSERT OR REPLACE INTO documents VALUES (?, ?, ?)", found)
        digest, size = hashlib.sha256(), 0
        for key, body in self._kept(dataset):
            line = f"{json.dumps(key)} {body}\n".encode()
            digest.update(line)
            size += len(line)
        return Input(self.origin(dataset), digest.hexdigest(), size)

    def origin(self, dataset: Dataset) -> str:
        """What a user knows the record set as: server, and its key pattern or collection."""
        return f"{self._server.name}:{dataset.path or dataset.physical_name or dataset.name}"

    def rows(self, dataset: Dataset, note: Note) -> Iterator[Mapping[str, Any]]:
        """The documents as flat rows by column name, in the order of their keys."""
        bodies = (json.loads(body, parse_float=Decimal) for _, body in self._kept(dataset))
        yield from record_rows(dataset, self.origin(dataset), bodies, note)

    def _kept(self, dataset: Dataset) -> Iterable[tuple[str, str]]:
        query = "SELECT key, body FROM documents WHERE dataset = ? ORDER BY key"
        return self._spool.execute(query, (dataset.name,))


@contextlib.contextmanager
def open_documents(server: Server, store: DocumentStore) -> Generator[DocumentSets]:
    """The server's record sets, kept in a temporary file until the block ends."""
    with tempfile.TemporaryDirectory(prefix="wellhead-documents-") as folder:
        spool = sqlite3.connect(Path(folder) / "documents.sqlite")
        try:
            spool.execute("PRAGMA journal_mode = OFF")
            spool.execute("PRAGMA synchronous = OFF")
            spool.execute(
                "CREATE TABLE documents (dataset TEXT, key TEXT, body TEXT, PRIMARY KEY (dataset, key)) WITHOUT ROWID"
            )
            yield DocumentSets(server, store, spool)
        finally:
            spool.close()
            store.close()


def _text(document: StoredDocument, declared: Collection[str], origin: str) -> str:
    """A document as JSON text, equal for equal ones: of what no column begins at, the key alone.

    Decimals and moments stand as text, exactly.
    """
    kept = {name: value if name in declared else None for name, value in document.body.items()}
    text = json.dumps(kept, ensure_ascii=False, sort_keys=True, default=_as_text)
    if not _is_unicode(text):
        raise SourceFailed(
            f"{origin}: the document {document.key!r} holds half of a surrogate pair, which is no character.",
            hint="Write the character itself.",
        )
    return text


def _as_text(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
