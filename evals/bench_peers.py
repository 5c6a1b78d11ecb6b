"""Other vector libraries on the data of `bench_faiss`, each in a process of its own, under a Python that has them.

Imports nothing of ours: `PYTHON evals/bench_peers.py hnswlib DATA_FOLDER POSTGRES_DSN MINUTES`; the last is how long
pgvector may build its graph, before it is given lists instead. Each figure is appended to FIGURES in the data folder
as soon as it is known, so that a run which is stopped has told what it found.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

VECTORS, QUERIES, BUCKET, CUTS = "vectors.npy", "queries.npy", "buckets.npy", "cuts.npz"
FIGURES = "figures.jsonl"
QUESTIONS = 1_000
BUCKETS = 2_000
FILTERS: Mapping[str, int] = {"none": 2_000, "50 %": 1_000, "5 %": 100, "0.5 %": 10, "0.05 %": 1}
"""A filter lets through the vectors whose bucket is below this."""

DEPTH = 10
WANTED = 0.95
SINGLE, FEWEST = 40, 8
SINGLE_SECONDS = 20.0
"""Questions are asked one at a time for about so long, SINGLE at most and FEWEST at least."""

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


@dataclass(frozen=True)
class Built:
    """A library that holds the vectors: what it is, how long that took, its MiB by where they lie, and its searches.

    `efforts` are tried in turn, the easiest first; `exact` is a search without the index, where a caller has to choose
    it: through a narrow filter it is the faster one.
    """

    name: str
    seconds: float
    megabytes: Mapping[str, int]
    efforts: Sequence[tuple[str, Search]]
    exact: Search | None = None


def anonymous() -> int:
    """This process's resident memory in MiB without the files it has mapped."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("RssAnon"))


def measured(data: Data, built: Built, note: Callable[[dict[str, Any]], None] = lambda _: None) -> dict[str, Any]:
    """For each filter the figures of the first effort with the recall wanted, else the hardest; `exact` if faster."""
    figures: dict[str, Any] = {}
    for name, below in FILTERS.items():
        for effort, search in built.efforts:
            figures[name] = _figures(data, name, effort, search, note)
            if figures[name]["recall_at_10"] >= WANTED:
                break
        if built.exact is not None and below < BUCKETS:
            exact = _figures(data, name, "exact", built.exact, note)
            slower = figures[name]["batch_qps"] < exact["batch_qps"]
            figures[name] = exact if slower or figures[name]["recall_at_10"] < WANTED else figures[name]
    return figures


def _figures(
    data: Data, name: str, effort: str, search: Search, note: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    """One effort through one filter: questions one at a time, then a batch; recall is of the batch."""
    below = FILTERS[name]
    started = time.perf_counter()
    search(data.queries[:1], below)
    asked = int(min(SINGLE, len(data.queries), max(FEWEST, SINGLE_SECONDS / (time.perf_counter() - started))))
    single: list[float] = []
    for query in data.queries[:asked]:
        started = time.perf_counter()
        search(query.reshape(1, -1), below)
        single.append(time.perf_counter() - started)
    share = int(min(len(data.queries), max(asked, BATCH_SECONDS / max(float(np.median(single)), 1e-6))))
    started = time.perf_counter()
    numbers = search(data.queries[:share], below)
    batch = time.perf_counter() - started
    found = {
        "effort": effort,
        "recall_at_10": data.recall(numbers, name),
        "batch_qps": round(share / batch, 1),
        "single_p50_ms": round(1000 * float(np.median(single)), 3),
        "singles": asked,
        "batch": share,
        "load": os.getloadavg()[0],
    }
    note({"filter": name, **found})
    return found


def _each(queries: Any, one: Callable[[Any], Any]) -> Any:
    """The rows of one question after the other; of several on all cores."""
    if len(queries) == 1:
        return np.array([one(queries[0])])
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return np.array(list(threads.map(one, queries)))


def hnswlib(
    data: Data, folder: Path, dsn: str, minutes: float, *, links: int = 16, construction: int = 100
) -> Built:
    """HNSW; its filter is a Python function, so it runs on one thread."""
    library = import_module("hnswlib")
    before, started = anonymous(), time.perf_counter()
    index = library.Index(space="ip", dim=data.vectors.shape[1])
    index.init_index(max_elements=len(data.vectors), ef_construction=construction, M=links)
    for start in range(0, len(data.vectors), 100_000):
        index.add_items(data.vectors[start : start + 100_000])
    seconds, megabytes = time.perf_counter() - started, {"memory": anonymous() - before}
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

    efforts = [(f"ef {ef}", at(ef)) for ef in (32, 64, 128, 256, 512, 2_000, 5_000)]
    return Built(f"hnswlib M {links}", seconds, megabytes, efforts)


def _row(ask: Callable[[], Any]) -> Any:
    """One query's numbers; hnswlib raises where it finds fewer than asked for."""
    try:
        return ask()[0][0].astype(np.int64)
    except RuntimeError:
        return np.full(DEPTH, -1)


def lancedb(data: Data, folder: Path, dsn: str, minutes: float) -> Built:
    """IVF-PQ with exact refining, filters applied before the search."""
    arrow, library = import_module("pyarrow"), import_module("lancedb")
    size, before, started = data.vectors.shape[1], anonymous(), time.perf_counter()
    database = library.connect(str(folder / "lance"))

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
    index = import_module("lancedb.index")
    lists = int(len(data.vectors) ** 0.5)
    # Trained on as many vectors a list, and as long, as FAISS trains ours: its own defaults take twenty times the work.
    near = index.IvfPq(
        distance_type="dot", num_partitions=lists, num_sub_vectors=size // 4, max_iterations=10, sample_rate=50
    )
    table.create_index("vector", config=near)
    table.create_index("bucket", config=index.BTree())
    seconds = time.perf_counter() - started
    disk = sum(file.stat().st_size for file in (folder / "lance").rglob("*") if file.is_file())

    def one(query: Any, below: int, probes: int, refine: int) -> Any:
        asked = table.search(query).distance_type("dot").limit(DEPTH).select(["n", "_distance"])
        asked = asked.nprobes(probes).refine_factor(refine) if probes else asked.bypass_vector_index()
        if below < BUCKETS:
            asked = asked.where(f"bucket < {below}", prefilter=True)
        found = np.array(asked.to_arrow()["n"], np.int64)
        return np.concatenate([found, np.full(DEPTH - len(found), -1)])

    def at(probes: int, refine: int) -> Search:
        return lambda queries, below: _each(queries, lambda query: one(query, below, probes, refine))

    grid = ((8, 10), (20, 10), (50, 20), (100, 40))
    efforts = [(f"nprobes {probes}, refine {refine}", at(probes, refine)) for probes, refine in grid]
    return Built("lancedb", seconds, {"disk": disk // 2**20, "memory": anonymous() - before}, efforts, at(0, 0))


def qdrant(data: Data, folder: Path, dsn: str, minutes: float) -> Built:
    """Qdrant's local mode, which scores everything in numpy: what a search without an index costs."""
    library, before, started = import_module("qdrant_client"), anonymous(), time.perf_counter()
    models = library.models
    client = library.QdrantClient(":memory:")
    size = models.VectorParams(size=data.vectors.shape[1], distance=models.Distance.DOT)
    client.create_collection("vectors", vectors_config=size)
    buckets: list[int] = data.buckets.tolist()
    for start in range(0, len(data.vectors), 10_000):
        rows = range(start, min(start + 10_000, len(data.vectors)))
        vectors = data.vectors[rows.start : rows.stop].tolist()
        points = models.Batch(ids=list(rows), vectors=vectors, payloads=[{"b": buckets[row]} for row in rows])
        client.upsert("vectors", points)
    seconds = time.perf_counter() - started

    def one(query: Any, below: int) -> Any:
        wanted = models.FieldCondition(key="b", range=models.Range(lt=below))
        inside = models.Filter(must=[wanted]) if below < BUCKETS else None
        near = client.query_points("vectors", query=query.tolist(), query_filter=inside, limit=DEPTH).points
        return np.array([*(point.id for point in near), *([-1] * (DEPTH - len(near)))], np.int64)

    efforts = [("exact", lambda queries, below: np.array([one(query, below) for query in queries]))]
    return Built("qdrant local", seconds, {"memory": anonymous() - before}, efforts)


def pgvector(data: Data, folder: Path, dsn: str, minutes: float) -> Built:
    """HNSW in PostgreSQL, or lists where that takes too long; a scan goes on while a filter lets few through."""
    started, run = time.perf_counter(), _pgvector_table(data, dsn)
    run(f"SET statement_timeout = {int(60_000 * minutes)}")
    try:
        run("CREATE INDEX near ON vectors USING hnsw (v halfvec_ip_ops) WITH (m = 16, ef_construction = 100)")
    except import_module("psycopg").errors.QueryCanceled:
        print(f"pgvector's graph was not built in {minutes:g} minutes", file=sys.stderr, flush=True)
        return pgvector_lists(data, folder, dsn, minutes)
    return _pgvector(data, run, started, "hnsw", "hnsw.ef_search", (40, 100, 200, 400, 1_000))


def pgvector_lists(data: Data, folder: Path, dsn: str, minutes: float) -> Built:
    """IVFFlat in PostgreSQL: lists, scanned on while a filter lets few through."""
    started, run = time.perf_counter(), _pgvector_table(data, dsn)
    run(
        f"CREATE INDEX near ON vectors USING ivfflat (v halfvec_ip_ops) WITH (lists = {int(len(data.vectors) ** 0.5)})"
    )
    return _pgvector(data, run, started, "ivfflat", "ivfflat.probes", (5, 10, 20, 50, 200))


def _pgvector_table(data: Data, dsn: str) -> Callable[[str], Any]:
    """The vectors in a table, in half precision; gives what runs a statement, each thread by its own connection."""
    psycopg, of_thread = import_module("psycopg"), threading.local()

    def run(statement: str) -> Any:
        if not hasattr(of_thread, "connection"):
            of_thread.connection = psycopg.connect(dsn, autocommit=True)
        return of_thread.connection.execute(statement)

    run("CREATE EXTENSION IF NOT EXISTS vector")
    run("DROP TABLE IF EXISTS vectors")
    run(f"CREATE UNLOGGED TABLE vectors (n int, bucket int, v halfvec({data.vectors.shape[1]}))")
    with of_thread.connection.cursor().copy("COPY vectors FROM STDIN (FORMAT binary)") as copy:
        for part in _binary(data):
            copy.write(part)
    run("SET maintenance_work_mem = '4GB'")
    run(f"SET max_parallel_maintenance_workers = {max(1, (os.cpu_count() or 1) - 1)}")
    return run


def _pgvector(
    data: Data, run: Callable[[str], Any], started: float, scan: str, setting: str, grid: Sequence[int]
) -> Built:
    """The table with its index, and its searches by a setting of that index."""
    run("SET statement_timeout = 0")
    run("CREATE INDEX ON vectors (bucket)")
    run("VACUUM ANALYZE vectors")
    seconds, size = time.perf_counter() - started, data.vectors.shape[1]
    (table, near) = run("SELECT pg_table_size('vectors') >> 20, pg_relation_size('near') >> 20").fetchone()

    def at(effort: int) -> Search:
        def one(query: Any, below: int) -> Any:
            text = "[" + ",".join(f"{x:.5f}" for x in query.tolist()) + "]"
            where = f"WHERE bucket < {below}" if below < BUCKETS else ""
            run(f"SET {setting} = {effort}; SET {scan}.iterative_scan = relaxed_order")
            rows = run(
                f"SELECT n FROM vectors {where} ORDER BY v <#> '{text}'::halfvec({size}) LIMIT {DEPTH}"
            ).fetchall()
            found = np.array([row[0] for row in rows], np.int64)
            return np.concatenate([found, np.full(DEPTH - len(found), -1)])

        return lambda queries, below: _each(queries, lambda query: one(query, below))

    efforts = [(f"{setting} {effort}", at(effort)) for effort in grid]
    return Built(f"pgvector {scan}", seconds, {"table": table, "index": near}, efforts)


def _binary(data: Data) -> Iterator[bytes]:
    """Numbers, buckets and vectors in half precision, in COPY's binary form."""
    size = data.vectors.shape[1]
    numbers = [("fields", ">i2"), ("four", ">i4"), ("n", ">i4"), ("four_too", ">i4"), ("bucket", ">i4")]
    row = np.dtype([*numbers, ("bytes", ">i4"), ("d", ">i2"), ("unused", ">i2"), ("v", ">f2", (size,))])
    yield b"PGCOPY\n\xff\r\n\0" + bytes(8)
    for start in range(0, len(data.vectors), 10_000):
        part = data.vectors[start : start + 10_000]
        rows = np.zeros(len(part), row)
        rows["fields"], rows["four"], rows["four_too"], rows["bytes"], rows["d"] = 3, 4, 4, 4 + 2 * size, size
        rows["n"], rows["bucket"], rows["v"] = (
            np.arange(start, start + len(part)),
            data.buckets[start : start + len(part)],
            part,
        )
        yield rows.tobytes()
    yield b"\xff\xff"


ENGINES: Mapping[str, Callable[[Data, Path, str, float], Built]] = {
    "hnswlib": hnswlib,
    "hnswlib_dense": partial(hnswlib, links=32, construction=200),
    "lancedb": lancedb,
    "qdrant": qdrant,
    "pgvector": pgvector,
    "pgvector_lists": pgvector_lists,
}


def main() -> None:
    """Build and measure one library; prints its figures as one line of JSON."""
    name, folder, dsn, minutes = sys.argv[1], Path(sys.argv[2]), sys.argv[3], float(sys.argv[4])
    data = Data(folder)
    built = ENGINES[name](data, folder, dsn, minutes)

    def note(found: dict[str, Any]) -> None:
        with (folder / FIGURES).open("a", encoding="utf-8") as lines:
            print(json.dumps({"engine": built.name, "count": len(data.vectors), **found}), file=lines)

    facts = {"build_seconds": round(built.seconds), "megabytes": built.megabytes}
    note(facts)
    print(json.dumps({"engine": built.name, **facts, "search": measured(data, built, note)}))


if __name__ == "__main__":
    main()
