"""How much one reply holds: about 2,000 tokens unless the caller asks for detail, and never without end."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

from mcp_server.answer import plain
from mcp_server.fence import Quoted

ResponseFormat = Literal["concise", "detailed"]
"""The argument by which a caller chooses: `concise` for a model's next step, `detailed` for programs and quotes."""

DATA_CHARACTERS: Mapping[ResponseFormat, int] = {"concise": 6_000, "detailed": 60_000}
"""JSON characters of an answer's data; the receipt comes on top (a token is about four)."""
CELL_CHARACTERS = 400


def fitting(items: Sequence[Any], response_format: ResponseFormat) -> int:
    """How many of these JSON values, from the first on, one reply holds; one at least where there is any."""
    room = DATA_CHARACTERS[response_format]
    for count, item in enumerate(items):
        room -= len(json.dumps(plain(item), ensure_ascii=False)) + 2
        if room < 0:
            return max(1, count)
    return len(items)


def cut_cells(row: Mapping[str, Any], response_format: ResponseFormat) -> dict[str, Any]:
    """A row whose long texts are cut with an ellipsis where the reply is concise."""
    if response_format == "detailed":
        return dict(row)
    return {name: _cut(value) for name, value in row.items()}


def shortened(data: Mapping[str, Any], response_format: ResponseFormat) -> tuple[dict[str, Any], list[str]]:
    """The object with its lists cut to what one reply holds, and a note for each list that was cut."""
    room = DATA_CHARACTERS[response_format]
    form, notes = dict(data), list[str]()
    over = len(json.dumps(plain(form), ensure_ascii=False)) - room
    lists = {name: cast("list[Any]", value) for name, value in form.items() if isinstance(value, list)}
    for name, items in sorted(lists.items(), key=lambda one: -len(str(one[1]))):
        if over <= 0:
            break
        kept = _kept(items, len(json.dumps(plain(items), ensure_ascii=False)) - over)
        over -= len(json.dumps(plain(items[kept:]), ensure_ascii=False))
        form[name] = items[:kept]
        notes.append(f"{len(items) - kept} of {len(items)} {name} left out: ask with response_format detailed")
    return form, notes


def _kept(items: list[Any], room: int) -> int:
    for count, item in enumerate(items):
        room -= len(json.dumps(plain(item), ensure_ascii=False)) + 2
        if room < 0:
            return max(1, count)
    return len(items)


def _cut(value: Any) -> Any:
    if not isinstance(value, str) or len(value) <= CELL_CHARACTERS:
        return value
    short = value[:CELL_CHARACTERS].rstrip() + "…"
    return Quoted(short) if isinstance(value, Quoted) else short
