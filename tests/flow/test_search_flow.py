"""A folder in, an answer out: what a person's own documents give through the `search` tool."""

from __future__ import annotations

from pathlib import Path

import pytest

from evals.retrieval_truth import RUNS, make_workspace, score
from indexes.embedder import open_identified
from indexes.library import Library
from mcp_server.opening import serving
from mcp_server.settings import serving_settings
from tests.mcp_server.callers import EU, Asker
from tests.workspace_factory import BuiltWorkspace, copy_workspace

TRUTH = Path(__file__).parents[3] / "shared" / "truth" / "retrieval"
FLOORS = {"cranfield": (0.415, 0.425), "xquad-en": (0.970, 0.977), "metatool": (0.710, 0.721)}
"""nDCG@10 with the default options, and reranked."""

PAGE = "---\ntitle: Terms\naudience: public\n---\n# Terms\n\n{} {}\n"
SENTENCE = "The lighthouse keeper in Porto paints a purple elephant on every sail."


def test_the_last_sentence_of_a_3000_word_paragraph_is_found_by_vectors_alone(
    tmp_path: Path, model_home: Path
) -> None:
    tiny = copy_workspace("tiny", tmp_path, model_home)
    filler = " ".join(f"Clause {number} binds the carrier to deliver the goods on time." for number in range(273))
    assert len(filler.split()) > 2_990
    (tmp_path / "products" / "handbook" / "data" / "long.md").write_text(PAGE.format(filler, SENTENCE))
    tiny.ingest("handbook")
    with serving(serving_settings(tiny.door), {}) as service:
        asked = {
            "question": "a keeper paints a purple elephant",
            "mode": "vector",
            "limit": 3,
            "response_format": "detailed",
        }
        answer = Asker(service).ok(EU, "search", **asked)
    assert SENTENCE in answer.data["hits"][0]["text"]
    assert answer.data["hits"][0]["document"] == "long.md"


@pytest.mark.truth
@pytest.mark.skipif(not TRUTH.is_dir(), reason="the public collections are not on this machine")
@pytest.mark.timeout(1_800)  # minutes of embedding: a busy machine takes several times as long
def test_public_collections_reach_their_floors_through_the_real_pipeline(tmp_path: Path, model_home: Path) -> None:
    names = make_workspace(TRUTH, tmp_path)
    assert set(names) >= set(FLOORS)
    truth = BuiltWorkspace(tmp_path)
    truth.home.mkdir()
    (truth.home / "models").symlink_to(model_home / "models")
    truth.ingest()
    library = Library(truth.home, lambda identity: open_identified(truth.home, identity))
    with library.pin() as snapshot:
        found = {
            name: tuple(score(snapshot, TRUTH / name, run).ndcg_at_10 for run in ("hybrid", "hybrid, rerank"))
            for name in FLOORS
        }
    library.close()
    assert set(RUNS) >= {"hybrid", "hybrid, rerank"}
    missed = {name: scores for name, scores in found.items() if any(map(float.__lt__, scores, FLOORS[name]))}
    assert not missed, found
