"""One order for every engine: best score first, equal scores by lower chunk number, also at the cut."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from indexes.ports import Numbers, Scores

NOTHING: tuple[Numbers, Scores] = (np.empty(0, np.int64), np.empty(0, np.float32))


def best_first(numbers: Numbers, scores: Scores, k: int) -> tuple[Numbers, Scores]:
    """The at most `k` best of these candidates, in order."""
    order = np.lexsort((numbers, -scores))[:k]
    return numbers[order], scores[order]


def settled(
    fetch: Callable[[int], tuple[Numbers, Scores]], k: int, total: int, slack: int = 8
) -> tuple[Numbers, Scores]:
    """The `k` best of an engine that cuts equal scores anywhere it likes.

    `fetch(n)` gives the engine's `n` best, all of them when it has fewer. It is asked again for more while the
    score at the cut is also the last score it gave.
    """
    if not total:
        return NOTHING
    limit = k + slack
    while True:
        numbers, scores = fetch(min(limit, total))
        complete = len(numbers) < limit or limit >= total
        if complete or scores.min() < np.partition(scores, -k)[-k]:
            return best_first(numbers, scores, k)
        limit *= 4
