"""How a dataset is read at its server: the hints `query` and `cursor`, held against its columns and the server."""

from __future__ import annotations

from collections.abc import Sequence

from semantic_layer.errors import Problem, close_names
from semantic_layer.product import SERVER_TYPES, ColumnType, Dataset, Server
from semantic_layer.section import Section, unknown_name

_KEYS = frozenset({ColumnType.STRING, ColumnType.INTEGER, ColumnType.DECIMAL, ColumnType.DATE})
_CURSORS = _KEYS | {ColumnType.TIMESTAMP}


def check_source(dataset: Dataset, servers: Sequence[Server], hints: Section) -> None:
    """Note a server that no ingest reads, and what is wrong with the dataset's `query` and `cursor`."""
    server = next((one for one in servers if one.name == dataset.server), None)
    if server is not None and server.type and server.type not in SERVER_TYPES:
        message = f"dataset {dataset.name!r} lies at a server of type {server.type!r}, which nothing here reads."
        near = "".join(f"Did you mean {one!r}? " for one in close_names(server.type, SERVER_TYPES)[:1])
        suggestion = f"{near}Use one of {', '.join(SERVER_TYPES)}."
        hints.problems.append(Problem(hints.node.file, server.line, message, suggestion))
    for key in ("query", "cursor"):
        if getattr(dataset, key) and server is not None and server.type != "postgres":
            hints.wrong(
                f"`{key}` is for a server of type postgres.", "Remove it, or name another server.", key=key
            )
    if dataset.query and dataset.kind == "document":
        hints.wrong("documents are files, which no `query` gives.", "Declare a table.", key="query")
    if dataset.cursor:
        _check_cursor(dataset, hints)


def _check_cursor(dataset: Dataset, hints: Section) -> None:
    column = dataset.column(dataset.cursor)
    if column is None:
        names = [one.name for one in dataset.columns]
        hints.problems.append(unknown_name(hints.node.at("cursor"), "column", dataset.cursor, names))
    elif column.type not in _CURSORS:
        message = f"the cursor {dataset.cursor!r} is of type {column.type.value}."
        hints.wrong(message, "Use a timestamp, date, number without fraction, or text.", key="cursor")
    elif not column.required:
        hints.wrong(
            "a cursor that is NULL tells of no change.", f"Add required: true to {column.name}.", key="cursor"
        )
    if not dataset.key:
        hints.wrong(
            "a `cursor` needs a primary key to find deleted rows by.", "Add primaryKey: true.", key="cursor"
        )
    for name in dataset.key:
        keyed = dataset.column(name)
        if keyed is not None and keyed.type not in _KEYS:
            message = f"with a `cursor`, the key {name!r} cannot be of type {keyed.type.value}."
            hints.wrong(message, "Use text, whole numbers, decimals or dates; or remove `cursor`.", key="cursor")
