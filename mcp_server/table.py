"""Rows as a small text table: what a model reads beside the structured rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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


def _cell(value: Any) -> str:
    shown = plain(value)
    return "" if shown is None else one_line(str(shown), MAX_CELL_CHARS)
