"""What engines on servers hold of a product beside its folder: whether it is whole, and what of it may go."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from indexes.elastic.retention import owner_of, retained
from indexes.elastic.retention import sweep as sweep_indices
from indexes.engines import open_text, open_vectors
from indexes.generation import Manifest, sealed_generations
from indexes.ledger import Edition
from indexes.postgres.vectors import sweep
from indexes.servers import Servers
from semantic_layer.errors import EngineUnavailable
from semantic_layer.product import DataProduct

ON_SERVERS = ("elasticsearch", "pgvector")


def check_matter(folder: Path, manifest: Manifest, product: DataProduct, servers: Servers) -> None:
    """Whether a generation's indices on servers are those that were sealed.

    Raises CorruptGeneration where they are not, EngineUnavailable.
    """
    for kind, opened in (("text", open_text), ("vectors", open_vectors)):
        if manifest.engines.get(kind, {}).get("engine") in ON_SERVERS:
            opened(folder, manifest, product, servers).close()


def sweep_tables(home: Path, product: str, servers: Servers) -> list[str]:
    """Drop the product's tables of pgvector that no sealed generation names; returns their names.

    Use it under the product's build lock. Nothing is dropped while the server does not answer.
    """
    if servers.settings.vectors != "pgvector":
        return []
    kept = [manifest.engines.get("vectors", {}).get("table", "") for manifest in sealed_generations(home, product)]
    with contextlib.suppress(EngineUnavailable):
        return sweep(servers.vector_site(f"{owner_of(home)}/{product}"), kept)
    return []


def sweep_servers(
    home: Path, product: str, servers: Servers, editions: Iterable[Edition], keep: Iterable[str] = ()
) -> list[str]:
    """Drop what no retained edition names, where a cluster is configured; returns the dropped indices' names.

    Nothing is dropped while the cluster does not answer: the next run does it.
    """
    if servers.settings.elasticsearch is None:
        return []
    with contextlib.suppress(EngineUnavailable):
        return sweep_indices(servers.elasticsearch(), home, product, {*retained(editions, product), *keep})
    return []
