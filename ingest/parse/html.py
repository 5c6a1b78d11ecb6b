"""HTML becomes Markdown pieces: the main content with its tables, without what a reader of the page never sees."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from bs4 import BeautifulSoup
from bs4.element import CData, NavigableString, Tag

from ingest.parse.encoding import decode
from ingest.parse.html_table import is_layout, table_rows
from ingest.parse.pieces import (
    CODE,
    HEADING,
    LIST,
    PARAGRAPH,
    TABLE,
    Parsed,
    Piece,
    assemble,
    first_heading,
    markdown_table,
)
from semantic_layer.errors import SourceFailed

_DROPPED = frozenset(
    {
        "script", "style", "noscript", "template", "svg", "iframe", "object", "embed", "nav", "head",
        "link", "meta", "canvas", "audio", "video", "map",
    }
)  # fmt: skip
_BLOCKS = frozenset(
    {
        "address", "article", "aside", "blockquote", "body", "center", "dd", "details", "dialog", "div",
        "dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "header", "hr", "html",
        "legend", "li", "main", "p", "section", "summary", "tr", "td", "th", "tbody", "thead", "tfoot",
        "caption", "option",
    }
)  # fmt: skip
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_HIDDEN_STYLE = re.compile(r"(display\s*:\s*none|visibility\s*:\s*hidden)", re.IGNORECASE)
_CHARSET = re.compile(rb"<meta[^>]+charset\s*=\s*[\"']?\s*([\w.:-]+)", re.IGNORECASE)
_XML_ENCODING = re.compile(rb"\A\s*<\?xml[^>]+encoding\s*=\s*[\"']([\w.:-]+)")


def parse_html(path: Path, encoding: str | None = None) -> Parsed:
    """An HTML file: the `main` part where there is one, else the body; nothing is fetched.

    Left out are scripts, styles, navigation and hidden elements; hidden text is counted in a warning.
    Raises SourceFailed where the markup is nested too deeply to be read.
    """
    data = path.read_bytes()
    markup = decode(data, path, encoding or _declared(data[:2048]))
    try:
        parsed = html_pieces(markup)
    except RecursionError:
        raise SourceFailed(
            f"{path} is nested too deeply to be read.", hint="Simplify its markup, or leave it out of the path."
        ) from None
    return parsed


def _declared(head: bytes) -> str | None:
    """The encoding that the page names; Latin-1 means Windows-1252, as in every browser (WHATWG Encoding)."""
    found = _XML_ENCODING.search(head) or _CHARSET.search(head)
    name = found.group(1).decode("ascii").lower() if found else None
    return "cp1252" if name in ("iso-8859-1", "latin1", "us-ascii", "ascii") else name


def html_pieces(markup: str) -> Parsed:
    """The text of HTML markup as Markdown with its blocks; titled by its first `h1`, `title` or heading."""
    soup = BeautifulSoup(re.sub(r"\A\s*<\?xml[^>]*\?>", "", markup), "lxml")
    named = soup.find("title")
    own = " ".join(named.get_text().split()) if isinstance(named, Tag) else ""
    hidden = _remove_unseen(soup)
    writer = _Writer()
    writer.children(_main_part(soup))
    writer.flush()
    warnings = (f"{hidden} hidden element{'s' if hidden != 1 else ''} with text left out",) if hidden else ()
    parsed = assemble(writer.pieces, warnings=warnings)
    title = first_heading(parsed, level=1) or own or first_heading(parsed)
    return Parsed(parsed.text, parsed.blocks, title, warnings=parsed.warnings)


def _remove_unseen(soup: BeautifulSoup) -> int:
    """Take out what is not shown; how many elements with text were hidden from readers."""
    hidden = 0
    for tag in list(soup.find_all(True)):
        if tag.decomposed:
            continue
        if tag.name in _DROPPED or tag.get("role") == "navigation":
            tag.decompose()
        elif tag.has_attr("hidden") or _HIDDEN_STYLE.search(str(tag.get("style") or "")):
            hidden += bool(tag.get_text(strip=True))
            tag.decompose()
    return hidden


def _main_part(soup: BeautifulSoup) -> Tag:
    """The page's main element when it holds most of what the page says, else all of it."""
    body = soup.body or soup
    main = soup.find("main") or soup.find(role="main")
    if isinstance(main, Tag) and 2 * len(main.get_text(strip=True)) >= len(body.get_text(strip=True)):
        return main
    return body


class _Writer:
    """Walks elements in reading order and writes one Piece a block."""

    def __init__(self) -> None:
        self.pieces: list[Piece] = []
        self._inline: list[str] = []

    def flush(self) -> None:
        """Close the paragraph that inline text has gathered."""
        text = tidy("".join(self._inline))
        self._inline.clear()
        if text:
            self.pieces.append(Piece(PARAGRAPH, text))

    def children(self, tag: Tag) -> None:
        """Write everything inside an element."""
        for child in tag.children:
            if isinstance(child, Tag):
                self._element(child)
            else:
                self._inline.append(_string(child))

    def _element(self, tag: Tag) -> None:
        name = tag.name
        if name in _HEADINGS:
            text = tidy(inline_text(tag)).replace("\n", " ")
            self._block(HEADING, f"{'#' * _HEADINGS[name]} {text}" if text else "", _HEADINGS[name])
        elif name == "table":
            self._table(tag)
        elif name in ("ul", "ol", "menu"):
            self._block(LIST, "\n".join(_list_lines(tag, 0)))
        elif name == "pre":
            code = tag.get_text().strip("\n")
            self._block(CODE, f"```\n{code}\n```" if code.strip() else "")
        elif name in _BLOCKS:
            self.flush()
            self.children(tag)
            self.flush()
        elif any(isinstance(child, Tag) for child in tag.children):
            self._inline.append(_own_text(tag))
            self.children(tag)
        else:
            self._inline.append(inline_text(tag))

    def _block(self, kind: str, text: str, level: int = 0) -> None:
        self.flush()
        if text:
            self.pieces.append(Piece(kind, text, level=level))

    def _table(self, tag: Tag) -> None:
        self.flush()
        if is_layout(tag):
            self.children(tag)
            self.flush()
            return
        caption = tag.find("caption", recursive=False)
        if isinstance(caption, Tag):
            self._block(PARAGRAPH, tidy(inline_text(caption)))
        rows = [[tidy(inline_text(cell)) for cell in row] for row in table_rows(tag)]
        self._block(TABLE, markdown_table([row for row in rows if any(row)]))


def inline_text(tag: Tag | None) -> str:
    """All text in an element as one run; a nested table reads `a, b; c, d`, list items and blocks stand apart."""
    if tag is None:
        return ""
    if tag.name == "table" and not is_layout(tag):
        rows = [[tidy(inline_text(cell)) for cell in row] for row in table_rows(tag)]
        return " " + "; ".join(", ".join(cell for cell in row if cell) for row in rows if any(row)) + " "
    parts = [_own_text(tag)]
    for child in tag.children:
        parts.append(inline_text(child) if isinstance(child, Tag) else _string(child))
    text = "".join(parts)
    apart = tag.name in _BLOCKS or tag.name in _HEADINGS or tag.name in ("li", "ul", "ol", "pre", "table")
    return f"\n{text}\n" if apart else text


def tidy(text: str) -> str:
    """Runs of white space as one space; the line breaks of `br` and inner blocks stay as single line ends."""
    lines = (" ".join(line.split()) for line in text.split("\n"))
    return "\n".join(line for line in lines if line)


def _string(node: object) -> str:
    """A text node's words; comments, doctypes and instructions have none."""
    if type(node) in (NavigableString, CData):
        return re.sub(r"\s+", " ", str(node))
    return ""


def _own_text(tag: Tag) -> str:
    """What an element says without children: a line break, an image's alternative text, a field's value."""
    if tag.name == "br":
        return "\n"
    if tag.name == "img":
        return str(tag.get("alt") or "")
    if tag.name == "input" and tag.get("type", "text") not in ("hidden", "password", "submit", "button", "image"):
        if tag.get("type") in ("checkbox", "radio"):
            return "[x] " if tag.has_attr("checked") else "[ ] "
        return str(tag.get("value") or "")
    return ""


def _list_lines(tag: Tag, depth: int) -> Iterator[str]:
    """A list's items as lines, nested lists indented, ordered lists numbered."""
    number = int(str(tag.get("start") or "1")) if str(tag.get("start") or "1").isdigit() else 1
    for child in tag.children:
        if not isinstance(child, Tag):
            if text := tidy(_string(child)):
                yield "  " * depth + text
            continue
        if child.name in ("ul", "ol", "menu"):
            yield from _list_lines(child, depth + 1)
            continue
        marker = f"{number}." if tag.name == "ol" else "-"
        number += 1
        nested = list(child.find_all(["ul", "ol", "menu"], recursive=False))
        for inner in nested:
            inner.extract()
        text = tidy(inline_text(child)).replace("\n", "\n" + "  " * (depth + 1))
        if text:
            yield f"{'  ' * depth}{marker} {text}"
        for inner in nested:
            yield from _list_lines(inner, depth + 1)
