"""The part of a passage that an answer shows: where most of the question's words stand, cut between words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from indexes.analysis import language_of, unquoted, wanted_in, without_small_words, words_of

ELLIPSIS = "…"
_WORD = re.compile(r"[^\W_]+")
_SPACE = re.compile(r"\s+")
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=\S)|(?<=[。！？])|\n+(?=\S)")
_SHORTEST_STEM = 4
_LONGEST_ENDING = 4
_NEAR_A_CUT = 40  # characters in which a cut looks for a space


@dataclass(frozen=True, order=True)
class _Match:
    start: int
    end: int
    term: str


class Snippets:
    """Parts of passages for one question: its words with other endings, and its phrases in double quotes."""

    def __init__(self, question: str) -> None:
        plain = unquoted(question)
        words = words_of(without_small_words(plain, language_of(plain) or "en"))
        self._stems = frozenset(word.lower()[: _stem_length(word)] for word in _WORD.findall(words.spaced))
        self._lengths = sorted({len(stem) for stem in self._stems}, reverse=True)
        self._bigrams = frozenset(words.bigrams)
        phrases = (r"\W+".join(map(re.escape, _WORD.findall(one))) for one in wanted_in(question).phrases)
        self._phrases = [re.compile(rf"(?<!\w){phrase}(?!\w)", re.IGNORECASE) for phrase in phrases if phrase]

    def of(self, text: str, characters: int) -> str:
        """At most `characters` of the text, with an ellipsis at each cut: the part with most of the question's words.

        Where no part holds more of them than the beginning, it is the beginning. The same text and question give the
        same part.
        """
        if len(text) <= characters:
            return text
        room = characters - 2 * len(ELLIPSIS)
        matches = sorted(self._matches(text))
        best = _best(matches, room)
        if len({one.term for one in best}) <= len({one.term for one in matches if one.end <= room}):
            start = 0
        else:
            start = _start(text, best[0].start, best[-1].end, room)
        end = _end(text, start + room)
        return f"{ELLIPSIS if start else ''}{text[start:end].strip()}{ELLIPSIS if end < len(text) else ''}"

    def _matches(self, text: str) -> Iterator[_Match]:
        for found in _WORD.finditer(text):
            word = found[0].lower()
            for length in self._lengths:
                if word[:length] in self._stems and len(word) - length <= _LONGEST_ENDING:
                    yield _Match(found.start(), found.end(), word[:length])
        if self._bigrams:
            pairs = ((place, text[place : place + 2]) for place in range(len(text) - 1))
            yield from (_Match(place, place + 2, pair) for place, pair in pairs if pair in self._bigrams)
        for phrase in self._phrases:
            yield from (_Match(*found.span(), phrase.pattern) for found in phrase.finditer(text))


def _stem_length(word: str) -> int:
    return max(_SHORTEST_STEM, len(word) - 2)


def _best(matches: Sequence[_Match], room: int) -> Sequence[_Match]:
    """The run of matches within `room` with most different terms, then the shortest, then the first."""
    best: Sequence[_Match] = ()
    most = (0, 0)
    for first, match in enumerate(matches):
        terms: set[str] = set()
        for last, other in enumerate(matches[first:], first):
            if other.start > match.start + room:
                break
            if other.term not in terms and other.end <= match.start + room:
                terms.add(other.term)
                held = (len(terms), match.start - other.end)
                if held > most:
                    best, most = matches[first : last + 1], held
    return best


def _start(text: str, first: int, last: int, room: int) -> int:
    """Where to begin so that what stands from `first` to `last` is shown: at a sentence, else at a word, before it.

    It is the sentence of `first`, or an earlier one where the text ends before the room does.
    """
    earliest = max(0, last - room)
    sentences = [match.end() for match in _SENTENCE.finditer(text, earliest, first + 1) if match.end() <= first]
    if sentences:
        return next((start for start in sentences if start >= len(text) - room), sentences[-1])
    if earliest == 0:
        return 0
    middle = max(earliest, (earliest + first) // 2)
    space = _SPACE.search(text, middle, min(first, middle + _NEAR_A_CUT))
    return space.end() if space else middle


def _end(text: str, end: int) -> int:
    """Where to end, not later than `end`: before a word that would be cut."""
    if end >= len(text) or text[end].isspace():
        return min(end, len(text))
    space = max(text.rfind(white, end - _NEAR_A_CUT, end) for white in (" ", "\n", "\t"))
    return space if space > 0 else end
