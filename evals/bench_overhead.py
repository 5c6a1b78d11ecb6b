"""What governing costs: our smallest tool beside the SDK's smallest server, `python -m evals.bench_overhead WORKSPACE`.

Ours authenticates, decides by policy, writes a receipt and an audit record that is on the disk before the answer
leaves; the other does nothing. Both are asked in turn by one connection, and by ten at once with `hey`. With
`--toolbox PROGRAM` a row of PostgreSQL is also asked of MCP Toolbox (npm `@toolbox-sdk/server`) and of our `lookup`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Mapping
from pathlib import Path
from statistics import median
from typing import Any

from evals.front_door import FrontDoor, Serving, free_port, wait_until
from evals.load import flood, spread
from evals.targets import Target
from evals.toolbox import HEADERS, ToolboxConnection, request, toolbox_server
from evals.wire import McpConnection, headers_of, request_of
from indexes.postgres.embedded import embedded_postgres
from semantic_layer.errors import WellheadError

TARGETS: Mapping[str, Target] = {
    "throughput_ratio": Target(at_least=0.67),
    "added_beyond_fsync_ms": Target(at_most=2.0),
}
TOOL = "status"
ORDER = "O000042"
LOOKUP: Mapping[str, Any] = {
    "product": "orders",
    "dataset": "order_status",
    "key": ORDER,
    "columns": ["order_id", "status"],
}
CLIENTS = 10
WARM_UP_CALLS = 30


@contextlib.contextmanager
def bare_server() -> Generator[Serving]:
    """The SDK's server in a process of its own."""
    host, port = "127.0.0.1", free_port()
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "examples.bare_server", str(port)])
    try:
        wait_until(process, lambda: _answers(host, port))
        yield Serving(host, port, process.pid, time.perf_counter() - started)
    finally:
        process.terminate()
        process.wait()


def fsync_milliseconds(folder: Path, times: int = 200) -> float:
    """The median of appending a record of 500 bytes to a file of this folder and flushing it to the disk."""
    taken: list[float] = []
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        for _ in range(times):
            started = time.perf_counter()
            file.write(b"x" * 500)
            file.flush()
            os.fsync(file.fileno())
            taken.append(1000 * (time.perf_counter() - started))
    return median(taken)


def bench(workspace: Path, seconds: float, calls: int, processes: int) -> dict[str, Any]:
    """Both servers, asked in turn."""
    door = FrontDoor(workspace)
    with door.serving(processes=processes) as ours, bare_server() as bare:
        token = _token(door, ours)
        single = _in_turn(ours, bare, token, calls)
        body = json.dumps(request_of(1, TOOL, {})).encode()
        many: dict[str, list[float]] = {"ours": [], "bare": []}
        for _ in range(2):
            for name, serving in (("ours", ours), ("bare", bare)):
                met = flood(serving.url, token, body, headers_of(TOOL), CLIENTS, seconds)
                if met.refused or met.others:
                    raise WellheadError(f"{len(met.refused)} calls of {name} were refused, others: {met.others}.")
                many[name] += met.answered
    synced = fsync_milliseconds(workspace / ".wellhead")
    figures = {
        "throughput_ratio": len(many["ours"]) / len(many["bare"]),
        "added_beyond_fsync_ms": median(single["ours"]) - median(single["bare"]) - synced,
    }
    return {
        "targets": {name: target.judged(figures[name]) for name, target in TARGETS.items()},
        "fsync_ms": round(synced, 3),
        "one_connection": {name: spread(taken) for name, taken in single.items()},
        f"{CLIENTS}_connections": {name: spread(taken) for name, taken in many.items()},
    }


def bench_toolbox(
    workspace: Path, program: Path, dsn: str, seconds: float, calls: int, processes: int
) -> dict[str, Any]:
    """The same row of the same PostgreSQL by its key: of Toolbox's one SQL tool, and of our governed `lookup`."""
    door = FrontDoor(workspace)
    with door.serving(processes=processes) as ours, toolbox_server(program, dsn, ORDER) as theirs:
        token = _token(door, ours)
        connections = McpConnection(ours.host, ours.port, token), ToolboxConnection(theirs)
        single: dict[str, list[float]] = {"ours": [], "toolbox": []}
        for turn in range(calls + WARM_UP_CALLS):
            for name, ask in (
                ("ours", lambda: connections[0].call("lookup", LOOKUP)),
                ("toolbox", lambda: connections[1].call(ORDER)),
            ):
                started = time.perf_counter()
                ask()
                if turn >= WARM_UP_CALLS:
                    single[name].append(1000 * (time.perf_counter() - started))
        for connection in connections:
            connection.close()
        body = json.dumps(request_of(1, "lookup", LOOKUP)).encode()
        many: dict[str, list[float]] = {"ours": [], "toolbox": []}
        for _ in range(2):
            many["ours"] += flood(ours.url, token, body, headers_of("lookup"), CLIENTS, seconds).answered
            many["toolbox"] += flood(theirs.url, "", request(ORDER), HEADERS, CLIENTS, seconds).answered
    return {
        "one_connection": {name: spread(taken) for name, taken in single.items()},
        f"{CLIENTS}_connections": {name: spread(taken) for name, taken in many.items()},
    }


def _token(door: FrontDoor, serving: Serving) -> str:
    named = ("--subject", "bench", "--role", "analyst", "--attributes", '{"regions": ["EU"]}')
    return str(json.loads(door.run("token", *named, "--audience", serving.url, "--json"))["token"])


def _in_turn(ours: Serving, bare: Serving, token: str, calls: int) -> dict[str, list[float]]:
    asked = {
        "ours": McpConnection(ours.host, ours.port, token),
        "bare": McpConnection(bare.host, bare.port),
    }
    taken: dict[str, list[float]] = {"ours": [], "bare": []}
    for turn in range(calls + WARM_UP_CALLS):
        for name, connection in asked.items():
            started = time.perf_counter()
            connection.call(TOOL, {})
            if turn >= WARM_UP_CALLS:
                taken[name].append(1000 * (time.perf_counter() - started))
    for connection in asked.values():
        connection.close()
    return taken


def _answers(host: str, port: int) -> bool:
    connection = McpConnection(host, port)
    try:
        connection.call(TOOL, {})
    except WellheadError:
        return False
    finally:
        connection.close()
    return True


def main() -> None:
    """Run the comparison and print its figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path, help="an ingested workspace, such as wellhead-demo")
    parser.add_argument("--seconds", type=float, default=10, help="of each of the two turns of ten connections")
    parser.add_argument("--calls", type=int, default=300, help="of one connection to each server")
    parser.add_argument("--processes", type=int, default=1, help="of our server")
    parser.add_argument("--toolbox", type=Path, metavar="PROGRAM", help="the `toolbox` program, to ask it too")
    options = parser.parse_args()
    workspace = options.workspace.resolve()
    with embedded_postgres(workspace / ".wellhead" / "postgres") as dsn:
        found = bench(workspace, options.seconds, options.calls, options.processes)
        if options.toolbox:
            asked = (options.toolbox, dsn, options.seconds, options.calls, options.processes)
            found["toolbox"] = bench_toolbox(workspace, *asked)
        print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
