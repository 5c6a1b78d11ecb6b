"""How long `retrieve` takes beside its bare parts, at any number of chunks: `python -m evals.bench_retrieve`."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evals.bench_corpus import english_texts, near_vectors
from indexes.document import Chunk, chunk_id, sha256_of
from indexes.embedder import OnnxEmbedder, open_embedder
from indexes.embedder_model import DEFAULT_MODEL
from indexes.engines import build_tables, build_text, build_vectors, open_tables, open_text, open_vectors
from indexes.generation import TEXT, VECTORS, Manifest
from indexes.ledger import Edition, Tombstones
from indexes.library import LiveGeneration, Snapshot
from indexes.question import Question
from indexes.retrieve import retrieve
from indexes.servers import Servers
from semantic_layer.catalog import Catalog, CatalogEntry
from semantic_layer.policy import Action, Grants, Policy, Rule, decide
from semantic_layer.predicate import TRUE, Compare, Predicate
from semantic_layer.principal import Principal
from semantic_layer.product import Column, ColumnType, DataProduct, Dataset

BASE_TEXTS = 600
WORDS_A_CHUNK = 90
BATCH = 10_000
SEED = 3

TICKETS = Dataset(
    name="tickets",
    kind="table",
    columns=(
        Column("id", ColumnType.INTEGER, key_position=1),
        Column("region", ColumnType.STRING),
        Column("team", ColumnType.INTEGER),
        Column("body", ColumnType.STRING, is_text=True),
    ),
)
PRODUCT = DataProduct("bench", "1", "bench", "active", "v3.1.0", datasets=(TICKETS,))
FILTERS: Mapping[str, Predicate] = {
    "none": TRUE,
    "region (30 %)": Compare("region", "eq", "EU"),
    "team (1 %)": Compare("team", "eq", 7),
}


def build(
    folder: Path, chunks: int, embedder: OnnxEmbedder, real_texts: int = BASE_TEXTS
) -> tuple[LiveGeneration, list[str], dict[str, float]]:
    """A product of this many chunks, opened; questions for it; and the seconds each engine took to build."""
    rng = np.random.default_rng(SEED)
    texts = english_texts(rng, chunks, WORDS_A_CHUNK)
    vectors = near_vectors(rng, embedder.embed([_start(text) for text in texts[:real_texts]]), chunks)
    for name in (VECTORS, TEXT):
        (folder / name).mkdir(parents=True)
    size = embedder.dimension
    builders = build_vectors(folder, size), build_text(folder, PRODUCT), build_tables(folder, PRODUCT)
    seconds = {"vectors": 0.0, "text": 0.0, "tables": 0.0}
    facts: dict[str, Any] = {}
    for start in range(0, chunks, BATCH):
        part = [_chunk(number, texts[number]) for number in range(start, min(start + BATCH, chunks))]
        rows = [_row(chunk.number) for chunk in part]
        _timed(seconds, "vectors", lambda at=start: builders[0].add(vectors[at : at + BATCH]))
        _timed(seconds, "text", lambda part=part: builders[1].add(part))
        _timed(seconds, "tables", lambda part=part, rows=rows: builders[2].add_chunks(part, rows))
    for name, builder in zip(seconds, builders, strict=True):
        _timed(seconds, name, lambda name=name, builder=builder: facts.update({name: builder.seal()}))
    manifest = Manifest("bench", "bench", "", (), {}, "", "", {"chunks": chunks}, facts, (), (), {}, {})
    started = time.perf_counter()
    live = LiveGeneration(
        "bench",
        folder,
        manifest,
        PRODUCT,
        None,
        open_tables(folder, PRODUCT),
        open_vectors(folder, manifest, PRODUCT, Servers()),
        open_text(folder, manifest, PRODUCT, Servers()),
        None,
        embedder,
    )
    seconds["open"] = time.perf_counter() - started
    return live, [_start(text, 8) for text in texts[:real_texts]], seconds


def measure(live: LiveGeneration, questions: Sequence[str], repeats: int) -> dict[str, Any]:
    """Milliseconds of `retrieve` and of its parts called bare, turn by turn on the same questions."""
    assert live.vectors is not None
    assert live.text is not None
    assert live.embedder is not None
    catalog = Catalog({"bench": CatalogEntry(PRODUCT, None, live.id)})
    edition = Edition(1, {"bench": live.id}, "publish", "", "")
    snapshot = Snapshot(edition, {"bench": live}, catalog, {}, 0, Tombstones())
    figures: dict[str, Any] = {}
    for name, where in FILTERS.items():
        grants = _grants(where)
        allowed = None if where == TRUE else live.tables.allowed({"tickets": where})
        bare: list[float] = []
        whole: list[float] = []
        for text in [questions[at % len(questions)] for at in range(repeats + 10)]:
            started = time.perf_counter()
            query = live.embedder.embed_query(text).vector
            live.vectors.search(query, 100, allowed)
            live.text.search(text, 100, allowed)
            bare.append(1000 * (time.perf_counter() - started))
            started = time.perf_counter()
            retrieve(snapshot, Question(text), grants)
            whole.append(1000 * (time.perf_counter() - started))
        figures[name] = _figures(whole[10:], bare[10:])
    return figures


def _figures(whole: Sequence[float], bare: Sequence[float]) -> dict[str, float]:
    """The first calls, which warm caches, are left out by the caller."""
    middle, bare_middle = float(np.median(whole)), float(np.median(bare))
    return {
        "p50_ms": round(middle, 2),
        "p95_ms": round(float(np.percentile(whole, 95)), 2),
        "bare_p50_ms": round(bare_middle, 2),
        "added_p50_ms": round(middle - bare_middle, 2),
        "ratio": round(middle / bare_middle, 2),
    }


def _grants(rows: Predicate) -> Grants:
    rule = Rule("all", frozenset({"*"}), frozenset({Action.SEARCH}), rows=rows)
    return {"bench": decide(Principal("bench"), PRODUCT, Action.SEARCH, Policy("bench", (rule,)))}


def _chunk(number: int, text: str) -> Chunk:
    sha = sha256_of(text)
    identity = chunk_id("bench", "tickets", str(number), 0, sha)
    return Chunk(number, identity, "tickets", str(number), "", text, 0, len(text), sha, text_column="body")


def _row(number: int) -> dict[str, Any]:
    return {"id": number, "region": "EU" if number % 10 < 3 else "US", "team": number % 100}


def _start(text: str, words: int = 40) -> str:
    return " ".join(text.split()[:words])


def _timed(seconds: dict[str, float], name: str, work: Callable[[], None]) -> None:
    started = time.perf_counter()
    work()
    seconds[name] += time.perf_counter() - started


def main() -> None:
    """Build, measure, and print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunks", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--home", type=Path, required=True, help="a home whose models/ holds the default model")
    options = parser.parse_args()
    embedder = open_embedder(options.home, DEFAULT_MODEL)
    with tempfile.TemporaryDirectory() as folder:
        live, questions, seconds = build(Path(folder), options.chunks, embedder)
        figures = measure(live, questions, options.repeats)
        engines = {name: dict(facts) for name, facts in live.manifest.engines.items()}
        live.close()
    report = {"chunks": options.chunks, "retrieve": figures, "build_seconds": seconds, "engines": engines}
    print(json.dumps(report, indent=2, default=str))


if __name__ == "__main__":
    main()
