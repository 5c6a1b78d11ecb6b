"""How a generation is made: everything beside the inputs that decides what is in it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from indexes.generation import FORMAT
from indexes.ports import Embedder
from ingest.chunk import CHUNKER_VERSION
from ingest.parse.document import PARSER_VERSION

ENGINES: Mapping[str, tuple[str, ...]] = {
    "tables": ("duckdb",),
    "vectors": ("faiss-gpu", "faiss-cpu"),
    "text": ("tantivy",),
}
"""Each engine's distributions, the one that is installed counts."""


def recipe_of(embedder: Embedder | None) -> dict[str, Any]:
    """The recipe; a product without text has no embedder in it. Equal recipes and inputs give one generation."""
    return {
        "format": FORMAT,
        "parser": PARSER_VERSION,
        "chunker": CHUNKER_VERSION,
        "embedder": dict(embedder.identity) if embedder else {},
        "engines": {kind: _version(names) for kind, names in ENGINES.items()},
    }


def _version(names: tuple[str, ...]) -> str:
    for name in names:
        try:
            return f"{name.split('-')[0]} {version(name)}"
        except PackageNotFoundError:
            continue
    return "absent"
