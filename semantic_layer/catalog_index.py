"""Lexical search over the names and descriptions of a catalogue, counting only what the caller may see.

BM25 (Robertson and Zaragoza, 2009) with weighted fields. Every count, document frequencies and lengths included,
is taken over the visible entries, so that a score tells nothing of what is hidden.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

K1 = 1.2
B = 0.4
PREFIX_WEIGHT = 0.6
TYPO_WEIGHT = 0.4
_WORD = re.compile(r"[^\W_]+")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")
_STOP = frozenset(
    re.findall(
        r"\w+",
        """a an and are as at be by did do does for from had has have how i in is it many me much of on or our per
        show tell that the their them there this to was we were what when where which who with you your""",
    )
)

Weighted = Sequence[tuple[float, Iterable[str]]]
"""An entry's text: each field's weight with its texts."""


@dataclass(frozen=True)
class _Entry:
    terms: Mapping[str, float]
    length: float


class LexicalIndex:
    """Entries by position, found by words, beginnings of words and slips of one letter."""

    def __init__(self, entries: Iterable[Weighted]) -> None:
        self._entries = [_entry(fields) for fields in entries]
        self._postings: dict[str, list[int]] = defaultdict(list)
        for number, entry in enumerate(self._entries):
            for term in entry.terms:
                self._postings[term].append(number)

    def search(self, question: str, visible: frozenset[int]) -> dict[int, float]:
        """The score of every visible entry that a word of the question fits; higher is better."""
        average = sum(self._entries[number].length for number in visible) / len(visible) if visible else 0.0
        scores: dict[int, float] = defaultdict(float)
        for word in dict.fromkeys(words(question)):
            fits = self._fits(word, visible)
            found: dict[int, float] = defaultdict(float)
            for term, weight in fits.items():
                for number in self._postings[term]:
                    if number in visible:
                        found[number] = max(found[number], weight * self._entries[number].terms[term])
            rarity = math.log(1 + (len(visible) - len(found) + 0.5) / (len(found) + 0.5))
            for number, frequency in found.items():
                length = 1 - B + B * self._entries[number].length / (average or 1.0)
                scores[number] += rarity * frequency * (K1 + 1) / (frequency + K1 * length)
        return dict(scores)

    def _fits(self, word: str, visible: frozenset[int]) -> dict[str, float]:
        """The terms that a word stands for, with their weight: itself, else words it begins, else near ones."""
        seen = [term for term, numbers in self._postings.items() if not visible.isdisjoint(numbers)]
        fits = {word: 1.0} if word in seen else {}
        if len(word) >= 3:
            fits |= {term: PREFIX_WEIGHT for term in seen if term.startswith(word) and term != word}
        if not fits and len(word) >= 4:
            fits = {term: TYPO_WEIGHT for term in seen if _one_slip(word, term)}
        return fits


def words(text: str) -> list[str]:
    """The words of a text as they are compared: folded, without accents and plural endings, CJK in pairs."""
    folded = unicodedata.normalize("NFKD", _CAMEL.sub(" ", text)).casefold()
    folded = "".join(char for char in folded if not unicodedata.combining(char))
    folded = unicodedata.normalize("NFC", folded)
    found: list[str] = []
    for word in _WORD.findall(folded):
        if _CJK.search(word):
            found.extend(_pairs(word))
        elif word not in _STOP:
            found.append(_singular(word))
    return found


def _pairs(word: str) -> list[str]:
    return [word[at : at + 2] for at in range(len(word) - 1)] or [word]


def _singular(word: str) -> str:
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 4 and word.endswith(("sses", "shes", "ches", "xes")):
        return word[:-2]
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")) else word


def _one_slip(asked: str, term: str) -> bool:
    """Whether one letter added, left out, changed or swapped with its neighbour makes one of the other."""
    if abs(len(asked) - len(term)) > 1 or asked == term:
        return False
    start = next(
        (at for at, (a, b) in enumerate(zip(asked, term, strict=False)) if a != b), min(len(asked), len(term))
    )
    rest, other = asked[start:], term[start:]
    return (
        rest[1:] == other[1:]
        or rest[1:] == other
        or rest == other[1:]
        or (rest[:2] == other[1::-1] and len(other) > 1 and rest[2:] == other[2:])
    )


def _entry(fields: Weighted) -> _Entry:
    terms: dict[str, float] = defaultdict(float)
    for weight, texts in fields:
        for text in texts:
            for word in words(text):
                terms[word] += weight
    return _Entry(dict(terms), sum(terms.values()))
