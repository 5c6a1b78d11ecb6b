"""Callers that ask a running server all at once for a while, and what became of each call."""

from __future__ import annotations

import csv
import random
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from evals.wire import McpConnection
from semantic_layer.errors import EngineUnavailable, WellheadError


@dataclass(frozen=True)
class Ask:
    """One call that callers make again and again; `kind` names it in the figures."""

    kind: str
    tool: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Sample:
    """One call: when it began (seconds since the load did), how long it took, and what it said.

    `sources` are the receipt's (product, generation) pairs; `edition` is 0 where the call failed.
    """

    kind: str
    caller: str
    at: float
    milliseconds: float
    failure: str
    edition: int
    sources: tuple[tuple[str, str], ...]


@dataclass
class Load:
    """So many threads, each a caller with a connection of its own, asking in turn with a pause between calls.

    A thread asks in a closed loop: the next call only after the last was answered and `think_seconds` have
    passed (as an agent does), each pause drawn anew between none and twice as long.
    """

    host: str
    port: int
    asks: Sequence[Ask]
    tokens: Mapping[str, str]
    think_seconds: float = 1.0
    seed: int = 1
    samples: list[Sample] = field(default_factory=list[Sample])

    def run(self, callers: int, seconds: float) -> list[Sample]:
        """Every call of every caller."""
        stop = time.perf_counter() + seconds
        started = time.perf_counter()
        threads = [
            threading.Thread(target=self._ask, args=(number, started, stop), daemon=True)
            for number in range(callers)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return self.samples

    def _ask(self, number: int, started: float, stop: float) -> None:
        chance = random.Random(self.seed * 10_007 + number)
        name = list(self.tokens)[number % len(self.tokens)]
        connection = McpConnection(self.host, self.port, self.tokens[name])
        time.sleep(chance.random() * self.think_seconds)
        while (now := time.perf_counter()) < stop:
            ask = chance.choice(self.asks)
            answer, failure = _answered(connection, ask)
            taken = 1000 * (time.perf_counter() - now)
            self.samples.append(_sample(ask.kind, name, now - started, taken, answer, failure))
            time.sleep(2 * chance.random() * self.think_seconds)
        connection.close()


def _answered(connection: McpConnection, ask: Ask) -> tuple[Mapping[str, Any], str]:
    try:
        return connection.call(ask.tool, ask.arguments), ""
    except WellheadError as error:
        return {}, f"{ask.kind}: {error.message}"


def _sample(kind: str, caller: str, at: float, taken: float, answer: Mapping[str, Any], failure: str) -> Sample:
    receipt: Mapping[str, Any] = answer.get("receipt", {})
    pairs = tuple((source["product"], source["generation"]) for source in receipt.get("sources", ()))
    return Sample(kind, caller, at, taken, failure, int(receipt.get("edition", 0)), pairs)


def spread(milliseconds: Sequence[float]) -> dict[str, float]:
    """Calls, median and high percentiles; only the count where nothing was asked."""
    if not milliseconds:
        return {"calls": 0}
    found = {f"p{share}_ms": round(float(np.percentile(milliseconds, share)), 1) for share in (50, 95, 99)}
    return {"calls": len(milliseconds), **found}


@dataclass(frozen=True)
class Flooded:
    """What a flood of one caller met: milliseconds of the calls that were answered, and of those refused (503, 429)."""

    answered: Sequence[float]
    refused: Sequence[float]
    others: Mapping[int, int]


def flood(
    url: str,
    token: str,
    body: bytes,
    headers: Mapping[str, str],
    clients: int,
    seconds: float,
    rate: float = 0.0,
) -> Flooded:
    """Ask with the load generator `hey` as fast as `clients` connections can, each at most `rate` times a second.

    Raises EngineUnavailable without it.
    """
    if not (hey := shutil.which("hey")):
        raise EngineUnavailable("the load generator `hey` is not installed.", hint="apt-get install hey")
    given = {**headers, "Authorization": f"Bearer {token}"}
    words = [word for name, value in given.items() for word in ("-H", f"{name}: {value}")]
    command = [hey, "-c", str(clients), "-z", f"{seconds:.0f}s", "-t", "30", "-o", "csv", "-m", "POST"]
    command += ["-q", str(rate)] if rate else []
    command += ["-T", "application/json", "-A", headers["Accept"], *words, "-d", body.decode(), url]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise EngineUnavailable(f"`hey` failed: {done.stderr[-300:]}", hint="Run it by hand.")
    answered: list[float] = []
    refused: list[float] = []
    others: dict[int, int] = {}
    for row in csv.DictReader(done.stdout.splitlines()):
        status, taken = int(row["status-code"]), 1000 * float(row["response-time"])
        if status == 200:
            answered.append(taken)
        elif status in (429, 503):
            refused.append(taken)
        else:
            others[status] = others.get(status, 0) + 1
    return Flooded(answered, refused, others)


class SlowReaders:
    """Connections that ask for something large and then read next to nothing of the answer."""

    def __init__(self, host: str, port: int, count: int, request: bytes) -> None:
        self._sockets: list[socket.socket] = []
        for _ in range(count):
            one = socket.socket()
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)  # as small as the system allows
            one.connect((host, port))
            one.sendall(request)
            self._sockets.append(one)

    def close(self) -> None:
        """Hang up."""
        for one in self._sockets:
            one.close()
