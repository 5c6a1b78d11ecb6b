"""How a vector index of some size is laid out, and how hard searches of it look; measured, not guessed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from semantic_layer.engine_settings import VectorIndexName

Layout = Literal["flat", "hnsw", "ivf", "ivf_pq"]
"""`flat` scores every vector; `hnsw` walks a graph; `ivf` probes lists of 8-bit codes, `ivf_pq` of 4-bit product codes,
and both score what they find again in half precision."""

FLAT_BELOW = 50_000
FEWEST = 1_000
HNSW_LINKS = 32
HNSW_CONSTRUCTION = 128
TRAINING_VECTORS_A_LIST = 50
RECALL_WANTED = 0.98
RECALL_FLOOR = 0.95
CERTIFIED_SELECTIVITIES = (1.0, 0.5, 0.2, 0.1, 0.05, 0.02)
"""Below the last the allowed vectors are scored exactly: an approximate search loses recall there."""


@dataclass(frozen=True)
class Effort:
    """How hard a search looks: lists probed and candidates scored again (ivf, ivf_pq), or the queue of a graph walk."""

    nprobe: int = 0
    candidates: int = 0
    ef: int = 0


IVF_EFFORTS = tuple(
    Effort(nprobe, candidates)
    for nprobe, candidates in ((8, 500), (16, 1000), (32, 1000), (64, 2000), (128, 4000), (256, 4000))
)
HNSW_EFFORTS = tuple(Effort(ef=ef) for ef in (64, 128, 256, 512))
"""Tried in turn until recall suffices; past them an exact scan of half-precision vectors is no slower."""


@dataclass(frozen=True)
class Route:
    """What a search through a filter of at least this selectivity does: its effort, and the recall@10 measured.

    `recall` is of questions made up between passages, `recall_of_stored` of stored vectors.
    """

    selectivity: float
    effort: Effort
    recall: float
    recall_of_stored: float

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Route:
        """The route that a manifest holds."""
        effort = Effort(**data["effort"])
        return cls(data["selectivity"], effort, data["recall"], data["recall_of_stored"])

    @property
    def lowest(self) -> float:
        """The lower recall of the two."""
        return min(self.recall, self.recall_of_stored)


@dataclass(frozen=True)
class Recipe:
    """How an index of `count` vectors of this dimension is laid out."""

    layout: Layout
    count: int
    dimension: int

    @classmethod
    def of(cls, choice: VectorIndexName, count: int, dimension: int, flat_below: int = FLAT_BELOW) -> Recipe:
        """The layout chosen; `auto` is flat below `flat_below` vectors and ivf_pq from there.

        Fewer than FEWEST vectors are always flat: too few to train on.
        """
        if choice == "auto":
            choice = "flat" if count < flat_below else "ivf_pq"
        return cls("flat" if count < FEWEST else choice, count, dimension)

    @property
    def lists(self) -> int:
        """Three times the square root: the middle of the measured range of 2–4."""
        return int(3 * self.count**0.5)

    @property
    def factory(self) -> str:
        """FAISS's index factory string; four dimensions a product code where they divide, else 8-bit scalars."""
        if self.layout == "flat":
            return "Flat"
        if self.layout == "hnsw":
            return f"HNSW{HNSW_LINKS}_SQfp16"
        part = next((size for size in (4, 3, 2, 5) if self.dimension % size == 0), 0)
        codes = f"PQ{self.dimension // part}x4fs" if part and self.layout == "ivf_pq" else "SQ8"
        return f"IVF{self.lists},{codes},Refine(SQfp16)"

    @property
    def efforts(self) -> Sequence[Effort]:
        """What is tried in turn; nothing where the search is exact."""
        return {"flat": (), "hnsw": HNSW_EFFORTS}.get(self.layout, IVF_EFFORTS)


def route_for(routes: Sequence[Route], selectivity: float) -> Route | None:
    """The route certified for the largest filter that lets through no more than this one; None: score exactly."""
    fitting = [route for route in routes if route.selectivity <= selectivity]
    return max(fitting, key=lambda route: route.selectivity, default=None)
