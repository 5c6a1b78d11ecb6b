"""The benchmarks' own parts: what they make, what they send, and how they judge; never how fast anything is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evals import bench_faiss, bench_ingest, bench_peers, bench_serving
from evals.bench_corpus import (
    REVISION,
    SECTIONS_A_DOCUMENT,
    corpus_sections,
    documents,
    english_sections,
    english_texts,
    near_vectors,
    revised,
)
from evals.bench_serving import Measured, Timed, status_bytes
from evals.bench_tickets import ASKERS, PRODUCT, fill_cache, make_workspace
from evals.front_door import Ingested
from evals.targets import Target
from evals.wire import McpConnection, answer_of, request_of
from indexes.embedder import OnnxEmbedder
from indexes.recall import exact_neighbours
from ingest.products import ingest_all
from ingest.progress import Silent
from ingest.report import RunReport
from ingest.settings import IngestSettings
from semantic_layer.errors import Refused, WellheadError
from semantic_layer.workspace import load_workspace
from tests.mcp_server.running import running_server
from tests.workspace_factory import BuiltWorkspace


def seeded() -> np.random.Generator:
    return np.random.default_rng(1)


def ingested(workspace: Path, product: str) -> RunReport:
    settings = IngestSettings(device="cpu")
    ((_, report),) = ingest_all(load_workspace(workspace), (product,), settings, by="test", progress=Silent())
    assert isinstance(report, RunReport), report
    return report


# -- what they are made of ---------------------------------------------------------------------------------


def test_the_same_seed_makes_the_same_texts_and_none_twice() -> None:
    texts = english_texts(seeded(), 500, 90)
    assert texts == english_texts(seeded(), 500, 90)
    assert len(set(texts)) == 500
    assert {len(text.split()) for text in texts} == {90}


def test_documents_hold_every_section_under_a_heading() -> None:
    sections = english_sections(seeded(), SECTIONS_A_DOCUMENT + 1)
    found = documents(sections)
    assert list(found) == ["document-00000.md", "document-00001.md"]
    assert found["document-00000.md"].count("\n## ") == SECTIONS_A_DOCUMENT
    assert found["document-00001.md"].count("\n## ") == 1
    assert all(section in "".join(found.values()) for section in sections)


def test_one_document_in_a_hundred_is_revised_and_every_section_of_it() -> None:
    found = documents(english_sections(seeded(), 300 * SECTIONS_A_DOCUMENT))
    changed = revised(found, 0.01)
    assert len(changed) == 3
    assert all(text.count(REVISION) == SECTIONS_A_DOCUMENT for text in changed.values())
    assert all(text.replace(f" {REVISION}", "") == found[name] for name, text in changed.items())


def test_a_product_of_few_documents_still_has_one_revised() -> None:
    assert len(revised({"a.md": "# A\n\nOne.\n", "b.md": "# B\n\nTwo.\n"}, 0.01)) == 1


def test_sections_come_from_a_collection_where_one_is_given(tmp_path: Path) -> None:
    lines = [
        json.dumps({"_id": str(number), "text": text}) for number, text in enumerate(["one", "", "two", "three"])
    ]
    (tmp_path / "corpus.jsonl").write_text("\n".join(lines), encoding="utf-8")
    assert corpus_sections(tmp_path, 2) == ["one", "two"]


def test_made_vectors_have_unit_length() -> None:
    real = seeded().standard_normal((20, 8)).astype(np.float32)
    real /= np.linalg.norm(real, axis=1, keepdims=True)
    made = near_vectors(seeded(), real, 50)
    assert made.shape == (50, 8)
    assert np.allclose(np.linalg.norm(made, axis=1), 1, atol=1e-5)


# -- how they judge ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "figure", "met"),
    [
        (Target(at_most=15.0), 15.0, True),
        (Target(at_most=15.0), 15.1, False),
        (Target(at_least=0.85), 0.85, True),
        (Target(at_least=0.85), 0.84, False),
    ],
)
def test_a_target_is_met_up_to_its_bound(target: Target, figure: float, met: bool) -> None:
    assert target.judged(figure)["met"] is met


def test_a_figure_that_could_not_be_had_is_never_met() -> None:
    judged = Target(at_most=1.5).judged(None)
    assert judged == {"figure": "not_checked", "at_most": 1.5, "met": False}


def test_two_sides_are_timed_turn_by_turn_and_take_turns_in_being_first() -> None:
    order: list[str] = []
    seconds = bench_faiss.paired(lambda: order.append("ours"), lambda: order.append("bare"), 3)
    assert order == ["ours", "bare", "bare", "ours", "ours", "bare"]
    assert seconds.shape == (3, 2)
    assert (seconds > 0).all()


def test_a_library_is_timed_at_the_first_effort_that_finds_enough(tmp_path: Path) -> None:
    vectors = seeded().standard_normal((400, 8)).astype(np.float32)
    queries, buckets = vectors[:20].copy(), np.arange(400, dtype=np.int32) * 5
    masks = [buckets < below for below in bench_peers.FILTERS.values()]
    truths = exact_neighbours(vectors, queries, np.full(20, -1), masks)
    for name, made in (
        (bench_peers.VECTORS, vectors),
        (bench_peers.QUERIES, queries),
        (bench_peers.BUCKET, buckets),
    ):
        np.save(tmp_path / name, made)
    cuts = {name: truth.cut for name, truth in zip(bench_peers.FILTERS, truths, strict=True)}
    np.savez(tmp_path / bench_peers.CUTS, allow_pickle=False, **cuts)

    def exact(asked: np.ndarray, below: int) -> np.ndarray:
        scores = np.where(buckets < below, asked @ vectors.T, -np.inf)
        best = np.argsort(-scores, axis=1)[:, : bench_peers.DEPTH]
        return np.where(np.isfinite(np.take_along_axis(scores, best, 1)), best, -1)

    def half(asked: np.ndarray, below: int) -> np.ndarray:
        return np.where(np.arange(bench_peers.DEPTH) < 5, exact(asked, below), -1)

    efforts = [("half", half), ("enough", exact), ("more", exact)]
    found = bench_peers.measured(bench_peers.Data(tmp_path), bench_peers.Built("", 1.0, {}, efforts))
    assert [found[name]["effort"] for name in ("none", "50 %", "5 %")] == ["enough"] * 3
    assert found["none"]["recall_at_10"] == 1.0
    assert found["none"]["singles"] == 20
    chosen = bench_peers.measured(bench_peers.Data(tmp_path), bench_peers.Built("", 1.0, {}, efforts[:1], exact))
    assert (chosen["none"]["effort"], chosen["5 %"]["effort"]) == ("half", "exact")


def run(wall: float, seconds: float, embed: float | None = None) -> Ingested:
    steps = {} if embed is None else {"embed": embed}
    counts = {"chunks": 5_000, "documents": 1_000}
    report = {"seconds": seconds, "steps": steps, "counts": counts, "state": "", "reused": {}, "peak_bytes": 0}
    return Ingested(wall, report)


def test_ingest_ratios_are_those_of_whole_processes_and_indexing_is_no_embedding() -> None:
    found = bench_ingest.report(run(100, 98, 95), run(4, 2), run(11, 9, 5))
    assert {name: one["figure"] for name, one in found["targets"].items()} == {
        "embedding_share": 0.90,
        "unchanged_ratio": 0.04,
        "changed_ratio": 0.11,
    }
    assert {name: one["met"] for name, one in found["targets"].items()} == {
        "embedding_share": True,
        "unchanged_ratio": True,
        "changed_ratio": False,
    }
    assert found["ratios"]["embed_step_share"] == 0.95
    assert found["enough_chunks"]


def served(memory: Mapping[str, int]) -> Measured:
    timed = {"reader": Timed([3, 4, 5], [9, 10, 11]), "regional": Timed([4, 4, 4], [12, 12, 12])}
    files = {"model": 20, "vectors": 70, "text": 10, "tables.duckdb": 500}
    return Measured([2.0, 3.0, 9.0], 0.5, timed, {"after_questions": memory}, files)


def test_serving_is_judged_by_the_slower_caller_and_by_model_and_mapped_indexes() -> None:
    assert bench_serving.figures(served({"resident": 450}), {"resident": 300}) == {
        "seconds_to_ready_beyond_model": 2.5,
        "resident_ratio": 4.5,
        "resident_ratio_beyond_idle": 1.5,
        "added_p50_ms": 8,
    }


def test_memory_that_the_system_does_not_count_is_not_judged() -> None:
    assert bench_serving.figures(served({}), {})["resident_ratio"] is None


def test_memory_is_read_in_bytes() -> None:
    status = "Name:\tpython\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\nRssAnon:\t 600 kB\nRssFile:\t 424 kB\n"
    assert status_bytes(status)["resident"] == 1024 * 1024
    assert set(status_bytes(status)) == {"resident", "peak", "anonymous", "mapped"}


# -- what they send ----------------------------------------------------------------------------------------


def test_a_call_stands_for_itself() -> None:
    sent = request_of(7, "search", {"question": "x"})
    assert sent["method"] == "tools/call"
    assert sent["params"]["arguments"] == {"question": "x"}
    assert sent["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] == "2026-07-28"


def wrapped(**result: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "result": result}).encode()


def test_an_answer_is_taken_from_the_message_and_a_failure_is_never_a_figure() -> None:
    answer = {"status": "ok", "data": {"hits": []}}
    assert answer_of(200, wrapped(structuredContent=answer, isError=False)) == answer
    with pytest.raises(Refused, match="readers"):
        answer_of(200, wrapped(structuredContent={"status": "refused", "data": "readers"}, isError=True))
    with pytest.raises(WellheadError, match="busy"):
        answer_of(200, wrapped(structuredContent={"status": "failed", "data": "busy"}, isError=True))
    with pytest.raises(WellheadError, match="-32602"):
        answer_of(400, b'{"jsonrpc": "2.0", "error": {"code": -32602}}')
    with pytest.raises(WellheadError, match="502"):
        answer_of(502, b"<html>")


# -- on real engines ---------------------------------------------------------------------------------------


def test_the_documents_become_about_a_chunk_a_section(tmp_path: Path, model_home: Path) -> None:
    sections = english_sections(seeded(), 2 * SECTIONS_A_DOCUMENT)
    bench_ingest.make_workspace(tmp_path / "w", documents(sections), model_home / "models")
    report = ingested(tmp_path / "w", bench_ingest.PRODUCT)
    assert report.counts["documents"] == 2
    assert len(sections) <= report.counts["chunks"] <= len(sections) + 2


def test_tickets_are_served_without_embedding_one_and_each_caller_finds_its_own(
    tmp_path: Path, model_home: Path, embedder: OnnxEmbedder
) -> None:
    texts = english_texts(seeded(), 40, 60)
    make_workspace(tmp_path, texts)
    (tmp_path / ".wellhead").mkdir()
    (tmp_path / ".wellhead" / "models").symlink_to(model_home / "models")
    fill_cache(tmp_path / ".wellhead", embedder, texts)
    report = ingested(tmp_path, PRODUCT)
    assert report.counts["chunks"] == report.reused["vectors"] == len(texts)
    found: dict[str, set[int]] = {}
    with running_server(BuiltWorkspace(tmp_path)) as running:
        for asker in ASKERS:
            connection = McpConnection(running.settings.host, running.settings.port, running.token(asker))
            asked = {"question": texts[0][:60], "limit": 50}
            answer = connection.call("search", asked)
            hits = answer["data"]["hits"]
            while cursor := answer["page"].get("next_cursor"):
                answer = connection.call("search", {**asked, "cursor": cursor})
                hits += answer["data"]["hits"]
            connection.close()
            found[asker.subject] = {int(hit["document"]) for hit in hits}
    assert found["reader"] == set(range(len(texts)))
    assert found["regional"] == {number for number in range(len(texts)) if number % 10 < 3}
