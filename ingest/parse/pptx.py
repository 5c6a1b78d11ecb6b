"""Slides: every text, table, chart, diagram and note of a presentation, one page a slide."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import lxml.etree as etree

from ingest.parse.archive import check_archive, damaged
from ingest.parse.pieces import (
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

_CHART = "{http://schemas.openxmlformats.org/drawingml/2006/chart}"
_DRAWING = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
_DIAGRAM_PARTS = ("/diagramData", "/chartEx")


def parse_pptx(path: Path) -> Parsed:
    """A presentation (pptx, pptm); a slide's title, or its number, is its heading; hidden slides are read too.

    Raises SourceFailed where the file is damaged or unpacks to too much.
    """
    # An eighth of what an ingest takes to start, and few products hold slides.
    from pptx import Presentation
    from pptx.exc import PackageNotFoundError, PythonPptxError

    check_archive(path)
    try:
        slides: list[Any] = list(Presentation(str(path)).slides)
        pieces = [piece for number, slide in enumerate(slides, 1) for piece in _slide(slide, number)]
    except (
        PackageNotFoundError, PythonPptxError, zipfile.BadZipFile, etree.XMLSyntaxError, KeyError, ValueError,
        AttributeError, OSError,
    ) as error:  # fmt: skip
        raise damaged(path, error) from error
    parsed = assemble(pieces, pages=len(slides))
    title = first_heading(parsed)
    return Parsed(
        parsed.text, parsed.blocks, "" if title == "Slide 1" else title, len(slides), {}, parsed.warnings
    )


def _slide(slide: Any, number: int) -> Iterator[Piece]:
    titled: Any = slide.shapes.title
    title = " ".join(titled.text_frame.text.split()) if titled is not None else ""
    yield Piece(HEADING, f"# {title or f'Slide {number}'}", number, 1)
    for shape in _in_reading_order(slide.shapes):
        if titled is None or shape.shape_id != titled.shape_id:
            yield from _shape(shape, number)
    yield from _diagrams(slide, number)
    notes: Any = slide.notes_slide.notes_text_frame if slide.has_notes_slide else None
    if notes is not None and notes.text.strip():
        yield Piece(PARAGRAPH, f"Notes: {notes.text.strip()}", number)


def _in_reading_order(shapes: Iterable[Any]) -> list[Any]:
    """Shapes from top to bottom, then left to right; those without a place of their own keep theirs at the top."""
    return sorted(shapes, key=lambda shape: (shape.top or 0, shape.left or 0))


def _shape(shape: Any, page: int) -> Iterator[Piece]:
    if hasattr(shape, "shapes"):
        for inner in _in_reading_order(shape.shapes):
            yield from _shape(inner, page)
    elif getattr(shape, "has_table", False):
        rows = [[_words(cell.text) for cell in row.cells] for row in shape.table.rows]
        yield Piece(TABLE, markdown_table([row for row in rows if any(row)]), page)
    elif getattr(shape, "has_chart", False):
        yield from _chart(_xml(shape.chart.part.blob), page)
    elif getattr(shape, "has_text_frame", False):
        lines = [
            ("  " * line.level, _words(line.text)) for line in shape.text_frame.paragraphs if line.text.strip()
        ]
        if len(lines) == 1:
            yield Piece(PARAGRAPH, lines[0][1], page)
        else:
            yield Piece(LIST, "\n".join(f"{indent}- {text}" for indent, text in lines), page)
    elif described := shape.element.xpath(".//p:nvPicPr/p:cNvPr/@descr"):
        yield Piece(PARAGRAPH, _words(str(described[0])), page)


def _chart(root: Any, page: int) -> Iterator[Piece]:
    """A chart of any kind as its title and a table: one row a category, one column a series."""
    title = "".join(text.text or "" for text in root.iterfind(f"{_CHART}chart/{_CHART}title//{_DRAWING}t"))
    if title.strip():
        yield Piece(PARAGRAPH, f"Chart: {_words(title)}", page)
    header, rows = ["Category"], dict[str, list[str]]()
    for series in root.iter(f"{_CHART}ser"):
        header.append(_points(series, "tx").get("0", f"Series {len(header)}"))
        categories = _points(series, "cat") or _points(series, "xVal")
        for index, value in (_points(series, "val") or _points(series, "yVal")).items():
            row = rows.setdefault(categories.get(index, str(int(index) + 1)), [])
            row.extend([""] * (len(header) - 2 - len(row)))
            row.append(value)
    if rows:
        yield Piece(TABLE, markdown_table([header, *([name, *values] for name, values in rows.items())]), page)


def _points(series: Any, part: str) -> dict[str, str]:
    """The cached values of one part of a series (`cat`, `val`, `tx` …) by their index."""
    found: dict[str, str] = {}
    for point in series.iterfind(f"{_CHART}{part}//{_CHART}pt"):
        index = str(point.get("idx") or "0")
        value = str(point.findtext(f"{_CHART}v") or "")
        found[index] = f"{value} {found[index]}" if index in found else value
    if not found and (literal := series.findtext(f"{_CHART}{part}/{_CHART}v")):
        found["0"] = str(literal)
    return found


def _diagrams(slide: Any, page: int) -> Iterator[Piece]:
    """The words of SmartArt diagrams and of the newer kinds of chart, which lie in parts of their own."""
    for relation in slide.part.rels.values():
        if relation.is_external or not str(relation.reltype).endswith(_DIAGRAM_PARTS):
            continue
        nodes = _xml(relation.target_part.blob).iter()
        words = [_words(str(node.text or "")) for node in nodes if str(node.tag).endswith(("}t", "}pt", "}v"))]
        yield Piece(LIST, "\n".join(f"- {word}" for word in words if word), page)


def _xml(data: bytes) -> Any:
    return etree.fromstring(data, etree.XMLParser(resolve_entities=False, no_network=True))


def _words(text: str) -> str:
    return " ".join(text.split())
