"""Opens the live reader of a dataset: which server its contract names, and one pool a server."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from indexes.library import LiveGeneration
from indexes.postgres.connection import Pool, schema_of, server_dsn
from indexes.postgres.records import PostgresRecords
from semantic_layer.errors import InvalidArgument
from semantic_layer.product import Dataset


class LiveRecords:
    """The live readers of one process. Thread-safe; close it at the end."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._pools: dict[str, Pool] = {}
        self._lock = threading.Lock()

    def open(self, generation: LiveGeneration, dataset: Dataset) -> PostgresRecords:
        """The reader of this dataset, connected when first read.

        Raises InvalidArgument where its server cannot be read live or a variable it names is not set.
        """
        server = generation.product.server(dataset.server)
        if server is None or server.type != "postgres":
            kind = server.type if server else "none"
            raise InvalidArgument(
                f"dataset {dataset.name!r} is live, but a server of type {kind} cannot be read live.",
                hint="Only postgres can; remove `live: true` from the contract and ingest again.",
            )
        dsn = server_dsn(server, self._environment)
        with self._lock:
            pool = self._pools.setdefault(dsn, Pool(dsn))
        return PostgresRecords(pool, schema_of(server), dataset)

    def close(self) -> None:
        """Close every connection."""
        with self._lock:
            for pool in self._pools.values():
                pool.close()
            self._pools.clear()
