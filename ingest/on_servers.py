"""What engines on servers hold of a product beside its folder, and what of it may go."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable
from pathlib import Path

from indexes.elastic.retention import owner_of
from indexes.elastic.retention import sweep as sweep_indices
from indexes.generation import generations_folder, sealed_generations
from indexes.hold import alone_with
from indexes.ledger import Ledger
from indexes.postgres.vectors import sweep
from indexes.retention import retained
from indexes.servers import Servers
from semantic_layer.errors import EngineUnavailable, UnknownName


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


def sweep_servers(ledger: Ledger, product: str, servers: Servers, building: Iterable[str] = ()) -> list[str]:
    """Drop the product's indices that no retained edition names and nobody reads; returns their names.

    What lies there of a generation whose folder is gone goes too, but for those that are being built. Nothing is
    dropped while the cluster does not answer: the next run does it.
    """
    cluster = servers.settings.elasticsearch
    if cluster is None:
        return []
    wanted = retained(ledger.editions(cluster.keep_editions), product)
    with contextlib.ExitStack() as unread:
        others = _unread(generations_folder(ledger.home, product), wanted, unread)
        # Whoever makes a generation live holds it meanwhile: what became live before we had it alone is seen now.
        wanted |= retained(ledger.editions(cluster.keep_editions), product)
        sealed = {path.name for path in generations_folder(ledger.home, product).glob("*")}
        kept = {*(sealed & wanted), *(sealed - others), *building}
        with contextlib.suppress(EngineUnavailable):
            return sweep_indices(servers.elasticsearch(), ledger.home, product, kept)
    return []


def _unread(folder: Path, wanted: Collection[str], held: contextlib.ExitStack) -> set[str]:
    """The generations beside those wanted that no process reads, nor can until `held` ends."""
    found: set[str] = set()
    for path in folder.glob("*"):
        with contextlib.suppress(UnknownName):
            if path.name not in wanted and held.enter_context(alone_with(path)):
                found.add(path.name)
    return found
