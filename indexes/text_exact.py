"""BM25 in plain Python: the oracle that text engines are tested against, right and slow."""

from __future__ import annotations

import json
import math
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from indexes.analysis import text_field, wanted_in, without_small_words, words_of
from indexes.document import Chunk
from indexes.ports import Allowed, Numbers, Scores
from indexes.ranking import NOTHING, best_first

K1 = 1.2
B = 0.75
BIGRAMS = "bigrams"

Analyze = Callable[[str, str], Sequence[str]]
"""Text and language code to its terms in order."""

Fields = Mapping[str, Sequence[str]]
"""A chunk's terms in order, by field: one field a language, and one for bigrams."""


def plain_terms(text: str, language: str) -> list[str]:
    """Lower-cased words without accents; no stemming, whatever the language."""
    folded = unicodedata.normalize("NFKD", text.lower())
    bare = "".join(char for char in folded if not unicodedata.combining(char))
    return "".join(char if char.isalnum() else " " for char in bare).split()


class ExactTextBuilder:
    """Writes `text.json`: the terms of every chunk."""

    def __init__(self, folder: Path, languages: Mapping[str, str], analyze: Analyze = plain_terms) -> None:
        self._folder = folder
        self._languages = languages
        self._analyze = analyze
        self._chunks: list[Fields] = []

    def add(self, chunks: Iterable[Chunk]) -> None:
        """Append chunks in number order."""
        for chunk in chunks:
            words = words_of(chunk.embedded_text)
            language = text_field(chunk.text, self._languages[chunk.dataset])
            self._chunks.append({language: self._analyze(words.spaced, language), BIGRAMS: words.bigrams})

    def seal(self) -> Mapping[str, Any]:
        """Write the file."""
        (self._folder / "text.json").write_text(json.dumps(self._chunks), encoding="utf-8")
        return {"engine": "exact", "count": len(self._chunks)}


class ExactTextReader:
    """BM25 as Lucene and tantivy compute it, field lengths rounded as they are stored there."""

    def __init__(self, folder: Path, analyze: Analyze = plain_terms) -> None:
        self._chunks: list[Fields] = json.loads((folder / "text.json").read_text(encoding="utf-8"))
        self._analyze = analyze
        self._languages = sorted({name for chunk in self._chunks for name in chunk} - {BIGRAMS})
        self._average = {
            name: sum(len(chunk.get(name, ())) for chunk in self._chunks) / max(1, len(self._chunks))
            for name in (*self._languages, BIGRAMS)
        }

    @property
    def count(self) -> int:
        """The number of chunks."""
        return len(self._chunks)

    def search(self, question: str, k: int, allowed: Allowed | None = None) -> tuple[Numbers, Scores]:
        """See TextReader."""
        wanted = wanted_in(question)
        scores: dict[int, float] = defaultdict(float)
        for field, term in self._loose_terms(wanted.loose):
            self._add(scores, field, (term,))
        inside = set(range(self.count)) if allowed is None else set(allowed.numbers.tolist())
        for phrase in wanted.phrases:
            found: dict[int, float] = defaultdict(float)
            for field, terms in self._phrase_terms(phrase):
                self._add(found, field, terms)
            inside &= set(found)
            for number, score in found.items():
                scores[number] += score
        kept = [(number, score) for number, score in scores.items() if number in inside]
        if not kept:
            return NOTHING
        numbers, values = zip(*kept, strict=True)
        return best_first(np.array(numbers, np.int64), np.array(values, np.float32), k)

    def close(self) -> None:
        """Nothing is held."""

    def _loose_terms(self, text: str) -> list[tuple[str, str]]:
        words = words_of(text)
        terms = [
            (language, term)
            for language in self._languages
            for term in self._analyze(without_small_words(words.spaced, language), language)
        ]
        return list(dict.fromkeys([*terms, *((BIGRAMS, gram) for gram in words.bigrams)]))

    def _phrase_terms(self, phrase: str) -> list[tuple[str, Sequence[str]]]:
        words = words_of(phrase)
        if words.bigrams:
            return [(BIGRAMS, words.bigrams)]
        return [(language, self._analyze(words.spaced, language)) for language in self._languages]

    def _add(self, scores: dict[int, float], field: str, terms: Sequence[str]) -> None:
        """Add the BM25 score of a term, or of terms in a row, to the chunks that hold it."""
        weight = sum(self._idf(field, term) for term in terms) * (1 + K1)
        for number, chunk in enumerate(self._chunks):
            frequency = _occurrences(chunk.get(field, ()), terms)
            if frequency:
                length = _stored_length(len(chunk[field])) / self._average[field]
                scores[number] += weight * frequency / (frequency + K1 * (1 - B + B * length))

    def _idf(self, field: str, term: str) -> float:
        holding = sum(term in chunk.get(field, ()) for chunk in self._chunks)
        return math.log(1 + (self.count - holding + 0.5) / (holding + 0.5))


def _occurrences(held: Sequence[str], terms: Sequence[str]) -> int:
    size = len(terms)
    return sum(list(held[at : at + size]) == list(terms) for at in range(len(held) - size + 1)) if size else 0


def _stored_length(length: int) -> int:
    """A field length as one byte can hold it (Lucene's SmallFloat.intToByte4), rounded down."""
    if length < 40:
        return length
    free = length - 24
    shift = free.bit_length() - 4
    return 24 + ((free >> shift) << shift)
