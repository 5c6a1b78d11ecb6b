"""MetricFlow's own recorded answers, and how an answer is compared with a recorded one."""

from __future__ import annotations

import json
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from evals.metricflow import after, beginning, run_cases, summary
from evals.metricflow_compare import difference
from semantic_layer.metric import Grain

TRUTH = Path(__file__).parents[2].parent / "shared" / "truth" / "metricflow"


@pytest.mark.truth
def test_every_recorded_answer_of_metricflow_is_ours_too() -> None:
    if not (TRUTH / "cases.jsonl").exists():
        pytest.skip("the recorded cases are not here")
    said: list[str] = []
    results = run_cases(TRUTH / "cases.jsonl", TRUTH, said=said.append)
    assert not said
    assert len(results) >= 199
    assert summary(results) == f"{len(results)} passed, 0 failed"


def case(rows: list[list[object]], columns: list[str], **more: object) -> dict[str, object]:
    return {"id": "c", "result": {"columns": columns, "rows": rows}, **more}


def test_rows_are_compared_by_column_name_whatever_their_order() -> None:
    recorded = case([["a", 1], [None, 2]], ["city", "orders"])
    assert difference(recorded, ["orders", "city"], [(2, None), (Decimal("1.00"), "a")]) == ""
    assert (
        difference(recorded, ["orders", "city"], [(2, None), (3, "a")]) == "row 2 is ('a', 3) instead of ('a', 1)"
    )
    assert difference(recorded, ["orders", "city"], [(2, None)]) == "1 rows instead of 2"
    assert "columns" in difference(recorded, ["orders"], [(2,)])


def test_order_counts_where_the_case_asks_for_one() -> None:
    recorded = case([[1], [2]], ["orders"], order_by=["orders"])
    assert difference(recorded, ["orders"], [(1,), (2,)]) == ""
    assert difference(recorded, ["orders"], [(2,), (1,)]) != ""


def test_rows_that_the_asked_order_leaves_alike_may_stand_in_any_order() -> None:
    recorded = case([["a", 2], ["b", 2], ["c", 1]], ["city", "orders"], order_by=["-orders"])
    assert difference(recorded, ["city", "orders"], [("b", 2), ("a", 2), ("c", 1)]) == ""
    assert difference(recorded, ["city", "orders"], [("b", 2), ("c", 1), ("a", 2)]) != ""
    days = case(
        [["2020-01-01T00:00:00", "b"], ["2020-01-01T00:00:00", "a"]], ["day__day", "city"], order_by=["day"]
    )
    assert difference(days, ["day__day", "city"], [(date(2020, 1, 1), "a"), (date(2020, 1, 1), "b")]) == ""
    assert difference(case([], ["city"], order_by=["city"]), ["city"], []) == ""


def test_floats_are_equal_to_six_digits_and_nan_to_nan() -> None:
    recorded = case([[0.1 + 0.2, float("nan")]], ["x", "y"])
    assert difference(recorded, ["x", "y"], [(0.3, float("nan"))]) == ""
    assert difference(recorded, ["x", "y"], [(0.31, float("nan"))]) != ""
    assert difference(case([[1]], ["x"]), ["x"], [(True,)]) != ""


def test_rows_of_independent_sql_may_stand_in_its_own_column_order() -> None:
    recorded = case([[2, "a"], [3, "b"]], ["city", "orders"])
    found = [("a", 2), ("b", 3)]
    assert difference(recorded, ["city", "orders"], found) != ""
    assert difference({**recorded, "expected_from_independent_sql": True}, ["city", "orders"], found) == ""


def test_days_are_compared_as_the_moments_they_begin_at() -> None:
    recorded = case([["2020-01-01T00:00:00"]], ["day"])
    assert difference(recorded, ["day"], [(date(2020, 1, 1),)]) == ""
    assert difference(recorded, ["day"], [(datetime(2020, 1, 1),)]) == ""


@pytest.mark.parametrize(
    ("grain", "start", "end"),
    [
        (Grain.WEEK, datetime(2020, 1, 13), datetime(2020, 1, 20)),
        (Grain.MONTH, datetime(2020, 1, 1), datetime(2020, 2, 1)),
        (Grain.QUARTER, datetime(2020, 1, 1), datetime(2020, 4, 1)),
        (Grain.YEAR, datetime(2020, 1, 1), datetime(2021, 1, 1)),
        (Grain.HOUR, datetime(2020, 1, 15, 5), datetime(2020, 1, 15, 6)),
    ],
)
def test_a_range_of_metricflow_covers_whole_periods(grain: Grain, start: datetime, end: datetime) -> None:
    moment = datetime(2020, 1, 15, 5, 30)
    assert (beginning(moment, grain), after(moment, grain)) == (start, end)


def test_a_run_says_what_differs_and_counts(tmp_path: Path) -> None:
    (tmp_path / "manifests").mkdir()
    (tmp_path / "tables").mkdir()
    (tmp_path / "cases.jsonl").write_text(json.dumps({"id": "x", "manifest": "none", "metrics": ["orders"]}))
    said: list[str] = []
    results = run_cases(tmp_path / "cases.jsonl", tmp_path, said=said.append)
    assert said[0].startswith("x: unknown_name: no manifest 'none'.")
    assert summary(results) == "0 passed, 1 failed"
