"""Chooses what vectors count for beside words in one product: on half of its own questions, accepted on the other.

A weight taken on all questions would fit their noise. So the best weight of one half must beat the default on the
other: the 95 % interval of the paired difference in nDCG@10, by bootstrap (Efron 1979; Sakai 2006 for retrieval),
lies above zero.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np

from evals.ask import Asker
from evals.run import ranked_names
from evals.scores import ndcg_by_question
from indexes.fusion import DENSE_WEIGHT
from semantic_layer.suite import RetrievalCase, Suite

WEIGHTS = (0.0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
FEWEST_QUESTIONS = 40
MOST_QUESTIONS = 400
RESAMPLES = 10_000


@dataclass(frozen=True)
class Weighing:
    """The weight a product is sealed with, and why. Scores are mean nDCG@10 of the half that was not chosen on.

    `tried` is the weight that the first half liked best; `interval` the 95 % interval of what it adds to the default.
    """

    dense_weight: float
    tried: float
    questions: int
    ndcg_default: float
    ndcg_tried: float
    interval: tuple[float, float]

    @property
    def sentence(self) -> str:
        """The decision as a report shows it."""
        if self.tried == DENSE_WEIGHT:
            return f"dense weight {DENSE_WEIGHT}: no other is better on {self.questions} questions"
        verdict = "instead of" if self.dense_weight == self.tried else "not taken instead of"
        low, high = self.interval
        return (
            f"dense weight {self.tried} {verdict} {DENSE_WEIGHT}: nDCG@10 {self.ndcg_tried:.3f} beside "
            f"{self.ndcg_default:.3f} on {self.questions} other questions (95 % interval {low:+.3f} to {high:+.3f})"
        )

    def to_json(self) -> dict[str, Any]:
        """As a manifest keeps it."""
        return {
            "dense_weight": self.dense_weight,
            "tried": self.tried,
            "questions": self.questions,
            "ndcg_default": round(self.ndcg_default, 4),
            "ndcg_tried": round(self.ndcg_tried, 4),
            "interval": [round(end, 4) for end in self.interval],
        }


def choose_weight(asker: Asker, suite: Suite) -> Weighing | None:
    """The weight of the suite's product; None where it has fewer than FEWEST_QUESTIONS questions.

    Equal questions, index and model give the same weight: the halves are told by the cases' ids, the bootstrap is
    seeded. At most MOST_QUESTIONS are asked.
    """
    cases = sorted(suite.retrieval, key=lambda case: hashlib.sha256(case.id.encode()).digest())[:MOST_QUESTIONS]
    if len(cases) < FEWEST_QUESTIONS:
        return None
    chosen_on, accepted_on = cases[::2], cases[1::2]
    means = {weight: fmean(_scores(asker, suite.product, chosen_on, weight)) for weight in WEIGHTS}
    tried = max(WEIGHTS, key=lambda weight: (means[weight], -abs(weight - DENSE_WEIGHT)))
    default = np.array(_scores(asker, suite.product, accepted_on, DENSE_WEIGHT))
    other = default if tried == DENSE_WEIGHT else np.array(_scores(asker, suite.product, accepted_on, tried))
    interval = paired_interval(other - default)
    return Weighing(
        dense_weight=tried if interval[0] > 0 else DENSE_WEIGHT,
        tried=tried,
        questions=len(accepted_on),
        ndcg_default=float(default.mean()),
        ndcg_tried=float(other.mean()),
        interval=interval,
    )


def paired_interval(differences: np.ndarray[Any, np.dtype[np.float64]]) -> tuple[float, float]:
    """The 95 % interval of the mean of paired differences, by percentile bootstrap; equal input, equal interval."""
    rng = np.random.default_rng(len(differences))
    drawn = rng.integers(0, len(differences), (RESAMPLES, len(differences)))
    low, high = np.percentile(differences[drawn].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def _scores(asker: Asker, product: str, cases: Sequence[RetrievalCase], weight: float) -> list[float]:
    """nDCG@10 of each question, vectors weighted so."""
    ranked = {case.id: ranked_names(asker, case, product, weight) for case in cases}
    return list(ndcg_by_question(ranked, {case.id: case.relevant for case in cases}).values())
