"""The tables of a contract's PostgreSQL server: all from one snapshot, their rows under the contract's names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from indexes.generation import Input
from indexes.postgres.connection import schema_of
from indexes.postgres.cursors import Snapshot
from semantic_layer.errors import SourceFailed
from semantic_layer.product import Dataset, Server


class PostgresTables:
    """One server's tables as they stand in a snapshot."""

    def __init__(self, server: Server, snapshot: Snapshot) -> None:
        self._server = server
        self._snapshot = snapshot
        self._schema = schema_of(server)

    def input(self, dataset: Dataset) -> Input:
        """What the table holds: a digest of the declared columns' rows that ignores their order.

        `bytes` is 0: a table has no size of its own. Raises SourceFailed where the table or a declared column
        is missing or of a type that does not fit, all of them named at once.
        """
        if dataset.kind == "document":
            raise SourceFailed(
                f"dataset {dataset.name!r} is of documents, which a PostgreSQL table cannot be.",
                hint="Declare it as a table, and its text columns with the hint `text: true`.",
            )
        table = dataset.physical_name or dataset.name
        self._snapshot.check(self._schema, table, dataset.columns)
        digest, count = self._snapshot.digest(self._schema, table, dataset.columns)
        return Input(self.origin(dataset), f"{digest}-{count}")

    def origin(self, dataset: Dataset) -> str:
        """What a user knows the table as: server, schema and table."""
        return f"{self._server.name}:{self._schema}.{dataset.physical_name or dataset.name}"

    def rows(self, dataset: Dataset) -> Iterator[dict[str, Any]]:
        """The table's rows by column name, read in batches."""
        table = dataset.physical_name or dataset.name
        names = [column.name for column in dataset.columns]
        for batch in self._snapshot.rows(self._schema, table, dataset.columns):
            for row in batch:
                yield dict(zip(names, row, strict=True))
