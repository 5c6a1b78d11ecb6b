"""A document's sections: runs of blocks under one path of headings on one page, the tiny ones joined."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile

from indexes.document import Block, Document
from ingest.parse.pieces import HEADING, PARAGRAPH, heading_text
from ingest.token_sizes import TokenSizes


@dataclass(frozen=True)
class Section:
    """Consecutive blocks; `headings` is the path above them, outermost first, `size` their tokens together."""

    headings: tuple[str, ...]
    page: int | None
    blocks: tuple[Block, ...]
    size: int

    def joined(self, other: Section) -> Section:
        """Both sections as one, under the headings that they share."""
        pairs = zip(self.headings, other.headings, strict=False)
        path = tuple(mine for mine, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        return Section(path, self.page, self.blocks + other.blocks, self.size + other.size)


def sections(document: Document, sizes: TokenSizes, *, tiny: int, limit: int) -> list[Section]:
    """The document's sections in order; no two pages in one, a heading always with what follows it.

    A section under `tiny` tokens is joined with its neighbour on the same page while both stay within `limit`.
    Together the sections hold every character of the text that is not white space.
    """
    joined: list[Section] = []
    for section in _single(document, sizes):
        last = joined[-1] if joined else None
        if (
            last is not None
            and last.page == section.page
            and min(last.size, section.size) < tiny
            and last.size + section.size <= limit
        ):
            joined[-1] = last.joined(section)
        else:
            joined.append(section)
    return joined


def _single(document: Document, sizes: TokenSizes) -> Iterator[Section]:
    path: list[tuple[int, str]] = []
    blocks: list[Block] = []
    holds_text = False
    for block in _covering(document):
        is_heading = block.kind == HEADING
        if blocks and (block.page != blocks[-1].page or (holds_text and is_heading)):
            yield _section(document, path, blocks, sizes)
            blocks, holds_text = [], False
        holds_text = holds_text or not is_heading
        if is_heading:
            while path and path[-1][0] >= block.level:
                path.pop()
            path.append((block.level, heading_text(document.text[block.start : block.end])))
        blocks.append(block)
    if blocks:
        yield _section(document, path, blocks, sizes)


def _section(document: Document, path: list[tuple[int, str]], blocks: list[Block], sizes: TokenSizes) -> Section:
    size = sum(sizes.of(document.text[block.start : block.end]) for block in blocks)
    headings = tuple(text for _, text in path if text)
    return Section(headings, blocks[-1].page, tuple(blocks), size)


def _covering(document: Document) -> Iterator[Block]:
    """The document's blocks in order, and paragraphs for whatever text lies between them."""
    end, page = 0, None
    for block in sorted(document.blocks, key=lambda block: block.start):
        if document.text[end : block.start].strip():
            yield Block(PARAGRAPH, end, block.start, page)
        if block.end > block.start:
            yield block
        end, page = max(end, block.end), block.page
    if document.text[end:].strip():
        yield Block(PARAGRAPH, end, len(document.text), page)
