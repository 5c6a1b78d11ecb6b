"""From candidates to hits: texts fetched once, each row checked again, ties settled, citations filled in."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from indexes.document import Chunk, Hit
from indexes.fusion import Fused
from indexes.legs import Run, place_and_number
from indexes.question import Question
from indexes.scope import Scope
from indexes.visibility import shown_columns
from semantic_layer.predicate import evaluate
from semantic_layer.product import Dataset


@dataclass(frozen=True)
class Passage:
    """A candidate with its text and its own row, still to be cited."""

    scope: Scope
    chunk: Chunk
    row: Mapping[str, Any]
    score: float
    dense: float
    legs: Mapping[str, tuple[int, float]]


def passages(run: Run, fused: Fused) -> list[Passage]:
    """The candidates up to the end of the page and one more, checked and in their final order."""
    end = _end_of_ties(fused, run.question.offset + run.question.k + 1)
    found: list[Passage] = []
    places, numbers = place_and_number(fused.numbers[:end])
    for place, scope in enumerate(run.scopes):
        mine: list[int] = np.flatnonzero(places == place).tolist()
        read = scope.generation.tables.passages(numbers[mine].tolist())
        for at, (chunk, row) in zip(mine, read, strict=True):
            if evaluate(scope.where[chunk.dataset], row) is True:
                scores = (float(fused.scores[at]), float(fused.dense[at]))
                found.append(Passage(scope, chunk, row, *scores, _by_leg(fused, at)))
            else:
                run.notes.append(f"{scope.grant.product!r}: a passage failed the check against its own row.")
    return sorted(found, key=lambda one: (-one.score, math.isnan(one.dense), -one.dense, one.chunk.id))


def _end_of_ties(fused: Fused, wanted: int) -> int:
    """Where the list may be cut so that no two equal candidates are parted."""
    end = min(wanted, len(fused.numbers))
    while 0 < end < len(fused.numbers) and fused.scores[end] == fused.scores[end - 1]:
        end += 1
    return end


def _by_leg(fused: Fused, at: int) -> dict[str, tuple[int, float]]:
    legs = {
        "vector": (int(fused.dense_ranks[at]), float(fused.dense[at])),
        "text": (int(fused.sparse_ranks[at]), float(fused.sparse[at])),
    }
    return {leg: found for leg, found in legs.items() if found[0]}


def cited(run: Run, page: Sequence[Passage]) -> tuple[Hit, ...]:
    around = _neighbours(page, run.question.neighbours)
    return tuple(_hit(passage, run.question, *around[place]) for place, passage in enumerate(page))


def _hit(passage: Passage, question: Question, before: str, after: str) -> Hit:
    chunk, scope = passage.chunk, passage.scope
    granted = scope.grant.dataset(chunk.dataset)
    return Hit(
        product=scope.grant.product,
        generation=scope.generation.id,
        chunk_id=chunk.id,
        dataset=chunk.dataset,
        document=chunk.document,
        title=chunk.title,
        text=chunk.text,
        start=chunk.start,
        end=chunk.end,
        sha256=chunk.sha256,
        score=passage.score,
        page=chunk.page,
        headings=chunk.headings,
        ranks={leg: rank for leg, (rank, _) in passage.legs.items()} if question.explain else {},
        scores={leg: score for leg, (_, score) in passage.legs.items()} if question.explain else {},
        columns=shown_columns(_dataset(scope, chunk.dataset), granted, chunk.text_column, passage.row),
        before=before,
        after=after,
    )


def _neighbours(page: Sequence[Passage], reach: int) -> list[tuple[str, str]]:
    """The text before and after each passage in its own document, what overlaps taken out."""
    if not reach:
        return [("", "")] * len(page)
    found: dict[int, dict[int, Chunk]] = {}
    for scope in {id(passage.scope): passage.scope for passage in page}.values():
        mine = [passage.chunk.number for passage in page if passage.scope is scope]
        near = {n + step for n in mine for step in range(-reach, reach + 1)} & set(
            range(scope.generation.tables.count)
        )
        chunks = scope.generation.tables.texts(sorted(near))
        found[id(scope)] = {chunk.number: chunk for chunk in chunks}
    return [_around(passage.chunk, found[id(passage.scope)], reach) for passage in page]


def _around(chunk: Chunk, found: Mapping[int, Chunk], reach: int) -> tuple[str, str]:
    """Joined from the same document and text column only: those share the chunk's row and its grant."""
    before: list[str] = []
    after: list[str] = []
    start, end = chunk.start, chunk.end
    place = (chunk.dataset, chunk.document, chunk.text_column)
    for step in range(1, reach + 1):
        for number, into in ((chunk.number - step, before), (chunk.number + step, after)):
            one = found.get(number)
            if one is None or (one.dataset, one.document, one.text_column) != place:
                continue
            if into is before and one.start < start:
                before.insert(0, one.text[: len(one.text) - max(0, one.end - start)])
                start = one.start
            elif into is after and one.end > end:
                after.append(one.text[max(0, end - one.start) :])
                end = one.end
    return "\n".join(before), "\n".join(after)


def _dataset(scope: Scope, name: str) -> Dataset:
    dataset = scope.generation.product.dataset(name)
    assert dataset is not None, "chunks come from datasets of the contract"
    return dataset
