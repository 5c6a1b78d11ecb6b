"""Filters mean what SQL's three-valued logic says, keep their meaning in JSON, and refuse what does not fit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantic_layer.errors import InvalidFilter, UnknownName
from semantic_layer.filter_form import filter_form, parse_filter
from semantic_layer.predicate import (
    FALSE,
    TRUE,
    And,
    Attribute,
    Compare,
    Contains,
    In,
    IsNull,
    Not,
    Or,
    Predicate,
    Range,
    all_of,
    any_of,
    bind,
    coerce,
    evaluate,
    fields_of,
    negation,
    resolve,
)
from semantic_layer.principal import Principal
from semantic_layer.product import Column, ColumnType

COLUMNS: Mapping[str, Column] = {
    column.name: column
    for column in (
        Column("region", ColumnType.STRING),
        Column("count", ColumnType.INTEGER),
        Column("price", ColumnType.DECIMAL),
        Column("ratio", ColumnType.NUMBER),
        Column("open", ColumnType.BOOLEAN),
        Column("day", ColumnType.DATE),
        Column("moment", ColumnType.TIMESTAMP),
        Column("clock", ColumnType.TIME),
        Column("labels", ColumnType.ARRAY, items=ColumnType.STRING),
        Column("blob", ColumnType.OBJECT),
    )
}
CELLS: Mapping[str, st.SearchStrategy[Any]] = {
    "region": st.sampled_from(["EU", "US", "ä", "😀"]),
    "count": st.integers(-3, 3),
    "price": st.sampled_from([Decimal("1.10"), Decimal("1.1"), Decimal("-7")]),
    "ratio": st.sampled_from([0.5, -1.0, 3.25]),
    "open": st.booleans(),
    "day": st.sampled_from([date(2025, 1, 1), date(2024, 2, 29)]),
    "moment": st.sampled_from([datetime(2025, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, 12, 30, tzinfo=UTC)]),
    "clock": st.sampled_from([time(9), time(12, 30)]),
    "labels": st.sampled_from(["EU", "US", "sale"]),
}
ROWS = st.fixed_dictionaries(
    {
        **{name: st.none() | cell for name, cell in CELLS.items() if name != "labels"},
        "ratio": st.none() | st.just(float("nan")) | CELLS["ratio"],
        "labels": st.none() | st.lists(st.none() | CELLS["labels"], max_size=3),
    }
)


@st.composite
def leaves(draw: st.DrawFn) -> Predicate:
    name = draw(st.sampled_from(sorted(CELLS)))
    cell = CELLS[name]
    ordered = ["eq"] if name == "open" else ["eq", "lt", "le", "gt", "ge"]
    kinds: list[st.SearchStrategy[Predicate]] = [
        st.builds(Compare, st.just(name), st.sampled_from(ordered), cell),
        st.builds(In, st.just(name), st.lists(cell, max_size=3).map(tuple)),
        st.builds(IsNull, st.just(name)),
    ]
    if name != "open":
        kinds.append(st.builds(Range, st.just(name), cell, cell))
    if name in ("region", "labels"):
        kinds.append(st.builds(Contains, st.just(name), cell))
    return draw(st.one_of(kinds))


PREDICATES = st.recursive(
    leaves(),
    lambda inner: (
        st.builds(And, st.lists(inner, min_size=1, max_size=3).map(tuple))
        | st.builds(Or, st.lists(inner, min_size=1, max_size=3).map(tuple))
        | st.builds(Not, inner)
    ),
    max_leaves=8,
)


@given(PREDICATES, PREDICATES, ROWS)
def test_de_morgan_holds_in_three_values(one: Predicate, other: Predicate, row: dict[str, Any]) -> None:
    assert evaluate(Not(And((one, other))), row) == evaluate(Or((Not(one), Not(other))), row)
    assert evaluate(Not(Or((one, other))), row) == evaluate(And((Not(one), Not(other))), row)


@given(PREDICATES, ROWS)
def test_a_row_is_never_returned_by_a_filter_and_by_its_opposite(one: Predicate, row: dict[str, Any]) -> None:
    assert not (evaluate(one, row) is True and evaluate(Not(one), row) is True)
    assert evaluate(negation(one), row) == evaluate(Not(one), row)


@given(st.lists(PREDICATES, max_size=4), ROWS)
def test_joining_filters_keeps_their_meaning(parts: list[Predicate], row: dict[str, Any]) -> None:
    assert evaluate(all_of(*parts), row) == evaluate(And(tuple(parts)), row)
    assert evaluate(any_of(*parts), row) == evaluate(Or(tuple(parts)), row)


@given(PREDICATES)
def test_a_comparison_with_null_is_unknown_also_under_not(one: Predicate) -> None:
    row = dict.fromkeys(COLUMNS)
    if not any(isinstance(part, IsNull) for part in _leaves(one)):
        assert evaluate(one, row) is None
        assert evaluate(Not(one), row) is None


def _leaves(predicate: Predicate) -> list[Predicate]:
    match predicate:
        case And(parts) | Or(parts):
            return [leaf for part in parts for leaf in _leaves(part)]
        case Not(part):
            return _leaves(part)
        case _:
            return [predicate]


@given(PREDICATES, ROWS)
def test_binding_typed_values_changes_nothing_and_is_done_once(one: Predicate, row: dict[str, Any]) -> None:
    bound = bind(one, COLUMNS)
    assert evaluate(bound, row) == evaluate(one, row)
    assert bind(bound, COLUMNS) == bound


@given(PREDICATES, ROWS)
def test_a_filter_read_back_from_json_holds_for_the_same_rows(one: Predicate, row: dict[str, Any]) -> None:
    text = json.dumps(filter_form(one))
    read = bind(parse_filter(json.loads(text)), COLUMNS)
    assert evaluate(read, row) == evaluate(one, row)
    assert fields_of(read) <= fields_of(one)


@given(PREDICATES)
def test_the_json_of_a_filter_read_back_is_the_same_json(one: Predicate) -> None:
    read = parse_filter(json.loads(json.dumps(filter_form(one))))
    assert parse_filter(filter_form(read)) == read


def test_an_array_matches_by_any_element_and_not_means_none() -> None:
    sale = Compare("labels", "eq", "sale")
    assert evaluate(sale, {"labels": ["new", "sale"]}) is True
    assert evaluate(Not(sale), {"labels": ["new", "sale"]}) is False
    assert evaluate(Not(sale), {"labels": ["new", None]}) is True
    assert evaluate(Not(sale), {"labels": []}) is None
    assert evaluate(IsNull("labels"), {"labels": [None]}) is True


def test_nan_equals_nothing_and_counts_as_null() -> None:
    row = {"ratio": float("nan")}
    assert evaluate(Compare("ratio", "eq", 1.0), row) is None
    assert evaluate(IsNull("ratio"), row) is True


def test_strings_compare_by_code_point() -> None:
    assert evaluate(Compare("region", "lt", "a"), {"region": "Z"}) is True
    assert evaluate(Compare("region", "gt", "z"), {"region": "ä"}) is True


@pytest.mark.parametrize(
    ("raw", "kind", "typed"),
    [
        ("42", ColumnType.INTEGER, 42),
        (42.0, ColumnType.INTEGER, 42),
        ("1.10", ColumnType.DECIMAL, Decimal("1.10")),
        (0.1, ColumnType.DECIMAL, Decimal("0.1")),
        ("TRUE", ColumnType.BOOLEAN, True),
        ("2025-01-31", ColumnType.DATE, date(2025, 1, 31)),
        ("2025-01-31", ColumnType.TIMESTAMP, datetime(2025, 1, 31, tzinfo=UTC)),
        ("2025-01-31T14:00:00+02:00", ColumnType.TIMESTAMP, datetime(2025, 1, 31, 12, tzinfo=UTC)),
        (date(2025, 1, 31), ColumnType.TIMESTAMP, datetime(2025, 1, 31, tzinfo=UTC)),
        ("09:30", ColumnType.TIME, time(9, 30)),
    ],
)
def test_values_take_their_columns_type(raw: Any, kind: ColumnType, typed: Any) -> None:
    assert coerce(raw, kind, "x") == typed


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (1.5, ColumnType.INTEGER),
        (True, ColumnType.INTEGER),
        ("1_000", ColumnType.INTEGER),
        ("４２", ColumnType.INTEGER),
        (2**63, ColumnType.INTEGER),
        (float("inf"), ColumnType.INTEGER),
        (float("nan"), ColumnType.NUMBER),
        ("Infinity", ColumnType.NUMBER),
        ("1_0.5", ColumnType.DECIMAL),
        ("NaN", ColumnType.DECIMAL),
        (5, ColumnType.STRING),
        ("\ud800", ColumnType.STRING),
        (1, ColumnType.BOOLEAN),
        ("31.01.2025", ColumnType.DATE),
        (datetime(2025, 1, 31, 12), ColumnType.DATE),
        ("9999-12-31T23:00:00-23:59", ColumnType.TIMESTAMP),
        (time(9, tzinfo=timezone(timedelta(hours=1))), ColumnType.TIME),
        ([1], ColumnType.NUMBER),
    ],
)
def test_values_that_do_not_fit_are_refused_by_name(raw: Any, kind: ColumnType) -> None:
    with pytest.raises(InvalidFilter, match="for column 'x'"):
        coerce(raw, kind, "x")


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ("region = 'EU'", "must be an object, not str"),
        ({"field": "region", "operator": "eq", "value": "EU"}, "no filter key 'operator'"),
        ({"field": "region", "op": "equals", "value": "EU"}, "no operator 'equals'"),
        ({"field": "region", "op": "eq"}, "needs a `value`"),
        ({"op": "eq", "value": 1}, "needs a `field`"),
        ({"field": "region", "op": "eq", "value": None}, "NULL compares with nothing"),
        ({"field": "region", "op": "in", "value": "EU"}, "takes a list"),
        ({"field": "count", "op": "between", "value": [1]}, r"takes \[low, high\]"),
        ({"field": "region", "op": "contains", "value": ""}, "at least one character"),
        ({"field": "region", "op": "is_null", "value": "yes"}, "true or false"),
        ({"field": "region", "op": "eq", "value": {"principal": "regions"}}, "is not a value"),
        ({"all": [], "any": []}, "no filter key"),
        ({"all": {}}, "takes a list"),
        ({"field": "region", "op": "in", "value": ["x"] * 1001}, "at most 1000"),
        ([{"field": "count", "value": 1}] * 201, "more than 200"),
    ],
)
def test_a_filter_of_wrong_form_is_refused_never_dropped(form: Any, message: str) -> None:
    with pytest.raises((InvalidFilter, UnknownName), match=message):
        parse_filter(form)


def test_a_filter_nested_too_deep_is_refused() -> None:
    form: Any = {"field": "count", "value": 1}
    for _ in range(20):
        form = {"not": form}
    with pytest.raises(InvalidFilter, match="deeper"):
        parse_filter(form)


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"field": "regio", "value": "EU"}, r"no column 'regio'\. Did you mean 'region'"),
        ({"field": "blob", "value": "EU"}, "holds objects"),
        ({"field": "open", "op": "lt", "value": True}, "has no order"),
        ({"field": "count", "op": "contains", "value": "1"}, "needs a string column"),
        ({"field": "count", "value": "many"}, "is not a integer|is not an integer"),
    ],
)
def test_a_filter_that_does_not_fit_its_column_is_refused(form: Any, message: str) -> None:
    with pytest.raises((InvalidFilter, UnknownName), match=message):
        bind(parse_filter(form), COLUMNS)


def test_nothing_and_the_empty_list_mean_every_row() -> None:
    assert parse_filter(None) == TRUE
    assert parse_filter([]) == TRUE
    assert parse_filter({"any": []}) == FALSE


def test_an_attribute_with_several_values_means_any_of_them() -> None:
    eu_us = Principal("ann", attributes={"regions": ("EU", "US"), "none": (), "floor": 2})
    rows = parse_filter({"field": "region", "value": {"principal": "regions"}}, attributes=True)
    resolved = resolve(rows, eu_us)
    assert resolved is not None
    assert [evaluate(resolved, {"region": cell}) for cell in ("EU", "US", "UK", None)] == [True, True, False, None]


@pytest.mark.parametrize("op", ["eq", "ne", "in", "not_in", "lt", "contains"])
def test_an_attribute_without_values_is_never_unknown_to_be_true_of_null(op: str) -> None:
    nobody = Principal("ann", attributes={"none": ()})
    resolved = resolve(
        parse_filter({"field": "region", "op": op, "value": {"principal": "none"}}, attributes=True), nobody
    )
    assert resolved is not None
    assert evaluate(resolved, {"region": None}) is None
    assert evaluate(resolved, {"region": "EU"}) is (op in ("ne", "not_in"))


def test_a_missing_attribute_denies_and_a_range_needs_one_value() -> None:
    assert resolve(Compare("region", "eq", Attribute("regions")), Principal("ann")) is None
    assert resolve(Not(In("region", (Attribute("regions"),))), Principal("ann")) is None
    ranged = Range("count", Attribute("floor"), None)
    assert resolve(ranged, Principal("ann", attributes={"floor": (1, 2)})) is None
    assert resolve(ranged, Principal("ann", attributes={"floor": 1})) == Range("count", 1, None)
