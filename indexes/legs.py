"""The legs of a search: candidates by vectors and by words over all scopes, fused, and reranked if asked."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from indexes.analysis import language_of, unquoted, wanted_in
from indexes.fusion import DENSE_WEIGHT, Fused, Weight, fuse
from indexes.library import LiveGeneration
from indexes.ports import Numbers, QueryVector, Scores
from indexes.question import Question
from indexes.ranking import NOTHING, best_first
from indexes.scope import Scope

LEG_DEPTH = 100
RERANKED = 50

_SHIFT = 40
_BESIDE = ThreadPoolExecutor(os.cpu_count() or 1, "question")
"""Embeds questions while their words are searched: both leave Python's lock alone, so one hides behind the other."""

Leg = tuple[Numbers, Scores]
"""Candidates and their scores, best first, each of shape (m,)."""


def candidate(place: int, number: Numbers) -> Numbers:
    """One number for a chunk of the scope at `place`, so that all scopes fuse as one list."""
    return (place << _SHIFT) + number


def place_and_number(candidates: Numbers) -> tuple[Numbers, Numbers]:
    """The scopes' places and the chunk numbers in them."""
    places = candidates >> _SHIFT
    return places, candidates - (places << _SHIFT)


@dataclass
class Run:
    """One question under way: what it searches, what was learnt, and the time spent."""

    question: Question
    scopes: Sequence[Scope] = ()
    clock: float = field(default_factory=time.perf_counter)
    begun: dict[int, Future[QueryVector]] = field(default_factory=dict[int, "Future[QueryVector]"])
    queries: dict[int, QueryVector] = field(default_factory=dict[int, QueryVector])
    notes: list[str] = field(default_factory=list[str])
    not_checked: list[str] = field(default_factory=list[str])
    milliseconds: dict[str, float] = field(default_factory=dict[str, float])

    def spent(self, step: str) -> None:
        """Book the time since the last booking on a step."""
        now = time.perf_counter()
        self.milliseconds[step] = self.milliseconds.get(step, 0.0) + (now - self.clock) * 1000
        self.clock = now

    def begin(self, generations: Iterable[LiveGeneration]) -> None:
        """Let the question's vectors be made beside the filters and the search by words. `query` waits for them."""
        for generation in generations:
            embedder = generation.embedder
            if embedder is not None and id(embedder) not in self.begun and generation.vectors is not None:
                self.begun[id(embedder)] = _BESIDE.submit(
                    embedder.embed_query, self.question.text, with_tokens=self.question.rerank
                )

    def query(self, scope: Scope) -> QueryVector:
        """The question's vector by the scope's own model, made once a model."""
        embedder = scope.generation.embedder
        assert embedder is not None, "a generation with vectors has an embedder"
        if id(embedder) not in self.queries:
            begun = self.begun.get(id(embedder))
            found = (
                begun.result()
                if begun is not None
                else embedder.embed_query(self.question.text, with_tokens=self.question.rerank)
            )
            if found.truncated:
                self.notes.append(
                    f"the question is longer than {embedder.max_tokens} tokens: vectors saw its start."
                )
            self.queries[id(embedder)] = found
            self.spent("embed")
        return self.queries[id(embedder)]


def search(run: Run) -> Fused:
    """The question's candidates in all scopes, best first."""
    dense, sparse = _legs(run)
    fused = fuse(dense, sparse, kind=run.question.fusion, dense_weight=_dense_weight(run))
    run.spent("fuse")
    if run.question.rerank:
        fused = _reranked(run, fused)
        run.spent("rerank")
    return fused


def _legs(run: Run) -> tuple[Leg, Leg]:
    """Candidates by vectors and by words, of all products; a leg that the mode leaves out is empty.

    Where a hybrid question quotes a phrase, vectors only score what holds it. Where nothing does, the quotes were
    a manner of speaking: the question is asked without them, and a note says so.
    """
    question = run.question
    if question.mode != "hybrid" or not wanted_in(question.text).phrases:
        return _legs_of(run, question.text, quoting=False)
    dense, sparse = _legs_of(run, question.text, quoting=True)
    if len(sparse[0]):
        return dense, sparse
    run.notes.append("no passage holds the quoted words as they stand: asked without the quotes.")
    return _legs_of(run, unquoted(question.text), quoting=False)


def _legs_of(run: Run, words: str, *, quoting: bool) -> tuple[Leg, Leg]:
    """Both legs; `quoting` lets vectors score only what the words found."""
    question = run.question
    depth = max(LEG_DEPTH, question.offset + question.k + 1)
    dense, sparse = [NOTHING], [NOTHING]
    for place, scope in enumerate(run.scopes):
        vectors, text = scope.generation.vectors, scope.generation.text
        by_words = NOTHING
        if question.mode != "vector" and text is not None:
            by_words = text.search(words, depth, scope.allowed)
            run.spent("text")
        if question.mode != "text" and vectors is not None:
            query = run.query(scope).vector
            near = (
                best_first(by_words[0], vectors.score(query, by_words[0]), depth)
                if quoting
                else vectors.search(query, depth, scope.allowed)
            )
            dense.append((candidate(place, near[0]), near[1]))
            run.spent("vectors")
        sparse.append((candidate(place, by_words[0]), by_words[1]))
    return _merged(dense), _merged(sparse)


def _merged(legs: Sequence[Leg]) -> Leg:
    found = [leg for leg in legs if leg is not NOTHING]
    if len(found) == 1:
        return found[0]  # in order already, as every engine gives it
    numbers, scores = (np.concatenate(parts) for parts in zip(*legs, strict=True))
    return best_first(numbers, scores, len(numbers))


def _dense_weight(run: Run) -> Weight:
    """The weight of vectors: the question's or each product's own, unless mode or language rules one leg out."""
    if run.question.mode != "hybrid":
        return 1.0 if run.question.mode == "vector" else 0.0
    spoken = [scope.generation.embedder.languages for scope in run.scopes if scope.generation.embedder]
    language = language_of(run.question.text) if any(spoken) else ""
    if language and any(language not in one for one in spoken if one):
        run.not_checked.append(f"meaning: the embedding model does not speak {language!r}, words alone ranked.")
        return 0.0
    if run.question.dense_weight is not None:
        return run.question.dense_weight
    own = [scope.generation.dense_weight for scope in run.scopes] or [DENSE_WEIGHT]
    if len(set(own)) == 1:
        return own[0]
    return lambda candidates: np.array(own, np.float32)[place_and_number(candidates)[0]]


def _reranked(run: Run, fused: Fused) -> Fused:
    """The best RERANKED candidates fused anew, dense scores replaced by dense plus MaxSim; the rest are left out.

    A chunk of a dataset that stores no token vectors counts its dense score twice. Measured: what words found
    still belongs in the sum (cranfield nDCG@10 .428 with, .412 without).
    """
    head = fused.first(RERANKED)
    places, within = place_and_number(head.numbers)
    scores = np.zeros(len(head.numbers), np.float32)
    for place, scope in enumerate(run.scopes):
        mine = np.flatnonzero(places == place)
        if len(mine) and scope.generation.vectors is not None:
            scores[mine] = _token_scores(run, scope, within[mine])
    return fused.rescored(scores, _dense_weight(run))


def _token_scores(run: Run, scope: Scope, numbers: Numbers) -> Scores:
    """Dense score plus MaxSim of each chunk."""
    generation = scope.generation
    assert generation.vectors is not None, "only scopes with vectors are reranked"
    query = run.query(scope)
    dense = generation.vectors.score(query.vector, numbers)
    near = np.full(len(numbers), np.nan, np.float32)
    if generation.tokens is not None and query.tokens is not None:
        near = generation.tokens.maxsim(query.tokens, numbers)
    if np.isnan(near).any():
        run.not_checked.append(f"rerank: {generation.product.name!r} stores no token vectors for some passages.")
    return dense + np.where(np.isnan(near), dense, near)
