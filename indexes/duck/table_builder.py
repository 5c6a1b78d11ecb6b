"""Builds one generation's `tables.duckdb` (a typed table a dataset, what chunks carry) and its passage file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from indexes.document import Chunk, Document
from indexes.duck.columns import BadCell, arrow_array, arrow_type, expected, sql_type, to_json
from indexes.duck.connection import disk_full_named, open_stage, quoted
from indexes.duck.tables import CHUNK_COLUMNS, NUMBER, attributes_table
from indexes.passage_file import PassageFileBuilder
from indexes.visibility import TEXT_COLUMN, carried_columns
from semantic_layer.product import Column, DataProduct, Dataset

ROWS_A_BATCH = 10_000

Row = Mapping[str, Any]

_ARROW_TYPES: Mapping[str, Any] = {"INTEGER": pa.int32(), "VARCHAR": pa.string()}

_DOCUMENT_COLUMNS = (
    ("dataset", "VARCHAR"),
    ("document", "VARCHAR"),
    ("title", "VARCHAR"),
    ("media_type", "VARCHAR"),
    ("sha256", "VARCHAR"),
    ("pages", "INTEGER"),
    ("chars", "INTEGER"),
)


class TableBuilder:
    """Writes `tables.duckdb` and the passage file in a stage. Rows keep the order in which they were added.

    Every dataset of the contract gets its table, empty or not. Raises OutOfSpace when the disk fills up.
    """

    def __init__(self, path: Path, product: DataProduct) -> None:
        self._path = path
        self._product = product
        self._rows = {dataset.name: 0 for dataset in product.datasets}
        self._documents = 0
        self._passages = PassageFileBuilder(path.parent)
        self._connection = open_stage(path)
        with disk_full_named(path):
            self._create_tables()

    def _create_tables(self) -> None:
        run = self._connection.execute
        run("CREATE SCHEMA wh")
        run(f"CREATE TABLE wh.chunks ({', '.join(' '.join(column) for column in CHUNK_COLUMNS)})")
        documents = ", ".join(f"{name} {kind}" for name, kind in _DOCUMENT_COLUMNS)
        run(f"CREATE TABLE wh.documents ({documents}, PRIMARY KEY (dataset, document))")
        for dataset in self._product.datasets:
            run(f"CREATE TABLE main.{quoted(dataset.name)} ({_declarations(dataset.columns)})")
            carried = f"{NUMBER} INTEGER PRIMARY KEY, {_declarations(carried_columns(dataset).values())}"
            run(f"CREATE TABLE {attributes_table(self._product, dataset.name)} ({carried})")

    def add_rows(
        self, dataset: Dataset, rows: Iterable[Any], *, bad: Callable[[BadCell], None] | None = None
    ) -> int:
        """Append rows (mappings by column name, or Arrow record batches); returns how many.

        Each value is brought into its column's type exactly; a missing column is NULL, an undeclared one is
        not kept. A row with a value that does not fit goes to `bad`, once for its first bad cell, and is left
        out; without `bad` it raises SourceFailed.
        """
        added = 0
        for batch, size in _batches(dataset.columns, rows):
            arrays, kept = self._fitting(dataset, batch, size, bad)
            self._insert(f"main.{quoted(dataset.name)}", dataset.columns, arrays)
            self._rows[dataset.name] += size
            added += kept
        return added

    def _fitting(
        self, dataset: Dataset, batch: Sequence[Any], size: int, bad: Callable[[BadCell], None] | None
    ) -> tuple[list[Any], int]:
        """The batch's columns as Arrow arrays without its bad rows, and how many rows are left."""
        arrays: list[Any] = []
        found: dict[int, BadCell] = {}
        for column, values in zip(dataset.columns, batch, strict=True):
            array, misfits = arrow_array(column, values)
            arrays.append(array)
            for position, value in misfits.items():
                row = self._rows[dataset.name] + position + 1
                found.setdefault(position, BadCell(dataset.name, row, column.name, value, expected(column)))
        if not found:
            return arrays, size
        cells = [found[position] for position in sorted(found)]
        if bad is None:
            raise cells[0].error()
        for cell in cells:
            bad(cell)
        keep = pa.array([position not in found for position in range(size)])
        return [array.filter(keep) for array in arrays], size - len(found)

    def add_documents(self, dataset: Dataset, documents: Sequence[Document]) -> None:
        """Record documents; those of a document dataset are also the rows of its table."""
        values = (
            [one.dataset for one in documents],
            [one.name for one in documents],
            [one.title for one in documents],
            [one.media_type for one in documents],
            [one.sha256 for one in documents],
            [one.pages for one in documents],
            [len(one.text) for one in documents],
        )
        self._insert_typed("wh.documents", _DOCUMENT_COLUMNS, values)
        self._documents += len(documents)
        if dataset.kind == "document":
            self.add_rows(dataset, [one.columns for one in documents])

    def add_chunks(self, chunks: Sequence[Chunk], attributes: Sequence[Row]) -> None:
        """Append chunks with the columns of the row or document each came from.

        Chunk numbers must follow on from those added before. Raises SourceFailed for a value that does not
        fit its column.
        """
        carried = [""] * len(chunks)
        for dataset in self._product.datasets:
            mine = [place for place, chunk in enumerate(chunks) if chunk.dataset == dataset.name]
            if mine:
                cells = self._add_attributes(dataset, [(chunks[place], attributes[place]) for place in mine])
                for place, cell in zip(mine, cells, strict=True):
                    carried[place] = cell
        self._passages.add(chunks, carried)
        values = (
            [chunk.number for chunk in chunks],
            [chunk.id for chunk in chunks],
            [chunk.dataset for chunk in chunks],
            [chunk.document for chunk in chunks],
        )
        self._insert_typed("wh.chunks", CHUNK_COLUMNS, values)

    def stored_chunks(self, at_once: int) -> Iterator[list[Chunk]]:
        """The chunks added so far, in number order, at most `at_once` at a time."""
        return self._passages.stored(at_once)

    def _add_attributes(self, dataset: Dataset, carried: Sequence[tuple[Chunk, Row]]) -> list[str]:
        """Write what these chunks carry, and return it as JSON objects, one a chunk."""
        columns = carried_columns(dataset)
        arrays: dict[str, Any] = {}
        for name, column in columns.items():
            values = [chunk.text_column if name == TEXT_COLUMN else row.get(name) for chunk, row in carried]
            arrays[name], misfits = arrow_array(column, values)
            for position, value in misfits.items():
                document = carried[position][0].document
                raise BadCell(f"{dataset.name} {document!r}", 1, name, value, expected(column)).error()
        numbers = pa.array([chunk.number for chunk, _ in carried], pa.int32())
        table = pa.table([numbers, *arrays.values()], names=["wh.n", *arrays])
        self._write(attributes_table(self._product, dataset.name), table)
        cells = zip(*(array.to_pylist() for array in arrays.values()), strict=True)
        return [
            json.dumps(dict(zip(columns, map(to_json, row), strict=True)), ensure_ascii=False) for row in cells
        ]

    def query(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement on what was built so far, for contract and quality checks; it reaches no file."""
        return self._connection.execute(sql, parameters or None).fetchall()

    def seal(self) -> dict[str, int]:
        """Checkpoint and close. Returns the counts: chunks, documents, and rows of each dataset."""
        datasets = [dataset.name for dataset in self._product.datasets]
        rows = {name: int(self.query(f"SELECT count(*) FROM main.{quoted(name)}")[0][0]) for name in datasets}
        with disk_full_named(self._path):
            self._connection.execute("CHECKPOINT")
            self._connection.close()
        self._passages.seal()
        return {
            "chunks": self._passages.count,
            "documents": self._documents,
            **{f"rows:{k}": v for k, v in rows.items()},
        }

    def close(self) -> None:
        """Give up: close without sealing."""
        self._connection.close()
        self._passages.close()

    def _insert(self, table: str, columns: Sequence[Column], arrays: Sequence[Any]) -> None:
        self._write(table, pa.table(list(arrays), names=[column.name for column in columns]))

    def _insert_typed(
        self, table: str, columns: Sequence[tuple[str, str]], values: Sequence[Sequence[Any]]
    ) -> None:
        arrays = [pa.array(one, _ARROW_TYPES[kind]) for (_, kind), one in zip(columns, values, strict=True)]
        self._write(table, pa.table(arrays, names=[name for name, _ in columns]))

    def _write(self, table: str, batch: Any) -> None:
        with disk_full_named(self._path):
            self._connection.register("batch", batch)
            self._connection.execute(f"INSERT INTO {table} SELECT * FROM batch")
            self._connection.unregister("batch")


def _declarations(columns: Iterable[Column]) -> str:
    return ", ".join(f"{quoted(column.name)} {sql_type(column)}" for column in columns)


def _cells(batch: Any, column: Column) -> Any:
    """A batch's column: as it is where it has the column's type, else its values."""
    held = batch.column(column.name)
    return held if held.type == arrow_type(column) else held.to_pylist()


def _batches(columns: Sequence[Column], rows: Iterable[Any]) -> Iterator[tuple[list[Any], int]]:
    """Rows or Arrow batches as lists of values by column, ROWS_A_BATCH at a time, with their count."""
    pending = iter(rows)
    while first := list(islice(pending, 1)):
        if isinstance(first[0], pa.RecordBatch):
            names = first[0].schema.names
            size: int = first[0].num_rows
            yield [_cells(first[0], column) if column.name in names else [None] * size for column in columns], size
        else:
            batch: list[Row] = [*first, *islice(pending, ROWS_A_BATCH - 1)]
            yield [[row.get(column.name) for row in batch] for column in columns], len(batch)
