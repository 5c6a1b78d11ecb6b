"""What a metric query answers, refuses, and asks the engine for."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pytest
from small_shop import MODELS, NOON, PRODUCTS, ROWS, answer, compiled, fill, grants, policy, rule, totals

from semantic_layer.errors import InvalidArgument, InvalidFilter, Refused, UnknownName
from semantic_layer.mask import Mask
from semantic_layer.plan.query import MetricQuery
from semantic_layer.policy import Action, ColumnChoice, Grant, Rule
from semantic_layer.predicate import TRUE, Compare, In, IsNull, Not, Or
from semantic_layer.sql.compile import Statement, compile_query

GOLDEN = Path(__file__).parent / "golden"
EU = Compare("region", "eq", "EU")


@pytest.fixture(scope="module")
def shop() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        fill(connection, ROWS)
        yield connection


def money(*amounts: str) -> list[Decimal]:
    return [Decimal(amount) for amount in amounts]


# -- joins, NULLs, fan-out ---------------------------------------------------------------------------------


def test_a_metric_named_like_its_field_is_the_metric(shop: duckdb.DuckDBPyConnection) -> None:
    assert answer(shop, {"metrics": ["amount"]}) == [(Decimal("310.00"),)]


def test_facts_without_a_dimension_row_stay_in_the_null_group(shop: duckdb.DuckDBPyConnection) -> None:
    rows = answer(shop, {"metrics": ["revenue"], "dimensions": ["customer__region"]})
    assert rows == [("EU", Decimal("30.00")), ("US", Decimal("40.00")), (None, Decimal("240.00"))]


def test_two_hops_through_one_sides(shop: duckdb.DuckDBPyConnection) -> None:
    rows = answer(shop, {"metrics": ["units"], "dimensions": ["customer__segment"]})
    assert rows == [("club", 15), ("plain", 16), (None, 32)]


def test_each_measure_counts_at_its_own_grain_and_null_groups_meet(shop: duckdb.DuckDBPyConnection) -> None:
    rows = answer(shop, {"metrics": ["revenue", "units"], "dimensions": ["store__city"]})
    assert rows == [
        ("Bonn", Decimal("30.00"), 15),
        ("Paris", Decimal("120.00"), 16),
        (None, Decimal("160.00"), 32),
    ]


def test_a_one_side_measure_by_a_many_side_dimension_counts_each_fact_once_a_group(
    shop: duckdb.DuckDBPyConnection,
) -> None:
    query = {"metrics": ["revenue", "average_amount"], "dimensions": ["item__food"]}
    rows = answer(shop, query)
    assert rows == [
        (False, Decimal("30.00"), 15.0),
        (True, Decimal("50.00"), 25.0),
        (None, Decimal("240.00"), 120.0),
    ]
    assert totals(shop, query) == (Decimal("310.00"), 62.0)
    assert any("add up" in note for note in compiled(query).notes)


def test_a_filter_on_a_many_side_dimension_keeps_each_fact_once(shop: duckdb.DuckDBPyConnection) -> None:
    food = {"field": "item__food", "op": "eq", "value": True}
    assert answer(shop, {"metrics": ["revenue"], "filters": food}) == [(Decimal("50.00"),)]


def test_a_formula_over_two_datasets_counts_the_one_side_once(shop: duckdb.DuckDBPyConnection) -> None:
    assert answer(shop, {"metrics": ["per_customer"]}) == [(310.0 / 2,)]
    rows = answer(shop, {"metrics": ["per_customer"], "dimensions": ["order__status"]})
    assert rows == [("open", 200.0), ("paid", 110.0)]


def test_two_facts_that_share_no_way_are_not_joined(shop: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(InvalidArgument, match="does not go with 'stock'"):
        answer(shop, {"metrics": ["revenue", "stock"], "dimensions": ["customer__region"]})
    assert answer(shop, {"metrics": ["revenue", "stock"], "dimensions": ["store__city"]}) == [
        ("Bonn", Decimal("30.00"), 9),
        ("Paris", Decimal("120.00"), None),
        (None, Decimal("160.00"), None),
    ]


# -- ratios and filters ------------------------------------------------------------------------------------


def test_a_ratio_is_of_sums_and_a_zero_denominator_is_null(shop: duckdb.DuckDBPyConnection) -> None:
    rows = answer(shop, {"metrics": ["paid_share", "amount_per_unit"], "dimensions": ["store__city"]})
    assert rows == [("Bonn", 1.0, 2.0), ("Paris", 80 / 120, 7.5), (None, None, 5.0)]
    zero = {"field": "order__status", "op": "eq", "value": "none"}
    assert answer(shop, {"metrics": ["paid_share"], "filters": zero}) == [(None,)]


def test_a_metrics_own_filter_stays_with_that_metric(shop: duckdb.DuckDBPyConnection) -> None:
    assert answer(shop, {"metrics": ["revenue", "paid_revenue"]}) == [(Decimal("310.00"), Decimal("110.00"))]


def test_a_filter_on_a_joined_dimension_need_not_be_selected(shop: duckdb.DuckDBPyConnection) -> None:
    eu = {"field": "customer__region", "op": "eq", "value": "EU"}
    assert answer(shop, {"metrics": ["revenue", "units"], "filters": eu}) == [(Decimal("30.00"), 15)]
    not_eu = {"not": eu}
    assert answer(shop, {"metrics": ["revenue"], "filters": not_eu}) == [(Decimal("40.00"),)]


def test_filter_values_are_bound_and_never_become_sql(shop: duckdb.DuckDBPyConnection) -> None:
    hostile = "x' OR 1=1 --"
    query = {"metrics": ["order_count"], "filters": {"field": "order__status", "op": "eq", "value": hostile}}
    found = compiled(query)
    assert hostile in found.statement.parameters.values()
    assert hostile not in found.statement.sql
    assert answer(shop, query) == [(0,)]


# -- time --------------------------------------------------------------------------------------------------


def test_months_are_months_of_the_reporting_zone(shop: duckdb.DuckDBPyConnection) -> None:
    rows = answer(shop, {"metrics": ["revenue"], "time": {"grain": "month"}})
    assert rows == [
        (date(2025, 1, 1), Decimal("10.00")),
        (date(2025, 2, 1), Decimal("20.00")),
        (date(2025, 3, 1), Decimal("280.00")),
    ]
    utc = answer(shop, {"metrics": ["revenue"], "time": {"grain": "month", "zone": "UTC"}})
    assert utc[0] == (date(2025, 1, 1), Decimal("30.00"))


def test_a_range_is_half_open_in_the_reporting_zone(shop: duckdb.DuckDBPyConnection) -> None:
    window = {"start": "2025-02-01", "end": "2025-03-10"}
    assert answer(shop, {"metrics": ["order_count"], "time": window}) == [(3,)]
    moments = {"start": "2025-01-31T22:59:00Z", "end": "2025-01-31T23:01:00Z"}
    assert answer(shop, {"metrics": ["order_count"], "time": moments}) == [(1,)]


def test_weeks_begin_on_monday_and_fiscal_years_in_their_month(shop: duckdb.DuckDBPyConnection) -> None:
    weeks = answer(shop, {"metrics": ["order_count"], "dimensions": ["metric_time__week"]})
    assert weeks == [(date(2025, 1, 27), 2), (date(2025, 3, 3), 2), (date(2025, 3, 10), 1)]
    fiscal = answer(shop, {"metrics": ["order_count"], "time": {"grain": "fiscal_year"}})
    assert fiscal == [(date(2024, 2, 1), 1), (date(2025, 2, 1), 4)]
    quarters = answer(shop, {"metrics": ["order_count"], "dimensions": ["order__ordered_at__fiscal_quarter"]})
    assert quarters == [(date(2024, 11, 1), 1), (date(2025, 2, 1), 4)]


@pytest.mark.parametrize(("day", "hours"), [("2025-03-30", 23), ("2025-10-26", 25), ("2025-06-01", 24)])
def test_a_day_has_as_many_hours_as_the_clock_says(day: str, hours: int) -> None:
    midnight = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo("Europe/Berlin")).astimezone(UTC)
    moments = [midnight.replace(tzinfo=None) + timedelta(minutes=30 * step) for step in range(-4, 60)]
    rows = {"shop.orders": [(n, None, None, "paid", at, Decimal(1), None) for n, at in enumerate(moments)]}
    end = (date.fromisoformat(day) + timedelta(days=1)).isoformat()
    with duckdb.connect() as connection:
        fill(connection, rows)
        query: dict[str, Any] = {"metrics": ["order_count"], "time": {"grain": "hour", "start": day, "end": end}}
        assert [count for _, count in answer(connection, query)] == [2] * hours
        query["time"]["grain"] = "day"
        assert answer(connection, query) == [(date.fromisoformat(day), 2 * hours)]


def test_a_level_counts_at_its_last_moment_of_each_period(shop: duckdb.DuckDBPyConnection) -> None:
    assert answer(shop, {"metrics": ["stock"]}) == [(9,)]
    query = {"metrics": ["stock"], "time": {"grain": "month"}}
    assert answer(shop, query) == [(date(2025, 1, 1), 13), (date(2025, 2, 1), 9)]
    assert totals(shop, query) == (9,)


# -- order, limit, totals ----------------------------------------------------------------------------------


def test_order_is_stable_nulls_come_last_and_totals_cover_all_rows(shop: duckdb.DuckDBPyConnection) -> None:
    query = {"metrics": ["order_count"], "dimensions": ["store__city"], "order": ["-order_count"], "limit": 2}
    assert answer(shop, query) == [("Bonn", 2), ("Paris", 2)]
    assert totals(shop, query) == (5,)
    ascending = {**query, "order": ["-store__city"], "limit": 3}
    assert [city for city, _ in answer(shop, ascending)] == ["Paris", "Bonn", None]


def test_ordering_by_what_was_not_asked_is_an_error() -> None:
    with pytest.raises(UnknownName, match="order"):
        compiled({"metrics": ["revenue"], "order": ["order_count"]})


# -- names -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "error", "said"),
    [
        ({"metrics": ["revenu"]}, UnknownName, "'revenue'"),
        ({"metrics": ["revenue"], "dimensions": ["citty"]}, UnknownName, "'city'"),
        ({"metrics": ["revenue"], "time": {"grain": "months"}}, InvalidArgument, "month"),
        ({"metrics": ["revenue"], "dimensions": ["metric_time__mnth"]}, UnknownName, "'month'"),
        ({"metrics": ["revenue"], "dimension": ["city"]}, UnknownName, "'dimensions'"),
        ({"metrics": ["revenue"], "limit": 0}, InvalidArgument, "limit"),
        ({"metrics": []}, InvalidArgument, "metrics"),
        ({"metrics": ["staff"], "time": {"grain": "month"}}, InvalidArgument, "no time of its own"),
        ({"metrics": ["revenue"], "time": {"zone": "Mars/Base"}}, InvalidArgument, "time zone"),
        ({"metrics": ["revenue"], "time": {"start": "yesterday"}}, InvalidArgument, "no date"),
        ({"metrics": ["stock"], "time": {"grain": "hour"}}, InvalidArgument, "holds days"),
        (
            {"metrics": ["revenue"], "filters": {"field": "order__status", "op": "eq", "value": 3}},
            InvalidFilter,
            "not a string",
        ),
        (
            {"metrics": ["revenue"], "filters": {"field": "order__status", "op": "like", "value": "p%"}},
            InvalidFilter,
            "no operator",
        ),
        (
            {"metrics": ["revenue"], "filters": {"field": "revenue", "op": "gt", "value": "x"}},
            InvalidFilter,
            "not a number",
        ),
        (
            {
                "metrics": ["revenue"],
                "filters": {
                    "any": [
                        {"field": "revenue", "op": "gt", "value": 3},
                        {"field": "order__status", "op": "eq", "value": "paid"},
                    ]
                },
            },
            InvalidArgument,
            "asks for a metric and for 'order__status'",
        ),
    ],
)
def test_what_cannot_be_asked_says_what_can(query: dict[str, Any], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        compiled(query)


def test_a_filter_on_a_metric_asked_for_leaves_out_rows_of_the_answer(shop: duckdb.DuckDBPyConnection) -> None:
    query = {
        "metrics": ["revenue", "order_count"],
        "dimensions": ["order__status"],
        "filters": [
            {"field": "revenue", "op": "gt", "value": 110},
            {"field": "order__status", "op": "ne", "value": "x"},
        ],
    }
    assert answer(shop, query) == [("open", Decimal("200.00"), 2)]
    assert totals(shop, query) == (Decimal("200.00"), 2)
    (counted,) = shop.execute(*_statement(compiled(query).counted())).fetchall()
    assert counted == (1,)


def test_dimensions_without_metrics_are_the_values_that_occur_together(shop: duckdb.DuckDBPyConnection) -> None:
    rows = answer(shop, {"dimensions": ["order__status", "store__city"]})
    assert rows == [("open", "Paris"), ("open", None), ("paid", "Bonn"), ("paid", "Paris"), (None, "Rome")]
    assert answer(shop, {"dimensions": ["order__status"], "min_max": True}) == [("open", "paid")]
    assert len(answer(shop, {"dimensions": ["order__status"], "distinct": False})) == 5
    by_count = {"field": "order_count by order__status", "op": "gt", "value": 2}
    assert answer(shop, {"metrics": ["revenue"], "filters": by_count}) == [(Decimal("110.00"),)]
    assert answer(shop, {"dimensions": ["order__status"], "filters": by_count}) == [("paid",)]


def test_values_of_too_few_rows_are_not_shown_without_metrics_either() -> None:
    given = grants(shop=policy("shop", rule("all"), minimum_group_size=3))
    with duckdb.connect() as connection:
        fill(connection, ROWS)
        assert answer(connection, {"dimensions": ["order__status"]}, given) == [("paid",)]
        with pytest.raises(Refused, match="fewer than 3 rows") as caught:
            answer(connection, {"dimensions": ["order__status"], "distinct": False}, given)
    assert caught.value.rule == "minimum_group_size"


def _statement(statement: Statement) -> tuple[str, dict[str, Any]]:
    return statement.sql, dict(statement.parameters)


def test_several_ways_to_a_dimension_are_an_error_that_lists_them(shop: duckdb.DuckDBPyConnection) -> None:
    model = MODELS["shop"]
    (first,) = [one for one in model.relationships if one.name == "store_of_order"]
    second = replace(first, name="returned_to", from_keys=('"orders"."customer_id"',))
    models = {**MODELS, "shop": replace(model, relationships=(*model.relationships, second))}

    def ask(dimension: str) -> str:
        query = MetricQuery.from_json({"metrics": ["revenue"], "dimensions": [dimension]})
        return compile_query(query, models, PRODUCTS, grants(), as_of=NOON).statement.sql

    with pytest.raises(InvalidArgument, match="store_of_order__city, returned_to__city"):
        ask("store__city")
    assert '"orders"."customer_id" = "stores"."store_id"' in ask("returned_to__city")


def test_a_name_that_two_products_use_must_say_which(shop: duckdb.DuckDBPyConnection) -> None:
    crm = MODELS["crm"]
    models = {**MODELS, "crm": replace(crm, metrics=(*crm.metrics, replace(crm.metrics[0], name="revenue")))}

    def ask(metric: str) -> Any:
        query = MetricQuery.from_json({"metrics": [metric]})
        statement = compile_query(query, models, PRODUCTS, grants(), as_of=NOON).statement
        return shop.execute(statement.sql).fetchone()

    with pytest.raises(UnknownName, match=r"'crm\.revenue' or 'shop\.revenue'"):
        ask("revenue")
    assert ask("shop.revenue")[0] == Decimal("310.00")
    assert ask("crm.revenue")[0] == 3


def test_one_name_for_a_metric_and_a_dimension_is_an_error() -> None:
    shop = MODELS["shop"]
    renamed = replace(
        shop, metrics=tuple(replace(one, name="city" if one.name == "units" else one.name) for one in shop.metrics)
    )
    query = MetricQuery.from_json({"metrics": ["city"], "dimensions": ["city"]})
    with pytest.raises(InvalidArgument, match="as a metric and as a dimension"):
        compile_query(query, {**MODELS, "shop": renamed}, PRODUCTS, grants(), as_of=NOON)


# -- rights ------------------------------------------------------------------------------------------------


def eu_only(**options: Any) -> dict[str, Grant]:
    return grants(crm=policy("crm", rule("eu", rows=EU), **options))


def test_a_fact_of_a_forbidden_dimension_row_is_dropped_and_one_without_stays(
    shop: duckdb.DuckDBPyConnection,
) -> None:
    assert answer(shop, {"metrics": ["revenue"]}, eu_only()) == [(Decimal("270.00"),)]
    rows = answer(shop, {"metrics": ["revenue"], "dimensions": ["customer__region"]}, eu_only())
    assert rows == [("EU", Decimal("30.00")), (None, Decimal("240.00"))]
    assert answer(shop, {"metrics": ["units"]}, eu_only()) == [(47,)]


def test_a_policy_may_let_facts_be(shop: duckdb.DuckDBPyConnection) -> None:
    lenient = eu_only(restricts_facts=False)
    assert answer(shop, {"metrics": ["revenue"]}, lenient) == [(Decimal("310.00"),)]
    rows = answer(shop, {"metrics": ["revenue"], "dimensions": ["customer__region"]}, lenient)
    assert rows == [("EU", Decimal("30.00")), (None, Decimal("280.00"))]


def test_rows_are_limited_on_every_base_scan(shop: duckdb.DuckDBPyConnection) -> None:
    orders = rule("paid", datasets=["orders"], rows=Compare("status", "eq", "paid"))
    paid = grants(shop=policy("shop", rule("rest", datasets=["items", "stores", "levels"]), orders))
    rows = answer(shop, {"metrics": ["revenue", "order_count"], "dimensions": ["store__city"]}, paid)
    assert rows == [("Bonn", Decimal("30.00"), 2), ("Paris", Decimal("80.00"), 1)]
    assert answer(shop, {"metrics": ["units"]}, paid) == [(47,)]


def test_a_withheld_name_reads_like_one_that_does_not_exist() -> None:
    narrow = grants(crm=policy("crm", rule("some", columns=["customer_id", "segment"])))
    with pytest.raises(UnknownName) as withheld:
        compiled({"metrics": ["revenue"], "dimensions": ["customer__region"]}, narrow)
    with pytest.raises(UnknownName) as absent:
        compiled({"metrics": ["revenue"], "dimensions": ["customer__religion"]}, narrow)
    assert str(withheld.value).replace("customer__region", "?") == str(absent.value).replace(
        "customer__religion", "?"
    )


def test_a_name_that_may_be_known_but_not_used_is_refused() -> None:
    narrow = grants(crm=policy("crm", rule("some", columns=["customer_id", "segment"])))
    known = grants(Action.DISCOVER)
    with pytest.raises(Refused, match="masked or withheld"):
        compiled({"metrics": ["revenue"], "dimensions": ["customer__region"]}, narrow, discover=known)


def test_a_masked_column_is_no_dimension_filter_or_order() -> None:
    masked = rule("masked", columns=["customer_id", "segment", "email"], masks={"region": Mask("hash")})
    narrow = grants(crm=policy("crm", masked))
    for query in (
        {"metrics": ["revenue"], "dimensions": ["customer__region"]},
        {"metrics": ["revenue"], "filters": {"field": "customer__region", "op": "eq", "value": "EU"}},
    ):
        with pytest.raises(Refused, match="masked or withheld"):
            compiled(query, narrow)


def test_columns_of_two_rules_are_seen_together_only_where_one_rule_allows_both(
    shop: duckdb.DuckDBPyConnection,
) -> None:
    club = Compare("segment", "eq", "club")
    both = grants(crm=policy("crm", rule("regions", columns=["customer_id", "region"]),
                             rule("club", columns=["customer_id", "segment", "region"], rows=club)))  # fmt: skip
    region = answer(shop, {"metrics": ["customer_count"], "dimensions": ["customer__region"]}, both)
    assert region == [("EU", 2), ("US", 1)]
    pair = answer(
        shop, {"metrics": ["customer_count"], "dimensions": ["customer__region", "customer__segment"]}, both
    )
    assert pair == [("EU", "club", 1)]
    apart = grants(crm=policy("crm", rule("a", columns=["customer_id", "region"]),
                              rule("b", columns=["customer_id", "segment"])))  # fmt: skip
    with pytest.raises(Refused, match="together"):
        compiled({"metrics": ["customer_count"], "dimensions": ["customer__region", "customer__segment"]}, apart)


def test_an_uncertified_metric_over_a_withheld_column_is_refused_and_a_certified_one_runs(
    shop: duckdb.DuckDBPyConnection,
) -> None:
    narrow = grants(crm=policy("crm", rule("no emails", columns=["customer_id", "region"], rows=EU)))
    with pytest.raises(Refused, match="not certified"):
        compiled({"metrics": ["emails"]}, narrow)
    assert answer(shop, {"metrics": ["certified_emails"]}, narrow) == [(2,)]
    assert answer(shop, {"metrics": ["certified_emails"], "dimensions": ["customer__region"]}, narrow) == [
        ("EU", 2)
    ]


def test_a_metric_is_a_permission_of_its_own() -> None:
    only = grants(shop=policy("shop", rule("one", metrics=["order_count"])))
    assert compiled({"metrics": ["order_count"]}, only)
    with pytest.raises(UnknownName, match="revenue"):
        compiled({"metrics": ["revenue"]}, only)
    with pytest.raises(Refused, match="not granted"):
        compiled({"metrics": ["revenue"]}, only, discover=grants(Action.DISCOVER))


def test_rows_of_a_rule_for_one_metric_never_serve_another(shop: duckdb.DuckDBPyConnection) -> None:
    paid = Compare("status", "eq", "paid")
    others = [dataset.name for dataset in PRODUCTS["shop"].datasets if dataset.name != "orders"]
    two = grants(
        shop=policy(
            "shop",
            rule("counts", metrics=["order_count"]),
            rule("paid only", metrics=["revenue"], datasets=["orders"], rows=paid),
            rule("the rest", metrics=["revenue"], datasets=others),
        )
    )
    everything = answer(shop, {"metrics": ["order_count", "revenue"]})
    ((orders, revenue),) = answer(shop, {"metrics": ["order_count", "revenue"]}, two)
    assert orders == everything[0][0]
    only_paid = {"field": "order__status", "op": "eq", "value": "paid"}
    assert [(revenue,)] == answer(shop, {"metrics": ["revenue"], "filters": only_paid})
    assert revenue < everything[0][1]


def test_facts_of_data_that_is_not_granted_are_refused_and_not_counted_in_part() -> None:
    with pytest.raises(Refused, match="not granted") as caught:
        compiled({"metrics": ["revenue"]}, grants(crm=policy("crm")))
    assert caught.value.rule == "restricts_facts"


def test_denied_columns_join_and_nothing_else(shop: duckdb.DuckDBPyConnection) -> None:
    deny = Rule("no keys", frozenset({"*"}), frozenset({Action.METRIC}), effect="deny",
                metrics=frozenset(), columns=ColumnChoice(frozenset({"customer_id"})))  # fmt: skip
    denied = grants(crm=policy("crm", rule("all"), deny))
    rows = answer(shop, {"metrics": ["order_count"], "dimensions": ["customer__region"]}, denied)
    assert rows == [("EU", 2), ("US", 1), (None, 2)]
    with pytest.raises(Refused, match="withheld"):
        compiled({"metrics": ["customer_count"]}, denied)


def test_small_groups_are_hidden_and_totals_cover_only_the_shown(shop: duckdb.DuckDBPyConnection) -> None:
    two = grants(shop=policy("shop", rule("all"), minimum_group_size=2))
    query = {"metrics": ["revenue", "units"], "dimensions": ["store__city"]}
    assert answer(shop, query, two) == [("Bonn", Decimal("30.00"), 15)]
    assert totals(shop, query, two) == (Decimal("30.00"), 15)
    single = {"metrics": ["revenue"], "filters": {"field": "order__note", "op": "eq", "value": "late"}}
    assert answer(shop, single, two) == []
    assert answer(shop, single) == [(Decimal("20.00"),)]


def test_erased_rows_are_gone_from_facts_and_dimensions(shop: duckdb.DuckDBPyConnection) -> None:
    def keep(product: str, dataset: str) -> Any:
        gone = Or((IsNull("customer_id"), Not(In("customer_id", (10,)))))
        return gone if dataset in ("customers", "orders") else TRUE

    rows = answer(shop, {"metrics": ["order_count"], "dimensions": ["customer__region"]}, keep=keep)
    assert rows == [("US", 1), (None, 2)]


# -- text --------------------------------------------------------------------------------------------------

QUESTIONS: dict[str, tuple[dict[str, Any], dict[str, Grant]]] = {
    "flat": ({"metrics": ["revenue"]}, grants()),
    "by_joined_dimension": ({"metrics": ["revenue", "order_count"], "dimensions": ["customer__region"]}, grants()),
    "two_facts": ({"metrics": ["amount_per_unit"], "dimensions": ["store__city"], "limit": 10}, grants()),
    "fan_out": ({"metrics": ["revenue"], "dimensions": ["item__food"]}, grants()),
    "one_formula_over_two_datasets": ({"metrics": ["per_customer"]}, grants()),
    "month_in_berlin": (
        {"metrics": ["paid_revenue"], "time": {"grain": "month", "start": "2025-01-01", "end": "2026-01-01"}},
        grants(),
    ),
    "semi_additive": ({"metrics": ["stock"], "time": {"grain": "month"}}, grants()),
    "forbidden_rows_of_a_dimension": ({"metrics": ["revenue"], "dimensions": ["order__status"]}, eu_only()),
    "small_groups": (
        {"metrics": ["customer_count"], "dimensions": ["customer__region"]},
        grants(crm=policy("crm", rule("all"), minimum_group_size=5)),
    ),
}


@pytest.mark.parametrize("dialect", ["duckdb", "postgres"])
@pytest.mark.parametrize("name", QUESTIONS)
def test_the_sql_of_a_question_is_the_reviewed_text(name: str, dialect: Any) -> None:
    """WELLHEAD_REFRESH_GOLDEN=1 rewrites the files; the change is then for a person to read."""
    query, given = QUESTIONS[name]
    found = compiled(query, given, dialect=dialect)
    bound = json.dumps(dict(found.statement.parameters), default=str)
    text = f"-- {json.dumps(query)}\n-- {bound}\n{found.statement.sql}\n"
    if found.plan.parts[0].minimum:
        text += f"\n-- totals\n{found.totals().sql}\n"
    path = GOLDEN / f"{name}.{dialect}.sql"
    if os.environ.get("WELLHEAD_REFRESH_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert path.read_text() == text
