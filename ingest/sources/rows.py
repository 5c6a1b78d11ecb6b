"""The rows of a table's or record set's files under the contract's names; drift of columns is named."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from ingest.parse.media import format_of
from ingest.parse.tabular import ROW_FORMATS, read_rows
from ingest.sources.local import SourceFile
from semantic_layer.errors import SourceFailed, close_names
from semantic_layer.json_path import flatten, path_of, root_of
from semantic_layer.product import Dataset, Server

Row = dict[str, Any]
Note = Callable[[str], None]
"""Hears what a user should know although nothing failed."""


def file_rows(dataset: Dataset, file: SourceFile, server: Server, note: Note) -> Iterator[Row]:
    """The file's rows by the contract's column names, in order.

    An empty field of a CSV or TSV file is NULL. A column that the contract does not declare is noted and left
    out. Raises SourceFailed that names every declared column the file lacks, and as `read_rows` does.
    """
    kind = format_of(file.path)
    if kind not in ROW_FORMATS:
        raise SourceFailed(
            f"{file.path} holds no rows that can be read for the dataset {dataset.name!r}.",
            hint=f"Supported are {', '.join(ROW_FORMATS)}; a dataset of texts needs physicalType: document.",
        )
    rows = read_rows(file.path, kind, **_options(server, kind))
    if kind in ("json", "jsonl"):
        yield from record_rows(dataset, file.name, rows, note)
    else:
        yield from _table(dataset, file, rows, note, empty_is_null=kind in ("csv", "tsv"))


def _options(server: Server, kind: str) -> dict[str, str]:
    keys = ("encoding", "delimiter") if kind in ("csv", "tsv") else ("encoding",)
    return {key: str(server.options[key]) for key in keys if server.options.get(key)}


def _table(
    dataset: Dataset, file: SourceFile, rows: Iterator[Row], note: Note, *, empty_is_null: bool
) -> Iterator[Row]:
    names = {column.name: column.physical_name or column.name for column in dataset.columns}
    first = True
    for row in rows:
        if first:
            _check_header(dataset, file, row, note)
            first = False
        if empty_is_null:
            yield {name: row[held] if row[held] != "" else None for name, held in names.items()}
        else:
            yield {name: row[held] for name, held in names.items()}


def _check_header(dataset: Dataset, file: SourceFile, row: Mapping[str, Any], note: Note) -> None:
    held = {column.physical_name or column.name for column in dataset.columns}
    missing = [name for name in sorted(held) if name not in row]
    if missing:
        found = [
            f"{name!r}" + (f" (there is {near[0]!r})" if (near := close_names(name, set(row) - held)) else "")
            for name in missing
        ]
        raise SourceFailed(
            f"{file.path} lacks the column{'s' if len(found) > 1 else ''} {', '.join(found)} that the contract "
            f"declares for {dataset.name!r}.",
            hint="Mend the file, or the contract.",
        )
    for name in row:
        if name not in held:
            note(f"{file.name}: column {name!r} is not in the contract of {dataset.name!r} and is not sealed")


def record_rows(dataset: Dataset, origin: str, records: Iterable[Mapping[str, Any]], note: Note) -> Iterator[Row]:
    """The records as flat rows, by the contract's column names and JSON paths, in order.

    A key that no column begins at, and a column whose key no record has, are noted under `origin`.
    """
    paths = {column.name: path_of(column) for column in dataset.columns}
    roots = {name: root_of(path) for name, path in paths.items()}
    seen: set[str] = set()
    count = 0
    for record in records:
        count += 1
        seen.update(record)
        yield flatten(record, paths)
    for name in sorted(seen - set(roots.values())):
        note(f"{origin}: key {name!r} is not in the contract of {dataset.name!r} and is not sealed")
    for name, root in roots.items():
        if count and root not in seen:
            note(f"{origin}: no record has the key {root!r} of column {name!r}, which is NULL throughout")
