"""How much of an ingest is embedding, and what a second one costs: `python -m evals.bench_ingest`.

Ingests a product of Markdown documents, again with nothing changed, and again with 1 % of the documents changed,
each by the `wellhead` command in a process of its own. Prints one JSON object; trust its ratios, which were made in
one run, not the bare seconds.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from evals.bench_corpus import corpus_sections, documents, english_sections, revised
from evals.front_door import FrontDoor, Ingested
from evals.targets import Target

CHANGED_SHARE = 0.01
CHUNKS_FOR_RATIOS = 5_000
"""Below so many, what every process costs at its start weighs more than any promise says."""
TARGETS: Mapping[str, Target] = {
    "embedding_share": Target(at_least=0.85),
    "unchanged_ratio": Target(at_most=0.05),
    "changed_ratio": Target(at_most=0.10),
}
SEED = 5
PRODUCT, WARM_UP = "handbook", "warm-up"


def make_workspace(into: Path, found: Mapping[str, str], models: Path | None) -> None:
    """Write a workspace with two products: these documents, and one document that only warms up."""
    into.mkdir(parents=True, exist_ok=True)
    (into / "wellhead.yaml").write_text("version: 1\nname: bench\n", encoding="utf-8")
    for product, held in ((PRODUCT, found), (WARM_UP, {"first.md": "# First\n\nOne sentence to begin with.\n"})):
        folder = into / "products" / product
        (folder / "data").mkdir(parents=True)
        (folder / "contract.yaml").write_text(
            yaml.safe_dump(_contract(product), sort_keys=False), encoding="utf-8"
        )
        write_documents(into, product, held)
    if models is not None:
        (into / ".wellhead").mkdir()
        (into / ".wellhead" / "models").symlink_to(models.resolve())


def write_documents(workspace: Path, product: str, found: Mapping[str, str]) -> None:
    """Write, or write over, these documents of a product."""
    for name, text in found.items():
        (workspace / "products" / product / "data" / name).write_text(text, encoding="utf-8")


def _contract(product: str) -> dict[str, Any]:
    return {
        "apiVersion": "v3.1.0",
        "kind": "DataContract",
        "id": f"bench-{product}",
        "version": "1.0.0",
        "status": "active",
        "servers": [{"server": "files", "type": "local", "path": "data", "format": "md"}],
        "schema": [
            {
                "name": "pages",
                "physicalType": "document",
                "customProperties": [{"property": "wellhead", "value": {"path": "*.md"}}],
                "properties": [{"name": "path", "logicalType": "string", "primaryKey": True}],
            }
        ],
    }


def figures(first: Ingested, unchanged: Ingested, changed: Ingested) -> dict[str, float]:
    """The ratios that the targets speak of, by the wall time of whole processes.

    `embedding_share` counts neither the building of indexes nor the reading of the cache: it is what the step that
    embeds and indexes took, less what the same step took when nearly every vector was known already.
    `embed_step_share` is that step whole. `..._by_report` leave out what a process costs before and after its run.
    """
    embed, indexing = first.report["steps"]["embed"], changed.report["steps"]["embed"]
    return {
        "embedding_share": (embed - indexing) / first.wall,
        "embed_step_share": embed / first.wall,
        "unchanged_ratio": unchanged.wall / first.wall,
        "changed_ratio": changed.wall / first.wall,
        "unchanged_ratio_by_report": unchanged.report["seconds"] / first.report["seconds"],
        "changed_ratio_by_report": changed.report["seconds"] / first.report["seconds"],
    }


def report(first: Ingested, unchanged: Ingested, changed: Ingested) -> dict[str, Any]:
    """What is printed: the three runs, the ratios, and each target with its figure and whether it is met."""
    found = figures(first, unchanged, changed)
    counts = first.report["counts"]
    return {
        "chunks": counts["chunks"],
        "documents": counts["documents"],
        "enough_chunks": counts["chunks"] >= CHUNKS_FOR_RATIOS,
        "chunks_per_s": round(counts["chunks"] / first.report["steps"]["embed"], 1),
        "ratios": {name: round(value, 4) for name, value in found.items()},
        "targets": {name: target.judged(found[name]) for name, target in TARGETS.items()},
        "runs": {
            "first": first.to_json(),
            "unchanged": unchanged.to_json(),
            "changed": changed.to_json(),
        },
    }


def bench(into: Path, chunks: int, corpus: Path | None, models: Path | None) -> dict[str, Any]:
    """Make the workspace, ingest it three times, and judge the ratios."""
    sections = corpus_sections(corpus, chunks) if corpus else english_sections(np.random.default_rng(SEED), chunks)
    found = documents(sections)
    make_workspace(into, found, models)
    door = FrontDoor(into)
    door.ingest(WARM_UP)
    first = door.ingest(PRODUCT)
    unchanged = door.ingest(PRODUCT)
    write_documents(into, PRODUCT, revised(found, CHANGED_SHARE))
    changed = door.ingest(PRODUCT)
    return report(first, unchanged, changed)


def main() -> None:
    """Run the benchmark and print its figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, default=CHUNKS_FOR_RATIOS, help="about so many")
    parser.add_argument("--corpus", type=Path, help="a collection in BEIR's form instead of invented texts")
    parser.add_argument(
        "--home", type=Path, help="a home whose models/ holds the model; else it is exported first"
    )
    options = parser.parse_args()
    models = options.home / "models" if options.home else None
    with tempfile.TemporaryDirectory() as folder:
        found = bench(Path(folder) / "workspace", options.chunks, options.corpus, models)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
