"""A way to seal small products with the real engines, and to serve them as one edition."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from indexes.document import Chunk, chunk_id, sha256_of
from indexes.duck.carried import carried_rows
from indexes.elastic.index import Site
from indexes.embedder import OnnxEmbedder
from indexes.engines import (
    build_tables,
    build_text,
    build_token_vectors,
    build_vectors,
    open_tables,
    open_text,
    open_token_vectors,
    open_vectors,
)
from indexes.generation import TEXT, VECTORS, Manifest
from indexes.ledger import Edition, Tombstones
from indexes.library import LiveGeneration, Snapshot
from indexes.servers import Servers
from semantic_layer.catalog import Catalog, CatalogEntry
from semantic_layer.engine_settings import ElasticsearchSettings, EngineSettings
from semantic_layer.product import DataProduct

Passage = tuple[str, str, str, Mapping[str, Any]]
"""Dataset, document, text (or text column and text, parted by a bar) and what the chunk carries."""

Seal = Callable[..., LiveGeneration]


def chunks_of(product: DataProduct, passages: Sequence[Passage]) -> list[Chunk]:
    """Passages as chunks; those of one document follow each other in it."""
    chunks: list[Chunk] = []
    ends: dict[tuple[str, str, str], int] = {}
    for number, (dataset, document, text, _) in enumerate(passages):
        column, _, body = text.rpartition("|")
        start = ends.get((dataset, document, column), 0)
        ends[dataset, document, column] = start + len(body) + 1
        sha = sha256_of(body)
        identity = chunk_id(product.name, dataset, document, start, sha)
        place = (start, start + len(body), sha, None, ())
        chunks.append(Chunk(number, identity, dataset, document, "", body, *place, column))
    return chunks


@pytest.fixture(scope="session")
def seal(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, embedder: OnnxEmbedder) -> Seal:
    """Builds a product's passages with vectors, text, tables and token vectors in these engines, and opens it."""

    def sealed(
        product: DataProduct,
        passages: Sequence[Passage],
        text_engine: str = "tantivy",
        vector_engine: str = "faiss",
    ) -> LiveGeneration:
        elastic = "elasticsearch" in (text_engine, vector_engine)
        url = request.getfixturevalue("elastic_node").url if elastic else ""
        folder = tmp_path_factory.mktemp(product.name)
        for name in (VECTORS, TEXT):
            (folder / name).mkdir()
        chunks = chunks_of(product, passages)
        texts = [chunk.embedded_text for chunk in chunks]
        tables = build_tables(folder, product)
        tables.add_chunks(chunks, [carried for *_, carried in passages])
        servers, site = Servers(), None
        if elastic:
            servers = Servers(EngineSettings(elasticsearch=ElasticsearchSettings((url,))))
            generation, carried_by = uuid.uuid4().hex[:16], carried_rows(tables, product)
            site = Site(servers.elasticsearch(), product, generation, "tests", carried_by)
        vectors = build_vectors(folder, embedder.dimension, engine=vector_engine, device="cpu", site=site)
        vectors.add(embedder.embed(texts))
        text = build_text(folder, product, engine=text_engine, site=site)
        text.add(chunks)
        tokens = build_token_vectors(folder, embedder.dimension)
        tokens.add(embedder.token_vectors(texts))
        engines = {"vectors": vectors.seal(), "text": text.seal(), "token_vectors": tokens.seal()}
        counts = tables.seal()
        manifest = Manifest(product.name, "g-" + product.name, "", (), {}, "", "", counts, engines, (), (), {}, {})
        return LiveGeneration(
            manifest.generation,
            folder,
            manifest,
            product,
            None,
            open_tables(folder, product),
            open_vectors(folder, manifest, product, servers),
            open_text(folder, manifest, product, servers),
            open_token_vectors(folder, manifest),
            embedder,
        )

    return sealed


@pytest.fixture(scope="session")
def edition() -> Callable[..., Snapshot]:
    """One edition of these generations, with these tombstones."""

    def of(*generations: LiveGeneration, tombstones: Tombstones | None = None) -> Snapshot:
        by_name = {one.product.name: one for one in generations}
        catalog = Catalog({name: CatalogEntry(one.product, None, one.id) for name, one in by_name.items()})
        live = Edition(1, {name: one.id for name, one in by_name.items()}, "publish", "", "")
        return Snapshot(live, by_name, catalog, {}, 0, tombstones or Tombstones())

    return of
