"""Nearest vectors in PostgreSQL by pgvector: exact while there are few, then HNSW whose recall the seal measures."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
import uuid
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import psycopg
from psycopg import sql

from indexes.ports import Allowed, Numbers, Scores, Vectors
from indexes.postgres.connection import Connection, Pool, said, shown, unavailable
from indexes.ranking import NOTHING, best_first, settled
from indexes.recall import DEPTH, exact_neighbours
from semantic_layer.errors import CorruptGeneration, EngineUnavailable

FORMAT = 1
FLAT_BELOW = 50_000
EXACT_SHARE = 0.05
"""Below this share of allowed vectors all of them are scored: faster than a graph, and exact."""

MAX_INDEXED_DIMENSION = 2_000
EFFORTS = (100, 200, 400, 1_000)
"""Values of `hnsw.ef_search`, tried in turn until recall suffices; the last is the most that pgvector takes."""

RECALL_WANTED = 0.98
HELD_OUT = 200
SEED = 20_251_122
BATCH = 4_096
SEARCH_SECONDS = 10.0
BUILD_SECONDS = 3_600.0

T = TypeVar("T")

_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER = b"\xff\xff"
_PART_DIGITS = 15

_LIST = """
SELECT c.relname, obj_description(c.oid, 'pg_class') FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relkind = 'r' AND c.relname LIKE 'vectors\\_%%'
"""
_HELD = """
SELECT count(*), coalesce(sum(('x' || substr(d, 1, 15))::bit(60)::bigint), 0)::text,
       coalesce(sum(('x' || substr(d, 16, 15))::bit(60)::bigint), 0)::text
FROM (SELECT encode(sha256(int4send(n) || vector_send(v)), 'hex') AS d FROM {table}) AS digests
"""
_NEAREST = """
SELECT n, v <#> %(query)s::vector AS far FROM {table} WHERE %(all)s OR n = ANY(%(allowed)s::int4[])
ORDER BY v <#> %(query)s::vector LIMIT %(k)s
"""
_EXACT = """
SELECT n, v <#> %(query)s::vector AS far FROM {table} WHERE %(all)s OR n = ANY(%(allowed)s::int4[])
ORDER BY (v <#> %(query)s::vector) + 0, n LIMIT %(k)s
"""
"""An expression is sorted, so that no index is used."""


@dataclass(frozen=True)
class VectorSite:
    """Where tables of vectors are built: the server, their schema, whose they are (home and product), and of which
    generation: one that is built again takes its own table's place."""

    pool: Pool
    schema: str
    owner: str = ""
    generation: str = ""

    def new_name(self) -> str:
        """What a table built here is called: the same for the same owner and generation."""
        of = f"{self.owner}/{self.generation}" if self.generation else uuid.uuid4().hex
        return f"vectors_{hashlib.sha256(of.encode()).hexdigest()[:16]}"

    def run(self, work: Callable[[Connection], T], seconds: float) -> T:
        """What `work` returns; driver errors as ours, naming the server. It must be safe to repeat."""
        try:
            return self.pool.run(work, seconds)
        except psycopg.errors.UndefinedTable as error:
            raise CorruptGeneration(
                f"PostgreSQL ({shown(self.pool.dsn)}): {said(error)}.",
                hint="Run `wellhead ingest` to build it anew.",
            ) from error
        except psycopg.OperationalError as error:
            raise unavailable(self.pool.dsn, error) from error
        except psycopg.Error as error:
            raise EngineUnavailable(
                f"pgvector in PostgreSQL ({shown(self.pool.dsn)}) cannot be used: {said(error)}.",
                hint="It needs the extension `vector` 0.8 or newer, and CREATE on its schema to build.",
            ) from error


class PgvectorBuilder:
    """Gathers unit vectors in a file of the stage, and sends them at the seal, when it is known how many they are."""

    def __init__(self, folder: Path, dimension: int, site: VectorSite, *, flat_below: int = FLAT_BELOW) -> None:
        self._dimension = dimension
        self._site = site
        self._flat = dimension > MAX_INDEXED_DIMENSION
        self._flat_below = flat_below
        self._raw = folder / "vectors.raw"
        self._file = self._raw.open("wb")
        self._count = 0
        self._name = site.new_name()
        self._table = sql.Identifier(site.schema, self._name)

    def add(self, vectors: Vectors) -> None:
        """See VectorBuilder."""
        if vectors.ndim != 2 or vectors.shape[1] != self._dimension:
            raise ValueError(f"vectors of shape {vectors.shape} in a table of dimension {self._dimension}")
        self._file.write(np.ascontiguousarray(vectors, np.float32).data)
        self._count += len(vectors)

    def seal(self) -> Mapping[str, Any]:
        """Send everything in one transaction, check that it is there, and measure recall@10 against exact search.

        Raises EngineUnavailable, OutOfSpace; the table is then not there, or `sweep` drops it.
        """
        self._file.close()
        started = time.monotonic()
        facts = self._sealed(self._vectors())
        self._raw.unlink()
        return {**facts, "seconds": round(time.monotonic() - started, 3)}

    def _vectors(self) -> Vectors:
        shape = (self._count, self._dimension)
        return np.memmap(self._raw, np.float32, "r", shape=shape) if self._count else np.empty(shape, np.float32)

    def _sealed(self, vectors: Vectors) -> dict[str, Any]:
        flat = self._flat or self._count < self._flat_below
        facts: dict[str, Any] = {
            "engine": "pgvector",
            "format": FORMAT,
            "table": self._name,
            "index": "flat" if flat else "hnsw",
            "dimension": self._dimension,
            "count": self._count,
            "digest": _digest(vectors),
        }
        self._site.run(lambda connection: self._fill(connection, vectors, facts), BUILD_SECONDS)
        return facts | ({"recall_at_10": 1.0} if flat else self._certified(facts, vectors))

    def _fill(self, connection: Connection, vectors: Vectors, facts: Mapping[str, Any]) -> None:
        """Fill a table aside, and give it its name last: whoever reads one of that name waits for a moment only."""
        run, aside = connection.execute, f"{self._name}_{uuid.uuid4().hex[:8]}"
        table = sql.Identifier(self._site.schema, aside)
        with connection.transaction():
            run("CREATE EXTENSION IF NOT EXISTS vector")
            run(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(self._site.schema)))
            run(sql.SQL("CREATE TABLE {} (n int4, v vector({}))").format(table, sql.Literal(self._dimension)))
            with (
                connection.cursor() as cursor,
                cursor.copy(sql.SQL("COPY {} FROM STDIN (FORMAT binary)").format(table)) as copy,
            ):
                for part in _binary(vectors):
                    copy.write(part)
            run("SET LOCAL maintenance_work_mem = '256MB'")
            run(sql.SQL("ALTER TABLE {} ADD PRIMARY KEY (n)").format(table))
            if facts["index"] == "hnsw":
                run(sql.SQL("CREATE INDEX ON {} USING hnsw (v vector_ip_ops)").format(table))
            meta = json.dumps({**facts, "owner": self._site.owner})
            run(sql.SQL("COMMENT ON TABLE {} IS {}").format(table, sql.Literal(meta)))
            run(sql.SQL("DROP TABLE IF EXISTS {}").format(self._table))
            run(sql.SQL("ALTER TABLE {} RENAME TO {}").format(table, sql.Identifier(self._name)))
        run(sql.SQL("ANALYZE {}").format(self._table))

    def _certified(self, facts: Mapping[str, Any], vectors: Vectors) -> dict[str, Any]:
        """Recall@10 of stored vectors, themselves left out, without a filter and through one of 10 %.

        `ef_search` is raised until both suffice; a recall that never does stands in the manifest.
        """
        rng = np.random.default_rng(SEED)
        own = np.sort(rng.permutation(self._count)[:HELD_OUT]).astype(np.int64)
        queries = np.ascontiguousarray(vectors[own])
        tenth = rng.random(self._count) < 0.1
        truths = exact_neighbours(vectors, queries, own, [np.ones(self._count, bool), tenth])
        filters = (None, Allowed(np.flatnonzero(tenth).astype(np.int64), self._count))
        effort, recalls = EFFORTS[0], [0.0]
        for effort in EFFORTS:
            reader = PgvectorReader(self._site, {**facts, "ef_search": effort}, checked=True)
            found = [[reader.search(query, DEPTH + 1, inside)[0] for query in queries] for inside in filters]
            recalls = [truth.recall(rows, vectors) for truth, rows in zip(truths, found, strict=True)]
            if min(recalls) >= RECALL_WANTED:
                break
        everywhere, filtered = (round(recall, 4) for recall in recalls)
        certified = {"recall_at_10": everywhere, "filtered_recall_at_10": filtered}
        return {"ef_search": effort, **certified, "recall_queries": len(own)}


class PgvectorReader:
    """Searches a sealed table of vectors. Thread-safe. Raises EngineUnavailable by name, DeadlineExceeded.

    Opening reads the whole table and raises CorruptGeneration where it is not what was sealed. `checked` leaves that
    out, for one who has just built it.
    """

    def __init__(self, site: VectorSite, facts: Mapping[str, Any], *, checked: bool = False) -> None:
        self._site = site
        self._facts = facts
        self._count = int(facts["count"])
        self._table = sql.Identifier(site.schema, facts["table"])
        if not checked:
            self._check()

    @property
    def count(self) -> int:
        """The number of chunks."""
        return self._count

    def search(self, query: Vectors, k: int, allowed: Allowed | None = None) -> tuple[Numbers, Scores]:
        """See VectorReader."""
        total = self._count if allowed is None else len(allowed.numbers)
        if not total:
            return NOTHING
        few = allowed is not None and allowed.selectivity < EXACT_SHARE
        if self._facts["index"] == "flat" or few:
            return self._ask(_EXACT, query, k, allowed, ())
        effort = min(max(k, int(self._facts["ef_search"])), EFFORTS[-1])
        walk = (("hnsw.ef_search", str(effort)), ("hnsw.iterative_scan", "strict_order"))
        found = settled(lambda limit: self._ask(_NEAREST, query, limit, allowed, walk), k, total)
        # A walk through a filter may give up before it has found enough.
        return found if len(found[0]) >= min(k, total) else self._ask(_EXACT, query, k, allowed, ())

    def score(self, query: Vectors, numbers: Numbers) -> Scores:
        """See VectorReader."""
        wanted = Allowed(np.unique(numbers), self._count)
        found, scores = self._ask(_EXACT, query, len(wanted.numbers), wanted, ())
        by_number = dict(zip(found.tolist(), scores.tolist(), strict=True))
        return np.array([by_number[number] for number in numbers.tolist()], np.float32)

    def close(self) -> None:
        """Connections belong to the pool."""

    def _ask(
        self, text: str, query: Vectors, k: int, allowed: Allowed | None, settings: Iterable[tuple[str, str]]
    ) -> tuple[Numbers, Scores]:
        statement = self._statement(text)
        values = {
            "query": "[" + ",".join(f"{value:.9g}" for value in query.tolist()) + "]",
            "all": allowed is None,
            "allowed": [] if allowed is None else allowed.numbers.tolist(),
            "k": k,
        }
        stated = (*settings, ("statement_timeout", f"{SEARCH_SECONDS:.0f}s"))

        def read(connection: Connection) -> list[tuple[Any, ...]]:
            with connection.transaction():
                for name, value in stated:
                    connection.execute("SELECT set_config(%s, %s, true)", (name, value))
                return connection.execute(statement, values, prepare=False).fetchall()

        rows = self._site.run(read, SEARCH_SECONDS)
        numbers = np.array([row[0] for row in rows], np.int64)
        return best_first(numbers, np.array([-row[1] for row in rows], np.float32), k)

    def _check(self) -> None:
        name = self._facts["table"]
        meta = next((held for table, held in _tables(self._site) if table == name), None)
        sealed = ("format", "table", "index", "dimension", "count", "digest")
        if meta is None or any(meta.get(key) != self._facts[key] for key in sealed):
            raise self._corrupt("is not the table that was sealed" if meta else "is not there")
        row = self._site.run(lambda one: one.execute(self._statement(_HELD)).fetchone(), BUILD_SECONDS)
        count, first, second = row or (0, "0", "0")
        if (int(count), f"{int(first):020x}{int(second):020x}") != (self._count, self._facts["digest"]):
            raise self._corrupt(f"holds other vectors than the {self._count} that were sealed")

    def _corrupt(self, what: str) -> CorruptGeneration:
        return CorruptGeneration(
            f"PostgreSQL ({shown(self._site.pool.dsn)}): {self._site.schema}.{self._facts['table']} {what}.",
            hint="Run `wellhead ingest` to build it anew, or `wellhead rollback`.",
        )

    def _statement(self, text: str) -> sql.Composed:
        return sql.SQL(text).format(table=self._table)  # pyright: ignore[reportArgumentType]


def sweep(site: VectorSite, keep: Iterable[str]) -> list[str]:
    """Drop the tables of this owner that `keep` does not name: what no generation refers to. Returns their names."""
    kept = frozenset(keep)
    idle = [name for name, meta in _tables(site) if meta.get("owner") == site.owner and name not in kept]
    for name in idle:
        drop = sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier(site.schema, name))
        site.run(lambda connection, drop=drop: connection.execute(drop), SEARCH_SECONDS)
    return idle


def _tables(site: VectorSite) -> list[tuple[str, dict[str, Any]]]:
    """Every table of vectors in the schema with what its comment says; nothing where that is not ours."""
    rows = site.run(lambda connection: connection.execute(_LIST, (site.schema,)).fetchall(), SEARCH_SECONDS)
    found: list[tuple[str, dict[str, Any]]] = []
    for name, comment in rows:
        with contextlib.suppress(ValueError, TypeError):
            found.append((name, dict(json.loads(comment))))
    return found


def _records(vectors: Vectors) -> Generator[Any]:
    """The rows in PostgreSQL's own byte order, a batch at a time."""
    dimension = vectors.shape[1]
    fields = [
        ("fields", ">i2"),
        ("size_n", ">i4"),
        ("n", ">i4"),
        ("size_v", ">i4"),
        ("d", ">i2"),
        ("unused", ">i2"),
    ]
    kind = np.dtype([*fields, ("v", ">f4", (dimension,))])
    for start in range(0, len(vectors), BATCH):
        part = vectors[start : start + BATCH]
        records = np.zeros(len(part), kind)
        records["fields"], records["size_n"], records["size_v"], records["d"] = 2, 4, 4 + 4 * dimension, dimension
        records["n"] = np.arange(start, start + len(part))
        records["v"] = part
        yield records


def _binary(vectors: Vectors) -> Generator[bytes]:
    """The vectors in COPY's binary form."""
    yield _HEADER
    for records in _records(vectors):
        yield records.tobytes()
    yield _TRAILER


def _digest(vectors: Vectors) -> str:
    """Two sums over the SHA-256 of each number and vector, whatever their order, as the server computes them."""
    first = second = 0
    for records in _records(vectors):
        width = records.dtype.itemsize
        raw = records.tobytes()
        for at in range(0, len(raw), width):
            # The number, then the vector with its own header, as int4send and vector_send give them.
            row = raw[at + 6 : at + 10] + raw[at + 14 : at + width]
            hexadecimal = hashlib.sha256(row).hexdigest()
            first += int(hexadecimal[:_PART_DIGITS], 16)
            second += int(hexadecimal[_PART_DIGITS : 2 * _PART_DIGITS], 16)
    return f"{first:020x}{second:020x}"
