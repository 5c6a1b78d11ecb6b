"""The search engines of a generation, built from the chunks in its tables: vectors, text, token vectors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from indexes.device import Device
from indexes.document import Chunk
from indexes.duck.table_builder import TableBuilder
from indexes.elastic.index import Site
from indexes.embedder import OnnxEmbedder
from indexes.engines import build_text, build_token_vectors, build_vectors
from indexes.postgres.vectors import VectorSite
from indexes.rerank import TokenVectorBuilder
from ingest.progress import Advance
from semantic_layer.engine_settings import EngineSettings
from semantic_layer.product import DataProduct

CHUNKS_AT_ONCE = 8_192
"""Enough for the embedder to sort by length and to tokenize ahead; a few MB of text."""


def build_search_indexes(
    stage: Path,
    product: DataProduct,
    tables: TableBuilder,
    embedder: OnnxEmbedder,
    *,
    device: Device,
    advance: Advance,
    engines: EngineSettings,
    site: Site | None,
    database: VectorSite | None,
) -> dict[str, Mapping[str, Any]]:
    """Embed and index every chunk in number order; returns what the manifest records of each engine.

    Vectors that the embedder's cache knows are not computed again. Token vectors are stored where a dataset
    asks for them. `advance` hears how many more chunks are embedded. `site` and
    `database` are where engines on servers build.
    """
    vectors = build_vectors(
        stage,
        embedder.dimension,
        engine=engines.vectors,
        device=device,
        faiss=engines.faiss,
        site=site,
        database=database,
    )
    text = build_text(stage, product, engine=engines.text, site=site)
    reranked = {dataset.name for dataset in product.datasets if dataset.token_vectors}
    tokens = build_token_vectors(stage, embedder.dimension) if reranked else None
    for chunks in tables.stored_chunks(CHUNKS_AT_ONCE):
        vectors.add(embedder.embed([chunk.embedded_text for chunk in chunks], progress=advance))
        text.add(chunks)
        if tokens is not None:
            _add_tokens(tokens, embedder, chunks, reranked)
    facts: dict[str, Mapping[str, Any]] = {"vectors": vectors.seal(), "text": text.seal()}
    if tokens is not None:
        facts["token_vectors"] = tokens.seal()
    return facts


def _add_tokens(
    tokens: TokenVectorBuilder, embedder: OnnxEmbedder, chunks: list[Chunk], datasets: set[str]
) -> None:
    wanted = [chunk for chunk in chunks if chunk.dataset in datasets]
    found = iter(embedder.token_vectors([chunk.embedded_text for chunk in wanted]))
    tokens.add([next(found) if chunk.dataset in datasets else None for chunk in chunks])
