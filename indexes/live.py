"""Opens the live reader of a dataset, whatever kind of server its contract names."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from indexes.document_store import DocumentStore
from indexes.elastic.documents import ElasticStore
from indexes.library import LiveGeneration
from indexes.lookup import MaskingReader
from indexes.postgres.live import LiveTables
from indexes.records_live import LiveDocuments
from indexes.records_mongodb import MongoStore
from indexes.records_redis import RedisStore
from semantic_layer.errors import InvalidArgument
from semantic_layer.product import Dataset, Server

DOCUMENT_STORES: Mapping[str, Callable[[Server, Mapping[str, str]], DocumentStore]] = {
    "redis": RedisStore.of,
    "mongodb": MongoStore.of,
    "elasticsearch": ElasticStore.of,
}
"""How the servers of nested documents are opened, by the contract's server type."""


class LiveRecords:
    """The live readers of one process. Thread-safe; close it at the end."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._tables = LiveTables(environment)
        self._stores: dict[tuple[str, str], DocumentStore] = {}
        self._lock = threading.Lock()

    def open(self, generation: LiveGeneration, dataset: Dataset) -> MaskingReader:
        """The reader of this dataset, connected when first read.

        Raises InvalidArgument where its server cannot be read live or a variable it names is not set.
        """
        server = generation.product.server(dataset.server)
        if server is not None and server.type == "postgres":
            return self._tables.open(server, dataset)
        if server is None or server.type not in DOCUMENT_STORES:
            kind = server.type if server else "none"
            raise InvalidArgument(
                f"dataset {dataset.name!r} is live, but a server of type {kind} cannot be read live.",
                hint=f"Only {', '.join(DOCUMENT_STORES)} and postgres can; remove `live: true` and ingest again.",
            )
        return LiveDocuments(self._store(server), dataset)

    def close(self) -> None:
        """Close every connection."""
        self._tables.close()
        with self._lock:
            for store in self._stores.values():
                store.close()
            self._stores.clear()

    def _store(self, server: Server) -> DocumentStore:
        """One store for all servers that are declared alike: its connections outlive the call."""
        key = (server.type, repr(sorted(server.options.items())))
        with self._lock:
            if key not in self._stores:
                self._stores[key] = DOCUMENT_STORES[server.type](server, self._environment)
            return self._stores[key]
