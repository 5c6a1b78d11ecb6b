"""How long a governed number takes from end to end: a workspace's golden metric queries over MCP and HTTP.

    python -m evals.bench_query --workspace WORKSPACE

Starts `wellhead serve` on an ingested workspace (such as the one `wellhead demo` leaves) and asks every metric query of
its products' evals.yaml, each as the principal that the file names, turn by turn over the wire and in this process.
Prints one JSON object: medians, what the engine took of them, the processor time that the server and its reading
process spent a call (which other processes of a busy machine do not change much), and the slowest queries.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from evals.bench_serving import token_of
from evals.front_door import FrontDoor
from evals.targets import Target
from evals.wire import McpConnection
from indexes.embedder import open_identified
from indexes.library import Library, Snapshot
from indexes.measure import measure
from semantic_layer.plan.query import MetricQuery
from semantic_layer.policy import Action
from semantic_layer.principal import Principal
from semantic_layer.suite import MetricCase, read_suite
from semantic_layer.workspace import load_workspace

TARGETS: Mapping[str, Target] = {"query_metrics_p50_ms": Target(at_most=25.0)}
SECONDS = 60.0
SLOWEST = 5


@dataclass(frozen=True)
class Asked:
    """One golden query, and the milliseconds it took: over the wire, in this process, inside the engine."""

    case: MetricCase
    over_http: list[float] = field(default_factory=list[float])
    in_process: list[float] = field(default_factory=list[float])
    engine: list[float] = field(default_factory=list[float])


def golden(root: Path) -> list[Asked]:
    """Every metric query of every product's suite."""
    folders = load_workspace(root).products
    return [
        Asked(case)
        for name, folder in sorted(folders.items())
        if folder.evals_path is not None
        for case in read_suite(folder.evals_path, name).metrics
    ]


def asker(principal: Principal) -> Principal:
    """The principal with the scope that its token needs, under a name of its own."""
    words = (
        *sorted(principal.roles),
        *(f"{name}-{value}" for name, value in sorted(principal.attributes.items())),
    )
    subject = "".join(letter if letter.isalnum() else "-" for letter in "-".join(words)).strip("-")
    return replace(principal, subject=subject, scopes=frozenset({"read"}))


def ask(snapshot: Snapshot, connections: Mapping[str, McpConnection], asked: Sequence[Asked], rounds: int) -> None:
    """Ask every query both ways in turn, so many times after a first that does not count."""
    for number in range(rounds + 1):
        for one in asked:
            caller = asker(one.case.principal)
            started = time.perf_counter()
            connections[caller.subject].call("query_metrics", one.case.query)
            between = time.perf_counter()
            found = measure(
                snapshot,
                MetricQuery.from_json(one.case.query),
                snapshot.grants(caller, Action.METRIC),
                deadline_seconds=SECONDS,
                as_of=datetime.now(UTC),
            )
            ended = time.perf_counter()
            if number:
                one.over_http.append(1_000 * (between - started))
                one.in_process.append(1_000 * (ended - between))
                one.engine.append(found.milliseconds)


def processor_seconds(pid: int) -> float:
    """Seconds of processor that a process and its children have used, as Linux counts them; 0 on other systems."""
    stat = Path(f"/proc/{pid}/stat")
    if not stat.exists():
        return 0.0
    used = sum(map(int, stat.read_text(encoding="utf-8").rsplit(")", 1)[1].split()[11:13]))
    children = [word for task in stat.parent.glob("task/*/children") for word in task.read_text().split()]
    return used / os.sysconf("SC_CLK_TCK") + sum(processor_seconds(int(child)) for child in children)


def bench(root: Path, rounds: int) -> dict[str, Any]:
    """Serve the workspace and ask."""
    asked = golden(root)
    home = load_workspace(root).home
    door = FrontDoor(root)
    library = Library(home, partial(open_identified, home))
    with library.pin() as snapshot, door.serving() as serving:
        callers = {one.subject: one for one in (asker(each.case.principal) for each in asked)}
        connections = {
            name: McpConnection(serving.host, serving.port, token_of(door, serving, one))
            for name, one in callers.items()
        }
        ask(snapshot, connections, asked, 0)
        before = processor_seconds(serving.pid)
        ask(snapshot, connections, asked, rounds)
        spent = processor_seconds(serving.pid) - before
        for connection in connections.values():
            connection.close()
    library.close()
    calls = len(asked) * (rounds + 1)
    return {**figures(asked), "server_processor_ms": round(1_000 * spent / calls, 2)}


def figures(asked: Sequence[Asked]) -> dict[str, Any]:
    """Medians over all calls, and the queries that took longest."""
    over_http = [one for each in asked for one in each.over_http]
    slowest = sorted(asked, key=lambda one: -median(one.over_http))[:SLOWEST]
    return {
        "queries": len(asked),
        "calls": len(over_http),
        "targets": {name: target.judged(median(over_http)) for name, target in TARGETS.items()},
        "over_http_p95_ms": round(float(np.percentile(over_http, 95)), 2),
        "in_process_p50_ms": round(median(one for each in asked for one in each.in_process), 2),
        "engine_p50_ms": round(median(one for each in asked for one in each.engine), 2),
        "slowest": {one.case.id: round(median(one.over_http), 2) for one in slowest},
    }


def main() -> None:
    """Run the benchmark and print its figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, required=True, help="an ingested workspace, which is served")
    parser.add_argument("--rounds", type=int, default=20, help="so often each query is asked")
    options = parser.parse_args()
    print(json.dumps(bench(options.workspace, options.rounds), indent=2))


if __name__ == "__main__":
    main()
