"""Scores the real pipeline on public collections: `python -m evals.retrieval_truth FOLDER [--into WORKSPACE]`.

FOLDER holds a folder a collection with corpus.jsonl {_id, title, text}, queries.jsonl {_id, text} and qrels.tsv.
Each becomes a product that `wellhead ingest` builds as any other; questions go through `retrieve` with the options
that `search` has by default. Prints a table: nDCG@10 and milliseconds of each leg, of both, and reranked.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import yaml

from evals.scores import retrieval_scores
from indexes.embedder import open_identified
from indexes.library import Library, Snapshot
from indexes.question import Question
from indexes.retrieve import retrieve
from indexes.servers import Servers
from semantic_layer.door import Door
from semantic_layer.policy import Action
from semantic_layer.principal import Principal

READER = Principal("truth", frozenset({"reader"}))
DEPTH = 50
RUNS: Mapping[str, Mapping[str, Any]] = {
    "vectors": {"mode": "vector"},
    "text": {"mode": "text"},
    "hybrid": {},
    "hybrid, rerank": {"rerank": True},
}


@dataclass(frozen=True)
class Score:
    """One collection under one set of options; milliseconds are the median question's."""

    collection: str
    run: str
    questions: int
    ndcg_at_10: float
    milliseconds: float


def make_workspace(folder: Path, into: Path) -> list[str]:
    """Write a workspace with a product for each collection, reading the corpus where it lies; gives their names."""
    collections = sorted(path.parent.name for path in folder.glob("*/corpus.jsonl"))
    into.mkdir(parents=True, exist_ok=True)
    (into / "wellhead.yaml").write_text("version: 1\nname: truth\n")
    for name in collections:
        product = into / "products" / name
        product.mkdir(parents=True, exist_ok=True)
        (product / "contract.yaml").write_text(yaml.safe_dump(_contract(name, folder / name), sort_keys=False))
        rule = {"name": "readers", "roles": ["reader"], "actions": ["discover", "search"], "columns": "*"}
        (product / "policy.yaml").write_text(yaml.safe_dump({"version": 1, "rules": [rule]}))
    return collections


def _contract(name: str, folder: Path) -> dict[str, Any]:
    def column(column: str, **hints: Any) -> dict[str, Any]:
        custom = [{"property": "wellhead", "value": hints}] if hints else []
        return {"name": column, "logicalType": "string", **({"customProperties": custom} if custom else {})}

    return {
        "apiVersion": "v3.1.0",
        "kind": "DataContract",
        "id": f"truth-{name}",
        "version": "1.0.0",
        "status": "active",
        "servers": [{"server": "files", "type": "local", "path": str(folder.resolve()), "format": "jsonl"}],
        "schema": [
            {
                "name": "passages",
                "physicalType": "record",
                "customProperties": [
                    {"property": "wellhead", "value": {"path": "corpus.jsonl", "token_vectors": True}}
                ],
                "properties": [
                    {**column("id", path="$._id"), "primaryKey": True, "required": True},
                    column("title", title=True),
                    column("text", text=True),
                ],
            }
        ],
    }


def questions_of(folder: Path) -> dict[str, str]:
    """Question texts by id."""
    lines = (folder / "queries.jsonl").read_text(encoding="utf-8").splitlines()
    return {str(one["_id"]): str(one["text"]) for one in map(json.loads, lines)}


def judgments_of(folder: Path) -> dict[str, dict[str, int]]:
    """Grades by question and document."""
    judged: dict[str, dict[str, int]] = {}
    with (folder / "qrels.tsv").open(encoding="utf-8") as file:
        for row in csv.reader(file, delimiter="\t"):
            if len(row) >= 3 and row[-1].lstrip("-").isdigit():
                judged.setdefault(row[0], {})[row[-2]] = int(row[-1])
    return judged


def score(snapshot: Snapshot, folder: Path, run: str, limit: int | None = None) -> Score:
    """nDCG@10 of one collection over its judged questions, or the first `limit` of them."""
    grants = {folder.name: snapshot.grant(READER, folder.name, Action.SEARCH).require()}
    judged = judgments_of(folder)
    asked = [(key, text) for key, text in questions_of(folder).items() if key in judged][:limit]
    ranked: dict[str, list[str]] = {}
    times: list[float] = []
    for key, text in asked:
        started = time.perf_counter()
        found = retrieve(snapshot, Question(text, (folder.name,), k=DEPTH, **RUNS[run]), grants)
        times.append((time.perf_counter() - started) * 1_000)
        ranked[key] = list(dict.fromkeys(hit.document for hit in found.hits))
    scores = retrieval_scores(ranked, {key: judged[key] for key, _ in asked})
    return Score(folder.name, run, len(asked), scores["ndcg_at_10"], median(times))


def table(scores: Sequence[Score]) -> str:
    """The scores as a Markdown table: a row a collection, nDCG@10 (median milliseconds) for each run."""
    lines = ["| collection | questions | " + " | ".join(RUNS) + " |", "|---|---|" + "---|" * len(RUNS)]
    for name in dict.fromkeys(one.collection for one in scores):
        own = {one.run: one for one in scores if one.collection == name}
        cells = [f"{own[run].ndcg_at_10:.4f} ({own[run].milliseconds:.1f} ms)" for run in RUNS if run in own]
        lines.append(f"| {name} | {next(iter(own.values())).questions:,} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Read the command line, ingest, score and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--into", type=Path, default=Path("truth-workspace"))
    parser.add_argument("--limit", type=int, help="only so many questions of each collection")
    arguments = parser.parse_args()
    names = make_workspace(arguments.folder, arguments.into)
    command = [sys.executable, "-m", "wellhead", "--workspace", str(arguments.into), "ingest"]
    subprocess.run(command, check=True)
    door = Door(arguments.into, os.environ)
    servers = Servers(door.settings.engines, os.environ)
    library = Library(door.home, lambda identity: open_identified(door.home, identity), servers=servers)
    with library.pin() as snapshot:
        scores = [score(snapshot, arguments.folder / name, run, arguments.limit) for name in names for run in RUNS]
    library.close()
    servers.close()
    print(table(scores))


if __name__ == "__main__":
    main()
