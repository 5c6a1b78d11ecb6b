"""No part of a question reaches SQL as text: it names something known, it is bound, or it is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_shop import MODELS, PRODUCTS, ROWS, compiled, fill, grants

from semantic_layer.errors import WellheadError
from semantic_layer.sql.compile import compile_values

MARK = "Zq9"
"""Stands in no name of the shop."""
ATTACKS = st.sampled_from(
    [
        "Zq9' OR 1=1 --", 'Zq9" UNION SELECT * FROM shop.main.orders --', "Zq9; DROP TABLE orders", "Zq9\\", "Zq9$p0",
        "$Zq9", "{{ Dimension('Zq9') }}", "{% for x in Zq9 %}", "Zq9/*", "Zq9\n--", "Zq9\x00", "paid' AND 'Zq9' = 'Zq9",
        'revenue"Zq9', "order__status Zq9", "metric_time__day'Zq9", "Europe/Berlin' Zq9", "2025-01-01' Zq9",
        "Zq9%' ESCAPE",
    ]
)  # fmt: skip
TEXTS = st.one_of(
    ATTACKS, st.text(max_size=20).map(lambda text: MARK + text), ATTACKS.map(lambda text: text + MARK)
)
PLACES: dict[str, Callable[[Any], dict[str, Any]]] = {
    "metric": lambda text: {"metrics": [text]},
    "dimension": lambda text: {"metrics": ["revenue"], "dimensions": [text]},
    "grain": lambda text: {"metrics": ["revenue"], "dimensions": [f"metric_time__{text}"]},
    "field": lambda text: {"metrics": ["revenue"], "filters": {"field": text, "op": "eq", "value": 1}},
    "operator": lambda text: {
        "metrics": ["revenue"],
        "filters": {"field": "order__status", "op": text, "value": "a"},
    },
    "value": lambda text: {
        "metrics": ["revenue"],
        "filters": {"field": "order__status", "op": "eq", "value": text},
    },
    "values": lambda text: {
        "metrics": ["revenue"],
        "filters": {"not": {"field": "order__status", "op": "in", "value": ["paid", text]}},
    },
    "bounds": lambda text: {
        "metrics": ["revenue"],
        "filters": {"field": "order__status", "op": "between", "value": ["a", text]},
    },
    "part": lambda text: {
        "metrics": ["revenue"],
        "filters": {"field": "order__status", "op": "contains", "value": text},
    },
    "moment": lambda text: {
        "metrics": ["revenue"],
        "filters": {"field": "order__ordered_at", "op": "ge", "value": text},
    },
    "amount": lambda text: {"metrics": ["revenue"], "filters": {"field": "revenue", "op": "gt", "value": text}},
    "start": lambda text: {"metrics": ["revenue"], "time": {"grain": "day", "start": text}},
    "cut": lambda text: {"metrics": ["revenue"], "time": {"grain": text}},
    "zone": lambda text: {"metrics": ["revenue"], "time": {"grain": "day", "zone": text}},
    "clock": lambda text: {"metrics": ["revenue"], "time": {"grain": "day", "dimension": text}},
    "order": lambda text: {"metrics": ["revenue"], "dimensions": ["order__status"], "order": [f"-{text}"]},
    "limit": lambda text: {"metrics": ["revenue"], "limit": text},
    "saved": lambda text: {"saved_query": text},
    "key": lambda text: {"metrics": ["revenue"], text: "x"},
}


@pytest.fixture(scope="module")
def shop() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        fill(connection, ROWS)
        yield connection


@pytest.mark.parametrize("place", PLACES)
@settings(max_examples=25)
@given(text=TEXTS)
def test_no_part_of_a_question_is_written_into_its_sql(
    shop: duckdb.DuckDBPyConnection, place: str, text: str
) -> None:
    try:
        found = compiled(PLACES[place](text))
    except WellheadError:
        return
    for statement in (found.statement, found.totals(), found.counted()):
        assert MARK not in statement.sql
        shop.execute(statement.sql, dict(statement.parameters)).fetchall()
    assert any(MARK in str(value) for value in found.statement.parameters.values())


@settings(max_examples=25)
@given(text=TEXTS)
def test_neither_is_what_values_are_looked_for_by(shop: duckdb.DuckDBPyConnection, text: str) -> None:
    for dimension, contains in (("order__status", text), (text, "a")):
        try:
            found = compile_values(dimension, MODELS, PRODUCTS, grants(), limit=5, contains=contains)
        except WellheadError:
            continue
        assert MARK not in found.statement.sql
        shop.execute(found.statement.sql, dict(found.statement.parameters)).fetchall()
