"""A PDF page's lines become paragraphs, lists and headings by place and size, carefully."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

from ingest.parse.pieces import HEADING, LIST, PARAGRAPH, Piece

_ITEM = re.compile(r"\s*(?:[•‣▪●○◦·–*-]|\(?\d{1,2}[.)]|\(?[a-z][.)])\s+\S")
_SENTENCE_END = (".", "!", "?", "。", "！", "？", ":", ";", "…", "”", '."')
_IDEOGRAPH = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u3000-\u303f\uff00-\uffef]")
_HANGUL = re.compile("[\uac00-\ud7af]")
_LONGEST_HEADING = 120


@dataclass(frozen=True)
class Line:
    """One line; places in points from the page's lower left corner, `size` the height of a letter's full box."""

    text: str
    left: float
    right: float
    bottom: float
    top: float
    size: float
    bold: bool

    def with_text(self, text: str) -> Line:
        """The same line with other words."""
        return replace(self, text=text)


@dataclass(frozen=True)
class Typical:
    """The size that most letters of a document have, and whether most of them are bold."""

    size: float
    bold: bool
    larger: tuple[float, ...] = ()


def typical_size(pages: list[list[Line]]) -> Typical:
    """The body's letter size (to half a point) and weight, and the larger sizes in use, largest first."""
    sizes: Counter[float] = Counter()
    bold = letters = 0
    for line in (line for lines in pages for line in lines):
        sizes[_rounded(line.size)] += len(line.text)
        letters += len(line.text)
        bold += len(line.text) * line.bold
    body = sizes.most_common(1)[0][0] if sizes else 0.0
    larger: list[float] = []
    for size in sorted((size for size in sizes if size >= 1.15 * body), reverse=True):
        if not larger or size < 0.93 * larger[-1]:
            larger.append(size)
    return Typical(body, 2 * bold > letters, tuple(larger))


def page_pieces(lines: list[Line], page: int, typical: Typical) -> Iterator[Piece]:
    """The page's headings, paragraphs and lists in the order of its content."""
    spaced = any(line.text.endswith(" ") for line in lines)
    group: list[Line] = []
    heading = False
    for index, line in enumerate(lines):
        before = lines[index - 1] if index else None
        is_heading = _is_heading(line, before, lines[index + 1] if index + 1 < len(lines) else None, typical)
        if group and (is_heading != heading or _begins_block(group[-1], line)):
            yield _piece(group, heading, page, typical, spaced)
            group = []
        group.append(line)
        heading = is_heading
    if group:
        yield _piece(group, heading, page, typical, spaced)


def _piece(group: list[Line], heading: bool, page: int, typical: Typical, spaced: bool) -> Piece:
    if heading:
        text = " ".join(line.text.strip() for line in group)
        level = 1 + sum(size > _rounded(group[0].size) / 0.93 for size in typical.larger)
        return Piece(HEADING, text, page, min(level, 6))
    kind = LIST if _ITEM.match(group[0].text) else PARAGRAPH
    return Piece(kind, _flowed(group, spaced), page)


def _is_heading(line: Line, before: Line | None, after: Line | None, typical: Typical) -> bool:
    """A short line in larger letters, or a bold one that stands apart above text that is not bold."""
    text = line.text.strip()
    if len(text) > _LONGEST_HEADING or sum(map(str.isalpha, text)) < 3 or text.endswith((".", ",", ";")):
        return False
    if line.size >= 1.15 * typical.size:
        return True
    if not line.bold or typical.bold or after is None or after.bold or line.size < 0.95 * typical.size:
        return False
    apart = before is None or before.bottom - line.top > 0.25 * line.size or before.size > 1.1 * line.size
    return apart and after.top < line.top and abs(after.left - line.left) < 3 * line.size


def _begins_block(before: Line, line: Line) -> bool:
    """Whether a gap, another size, or another column parts a line from the one before it."""
    gap = before.bottom - line.top
    if abs(before.size - line.size) > 0.12 * max(before.size, line.size) or gap > 0.6 * line.size:
        return True
    if line.bottom > before.top:  # further up: the next column, where a sentence may go on
        return before.text.rstrip().endswith(_SENTENCE_END) or not line.text.strip()[:1].islower()
    return bool(_ITEM.match(line.text)) and not _ITEM.match(before.text)


def _flowed(group: list[Line], spaced: bool) -> str:
    """Lines as running text: a line that filled its column goes on in the next, others keep their end."""
    edge = max(line.right for line in group)
    parts = [group[0].text]
    for before, line in pairwise(group):
        text = line.text.lstrip()
        if _ITEM.match(text) or not _goes_on(before, line, edge):
            parts[-1] = parts[-1].rstrip()
            parts.append("\n" + text)
        else:
            parts.append(_joint(before.text, text, spaced) + text)
    return "".join(parts)


def _goes_on(before: Line, line: Line, edge: float) -> bool:
    """Whether a sentence runs on: the next word had no room. Rows of short cells or figures never do."""
    if line.bottom > before.top:
        return True
    if before.right - before.left < 12 * before.size or _is_row(before.text) or _is_row(line.text):
        return False
    text = line.text.strip()
    word = len(text.split(" ", 1)[0]) * (line.right - line.left) / max(1, len(text))
    return before.right + word > edge - 0.5 * line.size


def _is_row(text: str) -> bool:
    words = text.split()
    return len(words) > 2 and 2 * sum(any(map(str.isdigit, word)) for word in words) > len(words)


def _joint(before: str, after: str, spaced: bool) -> str:
    """What stands between two lines of one paragraph: nothing inside Chinese, Japanese or a broken Korean word."""
    last, first = before[-1:], after[:1]
    if last.isspace():
        return ""
    if _IDEOGRAPH.match(last) and _IDEOGRAPH.match(first):
        return ""
    if spaced and _HANGUL.match(last) and _HANGUL.match(first):
        return ""
    return " "


def _rounded(size: float) -> float:
    return round(2 * size) / 2
