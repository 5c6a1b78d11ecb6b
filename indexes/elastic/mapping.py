"""The explicit mapping of a generation's index: a strict field for everything, and one analyzer a language."""

from __future__ import annotations

import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from indexes.analysis import PLAIN, text_field
from indexes.elastic.encoding import element_type, field_type
from indexes.visibility import TEXT_COLUMN, carried_columns
from semantic_layer.product import Column, ColumnType, DataProduct

FORMAT = 1
"""Of fields, analyzers and encodings: what is built by another one is another generation."""

BIGRAMS = "text_bigrams"
PIECES = ("check_a", "check_b")
"""24 bits each of a chunk's digest: their sums over an index tell whether all of it is there."""

_SNOWBALL: Mapping[str, str] = {
    "ar": "Arabic",
    "da": "Danish",
    "de": "German",
    "el": "Greek",
    "en": "English",
    "es": "Spanish",
    "fi": "Finnish",
    "fr": "French",
    "hu": "Hungarian",
    "it": "Italian",
    "nl": "Dutch",
    "no": "Norwegian",
    "pt": "Portuguese",
    "ro": "Romanian",
    "ru": "Russian",
    "sv": "Swedish",
    "ta": "Tamil",
    "tr": "Turkish",
}

_PARTED = {ord(char): " " for char in string.punctuation + "’‘·‧․＿…"}


@dataclass(frozen=True)
class CarriedField:
    """Where a dataset's column lies in the index; `grams` is the field for substrings, of strings only."""

    column: Column
    name: str
    grams: str | None


def carried_fields(product: DataProduct) -> dict[str, dict[str, CarriedField]]:
    """The field of every column that chunks carry, by dataset and column. Named by place: d0.c2, d0.g2."""
    return {
        dataset.name: {
            name: CarriedField(column, f"d{at}.c{place}", f"d{at}.g{place}" if _has_parts(column) else None)
            for place, (name, column) in enumerate(carried_columns(dataset).items())
        }
        for at, dataset in enumerate(product.datasets)
    }


def _has_parts(column: Column) -> bool:
    return element_type(column) is ColumnType.STRING and column.name != TEXT_COLUMN


def languages_of(product: DataProduct) -> list[str]:
    """The languages that the product's texts are indexed in: those declared, and those that a script tells."""
    declared = {text_field("", dataset.language) for dataset in product.datasets}
    return sorted(declared | {"ru", "ar", "el", "ta", PLAIN})


def text_field_name(language: str) -> str:
    """The field of texts in a language."""
    return f"text_{language}"


def parted(text: str) -> str:
    """The text with all punctuation as blanks, so that every engine parts its words at the same places."""
    return text.translate(_PARTED)


def text_properties(product: DataProduct) -> dict[str, Any]:
    """The fields of a text index."""
    texts = {
        text_field_name(language): {"type": "text", "analyzer": f"wellhead_{language}"}
        for language in languages_of(product)
    }
    return {**_properties(product), **texts, BIGRAMS: {"type": "text", "analyzer": "whitespace"}}


def vector_properties(product: DataProduct, dimension: int, index: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a vector index; `index` are Elasticsearch's index options."""
    vector = {"type": "dense_vector", "dims": dimension, "similarity": "max_inner_product", "index_options": index}
    return {**_properties(product), "vector": vector}


def _properties(product: DataProduct) -> dict[str, Any]:
    common: dict[str, Any] = {
        "number": {"type": "integer"},
        "chunk": {"type": "keyword", "index": False, "doc_values": False},
        "dataset": {"type": "keyword"},
        **{piece: {"type": "integer", "index": False} for piece in PIECES},
    }
    for fields in carried_fields(product).values():
        inside: dict[str, Any] = {}
        for field in fields.values():
            inside[field.name.partition(".")[2]] = {"type": field_type(field.column)}
            if field.grams is not None:
                inside[field.grams.partition(".")[2]] = {"type": "text", "analyzer": "whitespace", "norms": False}
        common[next(iter(fields.values())).name.partition(".")[0]] = {"properties": inside}
    return common


def flat_types(properties: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Each field's full name and type, of a mapping as it was asked for or as Elasticsearch shows it."""
    found: dict[str, str] = {}
    for name, one in properties.items():
        if "properties" in one:
            found.update(flat_types(one["properties"], f"{prefix}{name}."))
        else:
            found[prefix + name] = one["type"]
    return found


def analysis(languages: Iterable[str]) -> dict[str, Any]:
    """One analyzer a language: words in lower case, stemmed, without accents, and with their small words.

    English is folded before stemming, so that résumés meets resume; elsewhere accents steer the stemmer.
    """
    filters: dict[str, Any] = {"wellhead_fold": {"type": "asciifolding"}}
    analyzers: dict[str, Any] = {}
    for language in languages:
        chain = ["lowercase", "wellhead_fold"]
        if language in _SNOWBALL:
            stem = f"wellhead_stem_{language}"
            filters[stem] = {"type": "snowball", "language": _SNOWBALL[language]}
            chain.insert(2 if language == "en" else 1, stem)
        analyzers[f"wellhead_{language}"] = {"type": "custom", "tokenizer": "standard", "filter": chain}
    return {"filter": filters, "analyzer": analyzers}
