"""A question for `retrieve`: words, where to look, and how; refused at once where it cannot be asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from indexes.fusion import FusionKind
from semantic_layer.errors import InvalidArgument
from semantic_layer.predicate import TRUE, Predicate

Mode = Literal["hybrid", "vector", "text"]

MAX_K = 50
MAX_DEPTH = 1_000
MAX_CHARACTERS = 8_000
MAX_NEIGHBOURS = 3


@dataclass(frozen=True)
class Question:
    """A person's words, where to look, and how. Text in double quotes must occur as it stands; where a
    hybrid question quotes what no passage holds, it is asked without the quotes and a note says so.

    Empty `products` means all that are granted, empty `datasets` all of theirs. `where` names columns.
    `neighbours` passages before and after each hit come with it. `explain` adds each leg's rank and score.
    `dense_weight` (0..1) None is each product's own, as its generation was sealed with.
    """

    text: str
    products: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    where: Predicate = TRUE
    mode: Mode = "hybrid"
    k: int = 10
    offset: int = 0
    rerank: bool = False
    neighbours: int = 0
    explain: bool = False
    fusion: FusionKind = "convex"
    dense_weight: float | None = None

    def __post_init__(self) -> None:
        bounds = {
            "k": (self.k, 1, MAX_K),
            "offset": (self.offset, 0, MAX_DEPTH - MAX_K),
            "neighbours": (self.neighbours, 0, MAX_NEIGHBOURS),
        }
        for name, (value, low, high) in bounds.items():
            if not low <= value <= high:
                raise InvalidArgument(f"{name} is {value}.", hint=f"Give a number from {low} to {high}.")
        if self.dense_weight is not None and not 0 <= self.dense_weight <= 1:
            raise InvalidArgument(f"dense_weight is {self.dense_weight}.", hint="Give a number from 0 to 1.")
        if not self.text.strip():
            raise InvalidArgument("the question is empty.", hint="Ask in words.")
        if len(self.text) > MAX_CHARACTERS:
            raise InvalidArgument(
                f"the question has {len(self.text)} characters.", hint=f"Ask in at most {MAX_CHARACTERS}."
            )
