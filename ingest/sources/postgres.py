"""The tables of a contract's PostgreSQL server: all from one snapshot, their rows under the contract's names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from indexes.duck.earlier_rows import EarlierRows
from indexes.generation import Input
from indexes.postgres.connection import schema_of
from indexes.postgres.cursors import BATCH_ROWS, Snapshot
from indexes.postgres.relation import Relation, relation_of
from indexes.postgres.types import physical_name
from ingest.sources.earlier import Earlier
from ingest.sources.rows import Note
from semantic_layer.errors import SourceFailed
from semantic_layer.json_path import root_of
from semantic_layer.product import Column, Dataset, Server

Rows = Iterator[Mapping[str, Any]]


class PostgresTables:
    """One server's tables as they stand in a snapshot.

    Of a dataset with a `cursor`, only rows whose key and cursor are not those of the `earlier` generation are read;
    the others are taken from there. Without one, or where `force` says to believe nothing, every row is read.
    """

    def __init__(self, server: Server, snapshot: Snapshot, earlier: Earlier | None, *, force: bool) -> None:
        self._server = server
        self._snapshot = snapshot
        self._schema = schema_of(server)
        self._earlier = None if force else earlier
        self._force = force
        self._undeclared: dict[str, list[str]] = {}

    def input(self, dataset: Dataset) -> Input:
        """What the table holds: a digest of its rows that ignores their order, and their count.

        With a `cursor`, of their keys and cursors, which change whenever a row does; an ingest that is forced adds
        a digest of the declared columns, which holds until one of the keys or cursors changes. `bytes` is 0: a
        table has no size of its own. Raises SourceFailed where the table or a declared column is missing or of a
        type that does not fit, all of them named at once.
        """
        if dataset.kind == "document":
            raise SourceFailed(
                f"dataset {dataset.name!r} is of documents, which a PostgreSQL table cannot be.",
                hint="Declare it as a table, and its text columns with the hint `text: true`.",
            )
        relation, origin = self._relation(dataset), self.origin(dataset)
        found = self._snapshot.check(relation, dataset.columns)
        declared = {name for column in dataset.columns for name in (physical_name(column), root_of(column.path))}
        self._undeclared[dataset.name] = [name for name in found if name not in declared]
        digest, count = self._snapshot.digest(relation, _deciding(dataset))
        stated = f"{digest}-{count}"
        if dataset.cursor and self._force:
            return Input(origin, f"{stated}+{self._snapshot.digest(relation, dataset.columns)[0]}")
        known = self._earlier.input(origin) if self._earlier else ""
        return Input(origin, known if known.startswith(f"{stated}+") else stated)

    def origin(self, dataset: Dataset) -> str:
        """What a user knows the table as: server, schema and table, or server and query."""
        relation = self._relation(dataset)
        return (
            f"{self._server.name}:query {dataset.name}"
            if relation.query
            else (f"{self._server.name}:{self._schema}.{relation.name}")
        )

    def rows(self, dataset: Dataset, note: Note) -> Rows:
        """The table's rows by column name, read in batches; a column that is not in the contract is noted."""
        for name in self._undeclared.get(dataset.name, ()):
            note(
                f"{self.origin(dataset)}: column {name!r} is not in the contract of {dataset.name!r} and not sealed"
            )
        relation = self._relation(dataset)
        if dataset.cursor and self._earlier is not None:
            yield from self._changed(relation, dataset, self._earlier)
        else:
            for batch in self._snapshot.rows(relation, dataset.columns):
                yield from _named(dataset.columns, batch)

    def _changed(self, relation: Relation, dataset: Dataset, earlier: Earlier) -> Rows:
        """The rows of the earlier generation that still stand, as record batches, then the others as they are now."""
        deciding, key = _deciding(dataset), _deciding(dataset)[:-1]
        count = 0
        with EarlierRows(earlier.tables, dataset, deciding) as standing:
            for batch in self._snapshot.rows(relation, deciding):
                count += len(batch)
                standing.add(batch)
            for batch in standing.kept():
                count -= batch.num_rows
                yield batch
            for wanted in standing.changed(BATCH_ROWS):
                found = self._snapshot.rows_of(relation, dataset.columns, key, wanted)
                count -= len(found)
                yield from _named(dataset.columns, found)
        if count:
            raise SourceFailed(
                f"{self.origin(dataset)}: the key of {dataset.name!r} does not name each row once.",
                hint="Mend the key in the contract, or remove the hint `cursor` to read every row.",
            )

    def _relation(self, dataset: Dataset) -> Relation:
        return relation_of(self._schema, dataset)


def _deciding(dataset: Dataset) -> tuple[Column, ...]:
    """The columns that tell whether rows changed: key and cursor, in this order; else all of them."""
    by_name = {column.name: column for column in dataset.columns}
    if not dataset.cursor:
        return dataset.columns
    return (*(by_name[name] for name in dataset.key), by_name[dataset.cursor])


def _named(columns: tuple[Column, ...], batch: list[tuple[Any, ...]]) -> Rows:
    names = [column.name for column in columns]
    return (dict(zip(names, row, strict=True)) for row in batch)
