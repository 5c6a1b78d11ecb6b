"""Which engines there are, by kind and name: how each builds into a stage and opens from a sealed folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from indexes.device import Device
from indexes.duck.table_builder import TableBuilder
from indexes.duck.tables import DuckTables
from indexes.elastic.index import Site
from indexes.elastic.text import ElasticTextBuilder, ElasticTextReader
from indexes.elastic.vectors import ElasticVectorBuilder, ElasticVectorReader
from indexes.generation import TABLES, TEXT, VECTORS, Manifest
from indexes.ports import TableReader, TextBuilder, TextReader, VectorBuilder, VectorReader
from indexes.postgres.vectors import PgvectorBuilder, PgvectorReader, VectorSite
from indexes.rerank import TokenVectorBuilder, TokenVectorReader
from indexes.servers import Servers
from indexes.text_exact import ExactTextBuilder, ExactTextReader
from indexes.text_tantivy import TantivyBuilder, TantivyReader
from indexes.vectors_exact import ExactVectorBuilder, ExactVectorReader
from indexes.vectors_faiss import FaissBuilder, FaissReader
from semantic_layer.engine_settings import FaissSettings
from semantic_layer.errors import EngineUnavailable
from semantic_layer.product import DataProduct

E = TypeVar("E")

Facts = Mapping[str, Any]
"""What a builder's seal returned and the manifest records under `engines`."""


_FAISS = FaissSettings()


@dataclass(frozen=True)
class VectorBuild:
    """What vectors are built with: a device, FAISS's layout, and where an engine on a server builds."""

    device: Device = "auto"
    faiss: FaissSettings = _FAISS
    site: Site | None = None
    database: VectorSite | None = None


@dataclass(frozen=True)
class VectorEngine:
    """How vectors of a dimension are built into a folder or at a site, and opened from there."""

    build: Callable[[Path, int, VectorBuild], VectorBuilder]
    open: Callable[[Path, Facts, DataProduct, Servers], VectorReader]


@dataclass(frozen=True)
class TextEngine:
    """How a text index is built into a folder or at a site, given each dataset's language, and opened from there."""

    build: Callable[[Path, Mapping[str, str], Site | None], TextBuilder]
    open: Callable[[Path, Facts, DataProduct, Servers], TextReader]


VECTOR_ENGINES: Mapping[str, VectorEngine] = {
    "faiss": VectorEngine(
        lambda folder, size, given: FaissBuilder(
            folder, size, device=given.device, layout=given.faiss.index, recall=given.faiss.recall
        ),
        lambda folder, facts, _, servers: FaissReader(folder, facts, device=servers.settings.faiss.serve_on),
    ),
    "elasticsearch": VectorEngine(
        lambda folder, size, given: ElasticVectorBuilder(folder, size, _needed(given.site)),
        lambda _, facts, product, servers: ElasticVectorReader(servers.elasticsearch(), facts, product),
    ),
    "pgvector": VectorEngine(
        lambda folder, size, given: PgvectorBuilder(folder, size, _database(given.database)),
        lambda _, facts, __, servers: PgvectorReader(servers.vector_site(), facts),
    ),
    "exact": VectorEngine(
        lambda folder, size, _: ExactVectorBuilder(folder, size), lambda folder, *_: ExactVectorReader(folder)
    ),
}

TEXT_ENGINES: Mapping[str, TextEngine] = {
    "tantivy": TextEngine(
        lambda folder, languages, _: TantivyBuilder(folder, languages), lambda folder, *_: TantivyReader(folder)
    ),
    "elasticsearch": TextEngine(
        lambda _, __, site: ElasticTextBuilder(_needed(site)),
        lambda _, facts, product, servers: ElasticTextReader(servers.elasticsearch(), facts, product),
    ),
    "exact": TextEngine(
        lambda folder, languages, _: ExactTextBuilder(folder, languages),
        lambda folder, *_: ExactTextReader(folder),
    ),
}


def build_vectors(
    stage: Path,
    dimension: int,
    *,
    engine: str = "faiss",
    device: Device = "auto",
    faiss: FaissSettings | None = None,
    site: Site | None = None,
    database: VectorSite | None = None,
) -> VectorBuilder:
    """A builder of vectors in a stage's folder, or where an engine on a server builds: its `site`, its `database`.

    Raises EngineUnavailable for a device or a server that is not there.
    """
    given = VectorBuild(device, faiss or _FAISS, site, database)
    return _engine(VECTOR_ENGINES, "vector", engine).build(stage / VECTORS, dimension, given)


def build_text(
    stage: Path, product: DataProduct, *, engine: str = "tantivy", site: Site | None = None
) -> TextBuilder:
    """A builder of the text index, in the language each dataset declares; see build_vectors."""
    languages = {dataset.name: dataset.language for dataset in product.datasets}
    return _engine(TEXT_ENGINES, "text", engine).build(stage / TEXT, languages, site)


def build_tables(stage: Path, product: DataProduct) -> TableBuilder:
    """A builder of `tables.duckdb` in a stage's folder."""
    return TableBuilder(stage / TABLES, product)


def build_token_vectors(stage: Path, dimension: int) -> TokenVectorBuilder:
    """A builder of token vectors for reranking, beside the vectors; its facts go under `token_vectors`."""
    return TokenVectorBuilder(stage / VECTORS, dimension)


def open_vectors(folder: Path, manifest: Manifest, product: DataProduct, servers: Servers) -> VectorReader:
    """The sealed vectors of a generation, with the engine that its manifest names. Raises EngineUnavailable."""
    facts = manifest.engines["vectors"]
    return _engine(VECTOR_ENGINES, "vector", facts["engine"]).open(folder / VECTORS, facts, product, servers)


def open_text(folder: Path, manifest: Manifest, product: DataProduct, servers: Servers) -> TextReader:
    """The sealed text index of a generation, with the engine that its manifest names. Raises EngineUnavailable."""
    facts = manifest.engines["text"]
    return _engine(TEXT_ENGINES, "text", facts["engine"]).open(folder / TEXT, facts, product, servers)


def open_tables(folder: Path, product: DataProduct) -> TableReader:
    """The sealed tables of a generation."""
    return DuckTables(folder / TABLES, product)


def open_token_vectors(folder: Path, manifest: Manifest) -> TokenVectorReader | None:
    """The token vectors of a generation; None where its product did not ask for them."""
    facts = manifest.engines.get("token_vectors")
    return TokenVectorReader(folder / VECTORS, int(facts["dimension"])) if facts else None


def _needed(site: Site | None) -> Site:
    if site is None:
        raise EngineUnavailable(
            "the engine elasticsearch was asked for without a cluster.", hint="Add elasticsearch: {url: …}."
        )
    return site


def _database(database: VectorSite | None) -> VectorSite:
    if database is None:
        raise EngineUnavailable(
            "the engine pgvector was asked for without a database.", hint="Set `postgres.dsn` in wellhead.yaml."
        )
    return database


def _engine(engines: Mapping[str, E], kind: str, name: str) -> E:
    if name not in engines:
        raise EngineUnavailable(
            f"{kind} engine {name!r} is not part of this version.", hint=f"It knows {', '.join(engines)}."
        )
    return engines[name]
