"""How long a hidden name takes against one that exists for nobody; reported, never a pass mark."""

from __future__ import annotations

import math
import random
import time
from dataclasses import dataclass
from statistics import median

from evals.leak_calls import hidden_pair
from evals.leak_doors import NOBODY, Doors, Probe
from evals.leak_world import Canaries


@dataclass(frozen=True)
class Timing:
    """Interleaved pairs over REST, in microseconds: the median of hidden minus absent, and its 95 % interval."""

    pairs: int
    hidden_median: float
    absent_median: float
    difference: float
    low: float
    high: float


def time_names(doors: Doors, canaries: Canaries, seed: int, pairs: int) -> Timing:
    """Ask for a hidden and an absent name in turn, which of them first by chance. At least one pair."""
    chance = random.Random(seed)
    hidden_times: list[float] = []
    absent_times: list[float] = []
    for _ in range(pairs):
        hidden, absent = hidden_pair(chance, canaries)
        order = [(hidden, hidden_times), (absent, absent_times)]
        chance.shuffle(order)
        tool, arguments = chance.choice((("describe", "ref"), ("lookup", "product"), ("status", "product")))
        for name, times in order:
            asked = {arguments: name, **({"dataset": "items"} if tool == "lookup" else {})}
            started = time.perf_counter()
            doors.knock(Probe(NOBODY, "rest", "tools/call", tool, asked))
            times.append((time.perf_counter() - started) * 1e6)
    differences = sorted(one - other for one, other in zip(hidden_times, absent_times, strict=True))
    low, high = _interval(len(differences))
    return Timing(
        pairs,
        round(median(hidden_times), 1),
        round(median(absent_times), 1),
        round(median(differences), 1),
        round(differences[low], 1),
        round(differences[high], 1),
    )


def _interval(count: int) -> tuple[int, int]:
    """The order statistics between which the median lies with 95 % confidence (by the sign test's normal form)."""
    half = 0.98 * math.sqrt(count)
    return max(0, math.floor(count / 2 - half)), min(count - 1, math.ceil(count / 2 + half))
