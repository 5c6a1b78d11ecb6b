"""Whether what an edition names still stands, in files and on servers: how far back one can go."""

from __future__ import annotations

from pathlib import Path

from indexes.engines import open_text, open_vectors
from indexes.generation import DESCRIPTORS, Manifest, generation_folder, read_manifest
from indexes.ledger import Edition, Ledger
from indexes.servers import Servers
from semantic_layer.descriptors import read_descriptors
from semantic_layer.errors import UnknownName
from semantic_layer.product import DataProduct

ON_SERVERS = ("elasticsearch", "pgvector")
"""Engines that hold a generation's matter outside of its folder."""

_LOOKED_AT = 500
"""Editions that are looked at for the oldest that stands."""


def check_matter(folder: Path, manifest: Manifest, product: DataProduct, servers: Servers) -> None:
    """Whether a generation's indices on servers are those that were sealed.

    Raises CorruptGeneration where they are not, EngineUnavailable.
    """
    for kind, opened in (("text", open_text), ("vectors", open_vectors)):
        if manifest.engines.get(kind, {}).get("engine") in ON_SERVERS:
            opened(folder, manifest, product, servers).close()


def check_servers(folder: Path, manifest: Manifest, servers: Servers) -> None:
    """As `check_matter`, of the product that was sealed; nothing is asked where all of it lies in files."""
    if any(facts.get("engine") in ON_SERVERS for facts in manifest.engines.values()):
        check_matter(folder, manifest, read_descriptors(folder / DESCRIPTORS, manifest.product)[0], servers)


def oldest_standing(ledger: Ledger, servers: Servers) -> Edition | None:
    """The oldest edition whose generations are all there, of the newest 500; None where not even the live one is.

    Their presence is looked at, not their bytes. Raises EngineUnavailable.
    """
    known: dict[tuple[str, str], bool] = {}
    oldest: Edition | None = None
    for edition in ledger.editions(_LOOKED_AT):
        for product, generation in edition.products.items():
            if (product, generation) not in known:
                known[product, generation] = _is_there(ledger.home, product, generation, servers)
        if all(known[one] for one in edition.products.items()):
            oldest = edition
    return oldest


def _is_there(home: Path, product: str, generation: str, servers: Servers) -> bool:
    try:
        manifest = read_manifest(generation_folder(home, product, generation))
    except UnknownName:
        return False
    # A table of pgvector stays as long as its generation's folder does.
    named = [facts["index"] for facts in manifest.engines.values() if facts.get("engine") == "elasticsearch"]
    return all(
        servers.elasticsearch().ask(lambda es, name=name: bool(es.indices.exists(index=name))) for name in named
    )
