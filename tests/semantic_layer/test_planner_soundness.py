"""Answers that were once wrong, or refused although they can be given: each found by asking a reference or by hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import duckdb
import pytest
from small_shop import MODELS, NOON, PRODUCTS, ROWS, answer, fill, grants
from small_site import SITE, fill_site, site_answer, site_model

from semantic_layer.errors import InvalidArgument
from semantic_layer.metric import SemanticModel
from semantic_layer.plan.query import MetricQuery
from semantic_layer.product import Column, ColumnType
from semantic_layer.sql.compile import compile_query

KEYLESS = {
    **MODELS,
    "shop": replace(
        MODELS["shop"],
        datasets=tuple(replace(one, key=(), unique_keys=()) for one in MODELS["shop"].datasets),
    ),
}
DAY = date(2025, 1, 28)
VISITS: list[tuple[Any, ...]] = [
    (1, 1, DAY, "b"),
    (2, 1, DAY, "a"),
    (3, 2, DAY, "a"),
    (4, 2, DAY, "a"),
]
ORDERS: list[tuple[Any, ...]] = [(1, 1, DAY, "a", 10), (2, 2, DAY, "b", 20), (3, None, DAY, "a", 40)]
ROWS_OF_SITE = {"orders": ORDERS, "users": [(1, "EU"), (2, "US")], "visits": VISITS}


@pytest.fixture
def engine() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"threads": 1}) as connection:
        yield connection


@pytest.fixture
def shop(engine: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    fill(engine, ROWS)
    return engine


@pytest.fixture
def site(engine: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    fill_site(engine, ROWS_OF_SITE)
    return engine


REGION = "      - {name: region, type: categorical"
COPIES = site_model(SITE.replace(REGION, REGION + ", is_partition: true"))
"""The site whose table of users is a whole copy for each region."""


def keyless(connection: duckdb.DuckDBPyConnection, query: dict[str, Any]) -> list[Any]:
    """The answer where no dataset declares a key."""
    asked = compile_query(MetricQuery.from_json(query), KEYLESS, PRODUCTS, grants(), as_of=NOON).statement
    return [row[:-1] for row in connection.execute(asked.sql, dict(asked.parameters)).fetchall()]


def changed(old: str, new: str) -> SemanticModel:
    """The site's model with one place of its text changed."""
    assert SITE.count(old) == 1
    return site_model(SITE.replace(old, new))


# -- rows without a key ------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["revenue", "order_count", "average_amount", "median_amount", "buyers"])
def test_rows_without_a_key_count_once_a_group_whatever_is_computed(
    shop: duckdb.DuckDBPyConnection, metric: str
) -> None:
    query = {"metrics": [metric], "dimensions": ["item__food"]}
    assert keyless(shop, query) == answer(shop, query)
    food = {"field": "item__food", "op": "eq", "value": True}
    assert keyless(shop, {"metrics": [metric], "filters": food}) == answer(
        shop, {"metrics": [metric], "filters": food}
    )


def test_two_equal_rows_without_a_key_are_two_rows(shop: duckdb.DuckDBPyConnection) -> None:
    query = {"metrics": ["revenue"], "dimensions": ["item__food"]}
    before = dict(keyless(shop, query))
    shop.execute("INSERT INTO shop.main.orders SELECT * FROM shop.main.orders")
    assert dict(keyless(shop, query)) == {food: 2 * amount for food, amount in before.items()}


def test_the_one_side_of_a_common_root_needs_no_key(shop: duckdb.DuckDBPyConnection) -> None:
    query = {"metrics": ["per_customer"], "dimensions": ["order__status"]}
    assert keyless(shop, query) == answer(shop, query)


def test_a_column_of_the_name_that_an_engine_gives_rows_does_not_stand_for_them() -> None:
    orders = PRODUCTS["shop"].datasets[0]
    named = replace(orders, columns=(*orders.columns, Column("rowid", ColumnType.INTEGER)))
    shops = {**PRODUCTS, "shop": replace(PRODUCTS["shop"], datasets=(named, *PRODUCTS["shop"].datasets[1:]))}
    query = MetricQuery.from_json({"metrics": ["revenue"], "dimensions": ["item__food"]})
    plain, hidden = (
        compile_query(query, KEYLESS, products, grants(), as_of=NOON).statement.sql
        for products in (PRODUCTS, shops)
    )
    assert '"rowid" AS "wh.row"' in plain
    assert 'ROW_NUMBER() OVER () AS "wh.row"' in hidden


# -- copies of a row ---------------------------------------------------------------------------------------


def test_facts_without_a_partition_count_once_for_the_copies_of_their_row(
    engine: duckdb.DuckDBPyConnection,
) -> None:
    """A table whose every partition is a whole copy doubled what was joined to it, or led another way round."""
    fill_site(engine, {**ROWS_OF_SITE, "users": [(1, "EU"), (1, "US"), (2, "US")]})
    query = {"metrics": ["revenue"], "dimensions": ["user__region"]}
    assert site_answer(engine, query, model=COPIES) == [("EU", 10), ("US", 30), (None, 40)]
    both = {"field": "user__region", "op": "in", "value": ["EU", "US"]}
    assert site_answer(engine, {"metrics": ["revenue"], "filters": both}, model=COPIES) == [(30,)]
    assert site_answer(engine, {"metrics": ["users"]}, model=COPIES) == [(3,)]


# -- conversions -------------------------------------------------------------------------------------------


def test_an_event_belongs_to_the_first_of_opportunities_at_one_moment(site: duckdb.DuckDBPyConnection) -> None:
    query = {"metrics": ["conversion"], "dimensions": ["visit__page"]}
    assert site_answer(site, query) == [("a", pytest.approx(1 / 3)), ("b", 1.0)]
    own = "      - {name: visit, type: primary, expr: visit_id}\n"
    bare = site_model(SITE.replace(own, "").replace("ref('visits')", "ref('visits')\n    primary_entity: visit"))
    assert [one.key for one in bare.datasets if one.name == "visits"] == [()]
    assert site_answer(site, query, model=bare) == site_answer(site, query)


def test_an_event_counts_once_in_each_group_that_its_opportunity_is_spread_over(
    engine: duckdb.DuckDBPyConnection,
) -> None:
    fill_site(engine, {**ROWS_OF_SITE, "users": [(1, "EU"), (1, "US"), (1, "US2"), (2, "US")]})
    query = {"metrics": ["conversion"], "dimensions": ["user__region"]}
    assert site_answer(engine, query, model=COPIES) == [("EU", 0.5), ("US", 0.5), ("US2", 0.5)]
    assert site_answer(engine, {"metrics": ["conversion"]}, model=COPIES) == [(0.5,)]


# -- empty periods -----------------------------------------------------------------------------------------


def test_periods_that_do_not_lie_in_each_other_are_filled_by_both(site: duckdb.DuckDBPyConnection) -> None:
    """A week lies in two months: filled by the week alone, its rows stood in both."""
    fill_site(
        site, {**ROWS_OF_SITE, "orders": [(1, 1, date(2025, 1, 28), "a", 1), (2, 1, date(2025, 2, 1), "a", 1)]}
    )
    for cuts in (
        ["metric_time__week", "metric_time__month"],
        ["metric_time__extract_month", "metric_time__extract_dow"],
        ["metric_time__season", "metric_time__week"],
    ):
        filled = site_answer(site, {"metrics": ["filled"], "dimensions": cuts})
        counted = site_answer(site, {"metrics": ["orders"], "dimensions": cuts})
        assert [row for row in filled if row[-1]] == counted
        assert len({row[:-1] for row in filled}) == len(filled)


def test_a_filled_cumulative_metric_is_unknown_in_groups_of_another(site: duckdb.DuckDBPyConnection) -> None:
    model = changed(
        "type_params: {measure: buyers, window: 2 days}",
        "type_params: {measure: {name: buyers, fill_nulls_with: 0, join_to_timespine: true}, window: 2 days}",
    )
    query = {
        "metrics": ["buyers_2_days", "before"],
        "dimensions": ["metric_time__day", "order__channel"],
        "time": {"start": "2025-01-30", "end": "2025-01-31"},
    }
    later = DAY + timedelta(days=2)
    assert site_answer(site, query, model=model) == [
        (later, "a", None, 2),
        (later, "b", None, 1),
        (later, None, 0, None),
    ]


def test_a_shift_of_months_by_a_part_of_the_date_shifts_what_the_part_needs(
    site: duckdb.DuckDBPyConnection,
) -> None:
    rows = [(1, 1, date(2025, 1, 31), "a", 1), (2, 1, date(2025, 2, 3), "a", 1)]
    fill_site(site, {**ROWS_OF_SITE, "orders": rows})
    shifted = {"metrics": ["month_before"], "dimensions": ["metric_time__month", "metric_time__extract_month"]}
    february, march = date(2025, 2, 1), date(2025, 3, 1)
    assert site_answer(site, shifted) == [(february, 2, 1), (march, 3, 1)]
    by_weekday = {**shifted, "dimensions": ["metric_time__month", "metric_time__extract_dow"]}
    # 28 February shows 28 January, 3 March shows 3 February; no day is a month after 31 January.
    assert site_answer(site, by_weekday) == [(march, 1, 1)]


# -- names and dimensions alone ----------------------------------------------------------------------------


def test_a_computed_entity_that_never_repeats_names_its_rows(site: duckdb.DuckDBPyConnection) -> None:
    model = changed(
        "      - {name: order, type: primary, expr: order_id}",
        "      - {name: order, type: primary, expr: order_id}\n"
        "      - {name: receipt, type: unique, expr: order_id * 10}",
    )
    query = {"metrics": ["revenue"], "dimensions": ["receipt__channel"]}
    assert site_answer(site, query, model=model) == [("a", 50), ("b", 20)]


def test_dimensions_alone_may_be_filtered_by_a_table_that_holds_none_of_them(
    site: duckdb.DuckDBPyConnection,
) -> None:
    filters = {"field": "visit__page", "op": "eq", "value": "b"}
    assert site_answer(site, {"dimensions": ["user__region"], "filters": filters}) == [("EU",)]


def test_a_name_does_not_lead_another_way_where_its_own_way_has_several_copies(
    engine: duckdb.DuckDBPyConnection,
) -> None:
    fill_site(engine, {**ROWS_OF_SITE, "users": [(1, "EU"), (1, "US"), (2, "US")]})
    rows = site_answer(engine, {"dimensions": ["user__region", "order__channel"]}, model=COPIES)
    assert rows == [("EU", "a"), ("US", "a"), ("US", "b"), (None, "a")]
    with pytest.raises(InvalidArgument, match="does not go with"):
        site_answer(engine, {"metrics": ["users"], "dimensions": ["visit__page", "plan__tier"]}, model=COPIES)
