"""Pieces of text, as the format readers find them, joined into one text whose blocks know their true offsets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from indexes.document import Block
from ingest.parse.cleaning import clean

_LONGEST_TITLE = 1_000
HEADING, PARAGRAPH, LIST, TABLE, CODE = "heading", "paragraph", "list", "table", "code"


@dataclass(frozen=True)
class Piece:
    """A run of text of one kind before it has a place; `level` is a heading's level, `page` counts from 1."""

    kind: str
    text: str
    page: int | None = None
    level: int = 0


@dataclass(frozen=True)
class Parsed:
    """What a format reader found: the text with its blocks, its own title, its columns and its warnings."""

    text: str
    blocks: tuple[Block, ...]
    title: str = ""
    pages: int = 0
    columns: Mapping[str, Any] = field(default_factory=dict[str, Any])
    warnings: tuple[str, ...] = ()


def assemble(pieces: Iterable[Piece], *, title: str = "", pages: int = 0, warnings: Iterable[str] = ()) -> Parsed:
    """Join pieces with an empty line between them; every block's offsets hold in the joined text.

    Each piece is cleaned first (see `clean`), so the offsets are those of the text that is stored.
    """
    parts: list[str] = []
    blocks: list[Block] = []
    position = hidden = 0
    for piece in pieces:
        text, removed = clean(piece.text)
        hidden += removed
        text = text.strip("\n") if piece.kind == CODE else text.strip()
        if not text.strip():
            continue
        if parts:
            parts.append("\n\n")
            position += 2
        parts.append(text)
        blocks.append(Block(piece.kind, position, position + len(text), piece.page, piece.level))
        position += len(text)
    return Parsed(
        "".join(parts), tuple(blocks), clean(title)[0].strip(), pages, {}, (*warnings, *hidden_warning(hidden))
    )


def hidden_warning(count: int) -> tuple[str, ...]:
    """The warning that hidden characters were removed; empty when there were none."""
    if not count:
        return ()
    plural = "s" if count != 1 else ""
    return (f"{count} hidden character{plural} (zero-width, bidirectional or tag) removed",)


def heading_text(text: str) -> str:
    """A heading's words without Markdown markers: the first line, no `#`, no emphasis."""
    line = text.strip()[:_LONGEST_TITLE].split("\n", 1)[0].strip().lstrip("#").strip()
    line = re.sub(r"\s+#+$", "", line)
    line = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", line)
    return re.sub(r"(\*\*|__|`)", "", line).strip()


def first_heading(parsed: Parsed, *, level: int = 6) -> str:
    """The words of the first heading of at most that level, or nothing."""
    for block in parsed.blocks:
        if block.kind == HEADING and block.level <= level:
            return heading_text(parsed.text[block.start : block.end])
    return ""


def markdown_table(rows: list[list[str]]) -> str:
    """Rows of cells as a Markdown table with its first row as header; pipes and line ends in cells escaped."""
    width = max((len(row) for row in rows), default=0)
    if not width:
        return ""
    lines = ["| " + " | ".join(_cell(row[i]) if i < len(row) else "" for i in range(width)) + " |" for row in rows]
    lines.insert(1, "|" + " --- |" * width)
    return "\n".join(lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
