"""Small generations in a real Elasticsearch, for the tests that every engine passes."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from indexes.document import Chunk
from indexes.elastic.breaker import Breaker
from indexes.elastic.connection import Cluster
from indexes.elastic.index import Site
from indexes.elastic.text import ElasticTextBuilder, ElasticTextReader
from indexes.elastic.vectors import ElasticVectorBuilder, ElasticVectorReader
from indexes.ports import CarriedRow, Vectors
from semantic_layer.engine_settings import ElasticsearchSettings
from semantic_layer.product import DataProduct, Dataset


def cluster_at(*urls: str, seconds: float = 10.0, breaker: Breaker | None = None, **how: Any) -> Cluster:
    """A cluster as settings would name it."""
    return Cluster(ElasticsearchSettings(urls, timeout_seconds=seconds, **how), {}, breaker=breaker)


def site_of(cluster: Cluster, product: DataProduct, rows: Sequence[CarriedRow]) -> Site:
    """A site for a new generation whose chunks carry these rows."""
    return Site(cluster, product, uuid.uuid4().hex[:16], "tests", lambda first, count: rows[first : first + count])


def bare_product(languages: Mapping[str, str]) -> DataProduct:
    """A product of documents without columns, in these languages by dataset."""
    datasets = tuple(Dataset(name, "document", (), language=language) for name, language in languages.items())
    return DataProduct("texts", "1", "texts", "active", "v3.1.0", datasets=datasets)


def rows_of(chunks: Sequence[Chunk], columns: Sequence[Mapping[str, Any]] = ()) -> list[CarriedRow]:
    """What these chunks carry: nothing, where no columns are given."""
    carried = columns or [{}] * len(chunks)
    return [CarriedRow(one.number, one.id, one.dataset, row) for one, row in zip(chunks, carried, strict=True)]


def text_reader(
    cluster: Cluster, product: DataProduct, chunks: Sequence[Chunk], columns: Sequence[Mapping[str, Any]] = ()
) -> ElasticTextReader:
    """These chunks, indexed, sealed and opened."""
    builder = ElasticTextBuilder(site_of(cluster, product, rows_of(chunks, columns)))
    builder.add(chunks)
    return ElasticTextReader(cluster, builder.seal(), product)


def vector_reader(cluster: Cluster, folder: Path, vectors: Vectors, flat_below: int) -> ElasticVectorReader:
    """These vectors, indexed, sealed and opened; their chunks carry nothing."""
    product = bare_product({"handbook": "en"})
    rows = [CarriedRow(number, f"id{number}", "handbook", {}) for number in range(len(vectors))]
    site = site_of(cluster, product, rows)
    builder = ElasticVectorBuilder(folder, vectors.shape[1], site, flat_below=flat_below)
    for start in range(0, len(vectors), 1000):
        builder.add(vectors[start : start + 1000])
    return ElasticVectorReader(cluster, builder.seal(), product)
