"""PDF files: each page's text layer, and a clear word about pages that have none."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c

from ingest.parse.cleaning import plain_letters
from ingest.parse.pdf_layout import Line, page_pieces, typical_size
from ingest.parse.pieces import HEADING, Parsed, assemble, heading_text
from semantic_layer.errors import SourceFailed

_SOFT_BREAK = "\ufffe"  # where PDFium joined a word that a hyphen had parted at a line's end
_ARABIC = re.compile("[\u0600-\u06ff]{2}")
_UNREADABLE = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\ue000-\uf8ff\ufffd]")
_BOLD_NAME = re.compile(rb"(?i)bold|black|heavy|demi|(?:sf|cm)bx\d")
_LEADER = re.compile(r"(?:\s*\.){5,}\s*")  # the dots between a table of contents and its page numbers
_FEW_LETTERS = 16
_OFFICE_TITLE = re.compile(r"(?i)^(microsoft \w+ - |untitled|unknown|document\d*$|title$|slide 1$|.*\.\w{2,5}$)")


def parse_pdf(path: Path) -> Parsed:
    """A PDF's text in the order of its content, one page after the other, words mended at line ends.

    Headings are guessed from size and weight, carefully. Not thread-safe: PDFium is not.
    Raises SourceFailed for an encrypted or damaged file, and for one without any text layer, which needs OCR;
    pages without a text layer beside pages that have one are named in a warning.
    """
    with closing(_open(path)) as document:
        pages: list[list[Line]] = []
        scanned: list[int] = []
        garbled: list[int] = []
        for number in range(1, len(document) + 1):
            lines, image, readable = _read_page(document, number, path)
            pages.append(lines if readable else [])
            if not readable:
                garbled.append(number)
            elif image and sum(len(line.text) for line in lines) < _FEW_LETTERS:
                scanned.append(number)
        title = str(document.get_metadata_dict().get("Title") or "")
    if not any(lines for number, lines in enumerate(pages, 1) if number not in scanned):
        raise _no_text(path, len(pages), scanned, garbled)
    return _assembled(path, pages, title, (*_warning(scanned, garbled),))


def _assembled(path: Path, pages: list[list[Line]], title: str, warnings: tuple[str, ...]) -> Parsed:
    words = _vocabulary(pages)
    mended = [[line.with_text(_mend(line.text, words)) for line in lines] for lines in pages]
    body = typical_size(mended)
    pieces = [piece for number, lines in enumerate(mended, 1) for piece in page_pieces(lines, number, body)]
    parsed = assemble(pieces, title=title, pages=len(pages), warnings=warnings)
    sane = len(parsed.title) > 3 and not _OFFICE_TITLE.match(parsed.title) and parsed.title != path.stem
    own = parsed.title if sane else _largest_heading(parsed)
    return Parsed(parsed.text, parsed.blocks, own, len(pages), {}, parsed.warnings)


def _largest_heading(parsed: Parsed) -> str:
    """The heading in the largest letters of the first page that has one."""
    headings = [block for block in parsed.blocks if block.kind == HEADING]
    first = [block for block in headings if block.page == headings[0].page]
    largest = min(first, key=lambda block: block.level, default=None)
    return heading_text(parsed.text[largest.start : largest.end]) if largest else ""


def _open(path: Path) -> Any:
    try:
        return pdfium.PdfDocument(path)
    except pdfium.PdfiumError as error:
        if getattr(error, "err_code", None) == pdfium_c.FPDF_ERR_PASSWORD or "password" in str(error).lower():
            raise SourceFailed(
                f"{path} is encrypted and needs a password.",
                hint="Save a copy without a password, or leave it out of the path.",
            ) from error
        raise SourceFailed(
            f"{path} is not a PDF that can be opened: it is damaged or cut off.",
            hint="Open it in a viewer, save it again, and ingest again.",
        ) from error


def _read_page(document: Any, number: int, path: Path) -> tuple[list[Line], bool, bool]:
    """The page's lines, whether it shows an image, and whether its fonts say which letters they draw."""
    try:
        with closing(document[number - 1]) as page, closing(page.get_textpage()) as text_page:
            text = str(text_page.get_text_range())
            unreadable = len(_UNREADABLE.findall(text))
            readable = 3 * unreadable <= len(text)
            few = len(text.strip()) < _FEW_LETTERS
            image = few and any(
                found.type == pdfium_c.FPDF_PAGEOBJ_IMAGE for found in page.get_objects(max_depth=4)
            )
            return list(_lines(text_page, text)), image, readable
    except pdfium.PdfiumError as error:
        raise SourceFailed(
            f"{path}, page {number}: the page is damaged ({error}).",
            hint="Open it in a viewer, save it again, and ingest again.",
        ) from error


def _lines(text_page: Any, text: str) -> Iterator[Line]:
    """The page's lines with their place and the size and weight of their letters."""
    start = 0
    for raw in text.split("\r\n"):
        if _UNREADABLE.sub("", raw).strip():
            first = start + len(raw) - len(raw.lstrip())
            last = start + len(raw.rstrip()) - 1
            begin, end = _box(text_page, first), _box(text_page, last)
            left, right = begin[0], end[2]
            if begin[0] > end[2]:  # from right to left: mirrored, so that lines still end at larger places
                left, right = -begin[2], -end[0]
            middle = _box(text_page, (first + last) // 2)
            size = sorted(box[3] - box[1] for box in (begin, middle, end))[1]
            words = _arabic_in_order(text_page, raw, start) if _ARABIC.search(raw) else raw
            bold = _is_bold(text_page, first) and _is_bold(text_page, last)
            yield Line(_UNREADABLE.sub("", words), left, right, min(begin[1], end[1]), begin[3], size, bold)
        start += len(raw) + 2


def _box(text_page: Any, index: int) -> tuple[float, float, float, float]:
    """Left, bottom, right, top of a letter's full box in points; zeros where PDFium has none."""
    at = pdfium_c.FPDFText_GetCharIndexFromTextIndex(text_page, index)
    if at < 0:
        return 0.0, 0.0, 0.0, 0.0
    try:
        left, bottom, right, top = text_page.get_charbox(at, loose=True)
    except pdfium.PdfiumError:
        return 0.0, 0.0, 0.0, 0.0
    return float(left), float(bottom), float(right), float(top)


def _is_bold(text_page: Any, index: int) -> bool:
    """By the font's weight, or by its name where the file does not say the weight."""
    if pdfium_c.FPDFText_GetFontWeight(text_page, index) >= 600:
        return True
    name, flags = ctypes.create_string_buffer(128), ctypes.c_int()
    length = int(pdfium_c.FPDFText_GetFontInfo(text_page, index, name, 128, flags))
    return 0 < length <= 128 and bool(_BOLD_NAME.search(name.value))


def _arabic_in_order(text_page: Any, line: str, start: int) -> str:
    """Put the letters of one ligature back in order: PDFium gives alef before lam where one glyph draws both."""
    letters = list(line)
    x, y, next_x = ctypes.c_double(), ctypes.c_double(), ctypes.c_double()
    index = 0
    while index < len(letters) - 1:
        if letters[index] in "اأإآ" and letters[index + 1] == "ل":
            pdfium_c.FPDFText_GetCharOrigin(text_page, start + index, x, y)
            pdfium_c.FPDFText_GetCharOrigin(text_page, start + index + 1, next_x, y)
            if x.value == next_x.value:
                letters[index], letters[index + 1] = letters[index + 1], letters[index]
                index += 1
        index += 1
    return "".join(letters)


def _vocabulary(pages: list[list[Line]]) -> frozenset[str]:
    """The document's words, in lower case, with their hyphens; empty where nothing needs mending."""
    if not any(_SOFT_BREAK in line.text for lines in pages for line in lines):
        return frozenset()
    words = (word for lines in pages for line in lines for word in line.text.lower().split())
    return frozenset(word.strip(".,;:()[]\"'") for word in words if _SOFT_BREAK not in word)


def _mend(text: str, words: frozenset[str]) -> str:
    """Join words parted at a line's end, with their hyphen where the document writes it elsewhere."""
    text = _LEADER.sub(" … ", plain_letters(text))
    if _SOFT_BREAK not in text:
        return text
    return re.sub(rf"(\w*){_SOFT_BREAK}(\w*)", lambda match: _joined(match.group(1), match.group(2), words), text)


def _joined(left: str, right: str, words: frozenset[str]) -> str:
    hyphenated = f"{left}-{right}"
    keeps = hyphenated.lower() in words or not left or not right[:1].islower() or left[-1:].isdigit()
    return hyphenated if keeps and (left or right) else left + right


def _warning(scanned: list[int], garbled: list[int]) -> Iterator[str]:
    if scanned:
        yield f"{_pages(scanned)} without a text layer: OCR is needed, which is not built in"
    if garbled:
        why = "whose fonts do not say which letters they draw"
        yield f"{_pages(garbled)} {why}: OCR is needed, which is not built in"


def _pages(numbers: list[int]) -> str:
    return f"page{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"


def _no_text(path: Path, pages: int, scanned: list[int], garbled: list[int]) -> SourceFailed:
    if not scanned and not garbled:
        return SourceFailed(f"{path} holds no text on its {pages} pages.", hint="Leave it out of the path.")
    why = "has no text layer" if scanned else "has a text layer that does not say which letters it draws"
    return SourceFailed(
        f"{path} {why} ({_pages(sorted([*scanned, *garbled]))}): it needs OCR, which is not built in.",
        hint="Run it through an OCR program that adds a text layer, or leave it out of the path.",
    )
