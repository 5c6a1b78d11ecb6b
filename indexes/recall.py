"""How much of the truth an approximate search finds: exact neighbours by brute force, and the share of them found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexes.ports import Numbers, Scores, Vectors

DEPTH = 10
QUESTION_SHARE = 0.75
"""How far a made-up question lies from one passage towards another; measured, real questions are found as these are."""

_FIRST_BLOCK, _LARGEST_BLOCK = 1_024, 32_768
_ROUNDING = 1e-5
"""Two float32 sums of the same products in another order differ by less."""

Mask = NDArray[np.bool_]
"""Which chunk numbers are allowed: True at theirs, of length n."""


@dataclass(frozen=True)
class Truth:
    """The DEPTH nearest of each of q queries among the vectors `inside`, found by brute force.

    `queries` has shape (q, d); `own` (q,) is the stored vector that a query is and that does not count, -1 for none.
    `cut` (q,) is the score of a query's last true neighbour, `counts` (q,) how many it has.
    """

    queries: Vectors
    own: Numbers
    inside: Mask
    cut: Scores
    counts: Numbers

    def shares(self, found: Iterable[Numbers], vectors: Vectors) -> Scores:
        """For each query the share of its true neighbours among the first DEPTH found; 1 where none exist.

        What scores as high as the last true neighbour is one too: equal vectors have no order. -1 stands for nothing.
        """
        shares: list[float] = []
        for query, own, cut, count, row in zip(self.queries, self.own, self.cut, self.counts, found, strict=True):
            others = row[(row >= 0) & (row != own)][:DEPTH]
            near = vectors[others] @ query >= cut - _ROUNDING
            shares.append(float(near.sum() / count) if count else 1.0)
        return np.array(shares, np.float32)

    def recall(self, found: Iterable[Numbers], vectors: Vectors) -> float:
        """The mean of `shares`; 1 without queries."""
        return float(self.shares(found, vectors).mean()) if len(self.queries) else 1.0


def exact_neighbours(vectors: Vectors, queries: Vectors, own: Numbers, masks: Sequence[Mask]) -> list[Truth]:
    """The truth of the same queries for each mask. Vectors are read a block at a time: they need not fit in memory."""
    kept = [_Best(len(queries)) for _ in masks]
    start, size = 0, _FIRST_BLOCK
    while start < len(vectors):
        scores = queries @ vectors[start : start + size].T
        within = np.flatnonzero((own >= start) & (own < start + size))
        scores[within, own[within] - start] = -np.inf
        for best, mask in zip(kept, masks, strict=True):
            best.offer(scores, mask[start : start + size])
        start, size = start + size, min(2 * size, _LARGEST_BLOCK)
    return [Truth(queries, own, mask, *best.cut_and_counts()) for best, mask in zip(kept, masks, strict=True)]


def between(vectors: Vectors, numbers: Numbers, others: Numbers) -> Vectors:
    """Made-up questions: unit vectors from the stored ones of `numbers` towards those of `others`."""
    questions = vectors[numbers] + np.float32(QUESTION_SHARE) * vectors[others]
    return questions / np.linalg.norm(questions, axis=1, keepdims=True)


class _Best:
    """The DEPTH best scores of each query so far, worst first; -inf stands for none."""

    def __init__(self, count: int) -> None:
        self._scores: Scores = np.full((count, DEPTH), -np.inf, np.float32)

    def offer(self, scores: Scores, inside: Mask) -> None:
        """See what a block's scores (q, b) better; after the first blocks little does."""
        rows, columns = np.nonzero((scores > self._scores[:, :1]) & inside)
        for row in np.unique(rows):
            offered = scores[row, columns[rows == row]]
            self._scores[row] = np.sort(np.concatenate([self._scores[row], offered]))[-DEPTH:]

    def cut_and_counts(self) -> tuple[Scores, Numbers]:
        """The lowest score that was kept for each query, and how many were."""
        counts = np.isfinite(self._scores).sum(axis=1)
        lowest = self._scores[np.arange(len(counts)), DEPTH - np.maximum(counts, 1)]
        return lowest, counts.astype(np.int64)
