"""In which years a sealed column's moments lie: asked once, it makes a wall clock in SQL short and quick to plan.

A query in a reporting zone compares each moment with the changes of the zone's clock. There are two a year; for four
decades of them DuckDB plans longer than it takes to read a million rows.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from semantic_layer.metric import quoted
from semantic_layer.plan.plan import Source
from semantic_layer.sql.zones import Years, zoned_columns

_KEPT = 4_096
_known: OrderedDict[tuple[str, str, str], tuple[int, int]] = OrderedDict()
_lock = threading.Lock()

Run = Callable[[str], Any]
"""Gives the Arrow table of one statement over the sealed databases."""


def years_of(sql: str, sources: Sequence[Source], databases: Mapping[str, Path], run: Run) -> Years:
    """The years of each column that the statement reads on a zone's wall clock. Sealed tables never change."""
    found: list[tuple[str, int, int]] = []
    for shown in zoned_columns(sql):
        alias, _, column = shown.replace('"', "").partition(".")
        tables = {(one.product, one.table) for one in sources if one.alias == alias and column in one.columns}
        spans = [_years(databases[product], product, table, column, run) for product, table in sorted(tables)]
        if spans:
            found.append((shown, min(first for first, _ in spans), max(end for _, end in spans)))
    return tuple(found)


def _years(database: Path, product: str, table: str, column: str, run: Run) -> tuple[int, int]:
    key = (str(database), table, column)
    with _lock:
        known = _known.get(key)
        if known is not None:
            _known.move_to_end(key)
            return known
    read, place = quoted(column), quoted(product, "main", table)
    first, last = (ends[0].as_py() for ends in run(f"SELECT MIN({read}), MAX({read}) FROM {place}").columns)
    years = (first.year, last.year + 1) if isinstance(first, datetime) else (0, 0)
    with _lock:
        _known[key] = years
        while len(_known) > _KEPT:
            _known.popitem(last=False)
    return years
