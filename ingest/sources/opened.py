"""All sources of one product at one moment: what they hold as inputs, and their rows and files."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from indexes.generation import Input
from indexes.live import DOCUMENT_STORES
from indexes.postgres.connection import server_dsn
from indexes.postgres.cursors import STATEMENT_SECONDS, snapshot
from ingest.sources.documents import DocumentSets, open_documents
from ingest.sources.earlier import Earlier
from ingest.sources.fingerprint import Fingerprints
from ingest.sources.local import SourceFile, find_files
from ingest.sources.postgres import PostgresTables
from ingest.sources.rows import Note, file_rows
from semantic_layer.environment import filled
from semantic_layer.errors import SourceFailed
from semantic_layer.product import SERVER_TYPES, DataProduct, Dataset, Server


@dataclass(frozen=True)
class RowGroup:
    """The rows of one file, or of one table of a server; `origin` is what a user knows it as.

    `read` gives the rows from the first on, each time it is called.
    """

    origin: str
    read: Callable[[], Iterator[Mapping[str, Any]]]


@dataclass(frozen=True)
class _Files:
    """A dataset's files with their digests by name, and the server that holds them."""

    server: Server
    files: tuple[SourceFile, ...]
    digests: Mapping[str, str]

    def inputs(self, dataset: Dataset) -> list[Input]:
        place = f"{self.server.name}:{dataset.name}"
        return [Input(f"{place}/{file.name}", self.digests[file.name], file.bytes) for file in self.files]


@dataclass(frozen=True)
class Sources:
    """What a product's servers hold: files, tables as they stand in one snapshot a server, documents read once."""

    inputs: tuple[Input, ...]
    _files: Mapping[str, _Files]
    _tables: Mapping[str, PostgresTables]
    _documents: Mapping[str, DocumentSets]

    def files(self, dataset: Dataset) -> tuple[SourceFile, ...]:
        """The dataset's files, sorted by name; none for a table of a server."""
        held = self._files.get(dataset.name)
        return held.files if held else ()

    def digest(self, dataset: Dataset, file: SourceFile) -> str:
        """The file's SHA-256 when the sources were opened."""
        return self._files[dataset.name].digests[file.name]

    def encoding(self, dataset: Dataset) -> str | None:
        """The encoding that the contract's server declares for its files."""
        found = self._files[dataset.name].server.options.get("encoding")
        return str(found) if found else None

    def groups(self, dataset: Dataset, note: Note) -> Iterator[RowGroup]:
        """The dataset's rows, a file or table at a time, in the order of its files."""
        if dataset.name in self._tables:
            table = self._tables[dataset.name]
            yield RowGroup(table.origin(dataset), partial(table.rows, dataset, note))
        if dataset.name in self._documents:
            documents = self._documents[dataset.name]
            yield RowGroup(documents.origin(dataset), partial(documents.rows, dataset, note))
        for file in self.files(dataset):
            yield RowGroup(file.name, partial(self._rows, dataset, file, note))

    def _rows(self, dataset: Dataset, file: SourceFile, note: Note) -> Iterator[Mapping[str, Any]]:
        yield from file_rows(dataset, file, self._files[dataset.name].server, note)
        require_unchanged(file)


def require_unchanged(file: SourceFile) -> None:
    """Raise SourceFailed where a file is no longer what it was when the run began."""
    try:
        status = file.path.stat()
        same = (status.st_size, status.st_mtime_ns) == (file.bytes, file.modified_ns)
    except OSError:
        same = False
    if not same:
        raise SourceFailed(f"{file.path} changed while it was read.", hint="Run the same command again.")


@contextlib.contextmanager
def open_sources(
    product: DataProduct,
    fingerprints: Fingerprints,
    environment: Mapping[str, str],
    earlier: Earlier | None = None,
) -> Generator[Sources]:
    """Find every file and open one snapshot a PostgreSQL server, until the block ends.

    `earlier` is the generation that rows with a `cursor` may be taken from, where the fingerprints are trusted.
    Raises SourceFailed naming the dataset, folder, table or column; EngineUnavailable for a server that is down.
    """
    with contextlib.ExitStack() as open_snapshots:
        opener = _Opener(product, fingerprints, environment, open_snapshots, earlier)
        for dataset in product.datasets:
            opener.open(dataset)
        yield Sources(tuple(opener.inputs), opener.files, opener.tables, opener.documents)


@dataclass
class _Opener:
    product: DataProduct
    fingerprints: Fingerprints
    environment: Mapping[str, str]
    open_snapshots: contextlib.ExitStack
    earlier: Earlier | None
    inputs: list[Input] = field(default_factory=list[Input])
    files: dict[str, _Files] = field(default_factory=dict[str, _Files])
    tables: dict[str, PostgresTables] = field(default_factory=dict[str, PostgresTables])
    servers: dict[str, PostgresTables] = field(default_factory=dict[str, PostgresTables])
    documents: dict[str, DocumentSets] = field(default_factory=dict[str, DocumentSets])
    document_servers: dict[str, DocumentSets] = field(default_factory=dict[str, DocumentSets])

    def open(self, dataset: Dataset) -> None:
        server = self.product.server(dataset.server)
        if server is None:
            raise SourceFailed(f"dataset {dataset.name!r} names no server.", hint="Add one to the contract.")
        if server.type == "postgres":
            self.tables[dataset.name] = self.postgres(server)
            self.inputs.append(self.tables[dataset.name].input(dataset))
        elif server.type == "local":
            found = find_files(dataset, self.root(server))
            self.files[dataset.name] = _Files(server, found, self.fingerprints.of(found))
            self.inputs += self.files[dataset.name].inputs(dataset)
        elif server.type in DOCUMENT_STORES:
            self.documents[dataset.name] = self.document_sets(server)
            self.inputs.append(self.documents[dataset.name].input(dataset))
        else:
            raise SourceFailed(
                f"dataset {dataset.name!r}: a server of type {server.type!r} cannot be read.",
                hint=f"Use one of {', '.join(SERVER_TYPES)}.",
            )

    def document_sets(self, server: Server) -> DocumentSets:
        """The record sets of one server, all kept in one temporary file."""
        if server.name not in self.document_servers:
            store = DOCUMENT_STORES[server.type](server, self.environment)
            self.document_servers[server.name] = self.open_snapshots.enter_context(open_documents(server, store))
        return self.document_servers[server.name]

    def postgres(self, server: Server) -> PostgresTables:
        """One snapshot a server, so that all its tables are of one moment."""
        if server.name not in self.servers:
            seconds = float(server.options.get("timeout") or STATEMENT_SECONDS)
            view = self.open_snapshots.enter_context(snapshot(server_dsn(server, self.environment), seconds))
            force = not self.fingerprints.trusted
            self.servers[server.name] = PostgresTables(server, view, self.earlier, force=force)
        return self.servers[server.name]

    def root(self, server: Server) -> Path:
        path = filled(server.path, self.environment, where=f"server {server.name!r}")
        return Path(self.product.folder) / path.removeprefix("file://")
