"""Drops indices of a home that no edition within retention names, and what a kill or a failed gate left behind."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from pathlib import Path
from typing import Any

from indexes.durable import create_exclusively
from indexes.elastic.connection import BULK_SECONDS, Cluster
from indexes.elastic.index import index_name

OWNER_FILE = "elasticsearch-owner"


def owner_of(home: Path) -> str:
    """The home's own id: it tells this workspace's indices from those of others in the same cluster."""
    path = home / OWNER_FILE
    if not path.exists():
        home.mkdir(parents=True, exist_ok=True)
        create_exclusively(path, uuid.uuid4().hex.encode())
    return path.read_text(encoding="ascii").strip()


def sweep(cluster: Cluster, home: Path, product: str, keep: Collection[str]) -> list[str]:
    """Drop this home's indices of the product but those of the generations to keep; returns their names.

    An index that no name stands for goes too: it was never sealed, or was built anew since. Call it under the
    product's build lock. Raises EngineUnavailable.
    """
    names = {index_name(cluster, product, one, kind) for one in keep for kind in ("text", "vectors")}
    owner = owner_of(home)
    pattern = f"{cluster.settings.prefix}-{product.lower()}-*"
    found: dict[str, Any] = cluster.ask(
        lambda es: es.indices.get(index=pattern, features=["aliases", "mappings"], expand_wildcards="all").body
    )
    dropped: list[str] = []
    for index, shown in sorted(found.items()):
        meta: Any = shown.get("mappings", {}).get("_meta", {}).get("wellhead", {})
        mine = meta.get("owner") == owner and meta.get("product") == product
        if mine and not names & shown.get("aliases", {}).keys():
            cluster.ask(
                lambda es, index=index: es.indices.delete(index=index, ignore_unavailable=True),
                seconds=BULK_SECONDS,
            )
            dropped.append(index)
    return dropped
