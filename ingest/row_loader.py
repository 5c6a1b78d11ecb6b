"""Rows of tables and records into the tables being built; what does not fit is named by file, row and column."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from indexes.duck.columns import BadCell
from indexes.duck.table_builder import TableBuilder
from ingest.notes import Notes
from ingest.progress import Advance
from ingest.sources.opened import RowGroup
from semantic_layer.errors import SourceFailed
from semantic_layer.product import Dataset

_ROWS_A_TICK = 1_000


class RowLoader:
    """Loads the rows of one product and remembers which file each came from."""

    def __init__(self, tables: TableBuilder, notes: Notes, advance: Advance) -> None:
        self._tables = tables
        self._notes = notes
        self._advance = advance
        self._starts: dict[str, list[tuple[int, str]]] = {}

    def load(self, dataset: Dataset, groups: Iterable[RowGroup]) -> None:
        """Add every row of the dataset, in order.

        The first value that does not fit, or file that cannot be read, raises SourceFailed; where the contract
        says `on_error: set_aside`, that row or file is noted and left out.
        """
        starts = self._starts.setdefault(dataset.name, [])
        read = kept = 0
        for group in groups:
            if dataset.on_error == "set_aside" and not self._readable(dataset, group):
                continue
            starts.append((kept, group.origin))
            rows = _Counted(group.read(), self._advance)
            kept += self._tables.add_rows(dataset, rows, bad=self._bad_cell(dataset, group.origin, read))
            read += rows.count

    def name_row(self, dataset: str, row: int) -> tuple[str, int]:
        """A row of a table, counted from 1, as its file or table and the row in it."""
        for start, origin in reversed(self._starts.get(dataset, [])):
            if start < row:
                return origin, row - start
        return "", row

    def _readable(self, dataset: Dataset, group: RowGroup) -> bool:
        """Whether the whole group can be read; read ahead, so that a bad end leaves no half of it behind."""
        try:
            for _ in group.read():
                pass
        except SourceFailed as failure:
            self._notes.set_aside(dataset.name, group.origin, f"{failure.message} {failure.hint}".strip())
            return False
        return True

    def _bad_cell(self, dataset: Dataset, origin: str, before: int) -> Callable[[BadCell], None]:
        def hear(cell: BadCell) -> None:
            failure = replace(cell, dataset=f"{dataset.name}, {origin}", row=cell.row - before).error()
            if dataset.on_error == "stop":
                raise failure
            self._notes.set_aside(dataset.name, f"{origin} row {cell.row - before}", failure.message)

        return hear


class _Counted(Iterator[Mapping[str, Any]]):
    """Rows that count themselves as they pass, and tell the progress now and then."""

    def __init__(self, rows: Iterator[Mapping[str, Any]], advance: Advance) -> None:
        self._rows = rows
        self._advance = advance
        self.count = self._told = 0

    def __next__(self) -> Mapping[str, Any]:
        try:
            row = next(self._rows)
        except StopIteration:
            self._advance(self.count - self._told)
            raise
        self.count += getattr(row, "num_rows", 1)  # an Arrow record batch holds many
        if self.count - self._told >= _ROWS_A_TICK:
            self._advance(self.count - self._told)
            self._told = self.count
        return row
