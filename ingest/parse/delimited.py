"""CSV and TSV as rows of strings: every row has the header's fields, or its line is named."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from ingest.parse.encoding import encoding_of
from semantic_layer.errors import InvalidArgument, SourceFailed

_LONGEST_FIELD = 16 * 1024 * 1024


def delimited_rows(path: Path, delimiter: str, encoding: str | None = None) -> Iterator[dict[str, str]]:
    """The rows of a delimited file by the names of its header; quotes as RFC 4180 has them.

    Lines with nothing in them are skipped. Values stay strings: their types are the contract's matter.
    Raises SourceFailed with file and line for a row with another number of fields than the header, a quote that is
    never closed, a header that is missing, empty or doubled; and as `encoding_of` does.
    """
    if len(delimiter) != 1 or delimiter in '\r\n"':
        raise InvalidArgument(
            f"the delimiter {delimiter!r} is not one plain character.", hint="Use , ; | or a tab."
        )
    with path.open(encoding=encoding_of(path, encoding), newline="") as file:
        csv.field_size_limit(_LONGEST_FIELD)
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        begins = 1
        try:
            header = _header(path, next(reader, None), delimiter)
            width = len(header)
            begins = reader.line_num + 1
            for row in reader:
                if len(row) == width:
                    yield dict(zip(header, row, strict=True))
                elif row:
                    raise _ragged(path, begins, width, row)
                begins = reader.line_num + 1
        except csv.Error as error:
            kind = "TSV" if delimiter == "\t" else "CSV"
            raise SourceFailed(
                f"{path}, line {begins}: the row is not valid {kind} ({error}).",
                hint='Close every quote, and double a quote inside a quoted field ("").',
            ) from error


def _header(path: Path, row: list[str] | None, delimiter: str) -> list[str]:
    if not row or not any(name.strip() for name in row):
        raise SourceFailed(
            f"{path} has no header in its first line." if row is not None else f"{path} is empty.",
            hint="The first line must name the columns.",
        )
    header = [name.strip() for name in row]
    check_header(path, header)
    others = [mark for mark in ";\t|," if mark != delimiter and mark in row[0]]
    if len(header) == 1 and others:
        raise SourceFailed(
            f"{path}, line 1: the header is one field {header[0][:80]!r}, which holds {others[0]!r}.",
            hint=f"Declare `delimiter: {others[0]!r}` if that parts the columns, else rename the column.",
        )
    return header


def check_header(path: Path, header: list[str]) -> None:
    """Raise SourceFailed where a column has no name or two columns have the same one, case ignored."""
    seen: dict[str, int] = {}
    for position, name in enumerate(header, 1):
        if not name:
            raise SourceFailed(f"{path}, line 1: column {position} has no name.", hint="Name it in the header.")
        if name.casefold() in seen:
            raise SourceFailed(
                f"{path}, line 1: columns {seen[name.casefold()]} and {position} are both named {name!r}.",
                hint="Give every column its own name.",
            )
        seen[name.casefold()] = position


def _ragged(path: Path, line: int, width: int, row: list[str]) -> SourceFailed:
    return SourceFailed(
        f"{path}, line {line}: {width} field{'s' if width != 1 else ''} expected, {len(row)} found.",
        hint="Put a field that holds the delimiter in quotes, or complete the row.",
    )
