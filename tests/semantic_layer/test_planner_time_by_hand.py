"""What is accumulated, shifted, filled up and converted, against a plain evaluator that knows no SQL.

The evaluator states the rules a second time. A period of a cumulative metric gathers the rows of its window; a shifted
period shows those of the period before it, whole periods where the grain asked for is no coarser than the shift; a
filter sees the time after the shift; an event belongs to the last opportunity before it. Grants hold on every table.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import date, timedelta
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_site import LAST, SPINE, Rows, compiled_site, fill_site, season, site_grants

from semantic_layer.policy import Action, Policy, Rule
from semantic_layer.predicate import TRUE, Compare, Predicate, evaluate

Record = dict[str, Any]
Key = tuple[Any, ...]
DAYS = st.sampled_from(
    [
        date(2025, 1, 27),
        date(2025, 1, 31),
        date(2025, 2, 1),
        date(2025, 2, 2),
        date(2025, 2, 28),
        date(2025, 3, 1),
        LAST,
    ]
)
USERS = st.integers(1, 3)
WORDS = st.sampled_from(["a", "b", None])

rows_of_tables = st.fixed_dictionaries(
    {
        "orders": st.lists(
            st.tuples(st.integers(1, 9), USERS | st.none(), DAYS, WORDS, st.integers(-2, 5) | st.none()),
            max_size=6,
            unique_by=lambda row: row[0],
        ),
        "users": st.lists(st.tuples(USERS, WORDS), max_size=3, unique_by=lambda row: row[0]),
        "visits": st.lists(
            st.tuples(st.integers(1, 9), USERS | st.none(), DAYS, WORDS), max_size=5, unique_by=lambda row: row[0]
        ),
    }
)

TIMES = ["metric_time__day", "metric_time__month", "metric_time__season", "metric_time__extract_dow"]
METRICS = [
    "revenue", "buyers", "revenue_so_far", "orders_3_days", "buyers_2_days", "revenue_month_to_date", "filled",
    "every_day", "before", "month_before", "twice_before", "growth", "at_month_start", "season_before", "conversion",
    "conversions_ever", "loyal_revenue",
]  # fmt: skip
CONVERSIONS = ("conversion", "conversions_ever")


@st.composite
def questions(draw: st.DrawFn) -> dict[str, Any]:
    metric = draw(st.sampled_from(METRICS))
    own = "visit__page" if metric in CONVERSIONS else "order__channel"
    times = draw(st.sampled_from(TIMES[:3] if metric not in ("season_before",) else TIMES[:1]))
    if metric in ("revenue", "filled", "conversion") and draw(st.booleans()):
        times = "metric_time__extract_dow"
    others = draw(st.lists(st.sampled_from([own, "user__region"]), max_size=1))
    filters: list[Mapping[str, Any]] = []
    if draw(st.booleans()):
        filters.append(
            {"field": "metric_time__day", "op": draw(st.sampled_from(["ge", "lt"])), "value": "2025-02-02"}
        )
    if draw(st.integers(0, 2)) == 0:
        filters.append({"field": draw(st.sampled_from([own, "user__region"])), "op": "eq", "value": "a"})
    return {"metrics": [metric], "dimensions": [times, *others], "filters": filters}


rights = st.sampled_from([TRUE, TRUE, Compare("region", "eq", "a")])

# -- the evaluator -----------------------------------------------------------------------------------------


class ByHand:
    """Answers a question row by row."""

    def __init__(self, rows: Rows, users: Predicate) -> None:
        names = {"orders": ("order", "user", "day", "word", "amount"), "visits": ("visit", "user", "day", "word")}
        regions = dict(rows["users"])
        seen = {user for user, region in rows["users"] if evaluate(users, {"region": region})}
        self.facts: dict[str, list[Record]] = {
            name: [
                {**record, "region": regions.get(record["user"])}
                for record in (dict(zip(columns, row, strict=True)) for row in rows[name])
                if record["user"] not in regions or record["user"] in seen
            ]
            for name, columns in names.items()
        }


def cut(day: date | None, name: str) -> Any:
    match name.partition("__")[2]:
        case "day":
            return day
        case "month":
            return day.replace(day=1) if day else None
        case "season":
            return season(day) if day in SPINE and day else None
        case _:
            return day.isoweekday() if day else None


def month_back(day: date) -> date:
    last = day.replace(day=1) - timedelta(days=1)
    return last.replace(day=min(day.day, last.day))


def total(values: list[Any]) -> Any:
    kept = [value for value in values if value is not None]
    return sum(kept) if kept else None


def distinct(values: list[Any]) -> int:
    return len({value for value in values if value is not None})


Shown = Iterator[tuple[date, Record]]


def plain(facts: list[Record]) -> Shown:
    for row in facts:
        yield row["day"], row


def gathered(facts: list[Record], within: Callable[[date, date], bool]) -> Shown:
    for day in SPINE:
        for row in facts:
            if row["day"] <= day and within(row["day"], day):
                yield day, row


def moved(facts: list[Record], back: Callable[[date], date]) -> Shown:
    for day in SPINE:
        for row in facts:
            if back(day) == row["day"]:
                yield day, row


def passes(query: Mapping[str, Any], day: date, row: Record) -> bool:
    for one in query["filters"]:
        if one["field"] == "metric_time__day":
            edge = date.fromisoformat(one["value"])
            if not (day >= edge if one["op"] == "ge" else day < edge):
                return False
        elif row["region" if one["field"] == "user__region" else "word"] != one["value"]:
            return False
    return True


def others_of(query: Mapping[str, Any], row: Record) -> Key:
    return tuple(row["region" if name == "user__region" else "word"] for name in query["dimensions"][1:])


def grouped(query: Mapping[str, Any], shown: Shown, of: Callable[[date], Any]) -> dict[Key, list[Record]]:
    found: dict[Key, list[Record]] = {}
    for day, row in shown:
        if passes(query, day, row):
            found.setdefault((of(day), *others_of(query, row)), []).append(row)
    return found


def reduced(
    query: Mapping[str, Any], shown: Shown, value: Callable[[list[Record]], Any], choice: str
) -> dict[Key, Any]:
    """Daily values, of which each coarser period shows the first, the last or the average."""
    daily = {key: value(rows) for key, rows in grouped(query, shown, lambda day: day).items()}
    periods: dict[Key, list[tuple[date, Any]]] = {}
    for key, found in daily.items():
        periods.setdefault((cut(key[0], query["dimensions"][0]), *key[1:]), []).append((key[0], found))
    answers: dict[Key, Any] = {}
    for key, values in periods.items():
        in_order = [found for _, found in sorted(values, key=lambda pair: pair[0])]
        known = [found for found in in_order if found is not None]
        average = sum(known) / len(known) if known else None
        answers[key] = {"first": in_order[0], "last": in_order[-1], "average": average}[choice]
    return answers


def shifted(query: Mapping[str, Any], facts: list[Record], metric: str) -> dict[Key, int]:
    name = query["dimensions"][0]
    whole = name == "metric_time__month"
    days = {"before": 2, "one_before": 1, "twice_before": 3, "season_before": 10}

    def back(day: date) -> date:
        if metric == "at_month_start":
            return day.replace(day=1)
        return day - timedelta(days=days[metric]) if metric in days else month_back(day)

    if whole and metric in ("month_before", "at_month_start"):
        return months_shifted(query, facts, metric)
    groups = grouped(query, moved(facts, back), lambda day: cut(day, name))
    return {key: len(rows) for key, rows in groups.items()}


def months_shifted(query: Mapping[str, Any], facts: list[Record], metric: str) -> dict[Key, int]:
    """Whole months: one shows all rows of the month before it, or its own."""
    days = [day for day in SPINE if passes({"filters": time_only(query)}, day, {})]
    found: dict[Key, int] = {}
    for month in sorted({day.replace(day=1) for day in days}):
        source = month if metric == "at_month_start" else month_back(month)
        for row in facts:
            if row["day"].replace(day=1) == source and passes({"filters": others_only(query)}, month, row):
                key = (month, *others_of(query, row))
                found[key] = found.get(key, 0) + 1
    return found


def time_only(query: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [one for one in query["filters"] if one["field"] == "metric_time__day"]


def others_only(query: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [one for one in query["filters"] if one["field"] != "metric_time__day"]


def filled(query: Mapping[str, Any], found: dict[Key, Any], empty: Any) -> dict[Key, Any]:
    """Every period of the spine; one without rows passes only where its empty dimensions do."""
    name = query["dimensions"][0]
    periods = {cut(day, name) for day in SPINE if passes({"filters": time_only(query)}, day, {})}
    answers = {key: value for key, value in found.items() if key[0] in periods}
    nothing = (None,) * (len(query["dimensions"]) - 1)
    again = [one for one in others_only(query) if one["field"] in query["dimensions"]]
    for period in periods - {key[0] for key in found}:
        if not again:
            answers[period, *nothing] = empty
    return {key: empty if value is None else value for key, value in answers.items()}


def converted(hand: ByHand, query: Mapping[str, Any], metric: str) -> dict[Key, Any]:
    name = query["dimensions"][0]
    visits = grouped(query, plain(hand.facts["visits"]), lambda day: cut(day, name))
    allowed = [row for row in hand.facts["visits"] if passes(query, row["day"], row)]
    counts: dict[Key, int] = {}
    for order in hand.facts["orders"]:
        ways = [
            visit
            for visit in allowed
            if visit["user"] == order["user"] is not None and visit["day"] <= order["day"]
            and (metric != "conversion" or visit["day"] > order["day"] - timedelta(days=3))
            and (metric == "conversion" or (visit["word"] == order["word"] is not None))
        ]  # fmt: skip
        if ways:
            last = max(ways, key=lambda visit: (visit["day"], -visit["visit"]))
            key = (cut(last["day"], name), *others_of(query, last))
            counts[key] = counts.get(key, 0) + 1
    if metric == "conversions_ever":
        return {key: counts.get(key) for key in {*visits, *counts}}
    return {key: counts[key] / len(rows) if key in counts else None for key, rows in visits.items()}


def expected(hand: ByHand, query: Mapping[str, Any]) -> dict[Key, Any]:
    (metric,) = query["metrics"]
    orders = hand.facts["orders"]

    def by_period(row_day: date) -> Any:
        return cut(row_day, query["dimensions"][0])

    def revenue(rows: list[Record]) -> Any:
        return total([row["amount"] for row in rows])

    match metric:
        case "revenue":
            return {key: revenue(rows) for key, rows in grouped(query, plain(orders), by_period).items()}
        case "loyal_revenue":
            loyal = [row for row in orders if row["user"] is not None
                     and sum(other["user"] == row["user"] for other in orders) > 1]  # fmt: skip
            return {key: revenue(rows) for key, rows in grouped(query, plain(loyal), by_period).items()}
        case "buyers":
            groups = grouped(query, plain(orders), by_period)
            return {key: distinct([row["user"] for row in rows]) for key, rows in groups.items()}
        case "revenue_so_far":
            return reduced(query, gathered(orders, lambda row, day: True), revenue, "first")
        case "orders_3_days":
            within = gathered(orders, lambda row, day: row > day - timedelta(days=3))
            return reduced(query, within, len, "last")
        case "buyers_2_days":
            within = gathered(orders, lambda row, day: row > day - timedelta(days=2))
            return reduced(query, within, lambda rows: distinct([row["user"] for row in rows]), "first")
        case "revenue_month_to_date":
            within = gathered(orders, lambda row, day: row >= day.replace(day=1))
            return reduced(query, within, revenue, "average")
        case "filled":
            groups = grouped(query, plain(orders), by_period)
            return filled(query, {key: len(rows) for key, rows in groups.items()}, 0)
        case "every_day":
            groups = grouped(query, plain(orders), by_period)
            return filled(query, {key: revenue(rows) for key, rows in groups.items()}, None)
        case "twice_before":
            return {key: 2 * found for key, found in shifted(query, orders, metric).items()}
        case "growth":
            now = {key: len(rows) for key, rows in grouped(query, plain(orders), by_period).items()}
            then = shifted(query, orders, "one_before")
            return {key: now[key] - then[key] if key in now and key in then else None for key in {*now, *then}}
        case "conversion" | "conversions_ever":
            return converted(hand, query, metric)
        case _:
            found = shifted(query, orders, metric)
            return dict(found)


# -- the comparison ----------------------------------------------------------------------------------------


def same(left: Any, right: Any) -> bool:
    if left is None or right is None:
        return left is right
    return float(left) == pytest.approx(float(right), rel=1e-9, abs=1e-12)


@pytest.fixture(scope="module")
def engine() -> Iterator[duckdb.DuckDBPyConnection]:
    # DuckDB looks for pandas at each bound value, which costs more than the queries where pandas is not there.
    with duckdb.connect(config={"threads": 1}) as connection, pytest.MonkeyPatch.context() as patched:
        patched.setitem(sys.modules, "pandas", None)
        yield connection


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rows=rows_of_tables, queries=st.lists(questions(), min_size=5, max_size=5), users=rights)
def test_time_is_what_counting_by_hand_gives(
    engine: duckdb.DuckDBPyConnection, rows: Rows, queries: list[dict[str, Any]], users: Predicate
) -> None:
    fill_site(engine, rows)
    everyone, actions = frozenset({"*"}), frozenset({Action.METRIC})
    rest = Rule("rest", everyone, actions, datasets=frozenset({"orders", "visits", "days", "plans"}))
    own = Rule("own", everyone, actions, datasets=frozenset({"users"}), rows=users)
    granted = site_grants(Policy("site", (rest, own)))
    for query in queries:
        by_hand = expected(ByHand(rows, users), query)
        width = len(query["dimensions"])
        statement = compiled_site(query, granted).statement
        answer = engine.execute(statement.sql, dict(statement.parameters)).fetchall()
        found = {row[:width]: row[width] for row in answer}
        shown = (query, statement.sql)
        assert len(found) == len(answer), shown
        assert set(found) == set(by_hand), shown
        for key, value in by_hand.items():
            assert same(found[key], value), (key, found[key], value, shown)
