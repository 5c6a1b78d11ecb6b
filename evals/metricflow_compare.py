"""Compares an answer with recorded rows: columns by name, floats to 1e-6, NaN equal to NaN, order where asked for.

Rows that the asked order leaves alike may stand in any order among themselves.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from itertools import permutations
from typing import Any

TOLERANCE = 1e-6
Row = tuple[Any, ...]


def difference(case: Mapping[str, Any], names: Sequence[str], rows: Sequence[Row]) -> str:
    """What differs, in one line; empty where nothing does.

    Rows that independent SQL gave stand in the order of that SQL's columns, which is not recorded, under MetricFlow's
    names: there any one order of the columns will do, the same for all rows.
    """
    recorded = case["result"]
    columns: list[str] = recorded["columns"]
    if len(names) != len(columns):
        return f"columns {list(names)} instead of {columns}"
    by_name = placed(names, columns)
    plainly = [tuple(plain(cell) for cell in row) for row in rows]
    compared = _by_rows if "rows" in recorded else _by_digest
    said = compared(case, recorded, names, plainly, by_name)
    if not said or not case.get("expected_from_independent_sql"):
        return said
    orders = (list(order) for order in permutations(by_name) if list(order) != by_name)
    return "" if any(not compared(case, recorded, names, plainly, order) for order in orders) else said


def _by_rows(
    case: Mapping[str, Any],
    recorded: Mapping[str, Any],
    names: Sequence[str],
    rows: Sequence[Row],
    order: Sequence[int],
) -> str:
    wanted = [tuple(plain(cell) for cell in row) for row in recorded["rows"]]
    found = [tuple(row[place] for place in order) for row in rows]
    if len(found) != len(wanted):
        return f"{len(found)} rows instead of {len(wanted)}"
    for start, end in _alike(case, names, rows):
        found[start:end], wanted[start:end] = (sorted(each[start:end], key=_sortable) for each in (found, wanted))
    for number, (ours, theirs) in enumerate(zip(found, wanted, strict=True), 1):
        if not all(same(one, other) for one, other in zip(ours, theirs, strict=True)):
            return f"row {number} is {ours} instead of {theirs}"
    return ""


def _alike(case: Mapping[str, Any], names: Sequence[str], rows: Sequence[Row]) -> list[tuple[int, int]]:
    """Where rows begin and end that the asked order leaves alike: all of them where none is asked for."""
    asked = [text.removeprefix("-") for text in case.get("order_by") or ()]
    by = [
        next(place for place, own in enumerate(names) if own == name or own.startswith(f"{name}__"))
        for name in asked
        if any(own == name or own.startswith(f"{name}__") for own in names)
    ]
    if not rows or len(by) < len(asked):
        return []
    starts = [
        number
        for number, row in enumerate(rows)
        if not number or not all(same(row[place], rows[number - 1][place]) for place in by)
    ]
    return list(zip(starts, [*starts[1:], len(rows)], strict=True))


def placed(names: Sequence[str], columns: Sequence[str]) -> list[int]:
    """Where each recorded column stands in the answer. One under another name (an alias, which is not recorded, or
    the full path of a name asked for by its end) is the next of the answer's own that is not recorded."""
    rest = iter([place for place, name in enumerate(names) if name not in columns])
    return [names.index(column) if column in names else next(rest) for column in columns]


def plain(cell: Any) -> Any:
    """A cell as JSON holds it: moments as ISO text, numbers as numbers."""
    if isinstance(cell, datetime):
        return cell.replace(tzinfo=None).isoformat()
    if isinstance(cell, date):
        return datetime(cell.year, cell.month, cell.day).isoformat()
    if isinstance(cell, Decimal):
        return int(cell) if cell == cell.to_integral_value() else float(cell)
    return cell


def same(one: Any, other: Any) -> bool:
    """Whether two cells are equal."""
    if isinstance(one, bool) or isinstance(other, bool) or one is None or other is None:
        return one is other or (one == other and isinstance(one, bool) == isinstance(other, bool))
    if isinstance(one, (int, float)) and isinstance(other, (int, float)):
        if math.isnan(one) or math.isnan(other):
            return math.isnan(one) and math.isnan(other)
        return math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=1e-9)
    return bool(one == other)


def _sortable(row: Row) -> tuple[tuple[int, Any], ...]:
    return tuple(_rank(cell) for cell in row)


def _rank(cell: Any) -> tuple[int, Any]:
    if cell is None:
        return 0, 0
    if isinstance(cell, bool):
        return 1, int(cell)
    if isinstance(cell, (int, float)):
        return 2, round(float(cell), 6)
    return 3, str(cell)


def _by_digest(
    case: Mapping[str, Any],
    recorded: Mapping[str, Any],
    names: Sequence[str],
    rows: Sequence[Row],
    order: Sequence[int],
) -> str:
    del case, names
    if len(rows) != recorded["row_count"]:
        return f"{len(rows)} rows instead of {recorded['row_count']}"
    text = json.dumps(sorted(str([row[place] for place in order]) for row in rows))
    if hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest() != recorded["rows_sha1"]:
        return "other rows than recorded"
    return ""
