"""Two metric answers that differ by floating rounding have one near digest; any other two do not."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

from hypothesis import assume, example, given
from hypothesis import strategies as st

from mcp_server.near_digest import MOST_CELLS, NearDigest, near_digest

FINITE = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e300, max_value=1e300)
LARGE = FINITE.filter(lambda value: value == 0 or abs(value) > 1e-290)


def data(*values: Any, totals: Any = None) -> dict[str, Any]:
    columns = [{"name": "region", "kind": "dimension"}, {"name": "revenue", "kind": "metric"}]
    rows = [{"region": f"r{number}", "revenue": value} for number, value in enumerate(values)]
    return {"columns": columns, "rows": rows, **({} if totals is None else {"totals": {"revenue": totals}})}


def digest(*values: Any, totals: Any = None) -> NearDigest:
    found = near_digest(data(*values, totals=totals))
    assert found is not None
    return found


@given(st.lists(LARGE, min_size=1, max_size=6), st.data())
@example([1.0, 0.5, 2.0], None)
def test_rounding_of_two_in_a_hundred_thousand_millions_is_not_seen(values: list[float], draw: Any) -> None:
    noise = st.floats(-2e-11, 2e-11)
    moved = [value * (1 + (2e-11 if draw is None else draw.draw(noise))) for value in values]
    assert digest(*values).matches(data(*moved))
    assert digest(*moved).matches(data(*values))


@given(st.lists(LARGE, min_size=1, max_size=6), st.integers(0, 5), st.floats(1e-10, 10), st.sampled_from([1, -1]))
def test_a_change_of_the_eleventh_digit_of_any_large_cell_is_seen(
    values: list[float], place: int, change: float, sign: int
) -> None:
    place %= len(values)
    assume(abs(values[place]) > max(map(abs, values)) / 64 > 0)
    moved = list(values)
    moved[place] *= 1 + sign * change
    assume(math.isfinite(moved[place]))
    assert not digest(*values).matches(data(*moved))


def test_what_cancels_is_judged_by_the_largest_of_its_column() -> None:
    assert digest(1e9, 1.3e-6, 0.0).matches(data(1e9, -2.1e-6, 1e-7))
    assert not digest(1e9, 1.3e-6).matches(data(1e9, 0.01))


@given(st.lists(st.integers(-(10**25), 10**25).map(lambda cents: Decimal(cents) / 100), min_size=1, max_size=5))
def test_numbers_that_are_exact_must_be_equal(exact: list[Decimal]) -> None:
    assert near_digest(data(*exact)) is None
    assert digest(*exact, 1.5).matches(data(*exact, 1.5))
    assert not digest(*exact, 1.5).matches(data(*(value + Decimal("0.01") for value in exact), 1.5))


def test_a_row_more_another_group_or_null_for_a_number_is_seen() -> None:
    recorded = digest(1.5, 2.5, None, totals=4.0)
    assert recorded.matches(data(1.5, 2.5, None, totals=4.0))
    assert not recorded.matches(data(1.5, 2.5, totals=4.0))
    assert not recorded.matches(data(1.5, None, 2.5, totals=4.0))
    assert not recorded.matches(data(1.5, 2.5, None))
    assert not recorded.matches(data(1.5, 2.5, None, totals=4.1))
    other = data(1.5, 2.5, None, totals=4.0)
    other["rows"][0]["region"] = "elsewhere"
    assert not recorded.matches(other)


def test_rows_that_rounding_puts_in_another_order_are_the_same_rows() -> None:
    turned = data(1.5, 1.5 + 1e-15)
    turned["rows"].reverse()
    assert digest(1.5, 1.5).matches(turned)


def test_a_floating_dimension_is_exact() -> None:
    def by_weight(weight: float) -> dict[str, Any]:
        columns = [{"name": "weight", "kind": "dimension"}, {"name": "revenue", "kind": "metric"}]
        return {"columns": columns, "rows": [{"weight": weight, "revenue": 1.5}]}

    found = near_digest(by_weight(0.1))
    assert found is not None
    assert found.matches(by_weight(0.1))
    assert not found.matches(by_weight(0.1 + 1e-16 * 2))


def test_zeros_are_zeros_and_nothing_else() -> None:
    assert digest(0.0, -0.0).matches(data(0.0, 0.0))
    assert not digest(0.0).matches(data(1e-300))
    assert not digest(1e-300).matches(data(0.0))


def test_an_answer_of_very_many_cells_has_none_and_one_digit_a_cell_is_kept() -> None:
    assert near_digest(data(*[0.5] * (MOST_CELLS + 1))) is None
    assert len(digest(*[0.5] * 100).digits) == 100
