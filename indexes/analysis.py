"""What every text engine does with words before it sees them: scripts, bigrams, phrases and small words."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass

from indexes.function_words import FUNCTION_WORDS

_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff"  # Japanese
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f"  # Han
    "\u1100-\u11ff\uac00-\ud7af"  # Hangul, whose particles cling to the word
)
_UNSPACED_RUN = re.compile(f"[{_UNSPACED}]+")
_WORD = re.compile(r"[^\W_]+")
_PHRASE = re.compile(r'(?<!\w)"([^"]+)"(?!\w)|“([^”]+)”|„([^“”]+)[“”]|«([^»]+)»')

_SCRIPTS = (
    ("ru", re.compile("[\u0400-\u04ff]")),
    ("ar", re.compile("[\u0600-\u06ff]")),
    ("el", re.compile("[\u0370-\u03ff]")),
    ("he", re.compile("[\u0590-\u05ff]")),
    ("hi", re.compile("[\u0900-\u097f]")),
    ("ta", re.compile("[\u0b80-\u0bff]")),
    ("ko", re.compile("[\u1100-\u11ff\uac00-\ud7af]")),
    ("th", re.compile("[\u0e00-\u0e7f]")),
    ("zh", re.compile("[\u4e00-\u9fff]")),
)

_KANA = re.compile("[\u3040-\u30ff]")  # Japanese is mostly Han, and Chinese has none of these


@dataclass(frozen=True)
class Words:
    """A text made ready: words of spaced scripts for an analyzer, bigrams of the others for a plain field."""

    spaced: str
    bigrams: tuple[str, ...]


@dataclass(frozen=True)
class Wanted:
    """A question taken apart: words of which any may occur, and quoted phrases that must all occur."""

    loose: str
    phrases: tuple[str, ...]


def words_of(text: str) -> Words:
    """The text in Unicode NFKC, its runs of unspaced scripts taken out and cut into character bigrams.

    A run of one character is a token by itself, as in Lucene's CJKBigramFilter.
    """
    if text.isascii():
        return Words(text, ())
    normal = unicodedata.normalize("NFKC", text)
    bigrams = tuple(gram for run in _UNSPACED_RUN.findall(normal) for gram in _bigrams(run))
    return Words(_UNSPACED_RUN.sub(" ", normal) if bigrams else normal, bigrams)


def _bigrams(run: str) -> list[str]:
    return [run[i : i + 2] for i in range(len(run) - 1)] or [run]


def wanted_in(question: str) -> Wanted:
    """The question's words, and its phrases in double quotes; an unclosed quote or an inch mark is punctuation."""
    phrases = tuple(next(filter(None, found)) for found in _PHRASE.findall(question))
    return Wanted(question, tuple(phrase for phrase in phrases if _WORD.search(phrase)))


def unquoted(question: str) -> str:
    """The question with its quoted phrases as plain words."""
    return _PHRASE.sub(lambda found: next(filter(None, found.groups())), question)


def without_small_words(text: str, language: str) -> str:
    """The text without the language's function words; unchanged where nothing else is in it."""
    small = FUNCTION_WORDS.get(language, frozenset())
    kept = _WORD.sub(lambda word: " " if word.group().lower() in small else word.group(), text)
    return kept if _WORD.search(kept) else text


def language_by_script(text: str) -> str:
    """The ISO 639-1 code that most letters' script tells; empty for Latin and unknown scripts."""
    if text.isascii():
        return ""
    letters = sum(map(str.isalpha, text))
    if 2 * sum(map(len, _UNSPACED_RUN.findall(text))) > letters and _KANA.search(text):
        return "ja"
    return next((code for code, script in _SCRIPTS if 2 * len(script.findall(text)) > letters), "")


def language_of(text: str) -> str:
    """The ISO 639-1 code of a text's language by its script or its function words; empty when they do not tell.

    A Latin-script language is named only where its function words clearly lead: at least two of them, and more
    than any other language has.
    """
    told = language_by_script(text)
    if told:
        return told
    words = Counter(word.lower() for word in _WORD.findall(text))
    scores = Counter(
        {
            code: sum(count for word, count in words.items() if word in small)
            for code, small in FUNCTION_WORDS.items()
        }
    )
    (best, most), (_, second) = scores.most_common(2)
    return best if most >= 2 and most > second else ""


STEMMED_LANGUAGES = frozenset(
    ("ar", "da", "de", "el", "en", "es", "fi", "fr", "hu", "it", "nl", "no", "pt", "ro", "ru", "sv", "ta", "tr")
)
PLAIN = "plain"
"""The field of languages without a stemmer."""


def text_field(text: str, declared: str) -> str:
    """The field a passage is indexed in: the language its script tells, else the one its dataset declares."""
    language = language_by_script(text) or declared.split("-")[0].lower()
    return language if language in STEMMED_LANGUAGES else PLAIN
