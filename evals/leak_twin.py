"""Two worlds that differ only in what a caller may not see must tell it the same; only the order may be nudged."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

from evals.leak_doors import Reply

MIN_OVERLAP = 0.9
MIN_ORDER = 0.8
"""At least so much of result lists is the same on average, and so many pairs of hits stand in the same order: BM25
weighs words by the whole corpus, so that what others own may nudge the order, and never what is in a list."""
_VOLATILE = frozenset(
    {
        "generation",
        "sealed_at",
        "watermark",
        "audit_id",
        "untrusted",
        "next_cursor",
        "nextCursor",
        "receipt",
        "_meta",
    }
)
_MARKS = re.compile(r"a-\d{8}T\d{6}-[0-9a-f]{12}|data-[0-9a-f]+|[0-9a-f]{16,64}")


@dataclass(frozen=True)
class TwinReport:
    """How many answers were compared, those that told the worlds apart, and how alike the result lists were.

    `overlap` is the mean share of hits in common, `same_order` the mean share of pairs of common hits in one order.
    """

    compared: int
    different: tuple[str, ...]
    lists: int
    overlap: float
    same_order: float

    @property
    def held(self) -> bool:
        """Whether nothing but the order differed, and that within the tolerance."""
        return not self.different and self.overlap >= MIN_OVERLAP and self.same_order >= MIN_ORDER


class Twins:
    """Compares replies to the same call in both worlds."""

    def __init__(self) -> None:
        self._compared = 0
        self._different: list[str] = []
        self._overlaps: list[float] = []
        self._orders: list[float] = []

    def compare(self, asked: str, one: Reply, other: Reply) -> None:
        """Note whether both worlds said the same to what was asked."""
        self._compared += 1
        first, second = comparable(one), comparable(other)
        hits, others = _hits(first), _hits(second)
        if hits is not None and others is not None:
            self._overlaps.append(_overlap(hits, others))
            self._orders.append(_in_order(hits, others))
        elif first != second:
            self._different.append(f"{asked[:300]}: {json.dumps(first)[:400]} ≠ {json.dumps(second)[:400]}")

    def report(self) -> TwinReport:
        """What came of it."""
        return TwinReport(
            self._compared,
            tuple(self._different),
            len(self._overlaps),
            round(mean(self._overlaps), 4) if self._overlaps else 1.0,
            round(mean(self._orders), 4) if self._orders else 1.0,
        )


def comparable(reply: Reply) -> Any:
    """A reply without what is new in every answer: ids, moments, markers, digests; whether more follows is kept."""
    if reply.answer:
        more = bool(reply.answer.get("page", {}).get("next_cursor"))
        return {"more": more, **_stable(dict(reply.answer))}
    text = reply.body.split("\n\n", 1)[-1]
    try:
        said: dict[str, Any] = json.loads(text)
        return {"status": reply.status, "said": _stable({name: one for name, one in said.items() if name != "id"})}
    except (ValueError, AttributeError):
        return {"status": reply.status, "said": _MARKS.sub("·", text)}


def _stable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _stable(item) for name, item in value.items() if name not in _VOLATILE}
    if isinstance(value, list):
        return [_stable(item) for item in value]
    if not isinstance(value, str):
        return value
    if value.startswith("{"):  # a resource holds an answer as text
        with contextlib.suppress(ValueError):
            return _stable(json.loads(value))
    return _MARKS.sub("·", value)


def _hits(found: Any) -> list[str] | None:
    """The documents and places of a search's hits; None where the answer is none."""
    data = found.get("data") if isinstance(found, dict) else None
    if not isinstance(data, dict) or "hits" not in data:
        return None
    return [f"{hit['product']}/{hit['document']}/{hit['start']}" for hit in data["hits"]]


def _overlap(one: Sequence[str], other: Sequence[str]) -> float:
    longest = max(len(one), len(other))
    return len(set(one) & set(other)) / longest if longest else 1.0


def _in_order(one: Sequence[str], other: Sequence[str]) -> float:
    """The share of pairs of hits in both lists that stand in the same order (Kendall's concordance)."""
    place = {hit: number for number, hit in enumerate(other)}
    common = [place[hit] for hit in one if hit in place]
    pairs = list(itertools.combinations(common, 2))
    return mean(earlier < later for earlier, later in pairs) if pairs else 1.0
