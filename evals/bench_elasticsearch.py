"""What Wellhead adds to Elasticsearch itself: `python -m evals.bench_elasticsearch --url http://localhost:9200`.

Loads the same documents by our builder and by a bare `streaming_bulk`, turn by turn, and asks the same questions by
`retrieve` and by a bare `_search` of the same words, depth and filter. Its indices begin with `bench-` and are dropped.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from evals.bench_corpus import english_texts
from evals.bench_retrieve import PRODUCT, WORDS_A_CHUNK
from evals.targets import Target
from indexes.document import Chunk, chunk_id, sha256_of
from indexes.elastic.connection import BULK_SECONDS, Cluster
from indexes.elastic.index import Site
from indexes.elastic.mapping import analysis, languages_of, text_properties
from indexes.elastic.text import ElasticTextBuilder, ElasticTextReader
from indexes.engines import build_tables, open_tables
from indexes.generation import Manifest
from indexes.ledger import Edition, Tombstones
from indexes.legs import LEG_DEPTH
from indexes.library import LiveGeneration, Snapshot
from indexes.ports import CarriedRow
from indexes.question import Question
from indexes.retrieve import retrieve
from semantic_layer.catalog import Catalog, CatalogEntry
from semantic_layer.engine_settings import ElasticsearchSettings
from semantic_layer.policy import Action, Grants, Policy, Rule, decide
from semantic_layer.predicate import TRUE, Compare, Predicate
from semantic_layer.principal import Principal

SEED = 5
BATCH = 8_192
WARM_UP = 20
TARGETS: Mapping[str, Target] = {"bulk_ratio": Target(at_least=0.8), "retrieve_added_p50_ms": Target(at_most=5.0)}


class _Keeping(Cluster):
    """A cluster that is sent nothing: it keeps the documents that a builder would load."""

    documents: list[Mapping[str, Any]]

    def load(self, index: str, documents: Iterable[Mapping[str, Any]]) -> int:
        self.documents = [*getattr(self, "documents", []), *documents]
        return len(self.documents)


class Bench:
    """One corpus, ready to be loaded and asked; `chunks` texts of English with two columns to filter by."""

    def __init__(self, settings: ElasticsearchSettings, folder: Path, chunks: int) -> None:
        self.settings = settings
        self.folder = folder
        self.cluster = Cluster(settings, {})
        texts = english_texts(np.random.default_rng(SEED), chunks, WORDS_A_CHUNK)
        self.chunks = [_chunk(number, text) for number, text in enumerate(texts)]
        self.rows = [_row(chunk) for chunk in self.chunks]
        self.questions = [" ".join(text.split()[4:12]) for text in texts[:200]]
        self.made: list[str] = []

    def site(self, cluster: Cluster) -> Site:
        """A site for one more generation of the corpus."""
        generation = uuid.uuid4().hex[:16]
        return Site(cluster, PRODUCT, generation, "bench", lambda first, count: self.rows[first : first + count])

    def documents(self) -> list[Mapping[str, Any]]:
        """What our builder sends, as it sends it."""
        keeping = _Keeping(self.settings, {})
        self._added(ElasticTextBuilder(self.site(keeping)))
        return keeping.documents

    def ours(self) -> tuple[float, ElasticTextBuilder]:
        """Seconds to make and load every document by our builder."""
        builder = ElasticTextBuilder(self.site(self.cluster))
        started = time.perf_counter()
        self._added(builder)
        return time.perf_counter() - started, builder

    def bare(self, documents: Sequence[Mapping[str, Any]]) -> float:
        """Seconds of one `streaming_bulk` of documents that are ready, into an index of the same mapping."""
        name = f"{self.settings.prefix}-bare-{uuid.uuid4().hex[:8]}"
        settings = {
            "number_of_shards": 1,
            "number_of_replicas": 0,
            "refresh_interval": "-1",
            "analysis": analysis(languages_of(PRODUCT)),
        }
        mappings = {
            "dynamic": "strict",
            "properties": text_properties(PRODUCT),
            "_source": {"excludes": ["text_*"]},
        }
        client = self.cluster.ask(lambda es: es).options(request_timeout=BULK_SECONDS)
        client.indices.create(index=name, settings=settings, mappings=mappings)
        # The bare library is what ours is compared with; nothing else in this package speaks to it.
        helpers = import_module("elasticsearch.helpers")
        started = time.perf_counter()
        for _ in helpers.streaming_bulk(client, ({"_index": name, "_source": one} for one in documents)):
            pass
        seconds = time.perf_counter() - started
        client.indices.delete(index=name)
        return seconds

    def opened(self, builder: ElasticTextBuilder) -> LiveGeneration:
        """The corpus as a live generation without vectors."""
        tables = build_tables(self.folder, PRODUCT)
        for start in range(0, len(self.chunks), BATCH):
            part = slice(start, start + BATCH)
            tables.add_chunks(self.chunks[part], [dict(row.columns) for row in self.rows[part]])
        counts = tables.seal()
        facts = builder.seal()
        manifest = Manifest("bench", "bench", "", (), {}, "", "", counts, {"text": facts}, (), (), {}, {})
        text = ElasticTextReader(self.cluster, facts, PRODUCT)
        return LiveGeneration(
            "bench", self.folder, manifest, PRODUCT, None, open_tables(self.folder, PRODUCT), text=text
        )

    def close(self) -> None:
        """Drop every index of the benchmark."""
        names = self.cluster.ask(lambda es: list(es.indices.get(index=f"{self.settings.prefix}-*").body))
        for name in names:
            self.cluster.ask(lambda es, name=name: es.indices.delete(index=name), seconds=BULK_SECONDS)
        self.cluster.close()

    def _added(self, builder: ElasticTextBuilder) -> None:
        for start in range(0, len(self.chunks), BATCH):
            builder.add(self.chunks[start : start + BATCH])


def measure_load(bench: Bench, rounds: int) -> tuple[dict[str, float], ElasticTextBuilder]:
    """Documents a second of both, medians of so many rounds, turn by turn; and the last builder, still open."""
    documents = bench.documents()
    bench.bare(documents[:2_000])
    _, builder = bench.ours()
    ours: list[float] = []
    bare: list[float] = []
    for _ in range(rounds):
        bare.append(len(documents) / bench.bare(documents))
        seconds, builder = bench.ours()
        ours.append(len(documents) / seconds)
    figures = {"documents_a_second": median(ours), "bare_documents_a_second": median(bare)}
    return {**figures, "ratio": median(ours) / median(bare)}, builder


def measure_questions(bench: Bench, live: LiveGeneration, repeats: int) -> dict[str, dict[str, float]]:
    """Milliseconds of `retrieve` and of a bare `_search`, turn by turn, without a filter and with one of 30 %."""
    index: str = live.manifest.engines["text"]["index"]
    client = bench.cluster.ask(lambda es: es)
    catalog = Catalog({"bench": CatalogEntry(PRODUCT, None, live.id)})
    snapshot = Snapshot(
        Edition(1, {"bench": live.id}, "publish", "", ""), {"bench": live}, catalog, {}, 0, Tombstones()
    )
    figures: dict[str, dict[str, float]] = {}
    filters: dict[str, tuple[Predicate, list[Any]]] = {
        "none": (TRUE, []),
        "region (30 %)": (Compare("region", "eq", "EU"), [{"term": {"d0.c1": "EU"}}]),
    }
    for name, (where, clause) in filters.items():
        grants = _grants(where)
        whole: list[float] = []
        bare: list[float] = []
        for text in [bench.questions[at % len(bench.questions)] for at in range(repeats + WARM_UP)]:
            query = {"bool": {"must": [{"match": {"text_en": text}}], "filter": clause}}
            started = time.perf_counter()
            client.search(index=index, query=query, size=LEG_DEPTH, source=False)
            bare.append(1_000 * (time.perf_counter() - started))
            started = time.perf_counter()
            retrieve(snapshot, Question(text, mode="text"), grants)
            whole.append(1_000 * (time.perf_counter() - started))
        figures[name] = {
            "p50_ms": round(median(whole[WARM_UP:]), 2),
            "bare_p50_ms": round(median(bare[WARM_UP:]), 2),
            "added_p50_ms": round(median(whole[WARM_UP:]) - median(bare[WARM_UP:]), 2),
        }
    return figures


def run(settings: ElasticsearchSettings, folder: Path, chunks: int, rounds: int, repeats: int) -> dict[str, Any]:
    """Every figure, and whether each target is met."""
    bench = Bench(settings, folder, chunks)
    try:
        load, builder = measure_load(bench, rounds)
        live = bench.opened(builder)
        questions = measure_questions(bench, live, repeats)
        live.close()
        version = bench.cluster.version()
    finally:
        bench.close()
    added = max(one["added_p50_ms"] for one in questions.values())
    judged = {"bulk_ratio": load["ratio"], "retrieve_added_p50_ms": added}
    return {
        "elasticsearch": version,
        "chunks": chunks,
        "load": {name: round(value, 3) for name, value in load.items()},
        "retrieve": questions,
        "targets": {name: target.judged(judged[name]) for name, target in TARGETS.items()},
    }


def _grants(rows: Predicate) -> Grants:
    rule = Rule("all", frozenset({"*"}), frozenset({Action.SEARCH}), rows=rows)
    return {"bench": decide(Principal("bench"), PRODUCT, Action.SEARCH, Policy("bench", (rule,)))}


def _chunk(number: int, text: str) -> Chunk:
    sha = sha256_of(text)
    identity = chunk_id("bench", "tickets", str(number), 0, sha)
    return Chunk(number, identity, "tickets", str(number), "", text, 0, len(text), sha, text_column="body")


def _row(chunk: Chunk) -> CarriedRow:
    number = chunk.number
    columns = {"id": number, "region": "EU" if number % 10 < 3 else "US", "team": number % 100}
    return CarriedRow(number, chunk.id, chunk.dataset, {**columns, "wh.text_column": chunk.text_column})


def main() -> None:
    """Read the command line, measure, and print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", required=True)
    parser.add_argument("--chunks", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=200)
    options = parser.parse_args()
    settings = ElasticsearchSettings((options.url,), prefix=f"bench-{uuid.uuid4().hex[:8]}", replicas=0)
    with tempfile.TemporaryDirectory() as folder:
        report = run(settings, Path(folder), options.chunks, options.rounds, options.repeats)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
