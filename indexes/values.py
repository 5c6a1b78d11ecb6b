"""The read verb for a dimension's values: what a caller may filter by, as far as the caller may see it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from indexes.cancellation import Cancellation
from indexes.duck.workers import Workers, shared_workers
from indexes.library import Snapshot
from indexes.measure import databases_of, keep_of, models_of, products_of, rows_held, values_of
from semantic_layer.plan.plan import OutputColumn
from semantic_layer.plan.values import ROWS
from semantic_layer.policy import Grants
from semantic_layer.sql.compile import TOTAL_ROWS, compile_values


@dataclass(frozen=True)
class DimensionValues:
    """Distinct values in order, NULL left out, each with the number of rows that hold it; `total` counts all."""

    column: OutputColumn
    values: tuple[Any, ...]
    rows: tuple[int, ...]
    total: int
    sql: str
    milliseconds: float
    products: tuple[str, ...]
    limited: bool


def dimension_values(
    snapshot: Snapshot,
    dimension: str,
    grants: Grants,
    contains: str = "",
    limit: int = 50,
    *,
    deadline_seconds: float = 10.0,
    discover: Grants | None = None,
    default_zone: str = "UTC",
    offset: int = 0,
    workers: Workers | None = None,
    cancellation: Cancellation | None = None,
    admit: Callable[[int], None] | None = None,
) -> DimensionValues:
    """The values of a dimension under these grants for the action metric.

    `contains` keeps values whose text holds it, whatever its case. Values of too few rows are not shown. `admit` is
    as for `measure`. Raises UnknownName, InvalidArgument where the name is ambiguous, Refused where the values are
    withheld, and what `Workers.run` raises.
    """
    compiled = compile_values(
        dimension,
        models_of(snapshot),
        products_of(snapshot),
        grants,
        contains=contains,
        limit=limit,
        discover=discover,
        keep=lambda product, dataset: keep_of(snapshot, product, dataset),
        default_zone=default_zone,
        offset=offset,
    )
    if admit is not None:
        admit(rows_held(snapshot, compiled.tables))
    fetched = (workers or shared_workers()).run(
        databases_of(snapshot),
        compiled.statement.sql,
        compiled.statement.parameters,
        deadline_seconds=deadline_seconds,
        cancellation=cancellation,
    )
    column = compiled.columns[0]
    rows = values_of(fetched.table, compiled.columns)
    return DimensionValues(
        column=column,
        values=tuple(row[column.name] for row in rows),
        rows=tuple(row[ROWS] for row in rows),
        total=int(fetched.table.column(TOTAL_ROWS)[0].as_py()) if rows else 0,
        sql=compiled.statement.sql,
        milliseconds=fetched.milliseconds,
        products=tuple(dict.fromkeys(product for product, _ in compiled.tables)),
        limited=compiled.limited,
    )
