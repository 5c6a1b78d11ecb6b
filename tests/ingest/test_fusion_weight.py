"""What vectors count for beside words is chosen on a product's own questions, and only where it holds up."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from evals.fusion_weight import paired_interval
from indexes.embedder import open_identified
from indexes.fusion import DENSE_WEIGHT
from indexes.generation import FUSION, Manifest
from indexes.library import Library
from indexes.question import Question
from indexes.retrieve import retrieve
from semantic_layer.policy import Action
from semantic_layer.principal import Principal
from tests.workspace_factory import BuiltWorkspace, copy_workspace

QUESTIONS = 40
READER = Principal("reader", frozenset({"public"}))
FRONT = "---\naudience: public\nregion: all\n---\n"

Workshop = Callable[[int], BuiltWorkspace]


def code(number: int) -> str:
    return f"dom{number * 37 % 100:02}kex"


def question(number: int) -> str:
    return f"which part of a pump that leaks and is loud is {code(number)}"


@pytest.fixture
def workshop(tmp_path: Path, model_home: Path) -> Workshop:
    """A handbook in which only a code tells the drawing asked for, and pages beside it sound more like the question."""

    def ingested(questions: int) -> BuiltWorkspace:
        built = copy_workspace("tiny", tmp_path / "shop", model_home)
        product = built.root / "products" / "handbook"
        for n in range(QUESTIONS):
            (product / "data" / f"drawing{n}.md").write_text(
                f"{FRONT}# Drawing {n}\n\nSee {code(n)} on sheet {n % 7}.\n"
            )
            (product / "data" / f"pump{n}.md").write_text(
                f"{FRONT}# Pump {n} leaks and is loud\n\nA pump of series {n} that leaks or is loud wants a gasket.\n"
            )
        asked = [
            {"id": f"q{n}", "as": {"roles": ["public"]}, "question": question(n), "relevant": [f"drawing{n}.md"]}
            for n in range(questions)
        ]
        (product / "evals.yaml").write_text(yaml.safe_dump({"version": 1, "retrieval": asked}))
        built.ingest("handbook")
        return built

    return ingested


def first_documents(built: BuiltWorkspace, **options: Any) -> tuple[list[str], Manifest]:
    """The best document for each question, asked as anybody asks, and the manifest of what was asked."""
    library = Library(built.home, partial(open_identified, built.home))
    try:
        with library.pin() as snapshot:
            grants = {"handbook": snapshot.grant(READER, "handbook", Action.SEARCH)}
            found = [
                retrieve(snapshot, Question(question(n), **options), grants).hits[0] for n in range(QUESTIONS)
            ]
            return [hit.document for hit in found], snapshot.generations["handbook"].manifest
    finally:
        library.close()


def test_a_product_whose_questions_need_words_is_sealed_with_more_weight_on_words(workshop: Workshop) -> None:
    built = workshop(QUESTIONS)
    found, manifest = first_documents(built)
    assert found == [f"drawing{n}.md" for n in range(QUESTIONS)]
    assert manifest.engines[FUSION]["dense_weight"] < DENSE_WEIGHT
    assert manifest.engines[FUSION]["interval"][0] > 0
    reason = next(gate for gate in manifest.gates if gate["gate"] == FUSION)
    assert "instead of 0.7" in reason["detail"]
    assert first_documents(built, dense_weight=DENSE_WEIGHT)[0] != found


def test_too_few_questions_leave_the_default_weight(workshop: Workshop) -> None:
    found, manifest = first_documents(workshop(QUESTIONS - 1))
    assert FUSION not in manifest.engines
    assert found != [f"drawing{n}.md" for n in range(QUESTIONS)]


def test_a_difference_that_chance_explains_has_an_interval_around_zero() -> None:
    low, high = paired_interval(np.array([0.4, -0.4] * 20 + [0.1]))
    assert low < 0 < high
    low, high = paired_interval(np.array([0.3, 0.2, 0.1, 0.2] * 10))
    assert 0 < low < 0.2 < high < 0.3
