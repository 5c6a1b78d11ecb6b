"""Reading what was found: a passage with its neighbours, or a document from any place, under a grant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from indexes.document import Chunk
from indexes.library import LiveGeneration, Snapshot
from indexes.ports import Allowed
from indexes.retrieve import ALLOWED_SETS
from indexes.scope import scopes
from semantic_layer.errors import InvalidArgument, UnknownName
from semantic_layer.policy import Grants
from semantic_layer.predicate import TRUE

MAX_PASSAGES = 200


@dataclass(frozen=True)
class Reading:
    """Passages of one document in reading order, without what one repeats of the one before.

    `next` is the number of the first passage that was left out, counted from 0 in the document; None at its end.
    """

    dataset: str
    document: str
    title: str
    passages: tuple[Chunk, ...]
    next: int | None


def read_passage(snapshot: Snapshot, product: str, chunk_id: str, grants: Grants, neighbours: int = 1) -> Reading:
    """One passage and up to `neighbours` before and after it, as far as the caller may see them.

    Raises UnknownName for a passage that is not there or not for the caller: the two cannot be told apart.
    """
    generation = snapshot.generations[product]
    number = generation.tables.number_of(chunk_id)
    found = generation.tables.texts([number]) if number is not None else []
    if not found:
        raise _unknown("passage", chunk_id)
    chunk = found[0]
    visible = _visible(snapshot, generation, chunk.dataset, chunk.document, grants)
    if chunk.number not in visible:
        raise _unknown("passage", chunk_id)
    place = visible.index(chunk.number)
    near = visible[max(0, place - neighbours) : place + neighbours + 1]
    return _reading(generation.tables.texts(near), None)


def read_document(
    snapshot: Snapshot, product: str, dataset: str, document: str, grants: Grants, *, start: int, characters: int
) -> Reading:
    """A document from its passage `start` on, until `characters` are reached; at least one passage.

    Passages that are not for the caller are left out. Raises UnknownName where none is for the caller.
    """
    generation = snapshot.generations[product]
    known = generation.product.dataset(dataset)
    visible = _visible(snapshot, generation, dataset, document, grants) if known is not None else []
    if not visible:
        raise _unknown("document", document)
    chunks = generation.tables.texts(visible[start : start + MAX_PASSAGES])
    taken, size = 0, 0
    for chunk in chunks:
        if taken and size + len(chunk.text) > characters:
            break
        taken, size = taken + 1, size + len(chunk.text)
    if not taken:
        raise InvalidArgument(f"the document has no passage {start}.", hint="Read it from its beginning.")
    following = start + taken
    return _reading(chunks[:taken], following if following < len(visible) else None)


def _visible(
    snapshot: Snapshot, generation: LiveGeneration, dataset: str, document: str, grants: Grants
) -> list[int]:
    """The document's chunk numbers that the caller may see, in reading order."""
    product = generation.product.name
    numbers = generation.tables.numbers_of(dataset, document)
    for scope in scopes(snapshot, [product], [], TRUE, grants, ALLOWED_SETS):
        if dataset in scope.where:
            return [number for number in numbers if _holds(scope.allowed, number)]
    return []


def _holds(allowed: Allowed | None, number: int) -> bool:
    if allowed is None:
        return True
    place = int(np.searchsorted(allowed.numbers, number))
    return place < len(allowed.numbers) and int(allowed.numbers[place]) == number


def _reading(chunks: Sequence[Chunk], following: int | None) -> Reading:
    first = chunks[0]
    return Reading(first.dataset, first.document, first.title, tuple(chunks), following)


def _unknown(kind: str, name: str) -> UnknownName:
    return UnknownName(kind, name, hint="Take the reference from a `search` answer.")
