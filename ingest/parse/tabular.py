"""Tables and records from files: one reader for every row format, and JSON paths that flatten nested records."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
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

_STEP = re.compile(r"\.([A-Za-z_][\w-]*)|\['([^']+)'\]|(\[\*\])")
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


def flatten(record: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    """One flat row from a nested record: for each column the value at its JSON path, None where nothing is there.

    Paths begin with `$` and go by `.name`, `['name']` or `[*]` (every element): `$.a.b`, `$.tags[*]`,
    `$.variants[*].size`. A path with `[*]` gives a list, without the elements that lack the rest of the path.
    An empty path means the key with the column's own name. Raises InvalidArgument for any other form.
    """
    return {name: _value(record, _steps(name, path)) for name, path in columns.items()}


def _steps(name: str, path: str) -> tuple[str | None, ...]:
    """The path's names in order; None stands for every element."""
    if not path:
        return (name,)
    steps: list[str | None] = []
    position = 1
    while path.startswith("$") and position < len(path):
        step = _STEP.match(path, position)
        if step is None:
            break
        steps.append(None if step.group(3) else step.group(1) or step.group(2))
        position = step.end()
    if not steps or position < len(path):
        raise InvalidArgument(
            f"column {name!r}: {path!r} is not a JSON path that is understood.",
            hint="Use $.name, $.a.b, $.list[*] or $.list[*].name.",
        )
    return tuple(steps)


def _value(value: Any, steps: tuple[str | None, ...]) -> Any:
    for index, step in enumerate(steps):
        if step is None:
            if not isinstance(value, list):
                return None
            rest = steps[index + 1 :]
            found = [_value(element, rest) for element in value]
            if None in rest:
                return [inner for each in found if each is not None for inner in each]
            return [each for each in found if each is not None]
        if not isinstance(value, dict) or step not in value:
            return None
        value = value[step]
    return value


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
