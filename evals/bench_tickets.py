"""The table of tickets that the serving benchmark searches: its workspace, and its vectors without embedding it."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from evals.bench_corpus import near_vectors
from indexes.document import sha256_of
from indexes.embedder import OnnxEmbedder
from indexes.embedding_cache import EmbeddingCache
from semantic_layer.principal import Principal

PRODUCT = "tickets"
ASKERS = (
    Principal("reader", frozenset({"reader"}), scopes=frozenset({"read"})),
    Principal("regional", frozenset({"regional"}), {"regions": ("EU",)}, scopes=frozenset({"read"})),
)
"""One who may see every row, and one whose rows are limited to 30 % of them."""
BASE_TEXTS = 600
PUT_AT_ONCE = 10_000
SEED = 3


def make_workspace(into: Path, texts: Sequence[str], *, searched: bool = True) -> None:
    """Write a workspace with a product of one table: a row a text, in a region, of a team.

    Where the texts are not `searched` the product needs neither model nor search index.
    """
    folder = into / "products" / PRODUCT
    folder.mkdir(parents=True)
    (into / "wellhead.yaml").write_text("version: 1\nname: bench\n", encoding="utf-8")
    (folder / "contract.yaml").write_text(yaml.safe_dump(_contract(searched), sort_keys=False), encoding="utf-8")
    (folder / "policy.yaml").write_text(yaml.safe_dump(_policy(), sort_keys=False), encoding="utf-8")
    with (folder / "tickets.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "region", "team", "body"])
        writer.writerows((n, "EU" if n % 10 < 3 else "US", n % 100, text) for n, text in enumerate(texts))


def _contract(searched: bool) -> dict[str, Any]:
    body = {"property": "wellhead", "value": {"text": searched}}
    return {
        "apiVersion": "v3.1.0",
        "kind": "DataContract",
        "id": "bench-tickets",
        "version": "1.0.0",
        "status": "active",
        "servers": [{"server": "files", "type": "local", "path": ".", "format": "csv"}],
        "schema": [
            {
                "name": "tickets",
                "physicalType": "table",
                "customProperties": [{"property": "wellhead", "value": {"path": "tickets.csv"}}],
                "properties": [
                    {"name": "id", "logicalType": "integer", "primaryKey": True, "required": True},
                    {"name": "region", "logicalType": "string"},
                    {"name": "team", "logicalType": "integer"},
                    {"name": "body", "logicalType": "string", "customProperties": [body]},
                ],
            }
        ],
    }


def _policy() -> dict[str, Any]:
    own = {"field": "region", "op": "in", "value": {"principal": "regions"}}
    common = {"actions": ["discover", "search"], "columns": "*"}
    return {
        "version": 1,
        "rules": [
            {"name": "readers", "roles": ["reader"], **common},
            {"name": "own-region", "roles": ["regional"], **common, "rows": own},
        ],
    }


def fill_cache(home: Path, embedder: OnnxEmbedder, texts: Sequence[str]) -> None:
    """Keep a vector for each text under the embedder's name, so that the ingest embeds none of them."""
    rng = np.random.default_rng(SEED)
    real = embedder.embed([first_words(text, 40) for text in texts[:BASE_TEXTS]])
    cache = EmbeddingCache(home / "cache" / "embeddings")
    for start in range(0, len(texts), PUT_AT_ONCE):
        part = texts[start : start + PUT_AT_ONCE]
        cache.put(embedder.identity, [sha256_of(text) for text in part], near_vectors(rng, real, len(part)))
    cache.close()


def first_words(text: str, count: int) -> str:
    """The text's first words."""
    return " ".join(text.split()[:count])
