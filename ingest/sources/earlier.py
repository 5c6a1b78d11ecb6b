"""The generation that an ingest may take unchanged rows from: the live one, when its contract is the same."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from indexes.generation import TABLES, Manifest, generation_folder, verify
from indexes.ledger import Ledger
from semantic_layer.errors import CorruptGeneration, UnknownName


@dataclass(frozen=True)
class Earlier:
    """A verified generation: its tables, and what it was built from."""

    tables: Path
    manifest: Manifest

    def input(self, name: str) -> str:
        """The digest of the input of this name; empty where there was none."""
        return next((one.sha256 for one in self.manifest.inputs if one.name == name), "")


def earlier_generation(ledger: Ledger, product: str, contract_fingerprint: str) -> Earlier | None:
    """The product's live generation; None where there is none, it is damaged, or its contract was another."""
    live = ledger.edition().products.get(product)
    if live is None:
        return None
    folder = generation_folder(ledger.home, product, live)
    try:
        manifest = verify(folder)
    except (UnknownName, CorruptGeneration):
        return None
    return Earlier(folder / TABLES, manifest) if manifest.contract_fingerprint == contract_fingerprint else None
