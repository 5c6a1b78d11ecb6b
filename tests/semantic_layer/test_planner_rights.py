"""Where rights meet joins: rows without a parent, rules that overlap, groups too small to be shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

import duckdb
import pytest
from small_shop import MODELS, NOON, PRODUCTS, ROWS, answer, compiled, fill, grants, policy, rule

from semantic_layer.errors import Refused
from semantic_layer.plan.query import MetricQuery
from semantic_layer.policy import Grant
from semantic_layer.predicate import Compare, In
from semantic_layer.sql.compile import compile_query


@pytest.fixture(scope="module")
def shop() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        fill(connection, ROWS)
        yield connection


@pytest.mark.parametrize(("region", "units"), [("EU", 15), ("US", 16)])
def test_a_row_whose_parent_is_missing_is_seen_by_every_analyst_under_null(
    shop: duckdb.DuckDBPyConnection, region: str, units: int
) -> None:
    """Item 77 belongs to an order that is not there: nothing says whose it is, so it belongs to nobody's region."""
    own = grants(crm=policy("crm", rule("own region", rows=Compare("region", "eq", region))))
    rows = answer(shop, {"metrics": ["units"], "dimensions": ["customer__region"]}, own)
    assert rows == [(region, units), (None, 32)]
    assert answer(shop, {"metrics": ["units"]}, own) == [(units + 32,)]


def test_a_row_whose_parent_is_forbidden_is_seen_nowhere_however_it_is_grouped(
    shop: duckdb.DuckDBPyConnection,
) -> None:
    paid = rule("paid", datasets=["orders"], rows=Compare("status", "eq", "paid"))
    seen = grants(shop=policy("shop", paid, rule("rest", datasets=["items", "stores", "levels"])))
    for dimensions in ([], ["item__food"], ["order__status"], ["customer__region"]):
        rows = answer(shop, {"metrics": ["units"], "dimensions": dimensions}, seen)
        assert sum(row[-1] for row in rows) == 15 + 32


def test_two_rules_that_overlap_show_each_row_only_as_far_as_one_of_them(shop: duckdb.DuckDBPyConnection) -> None:
    """Rule 1 shows regions and segments of the EU, rule 2 segments and addresses of plain customers."""
    both = grants(
        crm=policy(
            "crm",
            rule("one", columns=["customer_id", "region", "segment"], rows=Compare("region", "eq", "EU")),
            rule("two", columns=["customer_id", "segment", "email"], rows=Compare("segment", "eq", "plain")),
        )
    )

    def shown(*dimensions: str) -> list[tuple[object, ...]]:
        return answer(shop, {"metrics": ["customer_count"], "dimensions": list(dimensions)}, both)

    assert shown("customer__region", "customer__segment") == [("EU", "club", 1), ("EU", "plain", 1)]
    assert shown("customer__segment", "customer__email") == [("plain", "c@x.org", 1), ("plain", None, 1)]
    assert shown("customer__segment") == [("club", 1), ("plain", 2)]
    with pytest.raises(Refused, match="together") as caught:
        shown("customer__region", "customer__segment", "customer__email")
    assert caught.value.rule == "policy_overlap"


def test_rows_of_one_rule_and_columns_of_the_other_have_no_row_in_common(shop: duckdb.DuckDBPyConnection) -> None:
    apart = grants(
        crm=policy(
            "crm",
            rule("one", columns=["customer_id", "region"], rows=In("segment", ("club",))),
            rule("two", columns=["customer_id", "segment"], rows=In("region", ("US",))),
        )
    )
    rows = answer(shop, {"metrics": ["revenue"], "dimensions": ["customer__region"]}, apart)
    assert rows == [("EU", Decimal("30.00")), (None, Decimal("240.00"))]
    with pytest.raises(Refused, match="together"):
        compiled({"metrics": ["revenue"], "dimensions": ["customer__region", "customer__segment"]}, apart)


def test_small_groups_stay_hidden_where_rows_are_told_apart_by_their_place(
    shop: duckdb.DuckDBPyConnection,
) -> None:
    keyless = replace(
        MODELS["shop"],
        datasets=tuple(replace(one, key=(), unique_keys=()) for one in MODELS["shop"].datasets),
    )

    def rows(given: dict[str, Grant], totals: bool = False) -> list[tuple[object, ...]]:
        query = MetricQuery.from_json({"metrics": ["revenue"], "dimensions": ["item__food"]})
        asked = compile_query(query, {**MODELS, "shop": keyless}, PRODUCTS, given, as_of=NOON)
        statement = asked.totals() if totals else asked.statement
        return shop.execute(statement.sql, dict(statement.parameters)).fetchall()

    three = grants(shop=policy("shop", rule("all"), minimum_group_size=3))
    assert [row[:2] for row in rows(grants())] == [
        (False, Decimal("30.00")),
        (True, Decimal("50.00")),
        (None, Decimal("240.00")),
    ]
    assert rows(three) == []
    two = grants(shop=policy("shop", rule("all"), minimum_group_size=2))
    assert len(rows(two)) == 3
    assert rows(two, totals=True) == [(Decimal("310.00"),)]
