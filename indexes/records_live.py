"""Live documents by key or declared path, under the caller's grant, from any `DocumentStore`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from indexes.document_store import Deadline, DocumentStore, StoredDocument
from indexes.duck.columns import BadCell, arrow_array, expected, shown_cell
from indexes.records_json import shown_value
from semantic_layer.errors import InvalidArgument
from semantic_layer.json_path import flatten, path_of
from semantic_layer.policy import Masking
from semantic_layer.predicate import Predicate, evaluate
from semantic_layer.product import Column, Dataset

DOCUMENTS_AT_ONCE = 1_000


class LiveDocuments:
    """Reads one dataset of a document store live, with the same promises as sealed records.

    The store narrows what is read; what is returned is decided here, by the plain evaluation of the predicate
    over the declared columns, so it is the same whatever the server's own filters mean.
    """

    def __init__(self, store: DocumentStore, dataset: Dataset) -> None:
        self._store = store
        self._dataset = dataset

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

        A masked column shows its value only in rows where the masking's `unless` is TRUE. A document that does
        not fit its contract raises SourceFailed, or is left out where the contract says `on_error: set_aside`.
        Raises EngineUnavailable by name, DeadlineExceeded, InvalidArgument for a lookup that reads too much.
        """
        by = [*order, *self._dataset.key]
        self._require_sortable(by)
        deadline = Deadline(self._store.name, deadline_seconds)
        found = self._store.candidates(self._dataset, where, deadline)
        rows = [row for row in self._rows(found) if evaluate(where, row) is True]
        for name in reversed(by):
            rows = _sorted(rows, name)
        deadline.left()
        shown = [column.name for column in columns]
        return [{name: shown_value(row, name, masks or {}) for name in shown} for row in rows[:limit]]

    def _require_sortable(self, names: Sequence[str]) -> None:
        objects = {column.name for column in self._dataset.columns if not column.scalar}
        for name in names:
            if name.removeprefix("-") in objects:
                raise InvalidArgument(
                    f"column {name.removeprefix('-')!r} holds objects and cannot be sorted by.",
                    hint="Sort by one of its scalar paths.",
                )

    def _rows(self, documents: Iterable[StoredDocument]) -> Iterator[dict[str, Any]]:
        paths = {column.name: path_of(column) for column in self._dataset.columns}
        rest = iter(documents)
        while batch := list(islice(rest, DOCUMENTS_AT_ONCE)):
            keys = [document.key for document in batch]
            yield from self._typed(keys, [flatten(document.body, paths) for document in batch])

    def _typed(self, keys: Sequence[str], rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """The rows with each cell in its column's type, as the sealed tables would hold it."""
        typed: list[dict[str, Any]] = [{} for _ in rows]
        unfit: set[int] = set()
        for column in self._dataset.columns:
            cells, bad = arrow_array(column, [row[column.name] for row in rows])
            if bad and self._dataset.on_error == "stop":
                place, value = next(iter(bad.items()))
                where = f"{self._dataset.name}, {keys[place]}"
                raise BadCell(where, 1, column.name, value, expected(column)).error()
            unfit.update(bad)
            for row, cell in zip(typed, cells.to_pylist(), strict=True):
                row[column.name] = shown_cell(column, cell)
        return [row for place, row in enumerate(typed) if place not in unfit]


def _sorted(rows: list[dict[str, Any]], by: str) -> list[dict[str, Any]]:
    """By one column, stable; NULLs last, whichever way it goes."""
    name = by.removeprefix("-")
    present = [row for row in rows if row[name] is not None]
    absent = [row for row in rows if row[name] is None]
    return sorted(present, key=lambda row: row[name], reverse=by.startswith("-")) + absent
