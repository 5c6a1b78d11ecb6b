"""BM25 with tantivy: embedded, memory-mapped, one field a language. The only home of tantivy."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import tantivy
from tantivy import Filter, Occur, Query, TextAnalyzer, TextAnalyzerBuilder, Tokenizer

from indexes.analysis import PLAIN, text_field, wanted_in, without_small_words, words_of
from indexes.document import Chunk
from indexes.ports import Allowed, Numbers, Scores
from indexes.ranking import NOTHING, settled
from semantic_layer.errors import CorruptGeneration

FORMAT = 2
"""Of what counts as a word: what is built by another one is another generation."""

BIGRAMS = "bigrams"
FIELDS_FILE = "fields.json"
WRITER_MEMORY_BYTES = 256_000_000
LONGEST_TERM_BYTES = 255

_WORD = r"[\p{Alphabetic}\p{N}\p{M}][\p{Alphabetic}\p{N}\p{M}\x{200C}\x{200D}]*"
"""Letters, digits, and the marks and joiners inside a word. tantivy's own tokenizers cut words at these: Tamil and
Hindi into syllables, which no stemmer knows."""

NUMBER_TERM = "number_term"
"""The chunk's number in hexadecimal. A set of numbers in a query walks the dictionary of terms, and one with 16
ways on at each digit is walked three times as fast as one of numbers, with 256 a byte."""

HITS_A_TERM = 4
"""A number in the query costs about what fetching this many hits does (measured at 100,000 chunks: 1.2 µs
against 0.3 µs)."""

_STEMMERS: Mapping[str, str] = {
    "ar": "arabic",
    "da": "danish",
    "de": "german",
    "el": "greek",
    "en": "english",
    "es": "spanish",
    "fi": "finnish",
    "fr": "french",
    "hu": "hungarian",
    "it": "italian",
    "nl": "dutch",
    "no": "norwegian",
    "pt": "portuguese",
    "ro": "romanian",
    "ru": "russian",
    "sv": "swedish",
    "ta": "tamil",
    "tr": "turkish",
}


def analyzer(language: str) -> TextAnalyzer:
    """Words in lower case, stemmed in the language and without accents; PLAIN leaves stemming out.

    English is folded before stemming, so that résumés meets resume; elsewhere accents steer the stemmer.
    """
    builder = TextAnalyzerBuilder(Tokenizer.regex(_WORD)).filter(Filter.remove_long(LONGEST_TERM_BYTES))
    builder = builder.filter(Filter.lowercase())
    if language == "en":
        return builder.filter(Filter.ascii_fold()).filter(Filter.stemmer("english")).build()
    if language != PLAIN:
        builder = builder.filter(Filter.stemmer(_STEMMERS[language]))
    return builder.filter(Filter.ascii_fold()).build()


def _register(index: tantivy.Index, languages: Iterable[str]) -> None:
    for language in languages:
        index.register_tokenizer(f"wellhead_{language}", analyzer(language))
    index.register_tokenizer("wellhead_bigrams", TextAnalyzerBuilder(Tokenizer.whitespace()).build())


class TantivyBuilder:
    """Indexes title, innermost heading and text of every chunk into a folder.

    `languages` gives each dataset's declared language; a passage in another script goes to that script's own.
    """

    def __init__(self, folder: Path, languages: Mapping[str, str]) -> None:
        self._folder = folder
        self._languages = languages
        by_script = {"ru", "ar", "el", "ta", PLAIN}
        self._fields = sorted({text_field("", one) for one in languages.values()} | by_script)
        schema = tantivy.SchemaBuilder().add_unsigned_field("number", fast=True)
        schema = schema.add_text_field(NUMBER_TERM, tokenizer_name="raw", index_option="basic")
        for language in self._fields:
            schema = schema.add_text_field(language, tokenizer_name=f"wellhead_{language}")
        schema = schema.add_text_field(BIGRAMS, tokenizer_name="wellhead_bigrams")
        self._index = tantivy.Index(schema.build(), path=str(folder))
        _register(self._index, self._fields)
        # One thread keeps chunks in number order and, up to millions of chunks, in one segment.
        self._writer = self._index.writer(WRITER_MEMORY_BYTES, num_threads=1)
        self._used: set[str] = set()
        self._count = 0

    def add(self, chunks: Iterable[Chunk]) -> None:
        """Append chunks in number order."""
        for chunk in chunks:
            words = words_of(chunk.embedded_text)
            language = text_field(chunk.text, self._languages[chunk.dataset])
            document = tantivy.Document()
            document.add_unsigned("number", chunk.number)
            document.add_text(NUMBER_TERM, f"{chunk.number:x}")
            document.add_text(language, words.spaced)
            if words.bigrams:
                document.add_text(BIGRAMS, " ".join(words.bigrams))
            self._writer.add_document(document)
            self._used.add(language)
            self._count += 1

    def seal(self) -> Mapping[str, Any]:
        """Commit, let merges end, and write which languages occur."""
        self._writer.commit()
        self._writer.wait_merging_threads()
        languages = sorted(self._used)
        (self._folder / FIELDS_FILE).write_text(json.dumps({"languages": languages}), encoding="utf-8")
        segments = TantivyReader(self._folder).segments
        return {
            "engine": "tantivy",
            "version": version("tantivy"),
            "count": self._count,
            "languages": languages,
            "segments": segments,
        }


class TantivyReader:
    """Searches a sealed tantivy index, memory-mapped. Thread-safe."""

    def __init__(self, folder: Path) -> None:
        try:
            languages = json.loads((folder / FIELDS_FILE).read_text(encoding="utf-8"))["languages"]
            index = tantivy.Index.open(str(folder))
            _register(index, languages)
            index.config_reader("manual")  # sealed: nothing to watch for
            self._searcher = index.searcher()
        except (OSError, ValueError, KeyError) as error:
            raise CorruptGeneration(
                f"the text index in {folder} does not open ({error}).",
                hint="Ingest the product again, or roll back.",
            ) from error
        self._schema = index.schema
        self._analyzers = {language: analyzer(language) for language in languages}

    @property
    def count(self) -> int:
        """The number of chunks."""
        return self._searcher.num_docs

    @property
    def segments(self) -> int:
        """The number of tantivy segments."""
        return self._searcher.num_segments

    def search(self, question: str, k: int, allowed: Allowed | None = None) -> tuple[Numbers, Scores]:
        """See TextReader. Small words of the language are not searched for, but count inside a phrase.

        A filter never changes the ranking of what it lets through.
        """
        query = self._query(question)
        if query is None or (allowed is not None and not len(allowed.numbers)):
            return NOTHING
        if allowed is None:
            return settled(lambda limit: self._best(query, limit), k, self.count)
        if HITS_A_TERM * len(allowed.numbers) < k / allowed.selectivity:
            terms = [f"{number:x}" for number in allowed.numbers.tolist()]
            inside = Query.term_set_query(self._schema, NUMBER_TERM, terms)
            within = [(Occur.Must, query), (Occur.Must, Query.const_score_query(inside, 0.0))]
            narrowed = Query.boolean_query(within)
            return settled(lambda limit: self._best(narrowed, limit), k, self.count)
        return self._fetched_until(query, k, allowed)

    def close(self) -> None:
        """The maps go with the reader; tantivy has no close."""

    def _best(self, query: Query, limit: int) -> tuple[Numbers, Scores]:
        hits = self._searcher.search(query, limit, count=False).hits
        numbers = self._searcher.fast_field_values("number", [address for _, address in hits])
        return np.array(numbers, np.int64), np.array([score for score, _ in hits], np.float32)

    def _fetched_until(self, query: Query, k: int, allowed: Allowed) -> tuple[Numbers, Scores]:
        """Fetch ever more of the whole ranking until `k` allowed chunks are among it."""
        is_allowed = np.zeros(allowed.total, bool)
        is_allowed[allowed.numbers] = True

        def fetch(limit: int) -> tuple[Numbers, Scores]:
            wanted = int(limit / allowed.selectivity * 1.2) + 16
            while True:
                numbers, scores = self._best(query, min(wanted, self.count))
                inside = is_allowed[numbers]
                if inside.sum() >= limit or len(numbers) < wanted:
                    return numbers[inside], scores[inside]
                wanted *= 2

        return settled(fetch, k, len(allowed.numbers))

    def _query(self, question: str) -> Query | None:
        """The question as a tantivy query; None where it holds no word."""
        wanted = wanted_in(question)
        phrases = [(Occur.Must, self._phrase(phrase)) for phrase in wanted.phrases]
        words = words_of(wanted.loose)
        terms = [
            (language, term)
            for language, one in self._analyzers.items()
            for term in one.analyze(without_small_words(words.spaced, language))
        ]
        terms += [(BIGRAMS, gram) for gram in words.bigrams]
        loose = [(Occur.Should, self._term(field, term)) for field, term in dict.fromkeys(terms)]
        return Query.boolean_query([*phrases, *loose]) if phrases or loose else None

    def _phrase(self, phrase: str) -> Query:
        """The phrase's words in a row, in any of the languages."""
        words = words_of(phrase)
        if words.bigrams:
            return self._in_a_row(BIGRAMS, [*enumerate(words.bigrams)])
        by_language = [
            self._in_a_row(language, _positioned(one.pre_tokenize(words.spaced)))
            for language, one in self._analyzers.items()
        ]
        return Query.boolean_query([(Occur.Should, one) for one in by_language])

    def _in_a_row(self, field: str, tokens: list[tuple[int, str]]) -> Query:
        if not tokens:
            return Query.empty_query()
        if len(tokens) == 1:
            return self._term(field, tokens[0][1])
        return Query.phrase_query(self._schema, field, list(tokens))

    def _term(self, field: str, term: str) -> Query:
        return Query.term_query(self._schema, field, term)


def _positioned(analyzed: tantivy.PreTokenizedString) -> list[tuple[int, str]]:
    return [(token.position, token.text) for token in analyzed.tokens]
