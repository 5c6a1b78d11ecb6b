"""The rows of a sealed table that a source still holds unchanged, told by their keys and cursors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa

from indexes.duck.columns import BadCell, arrow_array, arrow_type, expected, sql_type
from indexes.duck.connection import open_sealed, quoted
from semantic_layer.product import Column, Dataset


class EarlierRows:
    """Compares a sealed table with the keys and cursors that its source holds now.

    `deciding` are the columns of the key and, last, the cursor. Add all of the source's, then read `kept` and
    `changed`. Memory is bounded by the keys and cursors, which DuckDB holds.
    """

    def __init__(self, database: Path, dataset: Dataset, deciding: Sequence[Column]) -> None:
        self._connection = open_sealed(database)
        self._dataset = dataset
        self._deciding = deciding
        declared = ", ".join(f"{quoted(column.name)} {sql_type(column)}" for column in deciding)
        self._connection.execute(f"CREATE TEMP TABLE held ({declared})")
        self._sealed = f"main.{quoted(dataset.name)}"

    def __enter__(self) -> EarlierRows:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def add(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Rows of the source, values in the order of `deciding`. Raises SourceFailed for one that does not fit."""
        arrays: list[Any] = []
        for place, column in enumerate(self._deciding):
            array, misfits = arrow_array(column, [row[place] for row in rows])
            for position, value in misfits.items():
                cell = BadCell(self._dataset.name, position + 1, column.name, value, expected(column))
                raise cell.error()
            arrays.append(array)
        batch = pa.table(arrays, names=[column.name for column in self._deciding])
        self._connection.register("batch", batch)
        self._connection.execute("INSERT INTO held SELECT * FROM batch")
        self._connection.unregister("batch")

    def kept(self) -> Iterator[Any]:
        """The sealed rows whose key and cursor the source still holds, as Arrow record batches in sealed types."""
        names = ", ".join(f"sealed.{quoted(column.name)}" for column in self._dataset.columns)
        query = f"SELECT {names} FROM {self._sealed} AS sealed SEMI JOIN held ON {self._same(self._deciding)}"
        schema = pa.schema([(column.name, arrow_type(column)) for column in self._dataset.columns])
        for batch in self._connection.execute(query).to_arrow_reader(10_000):
            arrays = [batch.column(place).cast(field.type) for place, field in enumerate(schema)]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)

    def changed(self, at_once: int) -> Iterator[list[tuple[Any, ...]]]:
        """The keys of the source's other rows, at most `at_once` at a time."""
        key = self._deciding[:-1]
        names = ", ".join(f"held.{quoted(column.name)}" for column in key)
        query = f"SELECT {names} FROM held ANTI JOIN {self._sealed} AS sealed ON {self._same(self._deciding)}"
        found = self._connection.execute(query)
        while keys := found.fetchmany(at_once):
            yield keys

    @staticmethod
    def _same(columns: Sequence[Column]) -> str:
        names = [quoted(column.name) for column in columns]
        return " AND ".join(f"sealed.{name} = held.{name}" for name in names)
