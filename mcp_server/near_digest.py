"""A second digest of a metric answer, equal for answers that differ by floating rounding only.

Sums of floating numbers depend on the order of their rows, and threads take rows in no fixed order. So each floating
cell is cut to a grid of about eleven digits. Rounding to the grid alone would tear apart two numbers that lie on
either side of one of its borders; so a hex digit a cell is kept too, which says where in the grid the number lay, and a
number that is compared later is cut to the nearest place that the digit allows (a secure sketch, Dodis, Reyzin and
Smith 2004). The digit tells two bits of the place and two of the exponent, and nothing else of the value.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from mcp_server.answer import plain

STEP_BITS = 36
"""A cell between 2^(e-1) and 2^e lies on a grid of 2^(e-36): steps of 1.5 to 2.9 in 10^11 of it."""
FLOOR_BITS = 6
"""No grid is finer than that of a cell this many doublings below the largest of its column: sums that cancel."""
MOST_CELLS = 5_000

_text = json.JSONEncoder(sort_keys=True, default=plain).encode
_ROUNDED = "~"
_EXACT = "-"
"""The digit of a cell that is zero in a column of zeros."""


@dataclass(frozen=True)
class NearDigest:
    """`sha256` over what is exact and the cells' places; `digits`, one a floating cell, by which to compare again."""

    sha256: str
    digits: str

    def matches(self, data: Mapping[str, Any]) -> bool:
        """Whether an answer's data is this one's but for rounding: true below 2 in 10^11 of a cell (or 3 in 10^13 of
        the largest in its column), false from 6 in 10^11 on; exact values and the set of rows must be equal."""
        exact, cells = _taken_apart(data)
        if len(cells) != len(self.digits):
            return False
        places = [_nearest(value, least, digit) for (value, least), digit in zip(cells, self.digits, strict=True)]
        return _digest(exact, places) == self.sha256


def near_digest(data: Mapping[str, Any]) -> NearDigest | None:
    """The near digest of a metric answer's data; None where it holds no floating metric, or too many."""
    exact, cells = _taken_apart(data)
    if not 0 < len(cells) <= MOST_CELLS:
        return None
    places = [_place(value, least) for value, least in cells]
    return NearDigest(_digest(exact, places), "".join(_digit(place) for place in places))


Place = tuple[int, int] | None
"""The exponent of a cell's grid and its place there; None for zero in a column of zeros."""
_NOWHERE: Place = (1 << 20, 0)
"""No cell has this exponent."""
_Cell = tuple[float, int | None]
"""A floating cell, and the least exponent that its grid may have (None in a column of zeros)."""


def _taken_apart(data: Mapping[str, Any]) -> tuple[str, list[_Cell]]:
    """What is exact, as text, and the floating cells of metrics; rows in the order of what is exact in them."""
    columns: Sequence[Mapping[str, Any]] = data.get("columns", ())
    metrics = [str(column["name"]) for column in columns if column.get("kind") == "metric"]
    rows: Sequence[Mapping[str, Any]] = data.get("rows", ())
    keyed = sorted([(_exact(row, metrics), place) for place, row in enumerate(rows)])
    totals: Mapping[str, Any] = data.get("totals") or {}
    cells = _cells([*(rows[place] for _, place in keyed), totals], metrics)
    rest = {name: value for name, value in data.items() if name not in ("rows", "totals")}
    return _text([_text(rest), *(text for text, _ in keyed), _exact(totals, metrics)]), cells


def _exact(row: Mapping[str, Any], metrics: Sequence[str]) -> str:
    """A row as text, without its floating metrics."""
    return _text({name: _ROUNDED if name in metrics and _is_rounded(cell) else cell for name, cell in row.items()})


def _cells(rows: Sequence[Mapping[str, Any]], metrics: Sequence[str]) -> list[_Cell]:
    """The floating cells, one column after another."""
    found: list[_Cell] = []
    for name in metrics:
        values = [cell for cell in (row.get(name) for row in rows) if _is_rounded(cell)]
        largest = max(map(abs, values), default=0.0)
        least = math.frexp(largest)[1] - FLOOR_BITS if largest else None
        found += [(value, least) for value in values]
    return found


def _is_rounded(value: Any) -> TypeGuard[float]:
    return isinstance(value, float) and math.isfinite(value)


def _place(value: float, least: int | None) -> Place:
    if least is None:
        return None
    exponent = _exponent(value, least)
    return exponent, round(_on_grid(value, exponent))


def _nearest(value: float, least: int | None, digit: str) -> Place:
    """The place nearest to the value among those that the digit allows; _NOWHERE where none is near."""
    if digit == _EXACT or least is None:
        return None if digit == _EXACT and least is None else _NOWHERE
    bits = int(digit, 16)
    about = _exponent(value, least)
    exponent = next((one for one in (about, about - 1, about + 1) if one & 3 == bits >> 2), None)
    if exponent is None:
        return _NOWHERE
    place = _on_grid(value, exponent)
    return exponent, (bits & 3) + 4 * round((place - (bits & 3)) / 4)


def _exponent(value: float, least: int) -> int:
    return max(math.frexp(value)[1], least) if value else least


def _on_grid(value: float, exponent: int) -> float:
    return math.ldexp(value, STEP_BITS - exponent)


def _digit(place: Place) -> str:
    return _EXACT if place is None else f"{(place[0] & 3) << 2 | place[1] & 3:x}"


def _digest(exact: str, places: Iterable[Place]) -> str:
    text = json.dumps([exact, list(places)])
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
