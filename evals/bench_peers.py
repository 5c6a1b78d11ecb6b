"""Other vector libraries on the data of `bench_faiss`, each in a process of its own, under a Python that has them.

Imports nothing of ours: `PYTHON evals/bench_peers.py hnswlib DATA_FOLDER POSTGRES_DSN`.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

VECTORS, QUERIES, BUCKET, CUTS = "vectors.npy", "queries.npy", "buckets.npy", "cuts.npz"
QUESTIONS = 1_000
BUCKETS = 2_000
FILTERS: Mapping[str, int] = {"none": 2_000, "50 %": 1_000, "5 %": 100, "0.5 %": 10, "0.05 %": 1}
"""A filter lets through the vectors whose bucket is below this."""

DEPTH = 10
WANTED = 0.95
SINGLE = 40
BATCH_SECONDS = 3.0
ROUNDING = 1e-5

Search = Callable[[Any, int], Any]
"""The DEPTH nearest numbers of queries (q, d) among buckets below a bound: an array (q, DEPTH), -1 for nothing."""


class Data:
    """The vectors (n, d), the questions, each vector's bucket, and what exact search scores."""

    def __init__(self, folder: Path) -> None:
        self.vectors = np.load(folder / VECTORS, mmap_mode="r")
        self.queries = np.load(folder / QUERIES)
        self.buckets = np.load(folder / BUCKET)
        self.cuts = np.load(folder / CUTS)

    def recall(self, found: Any, name: str) -> float:
        """The mean share of the ten true neighbours that was found."""
        near = np.einsum("qkd,qd->qk", self.vectors[np.maximum(found, 0)], self.queries[: len(found)])
        true = (near >= self.cuts[name][: len(found), None] - ROUNDING) & (found >= 0)
        return round(float(true.sum() / (DEPTH * len(found))), 4)


def resident() -> int:
    """This process's resident memory in MiB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096 // 2**20


def measured(data: Data, efforts: Iterator[tuple[str, Search]] | list[tuple[str, Search]]) -> dict[str, Any]:
    """For each filter the first effort with the recall wanted, else the hardest: its figures."""
    known = list(efforts)
    figures: dict[str, Any] = {}
    for name, below in FILTERS.items():
        for effort, search in known:
            found = search(data.queries[:SINGLE], below)
            recall = data.recall(found, name)
            figures[name] = {"effort": effort, "recall_at_10": recall, **_speed(data, search, below)}
            if recall >= WANTED:
                break
    return figures


def _speed(data: Data, search: Search, below: int) -> dict[str, Any]:
    single: list[float] = []
    for query in data.queries[:SINGLE]:
        started = time.perf_counter()
        search(query.reshape(1, -1), below)
        single.append(time.perf_counter() - started)
    share = int(min(QUESTIONS, max(SINGLE, BATCH_SECONDS / max(float(np.median(single)), 1e-6))))
    started = time.perf_counter()
    search(data.queries[:share], below)
    batch = time.perf_counter() - started
    return {"batch_qps": round(share / batch), "single_p50_ms": round(1000 * float(np.median(single)), 3)}


def hnswlib(data: Data, folder: Path, dsn: str) -> dict[str, Any]:
    """HNSW with M 32 as ours; its filter is a Python function, so it runs on one thread."""
    library = import_module("hnswlib")
    index = library.Index(space="ip", dim=data.vectors.shape[1])
    index.init_index(max_elements=len(data.vectors), ef_construction=80, M=16)
    for start in range(0, len(data.vectors), 100_000):
        index.add_items(data.vectors[start : start + 100_000])
    allowed = {below: data.buckets < below for below in FILTERS.values()}

    def at(ef: int) -> Search:
        def search(queries: Any, below: int) -> Any:
            index.set_ef(ef)
            if below >= BUCKETS:
                return index.knn_query(queries, k=DEPTH)[0].astype(np.int64)
            inside = allowed[below]
            rows = [
                _row(lambda one=one: index.knn_query(one, k=DEPTH, num_threads=1, filter=inside.__getitem__))
                for one in queries
            ]
            return np.array(rows)

        return search

    return measured(data, [(f"ef {ef}", at(ef)) for ef in (32, 64, 128, 256, 512, 2_000)])


def _row(ask: Callable[[], Any]) -> Any:
    """One query's numbers; hnswlib raises where it finds fewer than asked for."""
    try:
        return ask()[0][0].astype(np.int64)
    except RuntimeError:
        return np.full(DEPTH, -1)


def lancedb(data: Data, folder: Path, dsn: str) -> dict[str, Any]:
    """IVF-PQ with exact refining, filters applied before the search."""
    arrow = import_module("pyarrow")
    size = data.vectors.shape[1]
    database = import_module("lancedb").connect(str(folder / "lance"))

    def batches() -> Iterator[Any]:
        for start in range(0, len(data.vectors), 100_000):
            part = np.ascontiguousarray(data.vectors[start : start + 100_000])
            rows = arrow.FixedSizeListArray.from_arrays(arrow.array(part.reshape(-1)), size)
            numbers = arrow.array(np.arange(start, start + len(part)))
            buckets = arrow.array(data.buckets[start : start + len(part)])
            yield arrow.RecordBatch.from_arrays([numbers, buckets, rows], ["n", "bucket", "vector"])

    schema = arrow.schema(
        [("n", arrow.int64()), ("bucket", arrow.int32()), ("vector", arrow.list_(arrow.float32(), size))]
    )
    table = database.create_table("vectors", batches(), schema=schema)
    partitions = int(len(data.vectors) ** 0.5)
    table.create_index(metric="dot", num_partitions=partitions, num_sub_vectors=size // 4, index_type="IVF_PQ")
    table.create_scalar_index("bucket")

    def at(probes: int, refine: int) -> Search:
        def one(query: Any, below: int) -> Any:
            asked = (
                table.search(query).metric("dot").nprobes(probes).refine_factor(refine).limit(DEPTH).select(["n"])
            )
            if below < BUCKETS:
                asked = asked.where(f"bucket < {below}", prefilter=True)
            found = np.array(asked.to_arrow()["n"], np.int64)
            return np.concatenate([found, np.full(DEPTH - len(found), -1)])

        return lambda queries, below: np.array([one(query, below) for query in queries])

    grid = ((20, 10), (100, 40))
    return measured(data, [(f"nprobes {probes}, refine {refine}", at(probes, refine)) for probes, refine in grid])


def pgvector(data: Data, folder: Path, dsn: str) -> dict[str, Any]:
    """HNSW in PostgreSQL with iterative scans, which go on until a filter has let enough through."""
    psycopg = import_module("psycopg")
    connection = psycopg.connect(dsn, autocommit=True)
    size = data.vectors.shape[1]
    connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
    connection.execute(f"CREATE TABLE vectors (n int, bucket int, v halfvec({size}))")
    with connection.cursor().copy("COPY vectors FROM STDIN") as copy:
        for number, (bucket, vector) in enumerate(zip(data.buckets.tolist(), data.vectors, strict=True)):
            copy.write_row((number, bucket, "[" + ",".join(f"{x:.5f}" for x in vector.tolist()) + "]"))
    connection.execute("SET maintenance_work_mem = '4GB'")
    connection.execute("CREATE INDEX ON vectors USING hnsw (v halfvec_ip_ops) WITH (m = 16, ef_construction = 80)")
    connection.execute("CREATE INDEX ON vectors (bucket)")
    connection.execute("VACUUM ANALYZE vectors")
    connection.execute("SET hnsw.iterative_scan = relaxed_order")

    def at(ef: int) -> Search:
        def one(query: Any, below: int) -> Any:
            text = "[" + ",".join(f"{x:.5f}" for x in query.tolist()) + "]"
            where = f"WHERE bucket < {below}" if below < BUCKETS else ""
            rows = connection.execute(
                f"SELECT n FROM vectors {where} ORDER BY v <#> '{text}'::halfvec({size}) LIMIT {DEPTH}"
            ).fetchall()
            found = np.array([row[0] for row in rows], np.int64)
            return np.concatenate([found, np.full(DEPTH - len(found), -1)])

        def search(queries: Any, below: int) -> Any:
            connection.execute(f"SET hnsw.ef_search = {ef}")
            return np.array([one(query, below) for query in queries])

        return search

    return measured(data, [(f"ef_search {ef}", at(ef)) for ef in (40, 100, 200, 400, 1_000)])


ENGINES: Mapping[str, Callable[[Data, Path, str], dict[str, Any]]] = {
    "hnswlib": hnswlib,
    "lancedb": lancedb,
    "pgvector": pgvector,
}


def main() -> None:
    """Build and measure one library; prints its figures as one line of JSON."""
    name, folder, dsn = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    data = Data(folder)
    before, started = resident(), time.perf_counter()
    figures = ENGINES[name](data, folder, dsn)
    seconds = round(time.perf_counter() - started, 1)
    print(
        json.dumps(
            {"engine": name, "seconds_in_all": seconds, "resident_mb": resident() - before, "search": figures}
        )
    )


if __name__ == "__main__":
    main()
