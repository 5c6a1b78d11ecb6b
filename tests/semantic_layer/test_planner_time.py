"""The rules of time, conversion and grouping without metrics: their SQL as text, and what is refused or governed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pytest
from small_site import (
    MODEL,
    SITE,
    TABLES,
    compiled_site,
    fill_site,
    site_answer,
    site_grants,
    site_model,
)

from semantic_layer.errors import InvalidArgument, Refused
from semantic_layer.mask import Mask
from semantic_layer.policy import Action, ColumnChoice, Policy, Rule
from semantic_layer.predicate import TRUE, Compare, Predicate
from semantic_layer.sql.build import Dialect

GOLDEN = Path(__file__).parent / "golden" / "time"
ROWS = {
    "orders": [
        (1, 1, date(2025, 1, 30), "a", 10),
        (2, 1, date(2025, 1, 31), "b", 20),
        (3, 2, date(2025, 2, 1), "a", 40),
        (4, None, date(2025, 2, 1), None, 80),
        (5, 3, date(2025, 3, 1), "a", None),
    ],
    "users": [(1, "EU"), (2, "US")],
    "plans": [(1, date(2025, 1, 1), date(2025, 1, 31), "free"), (1, date(2025, 1, 31), None, "paid")],
    "visits": [
        (1, 1, date(2025, 1, 28), "b"),
        (2, 1, date(2025, 1, 29), "a"),
        (3, 1, date(2025, 1, 31), "a"),
        (4, 2, date(2025, 2, 2), "a"),
    ],
}
SINCE = {"field": "metric_time__day", "op": "ge", "value": "2025-02-01"}
QUESTIONS: Mapping[str, Mapping[str, Any]] = {
    "cumulative": {"metrics": ["revenue_so_far"], "dimensions": ["metric_time__day"], "filters": SINCE},
    "cumulative_window_by_month": {
        "metrics": ["orders_3_days"],
        "dimensions": ["metric_time__month", "user__region"],
    },
    "cumulative_to_date": {"metrics": ["revenue_month_to_date"], "dimensions": ["metric_time__month"]},
    "cumulative_count_distinct": {"metrics": ["buyers_2_days"], "dimensions": ["metric_time__day"]},
    "empty_periods": {
        "metrics": ["filled"],
        "dimensions": ["metric_time__month", "order__channel"],
        "filters": SINCE,
    },
    "shifted_days": {"metrics": ["growth"], "dimensions": ["metric_time__day"], "time": {"end": "2025-02-10"}},
    "shifted_months": {"metrics": ["month_before"], "dimensions": ["metric_time__month"]},
    "shifted_twice": {"metrics": ["twice_before"], "dimensions": ["metric_time__day"]},
    "shifted_to_grain": {"metrics": ["at_month_start"], "dimensions": ["metric_time__day"]},
    "shifted_by_custom_grain": {"metrics": ["season_before"], "dimensions": ["metric_time__season"]},
    "custom_grain": {"metrics": ["orders"], "dimensions": ["metric_time__season"]},
    "date_part": {"metrics": ["orders"], "dimensions": ["metric_time__extract_dow"]},
    "conversion": {"metrics": ["conversion"], "dimensions": ["metric_time__day"]},
    "conversion_constant_property": {"metrics": ["conversions_ever"], "dimensions": ["user__region"]},
    "metric_of_an_entity": {"metrics": ["loyal_revenue"], "dimensions": ["order__channel"]},
    "valid_for_a_time": {"metrics": ["orders"], "dimensions": ["user__tier"]},
    "without_metrics": {"dimensions": ["user__region", "order__channel"]},
    "days_without_metrics": {"dimensions": ["metric_time__month"], "filters": SINCE},
}


@pytest.fixture(scope="module")
def site() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        fill_site(connection, {name: list(rows) for name, rows in ROWS.items()})
        yield connection


def users_policy(rows: Predicate = TRUE, *, masked: bool = False, **options: Any) -> Policy:
    everyone, actions = frozenset({"*"}), frozenset({Action.METRIC})
    rest = Rule("rest", everyone, actions, datasets=frozenset(TABLES) - {"users"})
    users = Rule(
        "users",
        everyone,
        actions,
        datasets=frozenset({"users"}),
        rows=rows,
        columns=ColumnChoice(frozenset({"user_id"} if masked else {"*"})),
        masks={"region": Mask("hash")} if masked else {},
    )
    return Policy("site", (rest, users), **options)


# -- SQL as text -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", ["duckdb", "postgres"])
@pytest.mark.parametrize("name", sorted(QUESTIONS))
def test_each_rule_writes_this_sql(name: str, dialect: Dialect) -> None:
    """WELLHEAD_REFRESH_GOLDEN=1 rewrites the files; the change is then for a person to read."""
    held(f"{name}.{dialect}.sql", QUESTIONS[name], dialect)


@pytest.mark.parametrize("dialect", ["clickhouse", "trino", "snowflake", "bigquery"])
@pytest.mark.parametrize(
    "name",
    ["cumulative", "conversion", "empty_periods", "metric_of_an_entity", "shifted_days", "valid_for_a_time"],
)
def test_other_dialects_are_held_as_text(name: str, dialect: Dialect) -> None:
    held(f"{name}.{dialect}.sql", QUESTIONS[name], dialect)


def held(file: str, query: Mapping[str, Any], dialect: Dialect) -> None:
    found = compiled_site(query, dialect=dialect)
    bound = json.dumps(dict(found.statement.parameters), default=str)
    text = f"-- {json.dumps(query)}\n-- {bound}\n{found.statement.sql}\n"
    if os.environ.get("WELLHEAD_REFRESH_GOLDEN"):
        GOLDEN.mkdir(exist_ok=True)
        (GOLDEN / file).write_text(text)
    assert (GOLDEN / file).read_text() == text


# -- what is answered --------------------------------------------------------------------------------------


def test_a_row_that_is_valid_for_a_time_is_the_one_of_the_facts_own_day(site: duckdb.DuckDBPyConnection) -> None:
    rows = site_answer(site, {"metrics": ["revenue"], "dimensions": ["user__tier"]})
    assert rows == [("free", 10), ("paid", 20), (None, 120)]


def test_an_event_counts_once_for_the_last_opportunity_before_it(site: duckdb.DuckDBPyConnection) -> None:
    rows = site_answer(site, {"metrics": ["conversion"], "dimensions": ["visit__page"]})
    # Orders 1 and 2 of user 1 follow visits on both pages; the last one before each was on page a.
    assert rows == [("a", 2 / 3), ("b", None)]
    assert site_answer(site, {"metrics": ["conversions_ever"]}) == [(2,)]


def test_a_filter_sees_the_time_after_a_shift(site: duckdb.DuckDBPyConnection) -> None:
    query = {"metrics": ["before"], "dimensions": ["metric_time__day"], "filters": SINCE}
    days = [(2, 1), (2, 2), (2, 3), (3, 3)]
    found = site_answer(site, query)
    assert found == [
        (date(2025, month, day), count) for (month, day), count in zip(days, (1, 1, 2, 1), strict=True)
    ]


def test_empty_periods_do_not_bring_back_what_a_filter_on_a_key_left_out(site: duckdb.DuckDBPyConnection) -> None:
    own = {"field": "order__channel", "op": "eq", "value": "a"}
    query = {"metrics": ["filled"], "dimensions": ["metric_time__month", "order__channel"], "filters": own}
    assert [row[1:] for row in site_answer(site, query)] == [("a", 1), ("a", 1), ("a", 1)]
    unseen = {"metrics": ["filled"], "dimensions": ["metric_time__month"], "filters": own}
    assert [row[1] for row in site_answer(site, unseen)] == [1, 1, 1, 0]


def test_what_overlaps_has_no_total(site: duckdb.DuckDBPyConnection) -> None:
    found = compiled_site(
        {"metrics": ["revenue", "revenue_so_far"], "dimensions": ["metric_time__day"], "limit": 2}
    )
    statement = found.totals()
    assert site.execute(statement.sql, dict(statement.parameters)).fetchall() == [(150, None)]
    assert any("no total" in note for note in found.notes)


# -- what is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "error", "said"),
    [
        ({"metrics": ["before"]}, InvalidArgument, "shifts periods, and the query has none"),
        ({"metrics": ["revenue_so_far"], "filters": SINCE}, InvalidArgument, "counted again in each"),
        ({"metrics": ["orders_3_days"]}, InvalidArgument, "a value for each period, and the query has none"),
        (
            {"metrics": ["revenue_month_to_date"]},
            InvalidArgument,
            "a value for each period, and the query has none",
        ),
        ({"metrics": ["revenue"], "dimensions": ["metric_time__hour"]}, InvalidArgument, "holds days, not hours"),
        ({"metrics": ["revenue"], "dimensions": ["metric_time__sesson"]}, InvalidArgument, "no grain 'sesson'"),
        ({"dimensions": ["user__region", "order__channel"], "min_max": True}, InvalidArgument, "one dimension"),
        ({"metrics": ["revenue"], "min_max": True}, InvalidArgument, "without metrics"),
        ({"dimensions": ["order__channel"], "time": {"start": "2025-01-01"}}, InvalidArgument, "does not name"),
    ],
)
def test_what_cannot_be_asked_of_time_says_what_can(
    query: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        compiled_site(query)


def test_a_filter_that_asks_for_its_own_metric_is_refused() -> None:
    circle = SITE.replace("{{ Metric('orders', ['user']) }}", "{{ Metric('loyal_revenue', ['user']) }}")
    with pytest.raises(InvalidArgument, match="computed from itself"):
        compiled_site({"metrics": ["loyal_revenue"]}, model=site_model(circle))


# -- what is governed --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["conversion", "cumulative", "metric_of_an_entity", "shifted_days", "empty_periods"]
)
def test_forbidden_rows_take_their_facts_along_under_every_rule(
    name: str, site: duckdb.DuckDBPyConnection
) -> None:
    granted = site_grants(users_policy(Compare("region", "eq", "EU")))
    query = {**QUESTIONS[name]}
    kept = [row for row in ROWS["orders"] if row[1] != 2], [row for row in ROWS["visits"] if row[1] != 2]
    with duckdb.connect() as connection:
        fill_site(connection, {**ROWS, "orders": kept[0], "visits": kept[1], "users": ROWS["users"][:1]})
        assert site_answer(site, query, granted) == site_answer(connection, query)


def test_without_the_time_spine_nothing_is_spread_over_it() -> None:
    everyone, actions = frozenset({"*"}), frozenset({Action.METRIC})
    granted = site_grants(
        Policy("site", (Rule("some", everyone, actions, datasets=frozenset(TABLES) - {"days"}),))
    )
    assert compiled_site({"metrics": ["revenue"], "dimensions": ["metric_time__day"]}, granted)
    for metric in ("revenue_so_far", "filled", "before"):
        with pytest.raises(Refused) as caught:
            compiled_site({"metrics": [metric], "dimensions": ["metric_time__day"]}, granted)
        assert caught.value.rule == "not_granted"
    with pytest.raises(Refused):
        compiled_site({"metrics": ["revenue"], "dimensions": ["metric_time__season"]}, granted)


def test_a_masked_column_stays_a_join_key_and_is_never_a_filters_group() -> None:
    granted = site_grants(users_policy(masked=True))
    by_entity = {"field": "orders by user", "op": "gt", "value": 1}
    assert compiled_site({"metrics": ["revenue"], "filters": by_entity}, granted)
    by_region = {"field": "orders by user__region", "op": "gt", "value": 1}
    with pytest.raises(Refused) as caught:
        compiled_site({"metrics": ["revenue"], "filters": by_region}, granted)
    assert caught.value.rule == "column_withheld"


def test_small_groups_stay_hidden_in_a_filter_too(site: duckdb.DuckDBPyConnection) -> None:
    granted = site_grants(users_policy(minimum_group_size=2))
    by_user = {"field": "orders by user", "op": "ge", "value": 1}
    assert site_answer(site, {"metrics": ["revenue"], "filters": by_user}, granted) == [(30,)]


def test_values_of_filters_on_metrics_are_bound() -> None:
    found = compiled_site(
        {"metrics": ["revenue"], "filters": {"field": "orders by user", "op": "gt", "value": 7.5}}
    )
    assert 7.5 in [float(value) for value in found.statement.parameters.values()]
    assert "7.5" not in found.statement.sql
    assert MODEL.metric("loyal_revenue") is not None
