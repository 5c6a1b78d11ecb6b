"""Every engine returns exactly the chunks that plain Python allows, for any documents, filter and grant."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from indexes import vectors_faiss
from indexes.document import Chunk, sha256_of
from indexes.duck.carried import carried_rows
from indexes.duck.table_builder import TableBuilder
from indexes.duck.tables import DuckTables
from indexes.elastic.connection import Cluster
from indexes.elastic.index import Site
from indexes.elastic.text import ElasticTextBuilder, ElasticTextReader
from indexes.elastic.vectors import ElasticVectorBuilder, ElasticVectorReader
from indexes.ports import Allowed, TextReader, VectorReader, Vectors
from indexes.postgres.connection import Pool
from indexes.postgres.vectors import PgvectorBuilder, PgvectorReader, VectorSite
from indexes.text_tantivy import TantivyBuilder, TantivyReader
from indexes.vectors_faiss import FaissBuilder, FaissReader
from indexes.visibility import TEXT_COLUMN, visible_chunks
from semantic_layer.engine_settings import VectorIndexName
from semantic_layer.policy import Grant
from semantic_layer.predicate import FALSE, TRUE, Predicate, all_of, bind, evaluate, fields_of
from semantic_layer.product import DataProduct, Dataset
from tests.indexes.elastic_site import cluster_at
from tests.indexes.random_corpus import Corpus, corpus, grant, predicate

PRODUCTS, CORPORA_A_PRODUCT, PAIRS_A_CORPUS = 2, 25, 100
CORPORA_A_QUESTION = 10
"""A question is of one corpus up to so many, with a grant and a filter for each: as many pairs are tried at once."""

LAYOUTS: tuple[VectorIndexName, ...] = ("flat", "hnsw", "ivf", "ivf_pq")
DIMENSION = 16
SEED = 20_251_122 if os.environ.get("WELLHEAD_REQUIRE_ENGINES") == "1" else random.SystemRandom().randrange(2**32)


@dataclass(frozen=True)
class Sealed:
    """One product's corpora in every engine; `rows` is what each dataset's chunks carry, by number.

    `dataset_of` names each number's dataset; `query` is every question's vector.
    """

    product: DataProduct
    corpora: tuple[Corpus, ...]
    rows: Mapping[str, Mapping[int, Mapping[str, object]]]
    dataset_of: Sequence[str]
    query: Vectors
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


def carried_by_dataset(
    made: list[tuple[Chunk, Mapping[str, object]]],
) -> dict[str, dict[int, Mapping[str, object]]]:
    found: dict[str, dict[int, Mapping[str, object]]] = {}
    for chunk, row in made:
        found.setdefault(chunk.dataset, {})[chunk.number] = {**row, TEXT_COLUMN: chunk.text_column}
    return found


def seal(folder: Path, rng: random.Random, name: str, cluster: Cluster, pool: Pool) -> Sealed:
    corpora = tuple(corpus(rng, f"d{place}") for place in range(CORPORA_A_PRODUCT))
    product = DataProduct(name, "1", name, "active", "v3.1.0", datasets=tuple(one.dataset for one in corpora))
    made = chunks_of(corpora, rng)
    chunks = [chunk for chunk, _ in made]
    tables = TableBuilder(folder / "tables.duckdb", product)
    tables.add_chunks(chunks, [row for _, row in made])
    site = Site(cluster, product, f"{rng.randrange(2**64):016x}", "tests", carried_rows(tables, product))
    vectors = unit_vectors(len(chunks) + 1, rng)
    texts = sealed_texts(folder, corpora, chunks, site)
    found = sealed_vectors(folder, vectors[1:], site, VectorSite(pool, "vectors"))
    tables.seal()
    opened = DuckTables(folder / "tables.duckdb", product)
    names = [chunk.dataset for chunk in chunks]
    return Sealed(product, corpora, carried_by_dataset(made), names, vectors[0], opened, texts, found)


def unit_vectors(count: int, rng: random.Random) -> Vectors:
    vectors = np.random.default_rng(rng.randrange(2**32)).standard_normal((count, DIMENSION))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def sealed_texts(
    folder: Path, corpora: tuple[Corpus, ...], chunks: list[Chunk], site: Site
) -> dict[str, TextReader]:
    (folder / "text").mkdir()
    tantivy = TantivyBuilder(folder / "text", {one.dataset.name: "en" for one in corpora})
    elastic = ElasticTextBuilder(site)
    for builder in (tantivy, elastic):
        builder.add(chunks)
    tantivy.seal()
    return {
        "tantivy": TantivyReader(folder / "text"),
        "elasticsearch": ElasticTextReader(site.cluster, elastic.seal(), site.product),
    }


def sealed_vectors(folder: Path, vectors: Vectors, site: Site, database: VectorSite) -> dict[str, VectorReader]:
    """The vectors in every engine, in FAISS by each layout."""
    found: dict[str, VectorReader] = {}
    for name in (*LAYOUTS, "elastic", "postgres"):
        (folder / name).mkdir()
    for layout in LAYOUTS:
        faiss = FaissBuilder(folder / layout, DIMENSION, device="cpu", layout=layout)
        faiss.add(vectors)
        found[f"faiss {layout}"] = FaissReader(folder / layout, faiss.seal())
    elastic = ElasticVectorBuilder(folder / "elastic", DIMENSION, site)
    elastic.add(vectors)
    found["elasticsearch vectors"] = ElasticVectorReader(site.cluster, elastic.seal(), site.product)
    postgres = PgvectorBuilder(folder / "postgres", DIMENSION, database)
    postgres.add(vectors)
    found["pgvector"] = PgvectorReader(database, postgres.seal())
    return found


@pytest.fixture(scope="module")
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    with closing(cluster_at(request.getfixturevalue("elastic_node").url)) as made:
        yield made


@pytest.fixture(scope="module")
def pool(postgres_dsn: str) -> Iterator[Pool]:
    with closing(Pool(postgres_dsn)) as made:
        yield made


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
        found[name] = sorted(vectors.search(sealed.query, total, allowed)[0].tolist())
    return found


def questions_of(sealed: Sealed, rng: random.Random) -> Iterator[tuple[int, dict[str, Predicate]]]:
    """How many pairs of a random grant and a random filter a question holds, and what these allow together.

    Each corpus is in PAIRS_A_CORPUS of the questions.
    """
    datasets = {one.dataset.name: one.dataset for one in sealed.corpora}
    carried = {name: [column for column in one.columns if column.carried] for name, one in datasets.items()}
    for _ in range(PAIRS_A_CORPUS):
        left = rng.sample(list(datasets), len(datasets))
        while left:
            size = rng.randint(1, CORPORA_A_QUESTION)
            names, left = left[:size], left[size:]
            asked = {name: TRUE if rng.random() < 0.1 else predicate(rng, carried[name]) for name in names}
            granted = grant(rng, sealed.product, {name: carried[name] for name in names})
            yield len(names), where_of(granted, asked, datasets)


def allowed_by(sealed: Sealed, where: Mapping[str, Predicate]) -> list[int]:
    """The chunks that plain Python allows."""
    rows = ((number, row, where[name]) for name in where for number, row in sealed.rows[name].items())
    return sorted(number for number, row, asked in rows if evaluate(asked, row) is True)


@pytest.mark.elasticsearch
@pytest.mark.postgres
def test_every_engine_returns_exactly_what_plain_python_allows(
    tmp_path: Path, cluster: Cluster, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So few vectors would be scored one by one through any filter: let the indexes themselves obey it.
    monkeypatch.setattr(vectors_faiss, "EXACT_ALLOWED", 0)
    pairs, selected = 0, 0
    with ThreadPoolExecutor(3) as threads:
        for place in range(PRODUCTS):
            rng = random.Random(SEED + place)
            (tmp_path / f"p{place}").mkdir()
            sealed = seal(tmp_path / f"p{place}", rng, f"p{place}", cluster, pool)
            counts, wheres = zip(*questions_of(sealed, rng), strict=True)
            for where, got in zip(wheres, threads.map(partial(answers, sealed), wheres), strict=True):
                expected = allowed_by(sealed, where)
                wrong = {name: numbers for name, numbers in got.items() if numbers != expected}
                assert not wrong, f"seed {SEED}, product {place}, {where!r} allows {expected}, not {wrong}"
                selected += len({sealed.dataset_of[number] for number in expected})
            pairs += sum(counts)
    assert pairs >= 5_000
    assert selected > pairs / 10
