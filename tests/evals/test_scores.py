"""Retrieval scores against values worked out by hand."""

from __future__ import annotations

import math

import pytest

from evals.scores import retrieval_scores


def test_a_perfect_ranking_scores_one_everywhere() -> None:
    assert retrieval_scores({"q": ["a", "b", "c"]}, {"q": frozenset({"a", "b"})}) == {
        "ndcg_at_10": 1.0,
        "recall_at_10": 1.0,
        "mrr": 1.0,
    }


def test_a_late_hit_scores_by_its_rank() -> None:
    scores = retrieval_scores({"q": ["x", "y", "a"]}, {"q": frozenset({"a"})})
    assert scores["ndcg_at_10"] == pytest.approx(1 / math.log2(4))
    assert scores["mrr"] == pytest.approx(1 / 3)


def test_a_question_without_hits_counts_as_zero() -> None:
    scores = retrieval_scores({"q": ["a"]}, {"q": frozenset({"a"}), "r": frozenset({"b"})})
    assert scores["ndcg_at_10"] == pytest.approx(0.5)


def test_grades_weigh() -> None:
    scores = retrieval_scores({"q": ["low", "high"]}, {"q": {"low": 1, "high": 3}})
    ideal = 3 + 1 / math.log2(3)
    assert scores["ndcg_at_10"] == pytest.approx((1 + 3 / math.log2(3)) / ideal)
