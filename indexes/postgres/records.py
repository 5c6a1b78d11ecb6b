"""Live rows by key from PostgreSQL, under the caller's grant: its rows and its masks in the SQL."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, LiteralString, cast
from weakref import WeakKeyDictionary
from zoneinfo import ZoneInfo

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from indexes.cancellation import current_cancellation
from indexes.postgres.connection import Connection, Pool, said, shown, unavailable
from indexes.postgres.relation import identifier, relation_of
from indexes.postgres.types import physical_name, typed
from semantic_layer.errors import Cancelled, DeadlineExceeded, SourceFailed
from semantic_layer.policy import Masking
from semantic_layer.predicate import Predicate
from semantic_layer.product import Column, ColumnType, Dataset
from semantic_layer.sql.predicate import where_text

_STATE = "state of "
"""Prefix of the helper columns of masked ones: 2 where the caller may see the value itself, 1 where not, 0 for NULL."""

_LIMITS = (
    "SELECT set_config('default_transaction_read_only', 'on', false), set_config('statement_timeout', %s, false)"
)
_limits: WeakKeyDictionary[Connection, str] = WeakKeyDictionary()
"""The time limit that each connection has, so that a call which needs the same one is a single round trip."""

_WITHHELD = frozenset({"null", "constant", "redact"})
"""Masks that need nothing of the value: it never leaves the database where a caller may not see it."""


class PostgresRecords:
    """Reads one dataset of one server live. Every read is one read-only transaction with a time limit.

    The pool's connections stay read-only; it is for nothing else.
    """

    def __init__(self, pool: Pool, schema: str, dataset: Dataset) -> None:
        self._pool = pool
        self._table = _renamed_table(schema, dataset)
        self._dataset = dataset
        self._columns = {column.name: column for column in dataset.columns}

    def fetch(
        self,
        columns: Sequence[Column],
        where: Predicate,
        order: Sequence[str],
        limit: int,
        deadline_seconds: float,
        masks: Mapping[str, Masking] | None = None,
    ) -> list[dict[str, Any]]:
        """At most `limit` rows where the predicate is TRUE, by `order` (`-name` descends), then by key.

        A masked column shows its value only in rows where the masking's `unless` is TRUE. Raises
        EngineUnavailable by name, DeadlineExceeded, or SourceFailed where the table no longer fits.
        """
        maskings = masks or {}
        query, values = self._statement(columns, where, order, maskings)
        values["row_limit"] = limit

        def ask(connection: Connection) -> list[dict[str, Any]]:
            _limit(connection, deadline_seconds)
            with connection.cursor(row_factory=dict_row) as cursor:
                return cursor.execute(query, values).fetchall()

        try:
            found = self._pool.run(ask, deadline_seconds)
        except psycopg.errors.QueryCanceled as error:
            if current_cancellation().cancelled:
                raise Cancelled(f"looking up {self._dataset.name!r} was cancelled.", hint="Ask again.") from error
            raise DeadlineExceeded(
                f"looking up {self._dataset.name!r} took longer than {deadline_seconds:g} s.",
                hint="Ask by key, or for fewer rows.",
            ) from error
        except psycopg.OperationalError as error:
            raise unavailable(self._pool.dsn, error) from error
        except psycopg.Error as error:
            raise SourceFailed(
                f"{self._dataset.name!r} cannot be read from {shown(self._pool.dsn)}: {said(error)}.",
                hint="The table may have changed since the last ingest; ingest the product again.",
            ) from error
        return [self._shown(row, columns, maskings) for row in found]

    def _statement(
        self,
        columns: Sequence[Column],
        where: Predicate,
        order: Sequence[str],
        masks: Mapping[str, Masking],
    ) -> tuple[sql.Composed, dict[str, Any]]:
        condition, values = where_text(where, self._columns, "postgres")
        parts: list[sql.Composable] = []
        for column in columns:
            held, masking = typed(column, column.name), masks.get(column.name)
            if masking is not None:
                unless, added = self._renamed(masking.unless, f"m{len(values)}_")
                values |= added
                plain = _compiled(unless)
                state = sql.SQL("CASE WHEN {} IS NULL THEN 0 WHEN ({}) THEN 2 ELSE 1 END AS {}")
                parts.append(state.format(held, plain, identifier(_STATE + column.name)))
                held = _hidden(column, masking, held, plain)
            parts.append(sql.SQL("{} AS {}").format(held, identifier(column.name)))
        query = sql.SQL("SELECT {} FROM {} WHERE {} ORDER BY {} LIMIT %(row_limit)s").format(
            sql.SQL(", ").join(parts), self._table, _compiled(condition), self._order(order)
        )
        return query, values

    def _renamed(self, predicate: Predicate, prefix: str) -> tuple[str, dict[str, Any]]:
        """A second predicate of the same statement: its parameters get names of their own."""
        text, values = where_text(predicate, self._columns, "postgres")
        for name in values:
            text = text.replace(f"%({name})s", f"%({prefix}{name})s")
        return text, {prefix + name: value for name, value in values.items()}

    def _order(self, order: Sequence[str]) -> sql.Composable:
        wanted = list(dict.fromkeys([*order, *self._dataset.key])) or [self._dataset.columns[0].name]
        parts: list[sql.Composable] = []
        for name in wanted:
            column = self._columns[name.removeprefix("-")]
            text = column.type is ColumnType.STRING
            operand = sql.SQL('{}::text COLLATE "C"' if text else "{}").format(identifier(column.name))
            direction = "{} DESC NULLS LAST" if name.startswith("-") else "{} ASC NULLS LAST"
            parts.append(sql.SQL(direction).format(operand))
        return sql.SQL(", ").join(parts)

    @staticmethod
    def _shown(row: Mapping[str, Any], columns: Sequence[Column], masks: Mapping[str, Masking]) -> dict[str, Any]:
        """The row as the sealed tables would show it: moments aware, in UTC, masks applied."""
        shown_row: dict[str, Any] = {}
        for column in columns:
            value = utc(row[column.name], column)
            masking = masks.get(column.name)
            if masking is not None and row[_STATE + column.name] == 1:
                value = masking.mask.apply("" if value is None else value)
            shown_row[column.name] = value
        return shown_row


def _limit(connection: Connection, deadline_seconds: float) -> None:
    """Have the server write nothing, and stop a statement at the deadline or within the second after it."""
    whole = math.ceil(deadline_seconds) if deadline_seconds >= 1 else deadline_seconds
    asked = f"{max(1, int(whole * 1000))}ms"
    if _limits.get(connection) != asked:
        connection.execute(_LIMITS, (asked,))
        _limits[connection] = asked


def _hidden(column: Column, masking: Masking, held: sql.Composable, plain: sql.Composable) -> sql.Composable:
    """What of a masked column is read: no more than its mask shows, where the caller may not see the value itself.

    A keyed hash is made here, where the key is, and so are the last characters of what is not text.
    """
    kind = masking.mask.kind
    if kind in _WITHHELD:
        return sql.SQL("CASE WHEN ({}) THEN {} END").format(plain, held)
    if kind == "last4" and column.type is ColumnType.STRING:
        return sql.SQL("CASE WHEN ({}) THEN {} ELSE right({}, 5) END").format(plain, held, held)
    return held


def _renamed_table(schema: str, dataset: Dataset) -> sql.Composable:
    """The table or query; where columns have other names there, as a subquery that gives them the contract's."""
    table = relation_of(schema, dataset).sql
    if all(physical_name(column) == column.name for column in dataset.columns):
        return table
    names = [
        sql.SQL("{} AS {}").format(identifier(physical_name(one)), identifier(one.name)) for one in dataset.columns
    ]
    return sql.SQL("(SELECT {} FROM {}) AS renamed").format(sql.SQL(", ").join(names), table)


def _compiled(text: str) -> sql.SQL:
    """SQL that the predicate compiler wrote: names quoted, values bound."""
    return sql.SQL(cast("LiteralString", text))


def utc(value: Any, column: Column) -> Any:
    """A timestamp in UTC; one without a zone is in the column's time zone. Other values as they are."""
    if not isinstance(value, datetime):
        return value
    if value.tzinfo is None:
        value = value.replace(tzinfo=ZoneInfo(column.time_zone or "UTC"))
    return value.astimezone(UTC)
