"""An HTML table as a plain grid: spans filled in, bounds on what markup may ask for."""

from __future__ import annotations

from collections.abc import Iterator

from bs4.element import Tag

_WIDEST = 1_000
_TALLEST = 10_000


def is_layout(table: Tag) -> bool:
    """Whether a table only arranges a page: it has one column, or headings inside its cells."""
    if table.find(["h1", "h2", "h3", "h4", "h5", "h6"]) is not None:
        return True
    return all(len(_cells(row)) <= 1 for row in _rows(table))


def table_rows(table: Tag) -> list[list[Tag | None]]:
    """The cells of each row by column. A cell over rows stands in each of them, one over columns in the first."""
    grid: list[list[Tag | None]] = []
    falling: dict[int, tuple[Tag | None, int]] = {}
    for row in _rows(table):
        line: list[Tag | None] = []
        for cell in _cells(row):
            _fall(line, falling)
            across, down = _span(cell, "colspan", _WIDEST), _span(cell, "rowspan", _TALLEST)
            for offset in range(min(across, _WIDEST - len(line))):
                filled = cell if offset == 0 else None
                if down > 1:
                    falling[len(line)] = (filled, down - 1)
                line.append(filled)
        _fall(line, falling)
        grid.append(line)
    return grid


def _fall(line: list[Tag | None], falling: dict[int, tuple[Tag | None, int]]) -> None:
    """Fill the next columns with the cells that reach down from rows above."""
    while (above := falling.pop(len(line), None)) is not None:
        cell, left = above
        if left > 1:
            falling[len(line)] = (cell, left - 1)
        line.append(cell)


def _rows(table: Tag) -> Iterator[Tag]:
    for child in table.children:
        if isinstance(child, Tag):
            if child.name == "tr":
                yield child
            elif child.name in ("thead", "tbody", "tfoot"):
                yield from (row for row in child.children if isinstance(row, Tag) and row.name == "tr")


def _cells(row: Tag) -> list[Tag]:
    return [cell for cell in row.children if isinstance(cell, Tag) and cell.name in ("td", "th")]


def _span(cell: Tag, name: str, most: int) -> int:
    value = str(cell.get(name) or "1").strip()
    return max(1, min(int(value), most)) if value.isdecimal() and len(value) < 9 else 1
