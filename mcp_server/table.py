"""Rows as text: a small table for a model beside the structured rows, an aligned one for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from types import NoneType
from typing import Any

from mcp_server.answer import plain
from mcp_server.fence import one_line

MAX_CELL_CHARS = 80
MAX_TABLE_CHARS = 6_000


def text_table(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """A header and one line a row, cells parted by ` | `; cut with a count when it grows past 6,000 characters."""
    lines = [" | ".join(columns)]
    size, left_out = len(lines[0]), 0
    for row in rows:
        line = " | ".join(_cell(row.get(column)) for column in columns)
        size += len(line) + 1
        if size > MAX_TABLE_CHARS:
            left_out += 1
        else:
            lines.append(line)
    return "\n".join([*lines, *([f"… {left_out} more rows in the structured content"] if left_out else [])])


def aligned_table(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    """All rows under their headers, columns parted by two spaces, numbers to the right; for people."""
    cells = [list(columns), *([_cell(row.get(column)) for column in columns] for row in rows)]
    widths = [max(len(line[at]) for line in cells) for at in range(len(columns))]
    right = [
        all(isinstance(row.get(column), (int, float, Decimal, NoneType)) for row in rows) for column in columns
    ]
    return "\n".join(
        "  ".join(
            text.rjust(width) if number else text.ljust(width)
            for text, width, number in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in cells
    )


def _cell(value: Any) -> str:
    shown = _readable(value) if isinstance(value, float) else plain(value)
    return "" if shown is None else one_line(str(shown), MAX_CELL_CHARS)


def _readable(value: float) -> str:
    """A double with the 15 digits that it surely has: 55571.84, not 55571.840000000004. The rows hold it as it is."""
    short = f"{value:.15g}"
    return str(value) if float(short) == value else short
