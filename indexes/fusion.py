"""Two rankings made one: a convex sum of min-max scores by default, reciprocal ranks as the alternative.

Measured on five public sets: plain reciprocal rank fusion lost to dense alone on three of them, a convex sum
with dense weight 0.7 on none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from indexes.ports import Numbers, Scores

FusionKind = Literal["convex", "rrf"]

Weight = float | Callable[[Numbers], Scores]
"""What vectors count for beside words, 0..1: one number, or each candidate's own of shape (m,)."""

DENSE_WEIGHT = 0.7
RRF_K = 60


@dataclass(frozen=True)
class Fused:
    """Candidates of both legs, best first. A score or rank a leg does not give is NaN or 0.

    `numbers`, `scores`, `dense`, `sparse` (as the legs gave them) and the ranks, counted from 1, have one shape.
    """

    numbers: Numbers
    scores: Scores
    dense: Scores
    sparse: Scores
    dense_ranks: Numbers
    sparse_ranks: Numbers

    def first(self, count: int) -> Fused:
        """The `count` best."""
        return self.taken(np.arange(min(count, len(self.numbers))))

    def rescored(self, dense: Scores, dense_weight: Weight) -> Fused:
        """The first candidates, as many as `dense` has, with these dense scores, fused convexly anew.

        Word scores stay stretched over their whole leg.
        """
        head = self.first(len(dense))
        words = _stretched(self.sparse)[: len(dense)]
        total = _convex(head.numbers, _stretched(dense), words, dense_weight).astype(np.float32)
        ranks = np.empty(len(dense), np.int64)
        ranks[np.lexsort((head.numbers, -dense))] = np.arange(1, len(dense) + 1)
        order = np.lexsort((head.numbers, -dense, -total))
        return Fused(head.numbers, total, dense, head.sparse, ranks, head.sparse_ranks).taken(order)

    def taken(self, places: Numbers) -> Fused:
        """The candidates at these places, in this order."""
        return Fused(
            self.numbers[places],
            self.scores[places],
            self.dense[places],
            self.sparse[places],
            self.dense_ranks[places],
            self.sparse_ranks[places],
        )


def fuse(
    dense: tuple[Numbers, Scores],
    sparse: tuple[Numbers, Scores],
    *,
    kind: FusionKind = "convex",
    dense_weight: Weight = DENSE_WEIGHT,
) -> Fused:
    """One ranking of two legs, each (numbers, scores) best first without repeats.

    Convex: each leg's scores are stretched over 0..1 and summed with `dense_weight` and the rest; a candidate
    missing in a leg scores 0 there. RRF: the sum of 1/(60 + rank), Cormack et al. 2009. Equal sums are ordered
    by dense score, then by number.
    """
    numbers = _united(dense[0], sparse[0])
    dense_scores, dense_ranks = _placed(numbers, dense)
    sparse_scores, sparse_ranks = _placed(numbers, sparse)
    if kind == "convex":
        total = _convex(numbers, _stretched(dense_scores), _stretched(sparse_scores), dense_weight)
    else:
        total = _reciprocal(dense_ranks) + _reciprocal(sparse_ranks)
    order = np.lexsort((numbers, -np.where(dense_ranks > 0, dense_scores, -np.inf), -total))
    return Fused(numbers, total.astype(np.float32), dense_scores, sparse_scores, dense_ranks, sparse_ranks).taken(
        order
    )


def _convex(numbers: Numbers, dense: Scores, sparse: Scores, dense_weight: Weight) -> Scores:
    weight = dense_weight(numbers) if callable(dense_weight) else dense_weight
    return weight * dense + (1 - weight) * sparse


def _united(one: Numbers, other: Numbers) -> Numbers:
    """The numbers of both, ascending, each once: a tenth of the time `np.union1d` takes for so few."""
    both = np.concatenate((one, other))
    both.sort()
    first = np.ones(len(both), bool)
    np.not_equal(both[1:], both[:-1], out=first[1:])
    return both[first]


def _placed(numbers: Numbers, leg: tuple[Numbers, Scores]) -> tuple[Scores, Numbers]:
    """The leg's scores and ranks at their candidates' places."""
    scores = np.full(len(numbers), np.nan, np.float32)
    ranks = np.zeros(len(numbers), np.int64)
    places = np.searchsorted(numbers, leg[0])
    scores[places] = leg[1]
    ranks[places] = np.arange(1, len(leg[0]) + 1)
    return scores, ranks


def _stretched(scores: Scores) -> Scores:
    """Min-max over the leg's own candidates; 1 for all where they are equal, 0 for those it does not know."""
    unknown = np.isnan(scores)
    if unknown.all():
        return np.zeros_like(scores)
    low, high = np.fmin.reduce(scores), np.fmax.reduce(scores)
    stretched = np.ones_like(scores) if high == low else (scores - low) / (high - low)
    stretched[unknown] = 0
    return stretched


def _reciprocal(ranks: Numbers) -> Scores:
    return np.where(ranks > 0, 1.0 / (RRF_K + ranks), 0.0).astype(np.float32)
