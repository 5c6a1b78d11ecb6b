"""Spreadsheets, sheet by sheet: as a document of the values that a person sees, or as typed rows."""

from __future__ import annotations

import datetime as dt
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import lxml.etree as etree

from ingest.parse.archive import check_archive, damaged
from ingest.parse.pieces import HEADING, PARAGRAPH, TABLE, Parsed, Piece, assemble, markdown_table
from semantic_layer.errors import UnknownName

_BROKEN = (zipfile.BadZipFile, etree.XMLSyntaxError, KeyError, ValueError, OSError)


def parse_xlsx(path: Path) -> Parsed:
    """A workbook (xlsx, xlsm) as a document: one page a sheet, the sheet's name its heading, its regions tables.

    A formula shows the value that was saved with it; one saved without a value shows itself, with a warning.
    Raises SourceFailed where the file is damaged or unpacks to too much.
    """
    check_archive(path)
    pieces: list[Piece] = []
    warnings: list[str] = []
    try:
        with closing(_opened(path)) as book:
            names = list(book.sheetnames)
            for page, name in enumerate(names, 1):
                sheet: Any = book[name]
                if not hasattr(sheet, "iter_rows"):
                    continue  # a chart sheet has no cells
                sheet.reset_dimensions()  # what a file claims about its size may be a million empty rows
                rows = [[shown(cell.value, cell.number_format) for cell in row] for row in sheet.iter_rows()]
                if formulas := _fill_in_formulas(path, name, rows):
                    warnings.append(f"sheet {name!r}: {formulas} formulas were saved without values and are shown")
                if sheet.sheet_state != "visible":
                    warnings.append(f"sheet {name!r} is hidden in the workbook and was read")
                pieces.append(Piece(HEADING, f"# {name}", page, 1))
                pieces.extend(_regions(rows, page))
            title = str(getattr(book.properties, "title", None) or "")
    except _BROKEN as error:
        raise damaged(path, error) from error
    return assemble(pieces, title=title, pages=len(names), warnings=warnings)


def sheet_rows(path: Path, sheet: str | None = None) -> Iterator[list[Any]]:
    """The typed cell values of one sheet, by default the first, row by row; empty rows at its end left out.

    Raises UnknownName for a sheet that is not there, SourceFailed for a damaged file.
    """
    check_archive(path)
    try:
        with closing(_opened(path)) as book:
            names = [name for name in book.sheetnames if hasattr(book[name], "iter_rows")]
            if sheet is not None and sheet not in names:
                raise UnknownName("sheet", sheet, names, hint=f"{path} has {', '.join(names)}.")
            found: Any = book[sheet or names[0]]
            found.reset_dimensions()
            empty = 0
            for row in found.iter_rows(values_only=True):
                values = list(row)
                if all(value is None for value in values):
                    empty += 1
                    continue
                for _ in range(empty):
                    yield []
                empty = 0
                yield values
    except _BROKEN as error:
        raise damaged(path, error) from error


def sheet_names(path: Path) -> list[str]:
    """The names of the sheets that hold cells, in order. Raises SourceFailed for a damaged file."""
    check_archive(path)
    try:
        with closing(_opened(path)) as book:
            return [name for name in book.sheetnames if hasattr(book[name], "iter_rows")]
    except _BROKEN as error:
        raise damaged(path, error) from error


def _opened(path: Path, *, formulas: bool = False) -> Any:
    """The workbook, its cells as the values that were saved or as their formulas."""
    # An eighth of what an ingest takes to start, and few products hold workbooks.
    from openpyxl import load_workbook
    from openpyxl.utils.exceptions import InvalidFileException

    try:
        return load_workbook(path, read_only=True, data_only=not formulas)
    except InvalidFileException as error:
        raise ValueError(str(error)) from error


def shown(value: Any, number_format: str = "General") -> str:
    """A cell's value as text: dates in ISO form, whole numbers without `.0`, percentages with their sign."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, dt.datetime) and value.time() == dt.time():
        return value.date().isoformat()
    if isinstance(value, dt.datetime):
        return value.isoformat(sep=" ")
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, int | float) and "%" in number_format:
        return f"{value * 100:.10g}%"
    if isinstance(value, float):
        return f"{value:.15g}"
    return str(value)


def _fill_in_formulas(path: Path, name: str, rows: list[list[str]]) -> int:
    """Put formulas where the saved file holds no value for them; how many there were."""
    with zipfile.ZipFile(path) as archive:
        sheets = [part for part in archive.namelist() if part.startswith("xl/worksheets/")]
        if not any(b"<f" in archive.read(part) for part in sheets):
            return 0
    filled = 0
    with closing(_opened(path, formulas=True)) as book:
        sheet: Any = book[name]
        sheet.reset_dimensions()
        for row, cells in zip(rows, sheet.iter_rows(values_only=True), strict=False):
            for column, value in enumerate(cells[: len(row)]):
                if not row[column] and isinstance(value, str) and value.startswith("="):
                    row[column] = value
                    filled += 1
    return filled


def _regions(rows: list[list[str]], page: int) -> Iterator[Piece]:
    """The sheet's regions, parted by empty rows, without their empty columns; one cell alone is a paragraph."""
    region: list[list[str]] = []
    for row in [*rows, []]:
        if any(cell.strip() for cell in row):
            region.append(row)
        elif region:
            yield _region(region, page)
            region = []


def _region(rows: list[list[str]], page: int) -> Piece:
    width = max(len(row) for row in rows)
    full = [[*row, *[""] * (width - len(row))] for row in rows]
    used = [column for column in range(width) if any(row[column].strip() for row in full)]
    cells = [[row[column] for column in used] for row in full]
    if len(used) == 1 and len(cells) == 1:
        return Piece(PARAGRAPH, cells[0][0], page)
    return Piece(TABLE, markdown_table(cells), page)
