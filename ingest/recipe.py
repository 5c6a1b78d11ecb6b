"""How a generation is made: everything beside the inputs that decides what is in it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from indexes.elastic.mapping import FORMAT as MAPPING
from indexes.generation import FORMAT
from indexes.ports import Embedder
from indexes.postgres.vectors import FORMAT as TABLES
from indexes.text_tantivy import FORMAT as WORDS
from ingest.chunk import CHUNKER_VERSION
from ingest.parse.document import PARSER_VERSION
from semantic_layer.engine_settings import EngineSettings

ENGINES: Mapping[str, tuple[str, ...]] = {
    "tables": ("duckdb",),
    "vectors": ("faiss-gpu", "faiss-cpu"),
    "text": ("tantivy",),
}
"""Each embedded engine's distributions, the one that is installed counts."""


def recipe_of(embedder: Embedder | None, engines: EngineSettings) -> dict[str, Any]:
    """The recipe; a product without text has no embedder in it. Equal recipes and inputs give one generation."""
    return {
        "format": FORMAT,
        "parser": PARSER_VERSION,
        "chunker": CHUNKER_VERSION,
        "embedder": dict(embedder.identity) if embedder else {},
        "engines": {kind: _engine(kind, engines) for kind in ENGINES},
    }


def _engine(kind: str, engines: EngineSettings) -> str:
    chosen = {"text": engines.text, "vectors": engines.vectors}.get(kind)
    on_servers = {"elasticsearch": MAPPING, "pgvector": TABLES}
    if chosen in on_servers:
        return f"{chosen} {on_servers[chosen]}"
    how = {"vectors": f" {engines.faiss.index} {engines.faiss.recall:g}", "text": f" words {WORDS}"}
    return _version(ENGINES[kind]) + how.get(kind, "")


def _version(names: tuple[str, ...]) -> str:
    for name in names:
        try:
            return f"{name.split('-')[0]} {version(name)}"
        except PackageNotFoundError:
            continue
    return "absent"
