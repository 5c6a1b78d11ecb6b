"""The read verb for numbers: a metric query compiled for the caller, run over one edition's sealed tables."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from indexes.cancellation import Cancellation
from indexes.duck.workers import Fetched, Workers, shared_workers
from indexes.generation import TABLES
from indexes.library import Snapshot
from indexes.moments import years_of
from semantic_layer.errors import Refused
from semantic_layer.metric import SemanticModel
from semantic_layer.plan.plan import OutputColumn
from semantic_layer.plan.query import MetricQuery
from semantic_layer.policy import Grants
from semantic_layer.predicate import Predicate
from semantic_layer.product import ColumnType, DataProduct
from semantic_layer.sql.beginnings import quick_beginnings
from semantic_layer.sql.compile import TOTAL_ROWS, CompiledQuery, Statement, compile_query, shared_compiled
from semantic_layer.sql.order_of_sums import by_size
from semantic_layer.sql.zones import Years, quick

Row = dict[str, Any]
_by_size: ContextVar[bool] = ContextVar("by_size", default=False)


@dataclass(frozen=True)
class Measured:
    """The answer to a metric query.

    `rows` are in order, each a value a column: str, int, float, Decimal, bool, date, or a datetime in the
    reporting zone; NULL is None. `total_rows` counts the whole answer; `totals` are the metrics over all of it
    where the rows are a page, None where they are everything or were not asked for. `limited`: the grants
    withheld rows.
    """

    columns: tuple[OutputColumn, ...]
    rows: tuple[Row, ...]
    total_rows: int
    totals: Row | None
    sql: str
    parameters: Mapping[str, Any]
    rows_scanned: int
    milliseconds: float
    notes: tuple[str, ...]
    products: tuple[str, ...]
    metrics: tuple[tuple[str, str], ...]
    limited: bool
    as_of: datetime


def measure(
    snapshot: Snapshot,
    query: MetricQuery,
    grants: Grants,
    *,
    deadline_seconds: float,
    as_of: datetime,
    discover: Grants | None = None,
    default_zone: str = "UTC",
    offset: int = 0,
    totals: bool | None = None,
    workers: Workers | None = None,
    cancellation: Cancellation | None = None,
    admit: Callable[[int], None] | None = None,
) -> Measured:
    """The rows of a metric query under these grants, one a product, for the action metric.

    `offset` skips rows of a page; `totals` None gives totals beside a page only. `admit` hears, before anything is
    read, how many rows the tables of the query hold, and raises where that is too many. Raises what `compile_query` and
    `Workers.run` raise, and Refused where the answer has more rows than one answer may hold.
    """
    compiled = compile_snapshot(
        snapshot, query, grants, as_of=as_of, discover=discover, default_zone=default_zone, offset=offset
    )
    if admit is not None:
        admit(rows_held(snapshot, compiled.tables))
    pool = workers or shared_workers()
    databases = databases_of(snapshot)
    spent: list[Fetched] = []

    def asked(sql: str, parameters: Mapping[str, Any]) -> Fetched:
        return pool.run(databases, sql, parameters, deadline_seconds=deadline_seconds, cancellation=cancellation)

    def run(statement: Statement) -> Any:
        years = years_of(statement.sql, compiled.plan.sources, databases, lambda sql: asked(sql, {}).table)
        fetched = asked(as_run(statement.sql, years), statement.parameters)
        spent.append(fetched)
        return _complete(fetched)

    page = run(replace(compiled.statement, sql=compiled.uncounted()))
    columns = tuple(_typed(column, page) for column in compiled.columns)
    counted = TOTAL_ROWS in page.column_names and page.num_rows
    total_rows = page.column(TOTAL_ROWS)[0].as_py() if counted else page.num_rows
    if offset and not page.num_rows:
        total_rows = run(compiled.counted()).column(TOTAL_ROWS)[0].as_py()
    beside: Row | None = None
    if (
        compiled.plan.keys
        and compiled.plan.metrics
        and (totals or (totals is None and total_rows > page.num_rows))
    ):
        beside = values_of(run(compiled.totals()), [column for column in columns if column.kind == "metric"])[0]
    return Measured(
        columns=columns,
        rows=tuple(values_of(page, columns)),
        total_rows=int(total_rows),
        totals=beside,
        sql=compiled.statement.sql,
        parameters=compiled.statement.parameters,
        rows_scanned=sum(one.rows_scanned for one in spent),
        milliseconds=sum(one.milliseconds for one in spent),
        notes=compiled.notes,
        products=tuple(dict.fromkeys(product for product, _ in (*compiled.metrics, *compiled.tables))),
        metrics=compiled.metrics,
        limited=compiled.limited,
        as_of=as_of,
    )


def as_run(sql: str, years: Years = ()) -> str:
    """A compiled statement as DuckDB runs it quickest; each row is the one that the statement itself gives."""
    return quick(quick_beginnings(by_size(sql) if _by_size.get() else sql), years)


@contextlib.contextmanager
def adding_up_by_size() -> Generator[None]:
    """What is measured in this block has its sums taken from the least value to the greatest.

    Where such an answer is another one, rounding decides it: a replay asks so before it says that an answer changed.
    """
    token = _by_size.set(True)
    try:
        yield
    finally:
        _by_size.reset(token)


def rows_held(snapshot: Snapshot, tables: Iterable[tuple[str, str]]) -> int:
    """How many rows these (product, dataset) tables hold, as they were sealed."""
    return sum(snapshot.generations[product].manifest.counts.get(f"rows:{name}", 0) for product, name in tables)


def _complete(fetched: Fetched) -> Any:
    if not fetched.complete:
        raise Refused(
            f"the answer has more than {fetched.table.num_rows} rows.",
            rule="row_limit",
            hint="Set `limit`, or ask for fewer dimensions or a coarser grain.",
        )
    return fetched.table


def compile_snapshot(
    snapshot: Snapshot,
    query: MetricQuery,
    grants: Grants,
    *,
    as_of: datetime,
    discover: Grants | None = None,
    default_zone: str = "UTC",
    offset: int = 0,
) -> CompiledQuery:
    """The query compiled against a snapshot's models, contracts and tombstones; raises as `compile_query`."""
    return compile_query(
        query,
        models_of(snapshot),
        products_of(snapshot),
        grants,
        as_of=as_of,
        discover=discover,
        keep=lambda product, dataset: keep_of(snapshot, product, dataset),
        default_zone=default_zone,
        offset=offset,
        cache=shared_compiled(),
    )


def models_of(snapshot: Snapshot) -> dict[str, SemanticModel]:
    """The semantic model of each product that has one."""
    return {name: one.semantics for name, one in snapshot.generations.items() if one.semantics is not None}


def products_of(snapshot: Snapshot) -> dict[str, DataProduct]:
    """The contract of each product."""
    return {name: one.product for name, one in snapshot.generations.items()}


def keep_of(snapshot: Snapshot, product: str, dataset: str) -> Predicate:
    """The rows of a dataset that no tombstone erased."""
    return snapshot.tombstones.excluding(snapshot.generations[product].product, dataset)


def databases_of(snapshot: Snapshot) -> dict[str, Path]:
    """The sealed tables of each product."""
    return {name: one.folder / TABLES for name, one in snapshot.generations.items()}


def values_of(table: Any, columns: Sequence[OutputColumn]) -> list[Row]:
    """The rows of an Arrow table as Python values, moments in their column's zone."""
    lists = [_column_values(table.column(column.name), column) for column in columns]
    names = [column.name for column in columns]
    return [dict(zip(names, values, strict=True)) for values in zip(*lists, strict=True)]


def _column_values(values: Any, column: OutputColumn) -> list[Any]:
    found: list[Any] = values.to_pylist()
    if column.type is ColumnType.TIMESTAMP:
        zone = ZoneInfo(column.zone or "UTC")
        return [None if one is None else one.replace(tzinfo=UTC).astimezone(zone) for one in found]
    if column.type is ColumnType.INTEGER:
        return [int(one) if isinstance(one, Decimal) else one for one in found]
    return found


def _typed(column: OutputColumn, table: Any) -> OutputColumn:
    """The column with the type that came back, where the plan did not know it."""
    name = str(table.column(column.name).type)
    kinds = [kind for prefix, kind in _ARROW_TYPES if name.startswith(prefix)]
    return column if column.type is not None else replace(column, type=kinds[0] if kinds else ColumnType.STRING)


_ARROW_TYPES = (
    # DuckDB's 128-bit integer, the sum of integers, which Arrow has no type of its own for.
    ("decimal128(38, 0)", ColumnType.INTEGER),
    ("decimal", ColumnType.DECIMAL),
    ("int", ColumnType.INTEGER),
    ("uint", ColumnType.INTEGER),
    ("double", ColumnType.NUMBER),
    ("float", ColumnType.NUMBER),
    ("bool", ColumnType.BOOLEAN),
    ("date", ColumnType.DATE),
    ("timestamp", ColumnType.TIMESTAMP),
    ("time", ColumnType.TIME),
)
