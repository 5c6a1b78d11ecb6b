"""The servers that engines need, as the settings name them; each is connected to at its first use."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from indexes.elastic.connection import Cluster
from indexes.postgres.connection import Pool
from indexes.postgres.vectors import VectorSite
from semantic_layer.engine_settings import EngineSettings
from semantic_layer.environment import filled
from semantic_layer.errors import EngineUnavailable
from semantic_layer.settings import PostgresSettings

CONNECTIONS = 8
"""To the database of pgvector: as many as a server runs calls at once."""


class Servers:
    """Hands out the connections that builders and readers share. Thread-safe; whoever made it closes it.

    `environment` fills `${NAME}` in credentials.
    """

    def __init__(
        self,
        settings: EngineSettings | None = None,
        environment: Mapping[str, str] | None = None,
        postgres: PostgresSettings | None = None,
    ) -> None:
        self.settings = settings or EngineSettings()
        self._postgres = postgres or PostgresSettings()
        self._vectors: Pool | None = None
        self._environment = environment or {}
        self._lock = threading.Lock()
        self._elasticsearch: Cluster | None = None

    def elasticsearch(self) -> Cluster:
        """The cluster of the settings. Raises EngineUnavailable where they name none."""
        named = self.settings.elasticsearch
        if named is None:
            raise EngineUnavailable(
                "a generation was built with the engine elasticsearch, and the settings name no cluster.",
                hint="Add elasticsearch: {url: …} to wellhead.yaml, or ingest with another engine.",
            )
        with self._lock:
            if self._elasticsearch is None:
                self._elasticsearch = Cluster(named, self._environment)
            return self._elasticsearch

    def vector_site(self, owner: str = "", generation: str = "") -> VectorSite:
        """The database of pgvector's tables; with an `owner` and a `generation`, to build one in.

        Raises InvalidArgument where a variable that its DSN names is not set.
        """
        with self._lock:
            if self._vectors is None:
                dsn = filled(self._postgres.dsn, self._environment, where="the engine pgvector")
                self._vectors = Pool(dsn, size=CONNECTIONS)
            return VectorSite(self._vectors, self._postgres.schema, owner, generation)

    @property
    def failing(self) -> tuple[str, ...]:
        """The engines in use whose server does not answer."""
        cluster = self._elasticsearch
        return ("elasticsearch",) if cluster is not None and not cluster.answers() else ()

    def close(self) -> None:
        """Close every connection."""
        with self._lock:
            if self._elasticsearch is not None:
                self._elasticsearch.close()
            if self._vectors is not None:
                self._vectors.close()
