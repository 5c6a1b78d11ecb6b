"""How cells are held in Elasticsearch: in the order and equality that a filter means, nothing lost."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexes.document import Chunk, sha256_of
from indexes.elastic.digest import Digest
from indexes.elastic.encoding import (
    LONGEST_STRING,
    gram_phrase,
    grams,
    sortable_bits,
    stored_string,
    unscaled,
)
from indexes.elastic.filters import Filters
from indexes.ports import Allowed
from semantic_layer.predicate import Compare, Contains, Not, Predicate, Range
from semantic_layer.product import Column, ColumnType, DataProduct, Dataset
from tests.elastic_node import Node
from tests.indexes.elastic_site import cluster_at, text_reader

PRICE = Column("price", ColumnType.DECIMAL, precision=10, scale=2)
WIDE = Column("price", ColumnType.DECIMAL, precision=38, scale=9)


@given(st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_numbers_keep_their_order(one: float, other: float) -> None:
    assert (sortable_bits(one) < sortable_bits(other)) == (one < other)
    assert (sortable_bits(one) == sortable_bits(other)) == (one == other)


@pytest.mark.parametrize("column", [PRICE, WIDE])
@given(data=st.data())
def test_decimals_keep_their_order_and_are_floored(column: Column, data: st.DataObject) -> None:
    limit = Decimal(10) ** (column.precision - column.scale) * 2
    decimals = st.decimals(-limit, limit, places=column.scale + 1)
    one, other = data.draw(decimals), data.draw(decimals)
    (held, exact), (held_other, exact_other) = unscaled(column, one), unscaled(column, other)
    if exact and exact_other:
        assert (held < held_other) == (one < other)  # type: ignore[operator]
    elif one <= other:
        assert held <= held_other  # type: ignore[operator]


@given(st.text(max_size=12), st.text(min_size=2, max_size=4))
def test_a_substring_is_a_phrase_of_neighbouring_pairs(text: str, part: str) -> None:
    for wanted in (part, text[2:6]):
        if len(wanted) >= 2:
            held, phrase = grams(text).split(" "), gram_phrase(wanted).split(" ")
            size = len(phrase)
            found = any(held[at : at + size] == phrase for at in range(len(held) - size + 1))
            assert found == (wanted in text)


@given(st.text(max_size=20))
def test_pairs_have_nothing_that_a_whitespace_tokenizer_parts(text: str) -> None:
    written = grams(text)
    assert len(written.split(" ")) == max(1, len(text))
    assert written.split() == [pair for pair in written.split(" ") if pair]


def test_very_long_strings_stay_different_and_in_order() -> None:
    long = "x" * (LONGEST_STRING + 1)
    assert len({stored_string(text) for text in (long, long + "y", long[:-1])}) == 3
    assert stored_string(long[:-1]) < stored_string(long)
    assert len(stored_string("\U0001f600" * 20_000).encode()) <= 32_766


def test_the_digest_does_not_depend_on_the_order_and_sees_every_difference() -> None:
    rows = [("a", "1", {"c0": 1}), ("b", "2", {"c0": 2}), ("b", "2", {"c0": 2})]
    forward, backward, once = Digest(), Digest(), Digest()
    for row in rows:
        forward.add(*row)
    for row in reversed(rows):
        backward.add(*row)
    for row in rows[:2]:
        once.add(*row)
    changed = Digest()
    for row in [*rows[:2], ("b", "2", {"c0": 3})]:
        changed.add(*row)
    assert forward.hexadecimal == backward.hexadecimal
    assert len({one.hexadecimal for one in (forward, once, changed)}) == 3


NAMES = DataProduct(
    "names",
    "1",
    "n",
    "active",
    "v3.1.0",
    datasets=(Dataset("people", "table", (Column("name", ColumnType.STRING),)),),
)


@pytest.mark.elasticsearch
def test_the_order_of_very_long_strings_is_asked_by_number(elastic_node: Node) -> None:
    names = ["a" * 9_000 + end for end in ("a", "b", "c")]
    chunks = [
        Chunk(number, f"id{number}", "people", str(number), "", "word", 0, 4, sha256_of("word"))
        for number in range(3)
    ]
    reader = text_reader(cluster_at(elastic_node.url), NAMES, chunks, [{"name": name} for name in names])
    later = Allowed(np.array([1, 2], np.int64), 3, {"people": Compare("name", "gt", names[0])})
    assert reader.search("word", 3, later)[0].tolist() == [1, 2]
    same = Allowed(np.arange(3, dtype=np.int64), 3, {"people": Compare("name", "eq", names[1])})
    assert reader.search("word", 3, same)[0].tolist() == [1]


def clauses(query: object) -> set[str]:
    """Every kind of clause inside a query."""
    if isinstance(query, list):
        return set().union(*(clauses(one) for one in query))
    if isinstance(query, dict):
        return {str(key) for key in query} | set().union(*(clauses(one) for one in query.values()))
    return set()


@pytest.mark.parametrize(
    "where",
    [Contains("name", "*a?"), Compare("name", "eq", ".*"), Not(Contains("name", "a")), Range("name", "a", "b")],
)
def test_no_filter_holds_a_script_wildcard_regular_expression_or_query_string(where: Predicate) -> None:
    found = clauses(Filters(NAMES).where({"people": where}))
    assert not found & {"script", "wildcard", "regexp", "query_string", "simple_query_string", "fuzzy"}
