"""BM25 in Elasticsearch: one field a language, bigrams of unspaced scripts made here, the filter in the query."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from indexes.analysis import text_field, wanted_in, without_small_words, words_of
from indexes.document import Chunk
from indexes.elastic.connection import Cluster
from indexes.elastic.filters import Clause, Filters
from indexes.elastic.index import IndexBuilder, Site, check_index
from indexes.elastic.mapping import BIGRAMS, carried_fields, parted, text_field_name, text_properties
from indexes.ports import Allowed, Numbers, Scores
from indexes.ranking import NOTHING
from semantic_layer.product import DataProduct

MAX_HITS = 10_000
"""Elasticsearch's default `index.max_result_window`; nothing here asks for more."""


class ElasticTextBuilder:
    """Indexes title, innermost heading and text of every chunk, with what it carries.

    `_source` leaves texts out (they lie in the passage file) unless the settings keep them.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._languages = {dataset.name: dataset.language for dataset in site.product.datasets}
        self._used: set[str] = set()
        excluded = [one.grams for fields in carried_fields(site.product).values() for one in fields.values()]
        texts = () if site.cluster.settings.keep_text else ("text_*",)
        self._index = IndexBuilder(
            site, "text", text_properties(site.product), [*texts, *(name for name in excluded if name)]
        )
        self._index.create()

    def add(self, chunks: Iterable[Chunk]) -> None:
        """Append chunks in number order."""
        batch = list(chunks)
        if batch:
            self._index.write(self._documents(batch))

    def _documents(self, chunks: Sequence[Chunk]) -> Iterable[dict[str, Any]]:
        carried = self._site.carried(chunks[0].number, len(chunks))
        for chunk, row in zip(chunks, carried, strict=True):
            words = words_of(chunk.embedded_text)
            language = text_field(chunk.text, self._languages[chunk.dataset])
            self._used.add(language)
            document = self._index.document(row, chunk.sha256)
            document[text_field_name(language)] = parted(words.spaced)
            if words.bigrams:
                document[BIGRAMS] = " ".join(words.bigrams)
            yield document

    def seal(self) -> Mapping[str, Any]:
        """See IndexBuilder.seal; the manifest also records which languages occur."""
        return {**self._index.seal(), "languages": sorted(self._used)}


class ElasticTextReader:
    """Searches a sealed text index. Thread-safe.

    `facts` are what the builder's seal returned. Raises CorruptGeneration where the index is not what was sealed,
    EngineUnavailable where the cluster does not answer.
    """

    def __init__(self, cluster: Cluster, facts: Mapping[str, Any], product: DataProduct) -> None:
        check_index(cluster, facts, text_properties(product))
        self._cluster = cluster
        self._name: str = facts["index"]
        self._count: int = facts["count"]
        self._languages: Sequence[str] = facts["languages"]
        self._filters = Filters(product)
        # Several shards must first agree how rare each word is, or equal passages would score differently.
        self._search_type = "dfs_query_then_fetch" if facts["shards"] > 1 else "query_then_fetch"

    @property
    def count(self) -> int:
        """The number of chunks."""
        return self._count

    def search(self, question: str, k: int, allowed: Allowed | None = None) -> tuple[Numbers, Scores]:
        """See TextReader. At most MAX_HITS; the filter is part of the query and does not change the ranking."""
        query = self._query(question)
        if query is None or (allowed is not None and not len(allowed.numbers)):
            return NOTHING
        if allowed is not None:
            query["filter"] = [self._filters.of(allowed)]
        found: Any = self._cluster.ask(
            lambda es: (
                es.search(
                    index=self._name,
                    query={"bool": query},
                    size=min(k, MAX_HITS),
                    sort=[{"_score": "desc"}, {"number": "asc"}],
                    source=False,
                    stored_fields="_none_",
                    track_total_hits=False,
                    allow_partial_search_results=False,
                    filter_path="hits.hits.sort",
                ).body
            )
        )
        hits = found.get("hits", {}).get("hits", ())
        numbers = np.array([hit["sort"][1] for hit in hits], np.int64)
        return numbers, np.array([hit["sort"][0] for hit in hits], np.float32)

    def close(self) -> None:
        """Connections belong to the cluster."""

    def _query(self, question: str) -> dict[str, Any] | None:
        """The question's words of which one must occur, and its phrases that all must; None without a word."""
        wanted = wanted_in(_sendable(question))
        words = words_of(wanted.loose)
        loose: list[Clause] = []
        for language in self._languages:
            text = _once(parted(without_small_words(words.spaced, language)))
            loose += [_match(text_field_name(language), text)] if text else []
        loose += [_match(BIGRAMS, _once(" ".join(words.bigrams)))] if words.bigrams else []
        phrases = [self._phrase(phrase) for phrase in wanted.phrases]
        if not loose and not phrases:
            return None
        return {"must": phrases, "should": loose, "minimum_should_match": 0 if phrases else 1}

    def _phrase(self, phrase: str) -> Clause:
        """The phrase's words in a row, in any of the languages."""
        words = words_of(phrase)
        if words.bigrams:
            return {"match_phrase": {BIGRAMS: " ".join(words.bigrams)}}
        text = parted(words.spaced)
        by_language = [{"match_phrase": {text_field_name(language): text}} for language in self._languages]
        return {"bool": {"should": by_language, "minimum_should_match": 1}}


def _match(field: str, text: str) -> Clause:
    return {"match": {field: {"query": text, "operator": "or"}}}


def _once(text: str) -> str:
    """The words, each once: a word said twice does not count twice."""
    return " ".join(dict.fromkeys(text.lower().split()))


def _sendable(text: str) -> str:
    """The text without what is no character and cannot be sent as UTF-8."""
    return text.encode("utf-8", "replace").decode()
