"""How long the planner takes, and how its SQL runs beside SQL written by hand and beside other semantic layers.

    python -m evals.bench_plan [--rows 6000000] [--peer bsl=PYTHON] [--peer metricflow=PYTHON]

Compiles a flat query, one through three joins, and both again from the cache (p50 of many); then asks the same numbers
of six million order lines twice, as compiled and as a person would write them, and prints the ratio of the medians.
The data is generated in DuckDB and looks like TPC-H's: lines → orders → customers → nations, lines → parts.

`--peer` names a Python that has boring-semantic-layer, or MetricFlow, with the same duckdb as here. Each runs in a
process of its own (`bench_plan_peers`) over the same file; everybody is asked the same question in turn, to compile it
and to run what it compiled on two threads, by the clock of its own process, and the answers are compared.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from statistics import median
from typing import Any

from evals import bench_plan_peers
from indexes.duck.table_builder import TableBuilder
from indexes.duck.workers import Limits, Workers
from indexes.measure import as_run
from semantic_layer.findings import Findings
from semantic_layer.metric import SemanticModel
from semantic_layer.plan.query import MetricQuery
from semantic_layer.policy import Action, Grant, Policy, Rule, decide
from semantic_layer.principal import Principal
from semantic_layer.product import Column, ColumnType, DataProduct, Dataset
from semantic_layer.semantics import read_semantics
from semantic_layer.sql.cache import CompiledCache
from semantic_layer.sql.compile import CompiledQuery, compile_query
from semantic_layer.yaml_file import parse_yaml

CLOCK = datetime(2025, 1, 1, tzinfo=UTC)
ROUNDS = 200
THREADS = 2
OURS = "wellhead"
SLOW = 10_000.0
"""A peer that runs longer than these milliseconds is not asked the question again."""
MODEL = """
semantic_models:
  - name: lines
    model: ref('lines')
    defaults: {agg_time_dimension: shipped}
    entities:
      - {name: line, type: primary, expr: line_id}
      - {name: order, type: foreign, expr: order_id}
      - {name: part, type: foreign, expr: part_id}
    dimensions:
      - {name: shipped, type: time, type_params: {time_granularity: day}}
      - {name: mode, type: categorical}
    measures:
      - {name: revenue, agg: sum, expr: price, create_metric: true}
      - {name: quantity, agg: sum, create_metric: true}
      - {name: customers, agg: count_distinct, expr: order_id, create_metric: true}
  - name: orders
    model: ref('orders')
    entities:
      - {name: order, type: primary, expr: order_id}
      - {name: customer, type: foreign, expr: customer_id}
    dimensions: [{name: priority, type: categorical}]
  - name: customers
    model: ref('customers')
    entities:
      - {name: customer, type: primary, expr: customer_id}
      - {name: nation, type: foreign, expr: nation_id}
    dimensions: [{name: segment, type: categorical}]
  - name: nations
    model: ref('nations')
    entities: [{name: nation, type: primary, expr: nation_id}]
    dimensions: [{name: country, type: categorical}]
  - name: parts
    model: ref('parts')
    entities: [{name: part, type: primary, expr: part_id}]
    dimensions: [{name: brand, type: categorical}]
metrics:
  - {name: price_per_unit, type: ratio, type_params: {numerator: revenue, denominator: quantity}}
  - name: month_to_date
    type: cumulative
    type_params: {measure: revenue, cumulative_type_params: {grain_to_date: month}}
project_configuration:
  time_spines:
    - {node_relation: {alias: days}, primary_column: {name: day, time_granularity: day}}
"""
FLAT = {"metrics": ["revenue"], "dimensions": ["line__mode"]}
THREE_JOINS = {
    "metrics": ["price_per_unit", "revenue"],
    "dimensions": ["metric_time__month", "order__customer__nation__country"],
    "filters": [
        {"field": "order__customer__segment", "op": "eq", "value": "s1"},
        {"field": "order__priority", "op": "ne", "value": "p3"},
    ],
}
BY_HAND: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "flat": (FLAT, "SELECT mode, sum(price) FROM tpch.lines GROUP BY 1 ORDER BY 1"),
    "by month": (
        {"metrics": ["revenue", "quantity"], "dimensions": ["metric_time__month"]},
        "SELECT date_trunc('month', shipped), sum(price), sum(quantity) FROM tpch.lines GROUP BY 1 ORDER BY 1",
    ),
    "three joins": (
        THREE_JOINS,
        """SELECT date_trunc('month', l.shipped), n.country, sum(l.price) / sum(l.quantity), sum(l.price)
           FROM tpch.lines l LEFT JOIN tpch.orders o USING (order_id) LEFT JOIN tpch.customers c USING (customer_id)
           LEFT JOIN tpch.nations n USING (nation_id)
           WHERE c.segment = 's1' AND o.priority <> 'p3' GROUP BY 1, 2 ORDER BY 1, 2""",
    ),
    "month to date": (
        {"metrics": ["month_to_date"], "dimensions": ["metric_time__day"]},
        """SELECT day, sum(price) OVER (PARTITION BY date_trunc('month', day) ORDER BY day)
           FROM tpch.days LEFT JOIN (SELECT shipped AS day, sum(price) AS price FROM tpch.lines GROUP BY 1) USING (day)
           ORDER BY 1""",
    ),
}
ASKED: Mapping[str, Mapping[str, Any]] = {
    "flat": FLAT,
    "ratio": {"metrics": ["price_per_unit"], "dimensions": ["line__mode"]},
    "by month": BY_HAND["by month"][0],
    "three joins": {**THREE_JOINS, "dimensions": ["metric_time__month", "part__brand"]},
    "three in a row": THREE_JOINS,
    "month to date": BY_HAND["month to date"][0],
}
"""What the peers are asked too, each in its own words."""

KINDS = {"t": ColumnType.STRING, "i": ColumnType.INTEGER, "n": ColumnType.NUMBER, "d": ColumnType.DATE}
TABLES = {
    "lines": "line_id:i order_id:i part_id:i shipped:d mode:t price:n quantity:i",
    "orders": "order_id:i customer_id:i priority:t",
    "customers": "customer_id:i nation_id:i segment:t",
    "nations": "nation_id:i country:t",
    "parts": "part_id:i brand:t",
    "days": "day:d",
}
GENERATED = {
    "lines": "SELECT i, i // 4, hash(i + 2) % 20000, DATE '2019-01-01' + CAST(hash(i) % 2000 AS INTEGER), "
    "'m' || (i % 7), CAST(hash(i + 1) % 100000 AS DOUBLE) / 100, 1 + i % 50 FROM range({rows}) t(i)",
    "orders": "SELECT i, hash(i) % 150000, 'p' || (i % 5) FROM range({rows} // 4) t(i)",
    "customers": "SELECT i, i % 25, 's' || (i % 5) FROM range(150000) t(i)",
    "nations": "SELECT i, 'country ' || i FROM range(25) t(i)",
    "parts": "SELECT i, 'brand ' || (i % 25) FROM range(20000) t(i)",
    "days": "SELECT DATE '2019-01-01' + CAST(i AS INTEGER) FROM range(2000) t(i)",
}


@dataclass(frozen=True)
class Bench:
    """The product, its model and everything granted."""

    product: DataProduct
    model: SemanticModel
    grants: Mapping[str, Grant]

    def compiled(
        self, query: Mapping[str, Any], cache: CompiledCache[CompiledQuery] | None = None
    ) -> CompiledQuery:
        """The query as SQL."""
        return compile_query(
            MetricQuery.from_json(query), {"tpch": self.model}, {"tpch": self.product}, self.grants, as_of=CLOCK,
            cache=cache,
        )  # fmt: skip


def make_bench() -> Bench:
    """The model over its contract."""
    datasets = tuple(
        Dataset(name, "table", tuple(Column(one[:-2], KINDS[one[-1]]) for one in columns.split()))
        for name, columns in TABLES.items()
    )
    product = DataProduct("tpch", "1", "tpch", "active", "1", datasets=datasets)
    findings = Findings()
    model = read_semantics([parse_yaml(MODEL, shown_as="tpch.yaml")], product=product, findings=findings)
    assert model is not None, findings.problems
    policy = Policy("tpch", (Rule("all", frozenset({"*"}), frozenset(Action)),))
    grant = decide(Principal("bench", frozenset({"bench"})), product, Action.METRIC, policy)
    return Bench(product, model, {"tpch": grant})


def p50(ask: Callable[[], object], rounds: int = ROUNDS) -> float:
    """The median milliseconds of a call."""
    times: list[float] = []
    for _ in range(rounds):
        started = time.perf_counter()
        ask()
        times.append((time.perf_counter() - started) * 1_000)
    return median(times)


def compile_times(bench: Bench) -> dict[str, float]:
    """p50 milliseconds to compile each, and to find it in the cache."""
    cache = CompiledCache[CompiledQuery]()
    found: dict[str, float] = {}
    for name, query in (("flat", FLAT), ("three joins", THREE_JOINS)):
        bench.compiled(query, cache)
        found[name] = p50(lambda query=query: bench.compiled(query))
        found[f"{name}, cached"] = p50(lambda query=query: bench.compiled(query, cache))
    return found


def build(bench: Bench, folder: Path, rows: int) -> Path:
    """The tables of so many lines."""
    path = folder / "tables.duckdb"
    builder = TableBuilder(path, bench.product)
    for name, sql in GENERATED.items():
        builder.query(f'INSERT INTO main."{name}" {sql.format(rows=rows)}')
    builder.seal()
    return path


def run_times(bench: Bench, rows: int, rounds: int = 5) -> dict[str, tuple[float, float]]:
    """Median milliseconds of each question as compiled and as written by hand, one after the other."""
    found: dict[str, tuple[float, float]] = {}
    with tempfile.TemporaryDirectory(prefix="wellhead-bench-plan-") as folder:
        databases = {"tpch": build(bench, Path(folder), rows)}
        workers = Workers(Limits(processes=1, threads=THREADS, memory_bytes=4_000_000_000))
        try:
            for name, (query, by_hand) in BY_HAND.items():
                compiled = bench.compiled(query)
                pairs = [(as_run(compiled.uncounted()), compiled.statement.parameters), (by_hand, {})]
                times: list[list[float]] = [[], []]
                for _ in range(rounds + 1):
                    for place, (sql, parameters) in enumerate(pairs):
                        fetched = workers.run(databases, sql, parameters, deadline_seconds=120)
                        times[place].append(fetched.milliseconds)
                found[name] = (median(times[0][1:]), median(times[1][1:]))
        finally:
            workers.close()
    return found


# -- other semantic layers ---------------------------------------------------------------------------------


class Peer:
    """Another semantic layer in a process of its own."""

    def __init__(self, name: str, python: str, database: Path) -> None:
        self.name = name
        command = [python, "-P", str(Path(bench_plan_peers.__file__)), name, str(database), str(THREADS)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, question: str, do: str) -> dict[str, Any]:
        """Its answer: `ms` and what was asked for, or `refused`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"ask": question, "do": do}) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def side_by_side(bench: Bench, rows: int, pythons: Mapping[str, str], rounds: int) -> Iterator[str]:
    """A line of figures for each question."""
    with tempfile.TemporaryDirectory(prefix="wellhead-bench-plan-") as folder:
        path = build(bench, Path(folder), rows)
        workers = Workers(Limits(processes=1, threads=THREADS, memory_bytes=4_000_000_000))
        peers = [Peer(name, python, path) for name, python in pythons.items()]
        try:
            for question in ASKED:
                yield _compared(question, bench, workers, {"tpch": path}, peers, rounds)
        finally:
            workers.close()
            for peer in peers:
                peer.close()


def _compared(
    question: str,
    bench: Bench,
    workers: Workers,
    databases: Mapping[str, Path],
    peers: Sequence[Peer],
    rounds: int,
) -> str:
    """Everybody's medians of compiling and running the question; the first round is not counted."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in (OURS, *(peer.name for peer in peers))}
    ended: dict[str, str] = {}
    answer: list[list[Any]] = []
    for number in range(rounds + 1):
        turns: list[Peer | None] = [None, *peers]
        for peer in turns if number % 2 == 0 else reversed(turns):
            if peer is None:
                took, answer = _ours(question, bench, workers, databases)
                times[OURS].append(took)
            elif peer.name not in ended and not any(run > SLOW for _, run in times[peer.name]):
                compiled, ran = (peer.ask(question, do) for do in ("compile", "run"))
                if "refused" in compiled:
                    ended[peer.name] = f"refused ({compiled['refused'].split(':')[0]})"
                    continue
                times[peer.name].append((compiled["ms"], ran["ms"]))
                if answer and not equal_rows(answer, sorted_rows(ran["rows"])):
                    ended[peer.name] = "ANOTHER ANSWER"
    figures = [f"{question:15}"]
    for name, took in times.items():
        counted = took[1:] or took
        shown = " + ".join(f"{median(one[place] for one in counted):7.1f}" for place in (0, 1)) if counted else ""
        figures.append(f"{name} {ended.get(name) or shown + ' ms'}")
    return "   ".join(figures)


def _ours(
    question: str, bench: Bench, workers: Workers, databases: Mapping[str, Path]
) -> tuple[tuple[float, float], list[list[Any]]]:
    """The milliseconds of compiling and, by the clock of the reading process, of running; and the rows."""
    started = time.perf_counter()
    compiled = bench.compiled(ASKED[question])
    compiling = (time.perf_counter() - started) * 1_000
    sql, parameters = as_run(compiled.uncounted()), compiled.statement.parameters
    fetched = workers.run(databases, sql, parameters, deadline_seconds=300)
    columns = [fetched.table.column(column.name).to_pylist() for column in compiled.columns]
    return (compiling, fetched.milliseconds), sorted_rows(zip(*columns, strict=True))


def sorted_rows(rows: Iterable[Sequence[Any]]) -> list[list[Any]]:
    """The rows by their keys: peers give no order, and a moment for a month."""
    shown = [
        [float(cell) if isinstance(cell, (int, float, Decimal)) else str(cell)[:10] for cell in row]
        for row in rows
    ]
    return sorted(shown, key=lambda row: [cell for cell in row if isinstance(cell, str)])


def equal_rows(left: Sequence[Sequence[Any]], right: Sequence[Sequence[Any]]) -> bool:
    """Whether these are the same rows; sums of doubles may differ in their last digits."""
    pairs = [pair for one, other in zip(left, right, strict=False) for pair in zip(one, other, strict=False)]
    return len(left) == len(right) and all(
        math.isclose(one, other, rel_tol=1e-9) if isinstance(one, float) else one == other for one, other in pairs
    )


def main() -> None:
    """Read the command line, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=6_000_000)
    parser.add_argument("--peer", action="append", default=[], help="bsl=PYTHON or metricflow=PYTHON")
    parser.add_argument("--rounds", type=int, default=5, help="how often everybody is asked each question")
    arguments = parser.parse_args()
    bench = make_bench()
    pythons = dict(one.split("=", 1) for one in arguments.peer)
    if pythons:
        for line in side_by_side(bench, arguments.rows, pythons, arguments.rounds):
            print(line, flush=True)
        return
    for name, milliseconds in compile_times(bench).items():
        print(f"compile {name:22} {milliseconds:8.3f} ms")
    for name, (ours, by_hand) in run_times(bench, arguments.rows, arguments.rounds).items():
        print(f"run     {name:22} {ours:8.1f} ms   by hand {by_hand:8.1f} ms   ratio {ours / by_hand:.2f}")


if __name__ == "__main__":
    main()
