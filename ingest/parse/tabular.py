"""Tables and records from files: one reader for every row format."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ingest.parse.delimited import check_header, delimited_rows
from ingest.parse.json_rows import json_records, jsonl_records
from ingest.parse.workbook import sheet_rows
from semantic_layer.errors import InvalidArgument, SourceFailed

ROW_FORMATS = ("csv", "tsv", "json", "jsonl", "parquet", "xlsx")
"""The formats that `read_rows` reads."""

_BATCH = 8_192


def read_rows(
    path: Path,
    format: str,  # noqa: A002 — the contract's own word
    *,
    delimiter: str | None = None,
    encoding: str | None = None,
    sheet: str | None = None,
) -> Iterator[dict[str, Any]]:
    """The rows or records of a file, in order, by column name.

    csv and tsv give strings; json and jsonl keep JSON's types, with Decimal for fractions; parquet gives Python
    values of its types; xlsx gives the cells of a sheet, the first unless named, under its first row.
    Raises SourceFailed that names file, and line or element; InvalidArgument for an unknown format or option.
    """
    if format not in ROW_FORMATS:
        raise InvalidArgument(
            f"rows cannot be read from format {format!r}.", hint=f"Use {', '.join(ROW_FORMATS)}."
        )
    try:
        path.open("rb").close()
    except OSError as error:
        raise SourceFailed(
            f"{path} cannot be read: {error.strerror or error}.",
            hint="Check the server's path and the dataset's file pattern.",
        ) from error
    if format in ("csv", "tsv"):
        yield from delimited_rows(path, delimiter or ("\t" if format == "tsv" else ","), encoding)
    elif format == "json":
        yield from json_records(path, encoding)
    elif format == "jsonl":
        yield from jsonl_records(path, encoding)
    elif format == "parquet":
        yield from _parquet_rows(path)
    else:
        yield from _sheet_records(path, sheet)


def _parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with pq.ParquetFile(path) as file:
            check_header(path, list(file.schema_arrow.names))
            for batch in file.iter_batches(batch_size=_BATCH):
                yield from batch.to_pylist()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise SourceFailed(
            f"{path} is not a Parquet file that can be read ({str(error).splitlines()[0][:200]}).",
            hint="Write it again from its source.",
        ) from error


def _sheet_records(path: Path, sheet: str | None) -> Iterator[dict[str, Any]]:
    rows = sheet_rows(path, sheet)
    first = next((row for row in rows if row), None)
    if first is None:
        raise SourceFailed(f"{path} has no rows in its sheet.", hint="The first row must name the columns.")
    while first and first[-1] is None:
        first.pop()
    header = ["" if name is None else str(name).strip() for name in first]
    check_header(path, header)
    for number, row in enumerate(rows, 2):
        if any(value is not None for value in row[len(header) :]):
            raise SourceFailed(
                f"{path}, row {number}: {len(header)} fields expected, {len(row)} found.",
                hint="Name every column in the first row, and keep notes out of the table.",
            )
        if row:
            padded = [*row[: len(header)], *[None] * (len(header) - len(row))]
            yield dict(zip(header, padded, strict=True))
