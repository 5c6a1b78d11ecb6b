"""Live rows by key from PostgreSQL, under the caller's grant: its rows in SQL, its masks before they leave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, LiteralString, cast
from zoneinfo import ZoneInfo

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from indexes.postgres.connection import Pool, said, shown, unavailable
from indexes.postgres.types import physical_name, typed
from semantic_layer.errors import DeadlineExceeded, SourceFailed
from semantic_layer.policy import Masking
from semantic_layer.predicate import Predicate
from semantic_layer.product import Column, ColumnType, Dataset
from semantic_layer.sql.predicate import where_text

_PLAIN = "plain "
"""Prefix of the helper columns that say whether a caller may see a masked value itself."""


class PostgresRecords:
    """Reads one dataset of one server live. Every read is one read-only transaction with a time limit."""

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
        try:
            with self._pool.connection(deadline_seconds) as connection, connection.transaction():
                milliseconds = max(1, int(deadline_seconds * 1000))
                connection.execute("SET TRANSACTION READ ONLY")
                connection.execute("SELECT set_config('statement_timeout', %s, true)", (f"{milliseconds}ms",))
                with connection.cursor(row_factory=dict_row) as cursor:
                    found = cursor.execute(query, {**values, "row_limit": limit}).fetchall()
        except psycopg.errors.QueryCanceled as error:
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
        parts = [sql.SQL("{} AS {}").format(typed(c, c.name), sql.Identifier(c.name)) for c in columns]
        for name, masking in masks.items():
            unless, added = self._renamed(masking.unless, f"m{len(values)}_")
            values |= added
            parts.append(sql.SQL("({}) AS {}").format(_compiled(unless), sql.Identifier(_PLAIN + name)))
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
            operand = sql.SQL('{}::text COLLATE "C"' if text else "{}").format(sql.Identifier(column.name))
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
            if masking is not None and row[_PLAIN + column.name] is not True:
                value = masking.mask.apply(value)
            shown_row[column.name] = value
        return shown_row


def _renamed_table(schema: str, dataset: Dataset) -> sql.Composable:
    """The table; where columns have other names there, as a subquery that gives them the contract's."""
    table = sql.Identifier(schema, dataset.physical_name or dataset.name)
    if all(physical_name(column) == column.name for column in dataset.columns):
        return table
    names = [
        sql.SQL("{} AS {}").format(sql.Identifier(physical_name(one)), sql.Identifier(one.name))
        for one in dataset.columns
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
