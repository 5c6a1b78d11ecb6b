"""The handbook as written: front matter and a small part of Markdown, as blocks that renderers turn into files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

SOURCES = Path(__file__).parent / "handbook"


@dataclass(frozen=True)
class Heading:
    """A heading; level 1 is the page's title."""

    level: int
    text: str


@dataclass(frozen=True)
class Paragraph:
    """Running text; `**bold**` stays as written."""

    text: str


@dataclass(frozen=True)
class Bullets:
    """A list; `numbered` when its items have an order."""

    items: tuple[str, ...]
    numbered: bool


@dataclass(frozen=True)
class Table:
    """A table: the header and its rows, as many cells in each."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


Part = Heading | Paragraph | Bullets | Table


@dataclass(frozen=True)
class Page:
    """One handbook page. `path` is where its file goes below the product's data folder."""

    path: str
    meta: Mapping[str, str]
    source: str
    parts: tuple[Part, ...]

    @property
    def title(self) -> str:
        """The title from the front matter."""
        return self.meta["title"]

    @property
    def format(self) -> str:
        """The kind of file it becomes: md, html, pdf or docx."""
        return self.meta["format"]


def read_pages(folder: Path = SOURCES) -> list[Page]:
    """All pages below the folder by path; raises ValueError for a page without front matter."""
    return [_page(file, folder) for file in sorted(folder.glob("*/*.md"))]


def _page(file: Path, folder: Path) -> Page:
    match = re.fullmatch(r"---\n(.*?)\n---\n(.*)", file.read_text(encoding="utf-8"), flags=re.DOTALL)
    if match is None:
        raise ValueError(f"{file} has no front matter")
    meta = {key: str(value) for key, value in yaml.safe_load(match[1]).items()}
    path = file.relative_to(folder).with_suffix("." + meta["format"]).as_posix()
    return Page(path, meta, match[2].strip() + "\n", tuple(_part(text) for text in _paragraphs(match[2])))


def _paragraphs(source: str) -> list[str]:
    return [text for text in re.split(r"\n\s*\n", source.strip()) if text.strip()]


def _part(text: str) -> Part:
    lines = text.splitlines()
    if heading := re.fullmatch(r"(#+) (.+)", text):
        return Heading(len(heading[1]), heading[2])
    if lines[0].startswith("|"):
        cells = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines]
        return Table(cells[0], tuple(cells[2:]))
    if all(re.match(r"(- |\d+\. )", line) for line in lines):
        items = tuple(re.sub(r"^(- |\d+\. )", "", line) for line in lines)
        return Bullets(items, numbered=not lines[0].startswith("- "))
    return Paragraph(" ".join(lines))
