"""Every engine returns exactly the chunks that plain Python allows, for any documents, filter and grant."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from indexes.document import Chunk, sha256_of
from indexes.duck.carried import carried_rows
from indexes.duck.table_builder import TableBuilder
from indexes.duck.tables import DuckTables
from indexes.elastic.connection import Cluster
from indexes.elastic.index import Site
from indexes.elastic.text import ElasticTextBuilder, ElasticTextReader
from indexes.elastic.vectors import ElasticVectorBuilder, ElasticVectorReader
from indexes.ports import Allowed, TextReader, VectorReader
from indexes.text_tantivy import TantivyBuilder, TantivyReader
from indexes.vectors_faiss import FaissBuilder, FaissReader
from indexes.visibility import TEXT_COLUMN, visible_chunks
from semantic_layer.policy import Grant
from semantic_layer.predicate import FALSE, TRUE, Predicate, all_of, bind, evaluate, fields_of
from semantic_layer.product import DataProduct, Dataset
from tests.indexes.elastic_site import cluster_at
from tests.indexes.random_corpus import Corpus, corpus, grant, predicate

PRODUCTS, CORPORA_A_PRODUCT, PAIRS_A_CORPUS = 5, 10, 100
SEED = 20_251_122 if os.environ.get("WELLHEAD_REQUIRE_ENGINES") == "1" else random.SystemRandom().randrange(2**32)
VECTOR = np.array([1.0, 0.0, 0.0, 0.0], np.float32)


@dataclass(frozen=True)
class Sealed:
    """One product's corpora in every engine; `rows` is what each chunk carries, by its number."""

    product: DataProduct
    corpora: tuple[Corpus, ...]
    chunks: tuple[Chunk, ...]
    rows: tuple[Mapping[str, object], ...]
    tables: DuckTables
    texts: Mapping[str, TextReader]
    vectors: Mapping[str, VectorReader]


def chunks_of(corpora: tuple[Corpus, ...], rng: random.Random) -> list[tuple[Chunk, Mapping[str, object]]]:
    """Every row's two texts; all of them hold the word that every question asks for."""
    found: list[tuple[Chunk, Mapping[str, object]]] = []
    for one in corpora:
        for place, row in enumerate(one.rows):
            for column in ("body", "note"):
                text = " ".join(["passage", *rng.choices(("red", "green", "blue", "東京"), k=rng.randint(0, 4))])
                name, number = one.dataset.name, len(found)
                body = (text, 0, len(text), sha256_of(text))
                found.append((Chunk(number, f"id{number}", name, f"r{place}", "", *body, text_column=column), row))
    return found


def seal(folder: Path, rng: random.Random, name: str, cluster: Cluster) -> Sealed:
    corpora = tuple(corpus(rng, f"d{place}") for place in range(CORPORA_A_PRODUCT))
    product = DataProduct(name, "1", name, "active", "v3.1.0", datasets=tuple(one.dataset for one in corpora))
    made = chunks_of(corpora, rng)
    chunks = [chunk for chunk, _ in made]
    tables = TableBuilder(folder / "tables.duckdb", product)
    tables.add_chunks(chunks, [row for _, row in made])
    site = Site(cluster, product, f"{rng.randrange(2**64):016x}", "tests", carried_rows(tables, product))
    languages = {one.dataset.name: "en" for one in corpora}
    for kind in ("text", "vectors", "dense"):
        (folder / kind).mkdir()
    tantivy, elastic = TantivyBuilder(folder / "text", languages), ElasticTextBuilder(site)
    faiss = FaissBuilder(folder / "vectors", len(VECTOR), device="cpu")
    dense = ElasticVectorBuilder(folder / "dense", len(VECTOR), site)
    angles = np.linspace(0, 1, len(chunks))
    vectors = np.stack([np.cos(angles), np.sin(angles), 0 * angles, 0 * angles], 1).astype(np.float32)
    for builder in (tantivy, elastic):
        builder.add(chunks)
    for builder in (faiss, dense):
        builder.add(vectors)
    tantivy.seal()
    facts = {"faiss": faiss.seal(), "text": elastic.seal(), "vectors": dense.seal()}
    tables.seal()
    return Sealed(
        product,
        corpora,
        tuple(chunks),
        tuple({**row, TEXT_COLUMN: chunk.text_column} for chunk, row in made),
        DuckTables(folder / "tables.duckdb", product),
        {
            "tantivy": TantivyReader(folder / "text"),
            "elasticsearch": ElasticTextReader(cluster, facts["text"], product),
        },
        {
            "faiss": FaissReader(folder / "vectors", facts["faiss"]),
            "elasticsearch vectors": ElasticVectorReader(cluster, facts["vectors"], product),
        },
    )


@pytest.fixture(scope="module")
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    made = cluster_at(request.getfixturevalue("elastic_node").url)
    yield made
    made.close()


def where_of(
    granted: Grant, asked: Mapping[str, Predicate], datasets: Mapping[str, Dataset]
) -> dict[str, Predicate]:
    """What `scopes` asks of the engines: what the grant shows of each dataset, and the question's own filter."""
    found: dict[str, Predicate] = {}
    for name, filtered in asked.items():
        rows = visible_chunks(datasets[name], granted.dataset(name), fields_of(filtered))
        columns = {column.name: column for column in datasets[name].columns}
        both = all_of(rows, bind(filtered, columns))
        if both != FALSE:
            found[name] = both
    return found


def answers(sealed: Sealed, where: Mapping[str, Predicate]) -> dict[str, list[int]]:
    """Which chunks each engine lets through, asked for all of them."""
    by_tables = sealed.tables.allowed(where)
    total = by_tables.total
    found = {"tables": by_tables.numbers.tolist()}
    # Told that everything may be allowed, an engine that filters by itself shows what its own filter lets through.
    anything = Allowed(np.arange(total, dtype=np.int64), total, where)
    for name, text in sealed.texts.items():
        allowed = anything if name == "elasticsearch" else by_tables
        found[name] = sorted(text.search("passage", total, allowed)[0].tolist())
    for name, vectors in sealed.vectors.items():
        allowed = anything if name == "elasticsearch vectors" else by_tables
        found[name] = sorted(vectors.search(VECTOR, total, allowed)[0].tolist())
    return found


def pairs_of(sealed: Sealed, rng: random.Random) -> Iterator[dict[str, Predicate]]:
    """What a random grant and a random filter allow together, for each pair of them."""
    datasets = {one.dataset.name: one.dataset for one in sealed.corpora}
    carried = {name: [column for column in one.columns if column.carried] for name, one in datasets.items()}
    for _ in range(CORPORA_A_PRODUCT * PAIRS_A_CORPUS):
        names = [rng.choice(list(datasets))]
        names += [name for name in datasets if name not in names and rng.random() < 0.1]
        asked = {name: TRUE if rng.random() < 0.1 else predicate(rng, carried[name]) for name in names}
        yield where_of(grant(rng, sealed.product, {name: carried[name] for name in names}), asked, datasets)


def allowed_by(sealed: Sealed, where: Mapping[str, Predicate]) -> list[int]:
    """The chunks that plain Python allows."""
    numbered = enumerate(zip(sealed.chunks, sealed.rows, strict=True))
    return [
        number
        for number, (chunk, row) in numbered
        if chunk.dataset in where and evaluate(where[chunk.dataset], row) is True
    ]


@pytest.mark.elasticsearch
def test_every_engine_returns_exactly_what_plain_python_allows(
    tmp_path_factory: pytest.TempPathFactory, cluster: Cluster
) -> None:
    pairs, selected = 0, 0
    with ThreadPoolExecutor(3) as threads:
        for place in range(PRODUCTS):
            rng = random.Random(SEED + place)
            sealed = seal(tmp_path_factory.mktemp(f"p{place}"), rng, f"p{place}", cluster)
            wheres = list(pairs_of(sealed, rng))
            for where, got in zip(wheres, threads.map(partial(answers, sealed), wheres), strict=True):
                expected = allowed_by(sealed, where)
                pairs, selected = pairs + 1, selected + bool(expected)
                wrong = {name: numbers for name, numbers in got.items() if numbers != expected}
                assert not wrong, f"seed {SEED}, product {place}, {where!r} allows {expected}, not {wrong}"
    assert pairs >= 5_000
    assert selected > pairs / 10
