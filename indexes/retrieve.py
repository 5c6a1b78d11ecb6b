"""Find passages: vectors and words, each filtered before it ranks, fused, checked again, cited."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from indexes.citing import cited, passages
from indexes.document import Hit
from indexes.filtering import AllowedCache
from indexes.legs import Run, search
from indexes.library import LiveGeneration, Snapshot
from indexes.question import Question
from indexes.scope import scopes
from semantic_layer.policy import Grants

ALLOWED_SETS = AllowedCache()
"""One cache for the process, bounded in bytes: its keys name generation and filter, so it is never stale."""


@dataclass(frozen=True)
class Retrieved:
    """What was found, best first. `more` says that a next page has hits.

    `limited` names products whose rows a grant limits; `not_checked` says what could not be looked at, and why;
    `milliseconds` where the time went: filter, embed, vectors, text, fuse, rerank, fetch. A hybrid question is
    embedded beside the filters and the search by words, and `embed` is then what was still to wait for.
    """

    hits: tuple[Hit, ...]
    more: bool
    limited: frozenset[str]
    notes: tuple[str, ...]
    not_checked: tuple[str, ...]
    milliseconds: Mapping[str, float]


def retrieve(
    snapshot: Snapshot, question: Question, grants: Grants, *, cache: AllowedCache = ALLOWED_SETS
) -> Retrieved:
    """The passages of the granted products that answer the question best.

    Each leg ranks only what the question's filter, the grant and the tombstones allow, a hundred deep or
    deeper where the page needs it; each hit's own row is checked again before it is shown. Candidates of
    several products are fused as one list. Raises what `scopes` raises, and EngineUnavailable by name.
    """
    run = Run(question)
    if question.mode == "hybrid":
        run.begin(_reached(snapshot, question, grants))
    found = scopes(snapshot, question.products, question.datasets, question.where, grants, cache)
    run.scopes = [scope for scope in found if not scope.empty]
    run.spent("filter")
    checked = passages(run, search(run))
    hits = cited(run, checked[question.offset : question.offset + question.k])
    run.spent("fetch")
    return Retrieved(
        hits=hits,
        more=len(checked) > question.offset + question.k,
        limited=frozenset(scope.grant.product for scope in found if scope.limited),
        notes=tuple(dict.fromkeys(run.notes)),
        not_checked=tuple(dict.fromkeys(run.not_checked)),
        milliseconds={step: round(spent, 3) for step, spent in run.milliseconds.items()},
    )


def _reached(snapshot: Snapshot, question: Question, grants: Grants) -> list[LiveGeneration]:
    """The generations that the question may come to search, as far as is known before its filters are."""
    names = question.products or grants
    return [snapshot.generations[name] for name in names if name in grants and name in snapshot.generations]
