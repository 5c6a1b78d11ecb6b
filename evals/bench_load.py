"""How a server bears many callers: `python -m evals.bench_load WORKSPACE`, an ingested one such as wellhead-demo.

Four loads, each on a server of its own: steady callers, one caller's flood beside others, publishing all the while,
and callers who do not read their answers. Prints one JSON object; callers and server share the machine's cores.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evals.bench_serving import resident
from evals.front_door import FrontDoor, Serving
from evals.load import Ask, Load, Sample, SlowReaders, flood, spread
from evals.targets import Target
from evals.wire import headers_of, request_of
from indexes.ledger import Ledger
from indexes.postgres.embedded import embedded_postgres

TARGETS: Mapping[str, Target] = {
    "steady_failures": Target(at_most=0),
    "steady_search_p99_ms": Target(at_most=500),
    "steady_metric_p99_ms": Target(at_most=1_000),
    "steady_memory_slope_mb_an_hour": Target(at_most=50),
    "flood_answered_p99_ms": Target(at_most=2_000),
    "flood_refused_p95_ms": Target(at_most=100),
    "flood_other_statuses": Target(at_most=0),
    "flood_others_p99_ratio": Target(at_most=2),
    "publish_failures": Target(at_most=0),
    "publish_mixed_replies": Target(at_most=0),
    "slow_readers_p99_ratio": Target(at_most=2),
}
LOADS = ("steady", "flood", "publish", "slow_readers")
ASKS = (
    Ask("search", "search", {"question": "How long may a customer return shoes?", "limit": 3}),
    Ask("search", "search", {"question": "Which jacket keeps rain out on a long hike?", "limit": 5}),
    Ask("metric", "query_metrics", {"metrics": ["net_revenue"], "dimensions": ["orders.region"]}),
    Ask("metric", "query_metrics", {"metrics": ["order_count"], "dimensions": ["metric_time__month"]}),
    Ask("discover", "discover", {"query": "revenue", "limit": 4}),
    Ask("lookup", "lookup", {"product": "orders", "dataset": "orders", "columns": ["order_id"], "limit": 3}),
)
CALLERS = {"eu": ["EU"], "us": ["US"], "all": ["EU", "US"]}
FLOODER = "flooder"


class Bench:
    """One workspace, and the loads on it."""

    def __init__(self, workspace: Path, options: argparse.Namespace) -> None:
        self._workspace = workspace
        self._home = workspace / ".wellhead"
        self._door = FrontDoor(workspace)
        self._options = options

    def steady(self) -> dict[str, Any]:
        """So many callers for so long: failures, percentiles by kind, and the server's memory over time."""
        memory: list[tuple[float, float]] = []
        with self._door.serving(processes=self._options.processes) as serving:
            load = self._load(serving)
            with _every(5.0, lambda at: memory.append((at, _resident_mb(serving)))):
                samples = load.run(self._options.callers, self._options.seconds)
        later = memory[len(memory) // 3 :]  # the first third warms up
        moments, held = [at for at, _ in later], [mb for _, mb in later]
        slope = float(np.polyfit(moments, held, 1)[0]) * 3_600 if len(later) > 2 else None
        return {
            "by_kind": _by_kind(samples),
            "failures": _failures(samples),
            "memory_mb": [round(mb) for _, mb in memory],
            "memory_slope_mb_an_hour": slope,
        }

    def flood(self) -> dict[str, Any]:
        """One caller with many connections, while others go on; beside the same others undisturbed."""
        seconds, others = self._options.seconds / 4, self._options.callers // 5
        with self._door.serving(processes=self._options.processes) as serving:
            alone = self._load(serving).run(others, seconds)
            body = json.dumps(request_of(1, ASKS[0].tool, ASKS[0].arguments)).encode()
            load, token = self._load(serving), self._token(serving, FLOODER, ["EU"])
            asking = threading.Thread(target=load.run, args=(others, seconds))
            asking.start()
            headers, rate = headers_of(ASKS[0].tool), self._options.flood_rate
            met = flood(serving.url, token, body, headers, self._options.flood, seconds, rate)
            asking.join()
        return {
            "answered": spread(met.answered),
            "refused": spread(met.refused),
            "other_statuses": dict(met.others),
            "others_alone": spread([one.milliseconds for one in alone]),
            "others_beside": spread([one.milliseconds for one in load.samples]),
            "others_failures": _failures(load.samples),
        }

    def publish(self) -> dict[str, Any]:
        """Publishing every second, in turn, two cuts that differ in every product's generation.

        A reply is mixed where its generations are not those of the edition that its receipt names.
        """
        cuts = itertools.cycle([self._cut(), self._second_cut()])
        with self._door.serving(processes=self._options.processes) as serving:
            load = self._load(serving)
            with _every(1.0, lambda _: self._publish(next(cuts))):
                samples = load.run(self._options.callers, self._options.seconds / 4)
        ledger = Ledger(self._home)
        editions = {one.number: one.products for one in ledger.editions(limit=ledger.latest_edition_number())}
        mixed = [
            one
            for one in samples
            if not one.failure and any(editions[one.edition].get(name) != made for name, made in one.sources)
        ]
        return {
            "by_kind": _by_kind(samples),
            "failures": _failures(samples),
            "editions_seen": len({one.edition for one in samples}),
            "mixed": len(mixed),
        }

    def slow_readers(self) -> dict[str, Any]:
        """Callers beside connections that do not read their answers, beside the same callers alone."""
        seconds = self._options.seconds / 4
        with self._door.serving(processes=self._options.processes) as serving:
            alone = self._load(serving).run(self._options.callers // 5, seconds)
            token = self._token(serving, "slow", ["EU"])
            slow = SlowReaders(serving.host, serving.port, self._options.slow, _raw_request(serving, token))
            beside = self._load(serving).run(self._options.callers // 5, seconds)
            slow.close()
        return {
            "alone": spread([one.milliseconds for one in alone]),
            "beside": spread([one.milliseconds for one in beside]),
            "failures": _failures(beside),
        }

    def _cut(self) -> Mapping[str, str]:
        return dict(Ledger(self._home).edition().products)

    def _second_cut(self) -> Mapping[str, str]:
        """What is live once every contract has another version; the contracts are put back."""
        contracts = sorted(self._workspace.glob("products/*/contract.yaml"))
        before = {path: path.read_text(encoding="utf-8") for path in contracts}
        try:
            for path, text in before.items():
                path.write_text(
                    re.sub(r"(?m)^version: .*$", f"version: 9.{time.time_ns()}.0", text), encoding="utf-8"
                )
            self._door.run("ingest")
        finally:
            for path, text in before.items():
                path.write_text(text, encoding="utf-8")
        return self._cut()

    def _publish(self, cut: Mapping[str, str]) -> None:
        ledger = Ledger(self._home)
        ledger.publish(ledger.edition(), cut, action="promote", by="bench")

    def _load(self, serving: Serving) -> Load:
        tokens = {name: self._token(serving, name, regions) for name, regions in CALLERS.items()}
        return Load(serving.host, serving.port, ASKS, tokens, self._options.think)

    def _token(self, serving: Serving, subject: str, regions: Sequence[str]) -> str:
        attributes = json.dumps({"regions": regions})
        named = ("--subject", subject, "--role", "analyst", "--attributes", attributes, "--audience", serving.url)
        return str(json.loads(self._door.run("token", *named, "--json"))["token"])


def _resident_mb(serving: Serving) -> float:
    return sum(resident(one).get("resident", 0) for one in serving.pids()) / 2**20


def _raw_request(serving: Serving, token: str) -> bytes:
    body = json.dumps(request_of(1, "search", {"question": "shoes", "limit": 50})).encode()
    headers = {**headers_of("search"), "Authorization": f"Bearer {token}", "Content-Length": str(len(body))}
    lines = [f"{name}: {value}" for name, value in headers.items()]
    head = "\r\n".join(["POST /mcp HTTP/1.1", f"Host: {serving.host}:{serving.port}", *lines, "", ""])
    return head.encode() + body


def _by_kind(samples: Sequence[Sample]) -> dict[str, dict[str, float]]:
    kinds = sorted({one.kind for one in samples})
    return {kind: spread([one.milliseconds for one in samples if one.kind == kind]) for kind in kinds}


def _failures(samples: Sequence[Sample]) -> dict[str, int]:
    found: dict[str, int] = {}
    for one in samples:
        if one.failure:
            found[one.failure] = found.get(one.failure, 0) + 1
    return found


@contextlib.contextmanager
def _every(seconds: float, work: Callable[[float], None]) -> Any:
    """Do `work` again and again on a thread of its own while the block runs; a failure of it is raised at the end."""
    stop, failures, started = threading.Event(), [], time.perf_counter()

    def run() -> None:
        for turn in itertools.count(1):
            if stop.wait(max(0.0, started + turn * seconds - time.perf_counter())):
                return
            try:
                work(time.perf_counter() - started)
            except Exception as error:  # told to the thread that waits for it
                failures.append(error)
                return

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    if failures:
        raise failures[0]


def figures(found: Mapping[str, Any]) -> dict[str, float | None]:
    """What the targets speak of; None for a load that was not run."""
    steady, met, published, slow = (found.get(name, {}) for name in ("steady", "flood", "publish", "slow_readers"))
    kinds: Mapping[str, Any] = steady.get("by_kind", {})
    return {
        "steady_failures": _total(steady.get("failures")),
        "steady_search_p99_ms": kinds.get("search", {}).get("p99_ms"),
        "steady_metric_p99_ms": kinds.get("metric", {}).get("p99_ms"),
        "steady_memory_slope_mb_an_hour": steady.get("memory_slope_mb_an_hour"),
        "flood_answered_p99_ms": met.get("answered", {}).get("p99_ms"),
        "flood_refused_p95_ms": met.get("refused", {}).get("p95_ms"),
        "flood_other_statuses": _total(met.get("other_statuses")),
        "flood_others_p99_ratio": _ratio(met, "others_beside", "others_alone"),
        "publish_failures": _total(published.get("failures")),
        "publish_mixed_replies": published.get("mixed"),
        "slow_readers_p99_ratio": _ratio(slow, "beside", "alone"),
    }


def _total(counts: Mapping[Any, int] | None) -> float | None:
    return None if counts is None else float(sum(counts.values()))


def _ratio(found: Mapping[str, Any], this: str, that: str) -> float | None:
    if not found:
        return None
    return float(found[this]["p99_ms"]) / float(found[that]["p99_ms"])


def main() -> None:
    """Run the loads and print their figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--loads", nargs="+", choices=LOADS, default=LOADS)
    parser.add_argument("--callers", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=600, help="of the steady load; the others take a quarter")
    parser.add_argument(
        "--think", type=float, default=1.0, help="mean seconds between an answer and the next call"
    )
    parser.add_argument("--flood", type=int, default=500, help="connections of the flooding caller")
    parser.add_argument(
        "--flood-rate",
        type=float,
        default=0,
        help="calls a second of each of them at most, such as 1, which Retry-After asks for; 0 is at once again",
    )
    parser.add_argument("--processes", type=int, default=1, help="of the server")
    parser.add_argument("--slow", type=int, default=200, help="callers who do not read")
    options = parser.parse_args()
    workspace = options.workspace.resolve()
    with embedded_postgres(workspace / ".wellhead" / "postgres"):
        bench = Bench(workspace, options)
        found: dict[str, Any] = {name: getattr(bench, name)() for name in options.loads}
    judged = {name: one for name, one in figures(found).items() if name.startswith(tuple(options.loads))}
    targets = {name: TARGETS[name].judged(figure) for name, figure in judged.items()}
    print(json.dumps({"targets": targets, **found}, indent=2))


if __name__ == "__main__":
    main()
