"""Nearest vectors in Elasticsearch: exact while there are few, then HNSW with its recall measured at the seal."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from indexes.elastic.connection import Cluster
from indexes.elastic.filters import Clause, Filters, numbered
from indexes.elastic.index import IndexBuilder, Site, check_index
from indexes.elastic.mapping import carried_fields, vector_properties
from indexes.ports import Allowed, Numbers, Scores, Vectors
from indexes.ranking import NOTHING, best_first, settled
from indexes.recall import DEPTH, exact_neighbours
from semantic_layer.product import DataProduct

FLAT_BELOW = 50_000
MAX_CANDIDATES = 10_000
"""Elasticsearch's limit of `num_candidates`, and of `k`."""

EFFORTS = (100, 200, 400, 1_000)
"""Candidates looked at, tried in turn until recall suffices."""

RECALL_WANTED = 0.98
HELD_OUT = 200
SEED = 20_251_122
BATCH = 4_096

_FLAT: Mapping[str, Any] = {"type": "flat"}
_HNSW: Mapping[str, Any] = {"type": "hnsw", "m": 16, "ef_construction": 200}


class ElasticVectorBuilder:
    """Gathers unit vectors in a file of the stage, and sends them at the seal, when it is known how many they are."""

    def __init__(self, folder: Path, dimension: int, site: Site, *, flat_below: int = FLAT_BELOW) -> None:
        self._dimension = dimension
        self._site = site
        self._flat_below = flat_below
        self._raw = folder / "vectors.raw"
        self._file = self._raw.open("wb")
        self._count = 0

    def add(self, vectors: Vectors) -> None:
        """See VectorBuilder."""
        if vectors.ndim != 2 or vectors.shape[1] != self._dimension:
            raise ValueError(f"vectors of shape {vectors.shape} in an index of dimension {self._dimension}")
        self._file.write(np.ascontiguousarray(vectors, np.float32).data)
        self._count += len(vectors)

    def seal(self) -> Mapping[str, Any]:
        """Send and check everything, and measure recall@10 against exact search; see IndexBuilder.seal."""
        self._file.close()
        started = time.monotonic()
        kind = _FLAT if self._count < self._flat_below else _HNSW
        product = self._site.product
        excluded = [one.grams for fields in carried_fields(product).values() for one in fields.values()]
        index = IndexBuilder(
            self._site,
            "vectors",
            vector_properties(product, self._dimension, kind),
            ["vector", *(name for name in excluded if name)],
        )
        index.create()
        shape = (self._count, self._dimension)
        vectors = (
            np.memmap(self._raw, np.float32, "r", shape=shape) if self._count else np.empty(shape, np.float32)
        )
        for start in range(0, self._count, BATCH):
            index.write(self._documents(index, start, vectors[start : start + BATCH]))
        facts = {**index.seal(), "index_options": dict(kind), "dimension": self._dimension}
        facts |= {"recall_at_10": 1.0} if kind is _FLAT else self._certified(facts, vectors)
        del vectors
        self._raw.unlink()
        return {**facts, "seconds": round(time.monotonic() - started, 3)}

    def _documents(self, index: IndexBuilder, start: int, vectors: Vectors) -> Iterable[dict[str, Any]]:
        for row, vector in zip(self._site.carried(start, len(vectors)), vectors.tolist(), strict=True):
            yield {**index.document(row, ""), "vector": vector}

    def _certified(self, facts: Mapping[str, Any], vectors: Vectors) -> dict[str, Any]:
        """Recall@10 of held-out stored vectors, themselves left out, without a filter and through one of 10 %.

        Candidates are raised until both suffice; a recall that never does stands in the manifest.
        """
        reader = ElasticVectorReader(self._site.cluster, facts, self._site.product)
        rng = np.random.default_rng(SEED)
        own = np.sort(rng.permutation(self._count)[:HELD_OUT]).astype(np.int64)
        queries = np.ascontiguousarray(vectors[own])
        tenth = rng.random(self._count) < 0.1
        truths = exact_neighbours(vectors, queries, own, [np.ones(self._count, bool), tenth])
        filters = (None, numbered(np.flatnonzero(tenth).tolist()))
        candidates, recalls = EFFORTS[0], [0.0]
        for candidates in EFFORTS:
            found = [_rows(reader, queries, candidates, inside) for inside in filters]
            recalls = [truth.recall(rows, vectors) for truth, rows in zip(truths, found, strict=True)]
            if min(recalls) >= RECALL_WANTED:
                break
        everywhere, filtered = (round(recall, 4) for recall in recalls)
        certified = {"recall_at_10": everywhere, "filtered_recall_at_10": filtered}
        return {"candidates": candidates, **certified, "recall_queries": len(own)}


def _rows(reader: ElasticVectorReader, queries: Vectors, candidates: int, inside: Clause | None) -> Numbers:
    """The eleven nearest of each query, a row a query; -1 stands for nothing."""
    rows = np.full((len(queries), DEPTH + 1), -1, np.int64)
    for row, query in zip(rows, queries, strict=True):
        numbers = reader.nearest(query, DEPTH + 1, candidates, inside)[0]
        row[: len(numbers)] = numbers
    return rows


class ElasticVectorReader:
    """Searches a sealed vector index. Thread-safe. Raises as ElasticTextReader does.

    Through a filter that leaves few, Elasticsearch scores all of them; else it walks its graph among them.
    """

    def __init__(self, cluster: Cluster, facts: Mapping[str, Any], product: DataProduct) -> None:
        check_index(cluster, facts, vector_properties(product, facts["dimension"], facts["index_options"]))
        self._cluster = cluster
        self._name: str = facts["index"]
        self._count: int = facts["count"]
        self._candidates: int = facts.get("candidates", EFFORTS[0])
        self._filters = Filters(product)

    @property
    def count(self) -> int:
        """The number of chunks."""
        return self._count

    def search(self, query: Vectors, k: int, allowed: Allowed | None = None) -> tuple[Numbers, Scores]:
        """See VectorReader. At most MAX_CANDIDATES."""
        total = self._count if allowed is None else len(allowed.numbers)
        if not total:
            return NOTHING
        inside = None if allowed is None else self._filters.of(allowed)
        k = min(k, MAX_CANDIDATES)
        return settled(
            lambda limit: self.nearest(query, min(limit, MAX_CANDIDATES), self._candidates, inside),
            k,
            min(total, MAX_CANDIDATES),
        )

    def score(self, query: Vectors, numbers: Numbers) -> Scores:
        """See VectorReader. A filter of no more numbers than candidates makes Elasticsearch score each exactly."""
        scores: dict[int, float] = {}
        wanted: list[int] = np.unique(numbers).tolist()
        for start in range(0, len(wanted), MAX_CANDIDATES):
            part = wanted[start : start + MAX_CANDIDATES]
            found, values = self.nearest(query, len(part), len(part), numbered(part))
            scores.update(zip(found.tolist(), values.tolist(), strict=True))
        return np.array([scores[number] for number in numbers.tolist()], np.float32)

    def nearest(
        self, query: Vectors, k: int, candidates: int, inside: Clause | None = None
    ) -> tuple[Numbers, Scores]:
        """The `k` nearest as Elasticsearch finds them among at least this many candidates, best first."""
        knn: dict[str, Any] = {
            "field": "vector",
            "query_vector": query.tolist(),
            "k": k,
            "num_candidates": min(max(k, candidates), MAX_CANDIDATES),
            **({} if inside is None else {"filter": [inside]}),
        }
        found: Any = self._cluster.ask(
            lambda es: (
                es.search(
                    index=self._name,
                    knn=knn,
                    size=k,
                    source=False,
                    stored_fields="_none_",
                    docvalue_fields=[{"field": "number"}],
                    track_total_hits=False,
                    allow_partial_search_results=False,
                    filter_path="hits.hits._score,hits.hits.fields",
                ).body
            )
        )
        hits = found.get("hits", {}).get("hits", ())
        numbers = np.array([hit["fields"]["number"][0] for hit in hits], np.int64)
        return best_first(numbers, _inner_products([hit["_score"] for hit in hits]), k)

    def close(self) -> None:
        """Connections belong to the cluster."""


def _inner_products(scores: list[float]) -> Scores:
    """Inner products from the scores that `max_inner_product` gives: x + 1, or 1 / (1 - x) where x is negative."""
    found = np.array(scores, np.float64)
    return np.where(found >= 1, found - 1, 1 - 1 / np.maximum(found, 1e-9)).astype(np.float32)
