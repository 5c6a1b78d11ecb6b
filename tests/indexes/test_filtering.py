"""Allowed sets: made once a generation and filter, bounded in bytes, and what the plain evaluation says."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from indexes.document import Chunk, sha256_of
from indexes.duck.table_builder import TableBuilder
from indexes.duck.tables import DuckTables
from indexes.filtering import AllowedCache
from indexes.ports import Allowed
from semantic_layer.predicate import (
    Compare,
    Contains,
    In,
    IsNull,
    Not,
    Predicate,
    Range,
    all_of,
    any_of,
    evaluate,
)
from semantic_layer.product import Column, ColumnType, DataProduct, Dataset

TICKETS = Dataset(
    name="tickets",
    kind="table",
    columns=(
        Column("region", ColumnType.STRING),
        Column("price", ColumnType.DECIMAL, precision=10, scale=2),
        Column("score", ColumnType.NUMBER),
        Column("opened", ColumnType.DATE),
        Column("closed", ColumnType.TIMESTAMP),
        Column("tags", ColumnType.ARRAY, items=ColumnType.STRING),
        Column("body", ColumnType.STRING, is_text=True),
    ),
)
PRODUCT = DataProduct("shop", "1", "shop", "active", "v3.1.0", datasets=(TICKETS,))

REGIONS = (None, "EU", "US", "ÉU", "")
ROWS: list[dict[str, Any]] = [
    {
        "region": REGIONS[n % 5],
        "price": None if n % 7 == 0 else Decimal(n % 9) / 4,
        "score": (None, float("nan"), 0.5, -1.0)[n % 4],
        "opened": date(2025, 1, 1) + timedelta(days=n % 6),
        "closed": datetime(2025, 1, 1, tzinfo=UTC) + timedelta(hours=n % 11),
        "tags": (None, [], ["a"], ["a", "b"], ["b", None], [None])[n % 6],
    }
    for n in range(120)
]


class Counting:
    """Real tables that count how often they are asked."""

    def __init__(self, tables: DuckTables) -> None:
        self.tables = tables
        self.asked = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tables, name)

    def allowed(self, where: Mapping[str, Predicate]) -> Allowed:
        self.asked += 1
        return self.tables.allowed(where)


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> DuckTables:
    path = tmp_path_factory.mktemp("tickets") / "tables.duckdb"
    builder = TableBuilder(path, PRODUCT)
    sha = sha256_of("x")
    builder.add_chunks([Chunk(n, f"id{n}", "tickets", str(n), "", "x", 0, 1, sha) for n in range(120)], ROWS)
    builder.seal()
    return DuckTables(path, PRODUCT)


VALUES: Mapping[str, st.SearchStrategy[Any]] = {
    "region": st.sampled_from(["EU", "US", "E", ""]),
    "price": st.sampled_from([Decimal("0.25"), Decimal("1"), Decimal("1.125")]),
    "score": st.sampled_from([0.5, -1.0, 0.0]),
    "opened": st.dates(date(2025, 1, 1), date(2025, 1, 6)),
    "closed": st.sampled_from([datetime(2025, 1, 1, h, tzinfo=UTC) for h in range(11)]),
    "tags": st.sampled_from(["a", "b", "c"]),
}


@st.composite
def leaf_filters(draw: st.DrawFn) -> Predicate:
    name = draw(st.sampled_from(sorted(VALUES)))
    value = VALUES[name]
    kinds: list[st.SearchStrategy[Any]] = [
        st.builds(Compare, st.just(name), st.sampled_from(["eq", "lt", "le", "gt", "ge"]), value),
        st.builds(In, st.just(name), st.lists(value, max_size=3).map(tuple)),
        st.builds(Range, st.just(name), value | st.none(), value, st.booleans(), st.booleans()),
        st.builds(IsNull, st.just(name)),
    ]
    if name in ("region", "tags"):
        kinds.append(st.builds(Contains, st.just(name), value))
    return draw(st.one_of(kinds))


filters = st.recursive(
    leaf_filters(),
    lambda inner: st.one_of(
        inner.map(Not),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: all_of(*parts)),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: any_of(*parts)),
    ),
    max_leaves=5,
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=filters)
def test_the_tables_allow_exactly_what_the_plain_evaluation_does(tables: DuckTables, where: Predicate) -> None:
    expected = [n for n, row in enumerate(ROWS) if evaluate(where, row) is True]
    assert tables.allowed({"tickets": where}).numbers.tolist() == expected


def test_a_filter_is_made_once_a_generation(tables: DuckTables) -> None:
    counting, cache = Counting(tables), AllowedCache()
    eu = {"tickets": Compare("region", "eq", "EU")}
    first = cache.allowed(Path("a"), "1", counting, eu)  # type: ignore[arg-type]
    assert cache.allowed(Path("a"), "1", counting, dict(eu)) is first  # type: ignore[arg-type]
    cache.allowed(Path("b"), "1", counting, eu)  # type: ignore[arg-type]
    cache.allowed(Path("a"), "2", counting, eu)  # type: ignore[arg-type]
    cache.allowed(Path("a"), "1", counting, {"tickets": Compare("region", "eq", "US")})  # type: ignore[arg-type]
    assert counting.asked == 4
    assert not first.numbers.flags.writeable


def test_memory_stays_bounded_and_the_least_recently_used_goes_first(tables: DuckTables) -> None:
    cache = AllowedCache(max_bytes=3_000)
    counting = Counting(tables)

    def ask(score: float) -> np.ndarray:
        where = {"tickets": Not(Compare("price", "eq", Decimal(str(score))))}
        return cache.allowed(Path("a"), "1", counting, where).numbers  # type: ignore[arg-type]

    for score in (101.0, 102.0, 101.0, 103.0, 101.0):
        ask(score)
    assert cache.bytes <= 3_000
    assert counting.asked == 3
    ask(102.0)
    assert counting.asked == 4
