"""A group of files as a dataset of a contract: its kind, its columns, and what a person should look at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from ingest.infer.columns import InferredColumn, infer_columns
from ingest.infer.dialect import PLAIN, Dialect, dialect_of
from ingest.infer.documents import document_columns
from ingest.infer.files import FileGroup
from ingest.infer.profile import MOST_ROWS, profile_rows
from ingest.infer.records import profile_records
from ingest.parse.media import format_of
from ingest.parse.tabular import read_rows
from ingest.parse.workbook import sheet_names
from semantic_layer.errors import SourceFailed
from semantic_layer.product import ColumnType, DatasetKind

_Row = Mapping[str, Any]
_NESTED = (ColumnType.ARRAY, ColumnType.OBJECT)


@dataclass(frozen=True)
class InferredDataset:
    """One object of the contract to be written. `notes` are for the person, `rows` what was looked at."""

    name: str
    kind: DatasetKind
    group: FileGroup
    columns: tuple[InferredColumn, ...]
    dialect: Dialect = PLAIN
    rows: int = 0
    notes: tuple[str, ...] = ()

    @property
    def key(self) -> InferredColumn | None:
        """The column that names a row, where one does."""
        return next((column for column in self.columns if column.key), None)

    @property
    def personal(self) -> tuple[str, ...]:
        """The names of the columns that look personal."""
        return tuple(column.name for column in self.columns if column.personal)


def counted(dataset: InferredDataset) -> str:
    """How much it holds, in words: `24 rows`, `1 document`."""
    what = {"document": "document", "record": "record", "table": "row"}[dataset.kind]
    return f"{dataset.rows:,} {what}{'' if dataset.rows == 1 else 's'}"


def infer_datasets(group: FileGroup, name: str) -> tuple[InferredDataset, ...]:
    """The dataset that the files make up, or one a file where their columns differ.

    Raises SourceFailed naming the file and line that cannot be read.
    """
    if group.is_rows or len(group.files) == 1:
        for file in group.files:
            format_of(file)
    if not group.is_rows:
        return (InferredDataset(name, "document", group, document_columns(group), rows=len(group.files)),)
    if len(group.files) > 1 and not _alike(group.files, group.format):
        parts = (_part(group, file) for file in group.files)
        return tuple(_of_rows(part, part.name) for part in parts)
    return (_of_rows(group, name),)


def _part(group: FileGroup, file: Path) -> FileGroup:
    return FileGroup(file.stem, group.root, file.relative_to(group.root).as_posix(), (file,), group.format)


def _alike(files: tuple[Path, ...], kind: str) -> bool:
    """Whether all files have the first one's columns and dialect; records may differ from one to the next."""
    dialects = {dialect_of(file, kind) for file in files}
    if len(dialects) > 1:
        return False
    if kind in ("json", "jsonl"):
        return True
    return len({tuple(next(_rows(file, kind, *dialects), ())) for file in files} - {()}) <= 1


def _rows(file: Path, kind: str, dialect: Dialect) -> Iterator[_Row]:
    return read_rows(file, kind, encoding=dialect.encoding or None, delimiter=dialect.delimiter or None)


def _of_rows(group: FileGroup, name: str) -> InferredDataset:
    dialect = dialect_of(group.files[0], group.format)
    rows = chain.from_iterable(_rows(file, group.format, dialect) for file in group.files)
    dataset = _of_records(group, name, rows) if group.format in ("json", "jsonl") else _of_table(group, name, rows)
    if not dataset.columns:
        raise SourceFailed(
            f"{group.files[0]} holds no value that tells what its columns are.", hint="Name a file that has rows."
        )
    return replace(dataset, dialect=dialect, notes=(*dialect.notes, *_sheets_unread(group), *dataset.notes))


def _of_table(group: FileGroup, name: str, rows: Iterator[_Row]) -> InferredDataset:
    profile = profile_rows(rows, untyped=group.format in ("csv", "tsv"))
    columns, notes = infer_columns(profile, name, nested=False)
    return InferredDataset(
        name, "table", group, columns, rows=profile.rows, notes=(*_cut(profile.complete), *notes)
    )


def _of_records(group: FileGroup, name: str, rows: Iterator[_Row]) -> InferredDataset:
    """Records that nest nothing are a table."""
    profile = profile_records(rows)
    columns, notes = infer_columns(profile, name, nested=True)
    flat = all(column.type not in _NESTED and column.path.count(".") < 2 for column in columns)
    kind: DatasetKind = "table" if flat else "record"
    said = (*_cut(profile.complete), *profile.notes, *notes)
    return InferredDataset(name, kind, group, columns, rows=profile.rows, notes=said)


def _cut(complete: bool) -> tuple[str, ...]:
    if complete:
        return ()
    said = (
        f"only the first {MOST_ROWS:,} rows were looked at: no column is declared required, and a key is a guess"
    )
    return (said,)


def _sheets_unread(group: FileGroup) -> tuple[str, ...]:
    if group.format != "xlsx":
        return ()
    unread = [sheet for file in group.files for sheet in sheet_names(file)[1:]]
    return (f"only the first sheet is read, not {', '.join(map(repr, unread[:5]))}",) if unread else ()
