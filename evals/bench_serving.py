"""How fast a server starts, what memory it holds, and what MCP over HTTP adds to `retrieve`, at any number of chunks.

`python -m evals.bench_serving` ingests a table of tickets whose vectors already lie in the embedding cache (real ones
and their like), starts `wellhead serve`, and asks the same questions in this process and over the wire, turn by turn.
Prints one JSON object; trust its ratios and differences, which were made in one run.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from evals.bench_corpus import english_texts
from evals.bench_tickets import ASKERS, BASE_TEXTS, PRODUCT, SEED, fill_cache, first_words, make_workspace
from evals.front_door import FrontDoor, Serving
from evals.targets import Target
from evals.wire import McpConnection
from indexes.embedder import open_embedder, open_identified
from indexes.embedder_model import DEFAULT_MODEL, GRAPHS
from indexes.generation import TABLES, TEXT, VECTORS
from indexes.library import Library, LiveGeneration, Snapshot
from indexes.question import Question
from indexes.retrieve import retrieve
from semantic_layer.policy import Action
from semantic_layer.principal import Principal

TARGETS: Mapping[str, Target] = {
    "seconds_to_ready_beyond_model": Target(at_most=5.0),
    "resident_ratio": Target(at_most=1.5),
    "resident_ratio_beyond_idle": Target(at_most=1.5),
    "added_p50_ms": Target(at_most=15.0),
}
TEXT_WORDS = 90
QUESTION_WORDS = 8
WARM_UP_QUESTIONS = 10
STATUS_FIELDS = {"VmRSS": "resident", "VmHWM": "peak", "RssAnon": "anonymous", "RssFile": "mapped"}


def resident(pid: int) -> dict[str, int]:
    """Bytes of memory that a process holds, as Linux counts them; empty on other systems."""
    path = Path(f"/proc/{pid}/status")
    return status_bytes(path.read_text(encoding="utf-8")) if path.exists() else {}


def status_bytes(status: str) -> dict[str, int]:
    """The memory fields of a /proc/PID/status, in bytes."""
    lines = (line.split() for line in status.splitlines())
    found = {line[0].rstrip(":"): line[1] for line in lines if len(line) > 1}
    return {ours: int(found[theirs]) * 1024 for theirs, ours in STATUS_FIELDS.items() if theirs in found}


def sealed_bytes(generation: LiveGeneration, home: Path) -> dict[str, int]:
    """Bytes of the files behind a served generation: the model's graph, and the sealed files of each engine."""
    identity = generation.manifest.recipe["embedder"]
    model = home / "models" / identity["model"] / GRAPHS[identity["precision"]]
    sizes = {"model": model.stat().st_size}
    for engine in (VECTORS, TEXT, TABLES):
        files = generation.manifest.files.items()
        sizes[engine] = sum(file["bytes"] for name, file in files if name.split("/")[0] == engine)
    return sizes


@dataclass(frozen=True)
class Timed:
    """Milliseconds of the same questions, asked in process and over the wire."""

    in_process: Sequence[float]
    over_http: Sequence[float]

    @property
    def added(self) -> float:
        """What the wire adds to the median question."""
        return median(self.over_http) - median(self.in_process)

    def to_json(self) -> dict[str, float]:
        """Medians and 95th percentiles."""
        return {
            "retrieve_p50_ms": round(median(self.in_process), 2),
            "retrieve_p95_ms": round(float(np.percentile(self.in_process, 95)), 2),
            "mcp_p50_ms": round(median(self.over_http), 2),
            "mcp_p95_ms": round(float(np.percentile(self.over_http, 95)), 2),
            "added_p50_ms": round(self.added, 2),
        }


@dataclass(frozen=True)
class Measured:
    """What one served home showed: starts, the model's load, times by caller, memory by moment, sizes of files."""

    seconds_to_ready: Sequence[float]
    model_seconds: float
    timed: Mapping[str, Timed]
    memory: Mapping[str, Mapping[str, int]]
    files: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """The bare figures."""
        return {
            "search": {name: one.to_json() for name, one in self.timed.items()},
            "seconds_to_ready": [round(one, 2) for one in self.seconds_to_ready],
            "model_load_seconds": round(self.model_seconds, 3),
            "memory_bytes": self.memory,
            "file_bytes": self.files,
        }


def ask(snapshot: Snapshot, connection: McpConnection, asker: Principal, questions: Sequence[str]) -> Timed:
    """Ask each question both ways in turn; the first of them warm the caches and do not count."""
    grants = snapshot.grants(asker, Action.SEARCH)
    in_process: list[float] = []
    over_http: list[float] = []
    for text in [*questions[:WARM_UP_QUESTIONS], *questions]:
        started = time.perf_counter()
        retrieve(snapshot, Question(text), grants)
        between = time.perf_counter()
        connection.call("search", {"question": text})
        over_http.append(1000 * (time.perf_counter() - between))
        in_process.append(1000 * (between - started))
    warm = min(WARM_UP_QUESTIONS, len(questions))
    return Timed(in_process[warm:], over_http[warm:])


def token_of(door: FrontDoor, serving: Serving, asker: Principal) -> str:
    """A development token of this caller for this server."""
    roles = [word for role in sorted(asker.roles) for word in ("--role", role)]
    attributes = json.dumps(dict(asker.attributes))
    named = ("--subject", asker.subject, *roles, "--attributes", attributes, "--audience", serving.url)
    said = door.run("token", *named, "--json")
    return str(json.loads(said)["token"])


def measured(door: FrontDoor, home: Path, questions: Sequence[str], starts: int) -> Measured:
    """Start the server so many times, and ask the last one."""
    seconds: list[float] = []
    for _ in range(starts - 1):
        with door.serving() as serving:
            seconds.append(serving.seconds)
    library = Library(home, partial(open_identified, home))
    with library.pin() as snapshot, door.serving() as serving:
        seconds.append(serving.seconds)
        memory = {"at_start": resident(serving.pid)}
        timed: dict[str, Timed] = {}
        for asker in ASKERS:
            connection = McpConnection(serving.host, serving.port, token_of(door, serving, asker))
            timed[asker.subject] = ask(snapshot, connection, asker, questions)
            connection.close()
        memory["after_questions"] = resident(serving.pid)
        generation = snapshot.generations[PRODUCT]
        files, model = sealed_bytes(generation, home), model_seconds(home, generation)
    library.close()
    return Measured(seconds, model, timed, memory, files)


def idle_memory(into: Path, text: str) -> dict[str, int]:
    """Memory of a server of one row without a model or search index: what the program takes before any matter."""
    make_workspace(into, [text], searched=False)
    door = FrontDoor(into)
    door.ingest(PRODUCT)
    with door.serving() as serving:
        return resident(serving.pid)


def figures(found: Measured, idle: Mapping[str, int]) -> dict[str, float | None]:
    """What the targets speak of.

    Memory is resident bytes by the bytes of the model and of the indexes that are mapped (vectors and text; the
    tables are not mapped): of the whole process, and beyond what an idle server holds. None where Linux does not count.
    """
    mapped = found.files["model"] + found.files[VECTORS] + found.files[TEXT]
    held = found.memory["after_questions"].get("resident")
    return {
        "seconds_to_ready_beyond_model": median(found.seconds_to_ready) - found.model_seconds,
        "resident_ratio": held / mapped if held else None,
        "resident_ratio_beyond_idle": (held - idle["resident"]) / mapped if held else None,
        "added_p50_ms": max(one.added for one in found.timed.values()),
    }


def model_seconds(home: Path, generation: LiveGeneration) -> float:
    """Seconds to load the generation's model from its file."""
    started = time.perf_counter()
    open_identified(home, generation.manifest.recipe["embedder"])
    return time.perf_counter() - started


def bench(into: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Make, ingest, serve and ask."""
    texts = english_texts(np.random.default_rng(SEED), options.chunks, TEXT_WORDS)
    make_workspace(into, texts)
    home = into / ".wellhead"
    home.mkdir()
    if options.home:
        (home / "models").symlink_to((options.home / "models").resolve())
    fill_cache(home, open_embedder(home, DEFAULT_MODEL), texts)
    door = FrontDoor(into, {"WELLHEAD_DEVICE": "cpu"})
    built = door.ingest(PRODUCT)
    questions = [first_words(texts[n % BASE_TEXTS % len(texts)], QUESTION_WORDS) for n in range(options.questions)]
    found, idle = measured(door, home, questions, options.starts), idle_memory(into / "idle", texts[0])
    judged = figures(found, idle)
    return {
        "chunks": built.report["counts"]["chunks"],
        "targets": {name: target.judged(judged[name]) for name, target in TARGETS.items()},
        **found.to_json(),
        "idle_memory_bytes": idle,
        "ingest": built.to_json(),
    }


def main() -> None:
    """Run the benchmark and print its figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, default=100_000)
    parser.add_argument("--questions", type=int, default=200, help="so many for each caller")
    parser.add_argument("--starts", type=int, default=3, help="starts of the server; their median counts")
    parser.add_argument(
        "--home", type=Path, help="a home whose models/ holds the model; else it is exported first"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = bench(Path(folder) / "workspace", options)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
