"""Handbook pages as files: Markdown, HTML, PDF and DOCX, with the same bytes for the same page."""

from __future__ import annotations

import html
import io
import re
import zipfile
from collections.abc import Callable
from datetime import datetime

import docx
import yaml
from reportlab.lib import colors
from reportlab.lib.pagesizes import A5
from reportlab.lib.styles import ParagraphStyle, getSampleStyleSheet
from reportlab.lib.units import mm
from reportlab.platypus import Flowable, ListFlowable, SimpleDocTemplate, Spacer
from reportlab.platypus import Paragraph as PdfParagraph
from reportlab.platypus import Table as PdfTable

from examples.outfitter.pages import Bullets, Heading, Page, Paragraph, Part, Table

ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The oldest time that a ZIP entry can carry; every entry gets it, so that bytes do not depend on the clock."""


def render(page: Page) -> bytes:
    """The page in its own format."""
    return RENDERERS[page.format](page)


def render_markdown(page: Page) -> bytes:
    """Markdown with the metadata as YAML front matter."""
    meta = {key: value for key, value in page.meta.items() if key != "format"}
    front = yaml.safe_dump(meta, sort_keys=False, allow_unicode=True)
    return f"---\n{front}---\n\n{page.source}".encode()


def render_html(page: Page) -> bytes:
    """One HTML document with the metadata as `meta` elements."""
    metas = "\n".join(
        f'<meta name="{key}" content="{html.escape(value)}">'
        for key, value in page.meta.items()
        if key not in ("title", "format")
    )
    body = "\n".join(_html_part(part) for part in page.parts)
    head = f'<meta charset="utf-8">\n<title>{html.escape(page.title)}</title>\n{metas}'
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n{head}\n</head>\n'
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    ).encode()


def _html_part(part: Part) -> str:
    match part:
        case Heading(level, text):
            return f"<h{level}>{_inline(text)}</h{level}>"
        case Paragraph(text):
            return f"<p>{_inline(text)}</p>"
        case Bullets(items, numbered):
            tag = "ol" if numbered else "ul"
            return f"<{tag}>\n" + "\n".join(f"<li>{_inline(item)}</li>" for item in items) + f"\n</{tag}>"
        case Table(header, rows):
            head = "".join(f"<th>{_inline(cell)}</th>" for cell in header)
            lines = ["<tr>" + "".join(f"<td>{_inline(cell)}</td>" for cell in row) + "</tr>" for row in rows]
            return "\n".join(
                ("<table>", f"<thead><tr>{head}</tr></thead>", "<tbody>", *lines, "</tbody>", "</table>")
            )


def _inline(text: str) -> str:
    """Escaped text with bold, italics and code; reportlab reads the same small set of tags."""
    escaped = html.escape(text, quote=False)
    escaped = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", escaped)
    escaped = re.sub(r"\*(.+?)\*", r"<i>\1</i>", escaped)
    return re.sub(r"`(.+?)`", r"<code>\1</code>", escaped)


def render_pdf(page: Page) -> bytes:
    """A5 pages with a running title, page numbers and real tables."""
    buffer = io.BytesIO()
    template = SimpleDocTemplate(
        buffer,
        pagesize=A5,
        leftMargin=15 * mm,
        rightMargin=15 * mm,
        topMargin=15 * mm,
        bottomMargin=17 * mm,
        title=page.title,
        author=page.meta["owner"],
        subject=f"audience: {page.meta['audience']}; region: {page.meta['region']}",
        creator="Outfitter handbook",
        invariant=1,
    )
    styles = _pdf_styles()
    flow = [flowable for part in page.parts for flowable in _pdf_part(part, styles)]

    def footer(canvas: object, document: SimpleDocTemplate) -> None:
        canvas.setFont("Helvetica", 7.5)  # pyright: ignore[reportAttributeAccessIssue]
        canvas.drawString(15 * mm, 9 * mm, page.title)  # pyright: ignore[reportAttributeAccessIssue]
        canvas.drawRightString(A5[0] - 15 * mm, 9 * mm, f"page {document.page}")  # pyright: ignore[reportAttributeAccessIssue]

    template.build(flow, onFirstPage=footer, onLaterPages=footer)
    return buffer.getvalue()


def _pdf_styles() -> dict[str, ParagraphStyle]:
    sheet = getSampleStyleSheet()
    body = ParagraphStyle("body", sheet["BodyText"], fontSize=10, leading=13.5, spaceAfter=6)
    return {
        "1": ParagraphStyle("title", sheet["Heading1"], fontSize=17, leading=21, spaceAfter=10),
        "2": ParagraphStyle(
            "section", sheet["Heading2"], fontSize=12.5, leading=16, spaceBefore=8, keepWithNext=1
        ),
        "body": body,
        "cell": ParagraphStyle("cell", body, fontSize=7.5, leading=9.5, spaceAfter=0),
    }


def _pdf_part(part: Part, styles: dict[str, ParagraphStyle]) -> list[Flowable]:
    match part:
        case Heading(level, text):
            return [PdfParagraph(_inline(text), styles[str(min(level, 2))])]
        case Paragraph(text):
            return [PdfParagraph(_inline(text), styles["body"])]
        case Bullets(items, numbered):
            entries = [PdfParagraph(_inline(item), styles["body"]) for item in items]
            return [ListFlowable(entries, bulletType="1" if numbered else "bullet", leftIndent=14)]
        case Table(header, rows):
            cells = [[PdfParagraph(_inline(cell), styles["cell"]) for cell in row] for row in (header, *rows)]
            table = PdfTable(cells, colWidths=[(A5[0] - 30 * mm) / len(header)] * len(header), repeatRows=1)
            table.setStyle(
                [
                    ("GRID", (0, 0), (-1, -1), 0.4, colors.grey),
                    ("BACKGROUND", (0, 0), (-1, 0), colors.whitesmoke),
                    ("VALIGN", (0, 0), (-1, -1), "TOP"),
                ]
            )
            return [table, Spacer(1, 8)]


def render_docx(page: Page) -> bytes:
    """A Word document with heading styles and tables; its properties and ZIP times are fixed."""
    document = docx.Document()
    moment = datetime.fromisoformat(page.meta["updated"])
    properties = document.core_properties
    properties.title, properties.author = page.title, page.meta["owner"]
    properties.category = page.meta["audience"]
    properties.keywords = f"audience: {page.meta['audience']}; region: {page.meta['region']}"
    properties.created = properties.modified = moment
    for part in page.parts:
        match part:
            case Heading(level, text):
                document.add_heading(_plain(text), level=level)
            case Paragraph(text):
                document.add_paragraph(_plain(text))
            case Bullets(items, numbered):
                for item in items:
                    document.add_paragraph(_plain(item), style="List Number" if numbered else "List Bullet")
            case Table(header, rows):
                table = document.add_table(rows=0, cols=len(header), style="Table Grid")
                for row in (header, *rows):
                    for cell, text in zip(table.add_row().cells, row, strict=True):
                        cell.text = _plain(text)
    buffer = io.BytesIO()
    document.save(buffer)
    return _repacked(buffer.getvalue())


def _plain(text: str) -> str:
    return re.sub(r"\*\*|`|(?<!\w)\*(?=\w)|(?<=\w)\*(?!\w)", "", text)


def _repacked(archive: bytes) -> bytes:
    """The same ZIP entries in the same order, without the time of writing."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as source, zipfile.ZipFile(buffer, "w") as target:
        for name in source.namelist():
            entry = zipfile.ZipInfo(name, ZIP_EPOCH)
            target.writestr(entry, source.read(name), zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


RENDERERS: dict[str, Callable[[Page], bytes]] = {
    "md": render_markdown,
    "html": render_html,
    "pdf": render_pdf,
    "docx": render_docx,
}
