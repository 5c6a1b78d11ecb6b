"""Which engines there are, by kind and name: how each builds into a stage and opens from a sealed folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from indexes.duck.table_builder import TableBuilder
from indexes.duck.tables import DuckTables
from indexes.generation import TABLES, TEXT, VECTORS, Manifest
from indexes.ports import TableReader, TextBuilder, TextReader, VectorBuilder, VectorReader
from indexes.rerank import TokenVectorBuilder, TokenVectorReader
from indexes.text_exact import ExactTextBuilder, ExactTextReader
from indexes.text_tantivy import TantivyBuilder, TantivyReader
from indexes.vectors_exact import ExactVectorBuilder, ExactVectorReader
from indexes.vectors_faiss import Device, FaissBuilder, FaissReader
from semantic_layer.errors import EngineUnavailable
from semantic_layer.product import DataProduct

E = TypeVar("E")

Facts = Mapping[str, Any]
"""What a builder's seal returned and the manifest records under `engines`."""


@dataclass(frozen=True)
class VectorEngine:
    """How vectors of a dimension are built into a folder, and opened from it."""

    build: Callable[[Path, int, Device], VectorBuilder]
    open: Callable[[Path, Facts], VectorReader]


@dataclass(frozen=True)
class TextEngine:
    """How a text index is built into a folder, given each dataset's language, and opened from it."""

    build: Callable[[Path, Mapping[str, str]], TextBuilder]
    open: Callable[[Path], TextReader]


VECTOR_ENGINES: Mapping[str, VectorEngine] = {
    "faiss": VectorEngine(lambda folder, size, device: FaissBuilder(folder, size, device=device), FaissReader),
    "exact": VectorEngine(
        lambda folder, size, _: ExactVectorBuilder(folder, size), lambda folder, _: ExactVectorReader(folder)
    ),
}

TEXT_ENGINES: Mapping[str, TextEngine] = {
    "tantivy": TextEngine(TantivyBuilder, TantivyReader),
    "exact": TextEngine(ExactTextBuilder, ExactTextReader),
}


def build_vectors(stage: Path, dimension: int, *, engine: str = "faiss", device: Device = "auto") -> VectorBuilder:
    """A builder of vectors in a stage's folder. Raises EngineUnavailable for a device that is not there."""
    return _engine(VECTOR_ENGINES, "vector", engine).build(stage / VECTORS, dimension, device)


def build_text(stage: Path, product: DataProduct, *, engine: str = "tantivy") -> TextBuilder:
    """A builder of the text index in a stage's folder, in the language each dataset declares."""
    languages = {dataset.name: dataset.language for dataset in product.datasets}
    return _engine(TEXT_ENGINES, "text", engine).build(stage / TEXT, languages)


def build_tables(stage: Path, product: DataProduct) -> TableBuilder:
    """A builder of `tables.duckdb` in a stage's folder."""
    return TableBuilder(stage / TABLES, product)


def build_token_vectors(stage: Path, dimension: int) -> TokenVectorBuilder:
    """A builder of token vectors for reranking, beside the vectors; its facts go under `token_vectors`."""
    return TokenVectorBuilder(stage / VECTORS, dimension)


def open_vectors(folder: Path, manifest: Manifest) -> VectorReader:
    """The sealed vectors of a generation, with the engine that its manifest names."""
    facts = manifest.engines["vectors"]
    return _engine(VECTOR_ENGINES, "vector", facts["engine"]).open(folder / VECTORS, facts)


def open_text(folder: Path, manifest: Manifest) -> TextReader:
    """The sealed text index of a generation, with the engine that its manifest names."""
    return _engine(TEXT_ENGINES, "text", manifest.engines["text"]["engine"]).open(folder / TEXT)


def open_tables(folder: Path, product: DataProduct) -> TableReader:
    """The sealed tables of a generation."""
    return DuckTables(folder / TABLES, product)


def open_token_vectors(folder: Path, manifest: Manifest) -> TokenVectorReader | None:
    """The token vectors of a generation; None where its product did not ask for them."""
    facts = manifest.engines.get("token_vectors")
    return TokenVectorReader(folder / VECTORS, int(facts["dimension"])) if facts else None


def _engine(engines: Mapping[str, E], kind: str, name: str) -> E:
    if name not in engines:
        raise EngineUnavailable(
            f"{kind} engine {name!r} is not part of this version.", hint=f"It knows {', '.join(engines)}."
        )
    return engines[name]
