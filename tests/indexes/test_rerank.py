"""MaxSim over stored token vectors is what its definition says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from indexes.rerank import TokenVectorBuilder, TokenVectorReader, TokenVectors
from semantic_layer.errors import CorruptGeneration

DIMENSION = 16


def tokens(count: int, seed: int) -> TokenVectors:
    vectors = np.random.default_rng(seed).standard_normal((count, DIMENSION))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)


CHUNKS: list[TokenVectors | None] = [tokens(5, 1), None, tokens(9, 2), tokens(1, 3)]


@pytest.fixture
def reader(tmp_path: Path) -> TokenVectorReader:
    builder = TokenVectorBuilder(tmp_path, DIMENSION)
    builder.add(CHUNKS[:2])
    builder.add(CHUNKS[2:])
    assert builder.seal() == {"tokens": 15, "dimension": DIMENSION, "count": 4}
    return TokenVectorReader(tmp_path, DIMENSION)


def test_each_question_token_meets_its_nearest(reader: TokenVectorReader) -> None:
    question = tokens(4, 9)
    scores = reader.maxsim(question, np.array([3, 0, 1, 2], np.int64))
    for score, number in zip(scores, [3, 0, 1, 2], strict=True):
        held = CHUNKS[number]
        if held is None:
            assert np.isnan(score)
        else:
            nearest = [max(float(a @ b) for b in held.astype(float)) for a in question.astype(float)]
            assert score == pytest.approx(np.mean(nearest), abs=1e-5)


def test_nothing_to_compare_is_no_score(reader: TokenVectorReader) -> None:
    assert np.isnan(reader.maxsim(tokens(0, 1), np.array([0], np.int64))).all()
    assert np.isnan(reader.maxsim(tokens(2, 1), np.array([1], np.int64))).all()
    assert len(reader.maxsim(tokens(2, 1), np.empty(0, np.int64))) == 0


def test_a_damaged_file_is_named(reader: TokenVectorReader, tmp_path: Path) -> None:
    (tmp_path / "tokens.f16").write_bytes(b"")
    with pytest.raises(CorruptGeneration, match="token vectors"):
        TokenVectorReader(tmp_path, DIMENSION)
