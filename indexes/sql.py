"""The read verb for SQL that callers write: guarded, governed by their grants, run in a process that can be killed."""

from __future__ import annotations

import atexit
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from indexes.cancellation import Cancellation
from indexes.duck.untrusted import Untrusted
from indexes.duck.workers import Limits, Workers
from indexes.library import Snapshot
from indexes.measure import databases_of, keep_of, products_of, rows_held
from semantic_layer.policy import Grants
from semantic_layer.product import ColumnType
from semantic_layer.sql.governed import GovernedStatement, govern

MAX_ROWS = 1_000
MAX_BYTES = 8_000_000
MAX_SECONDS = 10.0
LIMITS = Limits(
    processes=2, idle=1, threads=1, memory_bytes=512_000_000, address_space_bytes=3_000_000_000, rows=MAX_ROWS
)
"""One thread: a caller's statement takes one core at most, and sums come out the same each time."""


@dataclass(frozen=True)
class Selected:
    """The answer to a caller's SQL. `columns` are (name, type), names made unique; each row has a value a column.

    `more` says that rows after these exist. `tables` are (product, dataset) read; `limited` that grants withheld
    something of them, `masked` which columns came masked.
    """

    columns: tuple[tuple[str, str], ...]
    rows: tuple[Mapping[str, Any], ...]
    more: bool
    tables: tuple[tuple[str, str], ...]
    masked: tuple[str, ...]
    limited: bool
    milliseconds: float


def select_rows(
    snapshot: Snapshot,
    sql: str,
    grants: Grants,
    *,
    deadline_seconds: float,
    now: datetime,
    limit: int = 100,
    workers: Workers | None = None,
    cancellation: Cancellation | None = None,
    admit: Callable[[int], None] | None = None,
) -> Selected:
    """The rows of one SELECT over what these grants (action sql, one for each product that exists) show.

    `now` is what CURRENT_DATE and now() say. `admit` hears, before anything is read, how many rows the tables of the
    statement hold, and raises where that is too many. Raises what `govern` raises, InvalidArgument where DuckDB cannot
    run the statement, Refused past a limit of memory or size, and DeadlineExceeded after MAX_SECONDS.
    """
    statement = govern(
        sql,
        products_of(snapshot),
        grants,
        keep=lambda product, dataset: keep_of(snapshot, product, dataset),
        now=now.astimezone(UTC),
    )
    if admit is not None:
        admit(rows_held(snapshot, statement.tables))
    fetched = (workers or sql_workers()).run(
        databases_of(snapshot),
        statement.sql,
        {},
        deadline_seconds=min(deadline_seconds, MAX_SECONDS),
        cancellation=cancellation,
        untrusted=untrusted(statement, min(limit, MAX_ROWS)),
    )
    names = unique(fetched.table.column_names)
    kinds = [_kind(str(field.type)) for field in fetched.table.schema]
    return Selected(
        columns=tuple(zip(names, kinds, strict=True)),
        rows=tuple(dict(zip(names, row, strict=True)) for row in values_of(fetched.table)),
        more=not fetched.complete,
        tables=statement.tables,
        masked=statement.masked,
        limited=statement.limited,
        milliseconds=fetched.milliseconds,
    )


def untrusted(statement: GovernedStatement, rows: int) -> Untrusted:
    """The statement's announcement to the reading process."""
    return Untrusted(
        setup=[(one.sql, one.parameters) for one in statement.setup],
        relations=statement.relations,
        common_tables=statement.common_tables,
        functions=sorted(statement.functions),
        rows=rows,
        bytes=MAX_BYTES,
    )


@functools.cache
def sql_workers() -> Workers:
    """This process's own pool for callers' SQL, apart from the one for metrics; ended with the process."""
    workers = Workers(LIMITS)
    atexit.register(workers.close)
    return workers


def unique(names: Sequence[str]) -> list[str]:
    """The names, a later one that was there already with a number behind it."""
    taken: set[str] = set()
    found: list[str] = []
    for name in names:
        candidate, number = name, 1
        while candidate in taken:
            candidate, number = f"{name}_{number}", number + 1
        taken.add(candidate)
        found.append(candidate)
    return found


def values_of(table: Any) -> list[tuple[Any, ...]]:
    """The rows of an Arrow table; moments are UTC, as every timestamp of a sealed table is."""
    columns = [_values(column) for column in table.columns]
    return list(zip(*columns, strict=True))


def _values(column: Any) -> list[Any]:
    values: list[Any] = column.to_pylist()
    if str(column.type) == _WIDE_INTEGER:
        return [None if value is None else int(value) for value in values]
    return [value.replace(tzinfo=UTC) if isinstance(value, datetime) else value for value in values]


_WIDE_INTEGER = "decimal128(38, 0)"
"""How Arrow carries DuckDB's 128-bit integers, such as the sum of integers."""


def _kind(arrow: str) -> str:
    """An Arrow type in the contract's words, as far as they go."""
    if arrow == _WIDE_INTEGER:
        return ColumnType.INTEGER
    return next((kind for prefix, kind in _KINDS if arrow.startswith(prefix)), arrow)


_KINDS = (
    ("string", ColumnType.STRING),
    ("int", ColumnType.INTEGER),
    ("uint", ColumnType.INTEGER),
    ("decimal", ColumnType.DECIMAL),
    ("double", ColumnType.NUMBER),
    ("float", ColumnType.NUMBER),
    ("bool", ColumnType.BOOLEAN),
    ("date", ColumnType.DATE),
    ("timestamp", ColumnType.TIMESTAMP),
    ("time", ColumnType.TIME),
)
