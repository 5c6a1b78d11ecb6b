"""How much of the truth an approximate search finds: held-out vectors against brute force."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexes.ports import Numbers, Scores, Vectors
from indexes.ranking import NOTHING, best_first

DEPTH = 10
_BLOCK = 65_536


def exact_neighbours(vectors: Vectors, queries: Vectors, own: Numbers, inside: NDArray[np.bool_]) -> list[Numbers]:
    """The DEPTH nearest of each query among `inside`, the stored vector `own` it comes from left out.

    Vectors are read a block at a time, so they need not fit in memory.
    """
    best: list[tuple[Numbers, Scores]] = [NOTHING for _ in own]
    for start in range(0, len(vectors), _BLOCK):
        block = np.flatnonzero(inside[start : start + _BLOCK]) + start
        scores = queries @ vectors[block].T
        for place, row in enumerate(scores):
            others = block != own[place]
            numbers, values = best[place]
            merged = np.concatenate([numbers, block[others]]), np.concatenate([values, row[others]])
            best[place] = best_first(*merged, DEPTH)
    return [numbers for numbers, _ in best]


def recall_of(found: Any, truth: Sequence[Numbers], own: Numbers) -> float:
    """The mean share of the true neighbours among the first DEPTH found, `own` left out; 1 where none exist."""
    shares = [
        len(set(row[row != number][:DEPTH]) & set(true)) / len(true) if len(true) else 1.0
        for row, true, number in zip(found, truth, own, strict=True)
    ]
    return float(np.mean(shares))
