"""Opens the live reader of a PostgreSQL table: one pool of connections for all tables of a server."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from indexes.postgres.connection import READ_ONLY, Pool, schema_of, server_dsn
from indexes.postgres.records import PostgresRecords
from semantic_layer.product import Dataset, Server


class LiveTables:
    """The live tables of one process. Thread-safe; close it at the end."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._pools: dict[str, Pool] = {}
        self._lock = threading.Lock()

    def open(self, server: Server, dataset: Dataset) -> PostgresRecords:
        """The reader of this dataset, connected when first read.

        Raises InvalidArgument where the server names no host or a variable that is not set.
        """
        dsn = server_dsn(server, self._environment)
        with self._lock:
            pool = self._pools.get(dsn)
            if pool is None:
                pool = self._pools[dsn] = Pool(dsn, options=READ_ONLY)
        return PostgresRecords(pool, schema_of(server), dataset)

    def close(self) -> None:
        """Close every connection."""
        with self._lock:
            for pool in self._pools.values():
                pool.close()
            self._pools.clear()
