"""The sealed tables and passages of one generation, for reads in process: texts by number, filters, rows."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from indexes.document import Chunk
from indexes.duck.columns import json_decoder, shown_cell
from indexes.duck.connection import Connection, open_sealed, quoted
from indexes.passage_file import PassageFile
from indexes.ports import Allowed, Numbers
from indexes.visibility import carried_columns
from semantic_layer.errors import UnknownName
from semantic_layer.predicate import FALSE, TRUE, Predicate
from semantic_layer.product import Column, DataProduct, Dataset
from semantic_layer.sql.predicate import where_text

CHUNK_COLUMNS = (("n", "INTEGER"), ("chunk_id", "VARCHAR"), ("dataset", "VARCHAR"), ("document", "VARCHAR"))
"""The table wh.chunks: what finds a chunk's number. The chunks themselves lie in the passage file beside it."""

NUMBER = '"wh.n"'
"""The chunk's number in a table of attributes, quoted; no column of a contract can have its name."""


def attributes_table(product: DataProduct, dataset: str) -> str:
    """The table of what the dataset's chunks carry: wh.attributes_<place of the dataset in the contract>."""
    return f"wh.attributes_{[one.name for one in product.datasets].index(dataset)}"


class DuckTables:
    """Reads `tables.duckdb`, read-only and locked, and the passage file beside it.

    Thread-safe: each thread has a cursor of its own.
    """

    def __init__(self, path: Path, product: DataProduct) -> None:
        self._product = product
        self._connection = open_sealed(path)
        self._decoders = {dataset.name: _decoders(dataset) for dataset in product.datasets}
        self._cursors: list[Connection] = []
        self._of_thread = threading.local()
        self._lock = threading.Lock()
        self._passages = PassageFile(path.parent)
        self._count = self._passages.count

    @property
    def count(self) -> int:
        """The number of chunks in all."""
        return self._count

    def texts(self, numbers: Sequence[int]) -> list[Chunk]:
        """The chunks of these numbers, in the order asked. A number twice is a chunk twice."""
        return [chunk for chunk, _ in self._passages.read(numbers)]

    def passages(self, numbers: Sequence[int]) -> list[tuple[Chunk, dict[str, Any]]]:
        """The chunks of these numbers with the columns they carry, in the order asked."""
        return [(chunk, self._carried(chunk.dataset, cells)) for chunk, cells in self._passages.read(numbers)]

    def _carried(self, dataset: str, cells: dict[str, Any]) -> dict[str, Any]:
        for name, decode in self._decoders[dataset]:
            if cells[name] is not None:
                cells[name] = decode(cells[name])
        return cells

    def allowed(self, where: Mapping[str, Predicate]) -> Allowed:
        """Chunk numbers whose dataset is a key of `where` and whose columns make its predicate TRUE."""
        parts = [self._numbers_where(dataset, predicate) for dataset, predicate in where.items()]
        numbers = np.concatenate([np.empty(0, np.int64), *parts])
        numbers.sort()
        return Allowed(numbers, self._count)

    def _numbers_where(self, dataset: str, predicate: Predicate) -> Numbers:
        if predicate == FALSE:
            return np.empty(0, np.int64)
        table = attributes_table(self._product, self._dataset(dataset).name)
        text, values = where_text(predicate, carried_columns(self._dataset(dataset)), "duckdb")
        where = "" if predicate == TRUE else f" WHERE {text}"
        found = self._cursor().execute(f"SELECT {NUMBER} FROM {table}{where}", values).fetchnumpy()["wh.n"]
        return np.asarray(found, np.int64)

    def numbers_of(self, dataset: str, document: str) -> list[int]:
        """The chunk numbers of one document in reading order; empty when there is none."""
        statement = "SELECT n FROM wh.chunks WHERE document = ? AND dataset = ? ORDER BY n"
        return [row[0] for row in self._cursor().execute(statement, [document, dataset]).fetchall()]

    def number_of(self, chunk_id: str) -> int | None:
        """The number of the chunk with this id; None where there is none."""
        found = self._cursor().execute("SELECT n FROM wh.chunks WHERE chunk_id = ?", [chunk_id]).fetchone()
        return found[0] if found else None

    def rows(
        self,
        dataset: str,
        columns: Sequence[str],
        where: Predicate,
        order: Sequence[str] = (),
        limit: int = 100,
    ) -> list[dict[str, Any]]:
        """Rows of a dataset's table where the predicate is TRUE; `-name` in `order` descends, NULLs last.

        Ties and an empty `order` keep the source's order. Timestamps come back aware, in UTC.
        """
        declared = {column.name: column for column in self._dataset(dataset).columns}
        asked = [_known(name, declared) for name in columns]
        text, values = where_text(where, declared, "duckdb")
        sorting = [f"{quoted(_known(name.removeprefix('-'), declared).name)} {_direction(name)}" for name in order]
        statement = (
            f"SELECT {', '.join(quoted(column.name) for column in asked) or 'NULL'} FROM main.{quoted(dataset)} "
            f"WHERE {text} ORDER BY {', '.join([*sorting, 'rowid'])} LIMIT {int(limit)}"
        )
        return [_row(asked, row) for row in self._cursor().execute(statement, values).fetchall()]

    def close(self) -> None:
        """Release the file; no thread may be reading."""
        with self._lock:
            for cursor in self._cursors:
                cursor.close()
            self._cursors.clear()
        self._connection.close()
        self._passages.close()

    def _cursor(self) -> Connection:
        cursor: Connection | None = getattr(self._of_thread, "cursor", None)
        if cursor is None:
            cursor = self._of_thread.cursor = self._connection.cursor()
            with self._lock:
                self._cursors.append(cursor)
        return cursor

    def _dataset(self, name: str) -> Dataset:
        dataset = self._product.dataset(name)
        if dataset is None:
            raise UnknownName("dataset", name, [one.name for one in self._product.datasets])
        return dataset


def _decoders(dataset: Dataset) -> list[tuple[str, Callable[[Any], Any]]]:
    found = ((name, json_decoder(column)) for name, column in carried_columns(dataset).items())
    return [(name, decode) for name, decode in found if decode is not None]


def _known(name: str, columns: Mapping[str, Column]) -> Column:
    if name not in columns:
        raise UnknownName("column", name, columns)
    return columns[name]


def _direction(name: str) -> str:
    return "DESC NULLS LAST" if name.startswith("-") else "ASC NULLS LAST"


def _row(columns: Sequence[Column], values: Sequence[Any]) -> dict[str, Any]:
    return {column.name: shown_cell(column, value) for column, value in zip(columns, values, strict=False)}
