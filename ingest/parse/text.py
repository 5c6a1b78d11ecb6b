"""Markdown and plain text: their blocks found by line, the text itself left as its author wrote it."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

from indexes.document import Block
from ingest.parse.cleaning import clean
from ingest.parse.encoding import decode
from ingest.parse.front_matter import split_front_matter
from ingest.parse.pieces import CODE, HEADING, LIST, PARAGRAPH, TABLE, Parsed, first_heading, hidden_warning

_ATX = re.compile(r" {0,3}(#{1,6})(?:[ \t]|$)")
_SETEXT = re.compile(r" {0,3}(=+|-+)[ \t]*$")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_ITEM = re.compile(r"[ \t]*(?:[-*+•]|\d{1,9}[.)])[ \t]+\S")
_DELIMITER = re.compile(r"[ \t]*\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$")


def parse_markdown(path: Path, encoding: str | None = None) -> Parsed:
    """A Markdown file without its front matter, whose values become columns."""
    text, hidden = clean(decode(path.read_bytes(), path, encoding))
    columns, body = split_front_matter(text, path)
    body = body.strip("\n").rstrip()
    parsed = Parsed(body, markdown_blocks(body), columns=columns, warnings=hidden_warning(hidden))
    title = columns.get("title")
    own = title.strip() if isinstance(title, str) else ""
    return Parsed(body, parsed.blocks, own or first_heading(parsed), columns=columns, warnings=parsed.warnings)


def parse_text(path: Path, encoding: str | None = None) -> Parsed:
    """A plain text file; its blocks are the paragraphs between empty lines."""
    text, hidden = clean(decode(path.read_bytes(), path, encoding))
    body = text.strip("\n").rstrip()
    gaps = [(0, 0), *(match.span() for match in re.finditer(r"\n\s*\n", body)), (len(body), len(body))]
    blocks = [Block(PARAGRAPH, begin, end) for (_, begin), (end, _) in pairwise(gaps) if body[begin:end].strip()]
    return Parsed(body, tuple(blocks), warnings=hidden_warning(hidden))


def markdown_blocks(text: str) -> tuple[Block, ...]:
    """The blocks of a Markdown text in order; together they hold every character that is not white space."""
    return tuple(_Scanner(text).scan())


class _Scanner:
    """Reads lines one by one and closes a block where the next one begins."""

    def __init__(self, text: str) -> None:
        self.lines = text.split("\n")
        self.starts = [0]
        for line in self.lines:
            self.starts.append(self.starts[-1] + len(line) + 1)

    def scan(self) -> list[Block]:
        """All blocks from the first line to the last."""
        blocks: list[Block] = []
        at = 0
        while at < len(self.lines):
            if not self.lines[at].strip():
                at += 1
                continue
            kind, end, level = self._block(at)
            stop = self.starts[end] - 1
            length = len(self.lines[end - 1])
            blocks.append(
                Block(kind, self.starts[at], stop - (length - len(self.lines[end - 1].rstrip())), None, level)
            )
            at = end
        return blocks

    def _block(self, at: int) -> tuple[str, int, int]:
        """Kind, line after the last, and heading level of the block that begins at a line."""
        line = self.lines[at]
        if heading := _ATX.match(line):
            return HEADING, at + 1, len(heading.group(1))
        if fence := _FENCE.match(line):
            return CODE, self._after_fence(at, fence.group(1)), 0
        if self._is_table(at):
            return TABLE, self._after_table(at), 0
        if _ITEM.match(line):
            return LIST, self._after_list(at), 0
        end = at + 1
        while end < len(self.lines) and self.lines[end].strip() and not self._interrupts(end):
            if setext := _SETEXT.match(self.lines[end]):
                return HEADING, end + 1, 1 if setext.group(1).startswith("=") else 2
            end += 1
        return PARAGRAPH, end, 0

    def _interrupts(self, at: int) -> bool:
        """Whether a block of another kind begins at this line although no empty line is before it."""
        line = self.lines[at]
        return bool(_ATX.match(line) or _FENCE.match(line) or _ITEM.match(line)) or self._is_table(at)

    def _after_fence(self, at: int, fence: str) -> int:
        for end in range(at + 1, len(self.lines)):
            closing = self.lines[end].strip()
            if closing.startswith(fence) and not closing.strip(fence[0]):
                return end + 1
        return len(self.lines)

    def _is_table(self, at: int) -> bool:
        if at + 1 >= len(self.lines) or "|" not in self.lines[at]:
            return False
        below = self.lines[at + 1]
        return "|" in below and "-" in below and bool(_DELIMITER.match(below))

    def _after_table(self, at: int) -> int:
        end = at + 2
        while end < len(self.lines) and "|" in self.lines[end] and not _ATX.match(self.lines[end]):
            end += 1
        return end

    def _after_list(self, at: int) -> int:
        """A list runs on over empty lines as long as items or indented lines follow."""
        end = at + 1
        while end < len(self.lines):
            line = self.lines[end]
            if not line.strip():
                after = end + 1
                if after >= len(self.lines) or not self._continues(self.lines[after]):
                    return end
            elif not _ITEM.match(line) and (_ATX.match(line) or _FENCE.match(line) or self._is_table(end)):
                return end
            end += 1
        return end

    def _continues(self, line: str) -> bool:
        return bool(_ITEM.match(line)) or line.startswith(("  ", "\t"))
