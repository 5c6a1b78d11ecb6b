"""Runs a contract's checks on the tables being built: one number a check, and only reading SQL of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Mapping
from decimal import Decimal
from typing import Any

import duckdb

from indexes.duck.table_builder import TableBuilder
from semantic_layer.errors import InvalidArgument


def number_of(builder: TableBuilder, sql: str, parameters: Mapping[str, Any] | None = None) -> float | None:
    """The one number (or truth value, as 1 or 0) that a query gives; None for NULL.

    Raises InvalidArgument where the query does not run, or gives no single number.
    """
    with _named():
        rows = builder.query(sql, parameters or {})
    if len(rows) != 1 or len(rows[0]) != 1:
        raise InvalidArgument(f"the query gives {len(rows)} rows instead of one number.")
    value = rows[0][0]
    if value is None:
        return None
    if not isinstance(value, (bool, int, float, Decimal)):
        raise InvalidArgument(f"the query gives {value!r} instead of a number.")
    return float(value)


def rows_of(builder: TableBuilder, sql: str, parameters: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
    """The rows of a query that this program wrote. Raises InvalidArgument where it does not run."""
    with _named():
        return builder.query(sql, parameters or {})


def require_one_select(sql: str) -> None:
    """Raise InvalidArgument where a contract's own SQL is anything but one SELECT."""
    with _named():
        statements = duckdb.extract_statements(sql)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise InvalidArgument("a quality rule's query must be one SELECT.")


@contextlib.contextmanager
def _named() -> Generator[None]:
    try:
        yield
    except duckdb.Error as error:
        raise InvalidArgument(f"the query does not run: {str(error).splitlines()[0]}") from error
