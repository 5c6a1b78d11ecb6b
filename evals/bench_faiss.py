"""How fast vectors are found through our reader, beside FAISS called bare and beside other libraries, at equal recall.

`python -m evals.bench_faiss --home .wellhead --count 1000000`; with `--peers PYTHON`, an interpreter that has hnswlib,
lancedb, psycopg and qdrant-client (dev-only, in an environment of its own), those and pgvector search the same vectors.
With `--keep FOLDER`, vectors and indexes stay there for the next run.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from evals import bench_peers
from evals.bench_corpus import english_texts, near_vectors
from indexes.embedder import open_embedder
from indexes.embedder_model import DEFAULT_MODEL
from indexes.ports import Allowed
from indexes.postgres.embedded import embedded_postgres
from indexes.recall import DEPTH, between, exact_neighbours
from indexes.vectors_faiss import FILE, FaissBuilder, FaissReader
from semantic_layer.engine_settings import VectorIndexName

SEED = 5
BASE_TEXTS = 600
WORDS = 40
BLOCK = 50_000
SINGLE = 300
WARM = 20
PAIRS = 21
FACTS = "facts.json"
SHARED_BUFFERS = "shared_buffers = '3GB'\n"


def make_data(folder: Path, home: Path, count: int) -> None:
    """The vectors, questions, a bucket for each vector, and for each filter the scores of the tenth true neighbours."""
    rng = np.random.default_rng(SEED)
    embedder = open_embedder(home, DEFAULT_MODEL)
    real = embedder.embed(english_texts(rng, BASE_TEXTS, WORDS))
    vectors = np.lib.format.open_memmap(
        folder / bench_peers.VECTORS, "w+", np.float32, (count, embedder.dimension)
    )
    for start in range(0, count, BLOCK):
        vectors[start : start + BLOCK] = near_vectors(rng, real, min(BLOCK, count - start))
    places = rng.permutation(count)[: 2 * bench_peers.QUESTIONS]
    questions = between(vectors, places[: bench_peers.QUESTIONS], places[bench_peers.QUESTIONS :])
    buckets = rng.integers(0, bench_peers.BUCKETS, count).astype(np.int32)
    masks = [buckets < below for below in bench_peers.FILTERS.values()]
    truths = exact_neighbours(vectors, questions, np.full(len(questions), -1), masks)
    np.save(folder / bench_peers.QUERIES, questions)
    np.save(folder / bench_peers.BUCKET, buckets)
    np.savez(
        folder / bench_peers.CUTS,
        allow_pickle=False,
        **{name: truth.cut for name, truth in zip(bench_peers.FILTERS, truths, strict=True)},
    )


def ours(folder: Path, layout: VectorIndexName) -> dict[str, Any]:
    """Our reader and the bare index turn by turn: batches of all questions, and one question at a time."""
    data = bench_peers.Data(folder)
    index = folder / layout
    facts = json.loads(_built(index, layout, data).read_text(encoding="utf-8"))
    before = bench_peers.anonymous()
    reader = FaissReader(index, facts)
    found = {name: _through(reader, data, below, name) for name, below in bench_peers.FILTERS.items()}
    return {
        "engine": f"wellhead {facts['index']}",
        "build_seconds": facts["seconds"],
        "disk_mb": round((index / FILE).stat().st_size / 2**20),
        "resident_mb": bench_peers.anonymous() - before + _mapped(index / FILE),
        "build_peak_mb": facts["peak_mb"],
        "certificate": {key: value for key, value in facts.items() if "recall" in key or key == "routes"},
        "search": found,
        "load": os.getloadavg()[0],
    }


def _built(index: Path, layout: VectorIndexName, data: bench_peers.Data) -> Path:
    """The file that holds what the build said, once it stands in the folder."""
    if not (index / FACTS).exists():
        index.mkdir(exist_ok=True)
        builder = FaissBuilder(index, data.vectors.shape[1], device="cpu", layout=layout)
        for start in range(0, len(data.vectors), BLOCK):
            builder.add(np.ascontiguousarray(data.vectors[start : start + BLOCK]))
        facts = builder.seal()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        (index / FACTS).write_text(json.dumps({**facts, "peak_mb": peak}), encoding="utf-8")
    return index / FACTS


def _mapped(file: Path) -> int:
    """How many MiB of a mapped file lie in this process's memory."""
    sizes, ours = 0, False
    for line in Path("/proc/self/smaps").read_text(encoding="utf-8").splitlines():
        first, *rest = line.split()
        if not first.endswith(":"):
            ours = bool(rest) and rest[-1] == str(file.resolve())
        elif ours and first == "Rss:":
            sizes += int(rest[0])
    return sizes // 1024


def _through(reader: FaissReader, data: bench_peers.Data, below: int, name: str) -> dict[str, Any]:
    allowed = None if below >= bench_peers.BUCKETS else Allowed(np.flatnonzero(data.buckets < below), reader.count)
    questions = data.queries

    bare = reader.bare(DEPTH, allowed)
    numbers, _ = reader.search_many(questions, DEPTH, allowed)
    sides = (lambda: reader.search_many(questions, DEPTH, allowed), lambda: bare(questions))
    batch = paired(*sides, PAIRS)
    worked = paired(*sides, PAIRS, time.process_time)
    pairs = questions[: 2 * (SINGLE + WARM)].reshape(SINGLE + WARM, 2, -1)
    single = [
        # Not the same question twice: the second would find its lists in the processor's cache.
        paired(lambda one=one: reader.search(one, DEPTH, allowed), lambda two=two: bare(two[None]), 1)[0]
        for one, two in pairs
    ][WARM:]
    whole, plain = np.median(single, axis=0) * 1000
    return {
        "recall_at_10": data.recall(numbers, name),
        "batch_qps": round(len(questions) / float(np.median(batch[:, 0]))),
        "bare_batch_qps": round(len(questions) / float(np.median(batch[:, 1]))),
        "batch_ratio": _middle(batch[:, 1] / batch[:, 0]),
        "batch_ratio_of_cpu_seconds": _middle(worked[:, 1] / worked[:, 0]),
        "single_p50_ms": round(float(whole), 3),
        "bare_single_p50_ms": round(float(plain), 3),
        "single_added_ms": round(float(whole - plain), 3),
    }


def paired(
    first: Callable[[], Any],
    second: Callable[[], Any],
    repeats: int,
    clock: Callable[[], float] = time.perf_counter,
) -> NDArray[np.float64]:
    """The seconds of both, turn by turn, of shape (repeats, 2): every other time the second goes first.

    Whatever else the machine does falls on both, so a ratio of two neighbours says more than one of two best runs.
    """
    seconds = np.empty((repeats, 2))
    for turn in range(repeats):
        for side in (0, 1) if turn % 2 == 0 else (1, 0):
            started = clock()
            (first, second)[side]()
            seconds[turn, side] = clock() - started
    return seconds


def _middle(ratios: NDArray[np.float64]) -> dict[str, float]:
    """The median, and the quarters beside it."""
    low, middle, high = (round(float(value), 3) for value in np.quantile(ratios, (0.25, 0.5, 0.75)))
    return {"median": middle, "from": low, "to": high}


def peers(folder: Path, python: Path, names: Sequence[str], minutes: float) -> list[Mapping[str, Any]]:
    """Each library in a process of its own, on the same data; one that takes too long is reported so."""
    script = Path(bench_peers.__file__)
    found: list[Mapping[str, Any]] = []
    _give_memory(folder / "postgres")
    with embedded_postgres(folder / "postgres") as dsn:
        for name in names:
            command = [str(python), str(script), name, str(folder), dsn, str(minutes / 2)]
            try:
                done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=60 * minutes, check=True)
                found.append(cast("dict[str, Any]", json.loads(done.stdout.splitlines()[-1])))
            except subprocess.TimeoutExpired:
                found.append({"engine": name, "failed": f"not done after {minutes:g} minutes"})
            except subprocess.CalledProcessError as error:
                found.append({"engine": name, "failed": f"exit status {error.returncode}, its words are above"})
            print(json.dumps(found[-1]), flush=True)
    return found


def _give_memory(postgres: Path) -> None:
    """Have the PostgreSQL in the folder keep table and index in its own memory: by default it has 128 MB."""
    settings = postgres / "postgresql.auto.conf"
    if not settings.exists():
        with embedded_postgres(postgres):
            pass
    if SHARED_BUFFERS not in settings.read_text(encoding="utf-8"):
        with settings.open("a", encoding="utf-8") as lines:
            lines.write(SHARED_BUFFERS)


def main() -> None:
    """Make the data, measure, and print the figures as JSON, one engine a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--home", type=Path, required=True, help="a home whose models/ holds the default model")
    parser.add_argument("--layout", action="append", choices=["flat", "hnsw", "ivf", "ivf_pq"])
    parser.add_argument("--peers", type=Path, help="a Python that has hnswlib, lancedb, psycopg and qdrant-client")
    parser.add_argument("--peer", action="append", choices=list(bench_peers.ENGINES))
    parser.add_argument("--minutes", type=float, default=30, help="how long one of them may take")
    parser.add_argument("--keep", type=Path, help="where data and indexes stay; 2.5 GB for a million vectors")
    options = parser.parse_args()
    with contextlib.nullcontext(options.keep) if options.keep else tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        folder.mkdir(exist_ok=True)
        if not (folder / bench_peers.CUTS).exists():
            make_data(folder, options.home, options.count)
        layouts: list[VectorIndexName] = options.layout or ["ivf_pq"]
        for layout in layouts:
            print(json.dumps({"count": options.count, **ours(folder, layout)}), flush=True)
        if options.peers:
            peers(folder, options.peers, options.peer or list(bench_peers.ENGINES), options.minutes)


if __name__ == "__main__":
    main()
